"""What takes room and is needed no more, in the folder where studies are kept and in this machine's caches.

Of a study that runs nothing is touched: its lock is held while it is looked at and while anything of it is removed.
What a study measured, and the tokens that it measured it on, stay.

    <directory>/<study>/checkpoints/    of trials that are recorded as closed
    <directory>/<study>/trials/<id>/    what a trainer of one's own left of trials that are measured
    <directory>/<study>/corpus/         domains that the corpus has no more, files that were never finished
    $MIXOPT_CACHE                       a node's copies of corpora
    /tmp/mixopt-*, and the like         what Ray kept of local clusters that were killed
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from mixopt.base.errors import ConfigError
from mixopt.base.files import locked
from mixopt.results.prune import Kept, Pruned, Removable
from mixopt.study.exchange import not_gone_on_from
from mixopt.workers.command import KEPT_OF_TRIAL
from mixopt.workers.ray_folders import cluster_folders
from proxies.data.corpus import leftovers
from proxies.data.node_cache import cache_folder
from proxies.errors import ProxyError
from proxies.lock import LockHeld
from proxies.lock import locked as lock_file
from proxies.storage import PARTIAL
from search.errors import ExplainedError
from tracking.entries import Finished
from tracking.journal import JOURNAL, read, read_header, read_record
from tracking.record import Record


def prune(directory: Path, remove: bool) -> Pruned:
    """
    Args:
        directory: where studies are kept.
        remove: what is found; else it is only told.

    Raises:
        ConfigError: there is no such folder.
        OSError: something cannot be removed.
    """
    if not directory.is_dir():
        what = "not a folder" if directory.exists() else "no such folder"
        raise ConfigError(f"{directory}: {what}", hint="name the folder where studies are kept, such as .mixopt")
    items: list[Removable] = []
    kept: list[Kept] = []
    needed: set[str] = set()  # fingerprints of corpora of studies that may go on
    for study in sorted(directory.iterdir()):
        with ExitStack() as held:
            try:
                if study.is_symlink() or not ((study / JOURNAL).exists() or (study / "corpus").is_dir()):
                    continue
                held.enter_context(locked(study, f"study {study.name}"))
                found = list(_of_study(study, needed))
            except (ExplainedError, ProxyError, OSError) as error:
                kept.append(Kept(path=str(study), why=_why(error)))
                needed |= _corpus_of(study)
                continue
            items += found
            _remove(found if remove else [])
    found, left = _of_cache(needed, remove)
    items += [*found, *_of_ray(remove)]
    kept += left
    return Pruned(
        directory=str(directory),
        removed=remove,
        items=tuple(items),
        kept=tuple(kept),
        bytes=sum(item.bytes for item in items),
    )


def _of_study(study: Path, needed: set[str]) -> Iterator[Removable]:
    """
    Raises:
        TrackingError: the journal cannot be read.
        OSError: a file cannot.
    """
    checkpoints = {path.name: path for path in _within(study / "checkpoints") if path.is_file()}
    if (study / JOURNAL).exists():
        entries = list(read(study / JOURNAL))
        record = Record.of(read_header(study / JOURNAL).subject, entries)
        # A study that was finished once may have been begun again, with more trials.
        if record.history.running or not entries or not isinstance(entries[-1], Finished):
            needed.add(record.subject.corpus)
        for name, why in not_gone_on_from(checkpoints, record.history).items():
            yield _item(checkpoints[name], why)
        # A trial that failed may be begun again, and go on from what is there.
        for folder in _within(study / "trials"):
            if folder.name in record.history.measured_ids:
                yield from _of_trainer(folder)
    if (study / "corpus").is_dir():
        for path, why in leftovers(study / "corpus"):
            yield _item(path, why)


def _of_trainer(folder: Path) -> Iterator[Removable]:
    """What a trainer left in a trial's folder, beside what mixopt keeps there of the trial."""
    left = [path for path in _within(folder) if path.name not in KEPT_OF_TRIAL]
    if left and not _is_open(folder):
        yield from (_item(path, "its trainer left it; what the trial measured is recorded") for path in left)


def _why(error: ExplainedError | ProxyError | OSError) -> str:
    if isinstance(error, OSError):
        return f"it cannot be looked at: {error}"
    return error.message


def _corpus_of(study: Path) -> set[str]:
    with suppress(ExplainedError, OSError):
        return {read_record(study / JOURNAL).subject.corpus}
    return set()


def _of_cache(needed: set[str], remove: bool) -> tuple[list[Removable], list[Kept]]:
    """The corpora that this node fetched, apart from those that a study may go on with, or a process has open."""
    items, kept = [], []
    for folder in _within(cache_folder()):
        fingerprint = folder.name.removesuffix(PARTIAL)
        if not folder.is_dir():
            continue
        if fingerprint in needed:
            kept.append(Kept(path=str(folder), why="a study that has not ended measures on it"))
            continue
        try:
            with lock_file(folder.with_name(f"{fingerprint}.lock")):
                if _is_open(folder):
                    kept.append(Kept(path=str(folder), why="a process of this machine has it open"))
                    continue
                items.append(_item(folder, "a node's copy; the next trial that needs it fetches it again"))
                _remove(items[-1:] if remove else [])
        except LockHeld as error:
            kept.append(Kept(path=str(folder), why=f"it is being fetched by {error.holder}"))
    return items, kept


def _of_ray(remove: bool) -> list[Removable]:
    """What is left of local clusters whose driver was killed: folders of this user that no process speaks of."""
    items = [
        _item(folder, "of a local cluster that was killed; no process uses it")
        for folder in cluster_folders()
        if _is_ours(folder) and (folder / "ray").is_dir() and not _is_open(folder)
    ]
    _remove(items if remove else [])
    return items


def _is_ours(folder: Path) -> bool:
    with suppress(FileNotFoundError):  # its cluster has ended meanwhile
        return folder.stat().st_uid == os.getuid()
    return False


def _within(folder: Path) -> list[Path]:
    """What is in a folder, without links; nothing where there is no such folder."""
    return [path for path in sorted(folder.iterdir()) if not path.is_symlink()] if folder.is_dir() else []


def _is_open(folder: Path) -> bool:
    """Whether a process of this machine, as far as this user may look, has a file of it mapped, or in its arguments."""
    name = os.fsencode(folder.resolve()) + b"/"
    for process in Path("/proc").glob("[0-9]*"):
        for told in ("maps", "cmdline"):
            with suppress(OSError):
                if name in (process / told).read_bytes():
                    return True
    return False


def _item(path: Path, why: str) -> Removable:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file() and not each.is_symlink()]
    return Removable(path=str(path), bytes=sum(each.stat().st_size for each in files), why=why)


def _remove(items: list[Removable]) -> None:
    for item in items:
        path = Path(item.path)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
