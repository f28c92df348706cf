"""The folder that a long command writes: empty before, finished at once, gone on with where the command was killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mixopt.base.errors import ConfigError
from mixopt.base.files import write_text
from proxies.lock import LockHeld, locked

WORK, INPUTS = ".work", "inputs"


@contextmanager
def gone_on_with(output: Path, inputs: str) -> Iterator[Path]:
    """A folder inside it for what is remembered until the command is done, and locked until then.

    Args:
        inputs: a digest of all that decides what is written.

    Raises:
        ConfigError: the folder holds something, and not what was begun with these inputs; or somebody writes into it.
    """
    work = output / WORK
    begun = work / INPUTS
    if begun.exists() and begun.read_text(encoding="utf-8") != inputs:
        raise ConfigError(
            f"--output {output} holds what was begun with other documents or settings",
            hint="choose another folder, or remove this one",
        )
    if not begun.exists() and output.exists() and any(output.iterdir()):
        raise ConfigError(f"--output {output} is not empty", hint="choose another folder, or remove this one")
    with ExitStack() as stack:
        work.mkdir(parents=True, exist_ok=True)
        try:
            stack.enter_context(locked(work / "lock"))
        except LockHeld as error:
            raise ConfigError(
                f"{output} is being written by {error.holder}", hint="wait for it, or choose another folder"
            ) from error
        write_text(begun, inputs)
        yield work
