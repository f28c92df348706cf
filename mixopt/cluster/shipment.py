"""What travels with a submitted study: its file, and the files that it names relative to itself.

Absolute paths and URLs are read on the cluster, where a study file of the same text finds what it found here.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixopt.base.errors import ConfigError, Mistakes
from mixopt.settings.schema import StudyFile, TextSource
from proxies.data.sources import Source, check_readable, find_files

MAX_BYTES = 100_000_000  # all of them go through the memory of the head

# The same content is the same archive, whose copy on a node is then used again.
NO_DATE = (1980, 1, 1, 0, 0, 0)
# In the job's folder, which Ray puts on the path of all its processes: everything lies below a name that no module can
# have, so that no file of data is imported in a module's place.
FOLDER = "shipped-study"
SAVED_SPLITS = "dataset_dict.json"
ON_THE_CLUSTER = "put it on a volume that all nodes share, and give its absolute path there, or an s3:// URL"


def check_submittable(file: StudyFile) -> None:
    """
    Raises:
        ConfigError: a line for each setting that means something only on this machine.
    """
    found: list[str] = []
    if file.directory is not None and not Path(file.directory).is_absolute():
        found.append(
            f"directory: {file.directory} would lie in a job's own folder; "
            "remove it, and the cluster's MIXOPT_DIRECTORY is taken, or give an absolute path on a shared volume"
        )
    shared = file.executor.shared
    if shared is not None and "://" not in shared and not Path(shared).is_absolute():
        found.append(
            f"executor.shared: {shared} would lie in a job's own folder; give an absolute path or an s3:// URL"
        )
    if file.executor.kind == "in_process":
        found.append("executor.kind: in_process trains nothing on a cluster; remove it or set ray")
    if file.executor.address not in (None, "auto"):
        found.append(f"executor.address: {file.executor.address} is not the cluster it is submitted to; remove it")
    if (file.tracking.uri or "").startswith("sqlite:"):
        found.append(
            f"tracking.uri: {file.tracking.uri} is a file of this machine; "
            "remove it, and the cluster's MLFLOW_TRACKING_URI is taken, or give a server's http(s):// address"
        )
    if found:
        raise Mistakes([f"{file.file}: {line}" for line in found])


def without_absent_runs(file: StudyFile) -> StudyFile:
    """The study as far as it can be checked here: without a table of earlier runs that only the cluster can read."""
    if file.reuse.runs is None or _travels(file.reuse.runs):
        return file
    return file.model_copy(update={"reuse": file.reuse.model_copy(update={"runs": None})})


def shipped_files(file: StudyFile) -> dict[str, Path]:
    """Place in FOLDER, in the job's folder -> file here.

    Raises:
        ConfigError, ProxyError: a path leaves the study's folder, leads to nothing or to what cannot be read, or all
            of it is too much.
    """
    files = {file.file.name: file.file}
    for place, named in (("corpus.tokenizer", file.corpus.tokenizer), ("reuse.runs", file.reuse.runs)):
        if named is not None and _travels(named):
            inside = _inside(named, place, file)
            if not (file.file.parent / inside).is_file():
                raise ConfigError(f"{place}: there is no file {file.file.parent / inside}", hint="check the path")
            files[inside] = file.file.parent / inside
    for section, sources in (("domains", file.domains), ("evaluation", file.evaluation)):
        for name, source in sources.items():
            files |= _texts(f"{section}.{name}.paths", name, source, file)
    size = sum(path.stat().st_size for path in files.values())
    if size > MAX_BYTES:
        raise ConfigError(
            f"the files that would travel with {file.file} have {size / 1e6:.0f} MB, above {MAX_BYTES / 1e6:.0f}",
            hint=f"{ON_THE_CLUSTER}; the largest is {max(files.values(), key=lambda path: path.stat().st_size)}",
        )
    return files


@contextmanager
def packed(files: dict[str, Path]) -> Iterator[Path]:
    """An archive of these files, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="mixopt-") as folder:
        path = Path(folder) / "study.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for place in sorted(files):
                entry = zipfile.ZipInfo(f"{FOLDER}/{place}", NO_DATE)
                archive.writestr(entry, files[place].read_bytes(), zipfile.ZIP_DEFLATED)
        yield path


def _texts(place: str, name: str, settings: TextSource, file: StudyFile) -> dict[str, Path]:
    folder = file.file.parent.absolute()
    paths = tuple(str(folder / _inside(path, place, file)) for path in settings.paths if _travels(path))
    if not paths:
        return {}
    source = Source(name, paths, settings.text or "text", settings.prompt, settings.completion, split=settings.split)
    found = find_files(source)
    check_readable(source, found)
    texts = {Path(each.url) for each in found}
    # Without it the splits of a saved data set could not be told apart.
    texts |= {
        parent / SAVED_SPLITS
        for text in texts
        for parent in text.parents
        if folder in parent.parents and (parent / SAVED_SPLITS).is_file()
    }
    return {str(text.relative_to(folder)): text for text in texts}


def _travels(path: str) -> bool:
    return "://" not in path and not path.startswith(("hf:", "~")) and not Path(path).is_absolute()


def _inside(path: str, place: str, file: StudyFile) -> str:
    """The path without detours.

    Raises:
        ConfigError: it leads out of the study's folder.
    """
    plain = os.path.normpath(path)
    if plain == os.pardir or plain.startswith(os.pardir + os.sep):
        raise ConfigError(
            f"{file.file}: {place}: {path} leaves the study's folder, which is what travels to the cluster",
            hint=f"move it into {file.file.parent.absolute()}, or {ON_THE_CLUSTER}",
        )
    return plain
