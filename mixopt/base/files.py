"""Files that are written whole or not at all, and a lock that dies with its holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixopt.base.errors import ConfigError


def text_in(path: Path, what: str, hint: str) -> str:
    """
    Args:
        what: the file is expected to be.
        hint: where there is none.

    Raises:
        ConfigError: there is none, or it is no text.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such {what}", hint=hint)
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", hint=f"name the {what} in it")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: byte {error.start} is not UTF-8", hint=f"is this really a {what}? Save it as UTF-8"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename.

    Raises:
        ConfigError: there is no such folder, or one of this name.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="name a file in it")
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
