"""Files that are written whole or not at all, and a lock that dies with its holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixopt.errors import ConfigError


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename.

    Raises:
        ConfigError: there is no such folder.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}", hint="make it, or choose another")
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


@contextmanager
def locked(directory: Path, what: str) -> Iterator[None]:
    """Hold a folder for this process alone; the system lets go of it when the process dies, however it dies.

    Raises:
        ConfigError: another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ConfigError(
                f"{what} is being run by process {file.read().strip() or 'unknown'}",
                hint="wait for it, or end it; watch it with mixopt status",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
