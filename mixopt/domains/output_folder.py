"""The folder that a long command writes: empty before, finished at once, gone on with where the command was killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mixopt.base.console import say_note
from mixopt.base.errors import ConfigError
from mixopt.base.files import write_text
from proxies.domains.clusters import NoDomains
from proxies.lock import LockHeld, locked
from proxies.storage import remove_partial

WORK, INPUTS, LOCK = ".work", "inputs", "lock"


@contextmanager
def gone_on_with(output: Path, inputs: str) -> Iterator[Path]:
    """A folder inside it for what is remembered until the command is done, and locked until then; removed at its end.

    Args:
        inputs: a digest of all that decides what is written.

    Raises:
        ConfigError: the folder holds something beside the work files of another call, which are given up, and not what
            was begun with these inputs; or somebody writes into it.
        NoDomains: that of the caller: what was remembered is no use, and removed.
    """
    work = output / WORK
    is_ours = not output.exists() or work.exists()
    _check(output, inputs)
    with ExitStack() as stack:
        work.mkdir(parents=True, exist_ok=True)
        try:
            stack.enter_context(locked(work / LOCK))
        except LockHeld as error:
            raise ConfigError(
                f"{output} is being written by {error.holder}", hint="wait for it, or choose another folder"
            ) from error
        _check(output, inputs)  # again: somebody else may have begun, or come to the end
        if _begun_otherwise(output, inputs):
            say_note(f"{output} held the beginning of a call with other documents or settings; begun anew")
            _empty(work)
        write_text(work / INPUTS, inputs)
        remove_partial(output)
        try:
            yield work
        except NoDomains:
            if all(path == work for path in output.iterdir()):
                shutil.rmtree(work)
                if is_ours:
                    output.rmdir()
            raise
        shutil.rmtree(work)


def check_mine(output: Path, result: str) -> None:
    """Before work that comes first: whether there is something else in the folder than this command writes.

    Args:
        result: the file that the command writes last.

    Raises:
        ConfigError: there is.
    """
    if output.exists() and any(output.iterdir()) and not ((output / WORK).exists() or (output / result).exists()):
        raise ConfigError(f"--output {output} is not empty", hint="choose another folder, or remove this one")


def end(output: Path) -> None:
    """Remove what is remembered of a command that was killed when all was written; not where it is just ending."""
    work = output / WORK
    if work.exists():
        with suppress(LockHeld), locked(work / LOCK):
            shutil.rmtree(work)


def _check(output: Path, inputs: str) -> None:
    """
    Raises:
        ConfigError: the folder holds something beside work files, and not what was begun with these inputs.
    """
    work = output / WORK
    begun = work / INPUTS
    if _begun_otherwise(output, inputs) and any(path != work for path in output.iterdir()):
        raise ConfigError(
            f"--output {output} holds what was begun with other documents or settings",
            hint="choose another folder, or remove this one",
        )
    if not begun.exists() and output.exists() and any(path != work for path in output.iterdir()):
        raise ConfigError(f"--output {output} is not empty", hint="choose another folder, or remove this one")


def _begun_otherwise(output: Path, inputs: str) -> bool:
    """Whether something was begun there that these inputs cannot go on with."""
    begun = output / WORK / INPUTS
    return begun.exists() and begun.read_text(encoding="utf-8") != inputs


def _empty(work: Path) -> None:
    """The digest goes last: killed in between, what is left is still known as another call's."""
    for path in sorted(work.iterdir(), key=lambda path: path.name == INPUTS):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
