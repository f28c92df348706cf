"""What takes room and is needed no more, in the folder where studies are kept and in this machine's caches.

Of a study that runs nothing is touched: its lock is held while it is looked at and while anything of it is removed.
What a study measured, and the tokens that it measured it on, stay.

    <directory>/<study>/checkpoints/    of trials that are recorded as closed
    <directory>/<study>/corpus/         domains that the corpus has no more, files that were never finished
    $MIXOPT_CACHE                       a node's copies of corpora
    <temporary files>/mixopt-*          what Ray kept of local clusters that were killed
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mixopt.base.errors import ConfigError
from mixopt.base.files import locked
from mixopt.results.prune import Kept, Pruned, Removable
from mixopt.study.exchange import CHECKPOINT
from proxies.data.corpus import leftovers
from proxies.data.node_cache import cache_folder
from proxies.lock import LockHeld
from proxies.lock import locked as lock_file
from proxies.storage import PARTIAL
from search.errors import ExplainedError
from tracking.entries import Finished
from tracking.journal import read, read_record

JOURNAL = "journal.jsonl"


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
        raise ConfigError(
            f"{directory}: no such folder", hint="name the folder where studies are kept, such as .mixopt"
        )
    items: list[Removable] = []
    kept: list[Kept] = []
    needed: set[str] = set()  # fingerprints of corpora of studies that may go on
    for study in sorted(directory.iterdir()):
        if study.is_symlink() or not ((study / JOURNAL).exists() or (study / "corpus").is_dir()):
            continue
        try:
            with locked(study, f"study {study.name}"):
                found = list(_of_study(study, needed))
                items += found
                _remove(found if remove else [])
        except ExplainedError as error:
            kept.append(Kept(path=str(study), why=error.message))
            needed |= _corpus_of(study)
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
    """
    checkpoints = sorted(path for path in _within(study / "checkpoints") if path.is_file())
    if (study / JOURNAL).exists():
        record = read_record(study / JOURNAL)
        finished = any(isinstance(entry, Finished) for entry in read(study / JOURNAL))
        if not finished:
            needed.add(record.subject.corpus)
        open_trials = {trial.id for trial in record.history.running}
        closed = record.history.trial_ids - open_trials
        for path in checkpoints:
            if path.name.endswith(PARTIAL):
                yield _item(path, "half-written when its worker died")
            elif path.name.removesuffix(CHECKPOINT) in closed:
                yield _item(path, "the trial is recorded; nothing goes on from its checkpoint")
    if (study / "corpus").is_dir():
        for path, why in leftovers(study / "corpus"):
            yield _item(path, why)


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
        for folder in sorted(Path(tempfile.gettempdir()).glob("mixopt-*"))
        if not folder.is_symlink() and (folder / "ray").is_dir() and folder.stat().st_uid == os.getuid()
        if not _is_open(folder)
    ]
    _remove(items if remove else [])
    return items


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
