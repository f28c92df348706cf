"""Text in files, and a study's folder held for one process, with messages for a user."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from mixopt.base.errors import ConfigError
from proxies import lock
from proxies.storage import named_in_errors, write_whole

URL = re.compile(r"[a-z][a-z0-9+]*:/", re.IGNORECASE)  # as a path, which has one slash where there were two
DEVICES = Path("/dev")

# Whoever looks whether somebody holds the folder may hold it for a moment.
LOOKED_AT_SECONDS = 0.3

# A file that a person writes, with a thousand domains and the paths of each.
LARGEST_TEXT = 4_000_000  # bytes


def text_in(path: Path, what: str, hint: str) -> str:
    """
    Args:
        what: the file is expected to be.
        hint: where there is none.

    Raises:
        ConfigError: there is none, it is no file that ends, or no text, or too large for what a person writes.
    """
    content = bytes_in(path, what, hint, LARGEST_TEXT)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: byte {error.start} is not UTF-8", hint=f"is this really a {what}? Save it as UTF-8"
        ) from error


def bytes_in(path: Path, what: str, hint: str, most: int) -> bytes:
    """What is in a file of at most `most` bytes.

    Raises:
        ConfigError: as `text_in`.
    """
    with opened(path, what, hint) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ConfigError(f"{path} is larger than {most / 1e6:g} MB", hint=f"is this really a {what}?")
    return content


def opened(path: Path, what: str, hint: str) -> BinaryIO:
    """A file that ends: not a device or a pipe, which could give text for ever, or make whoever opens it wait.

    Raises:
        ConfigError: it is none, or there is none.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        if URL.match(str(path)):
            raise ConfigError(f"{path}: a {what} is read from a disk, not from a URL", hint="download it") from error
        raise ConfigError(f"{path}: no such {what}", hint=hint) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path} cannot be opened: {reason}", "check the path and its permissions") from error
    file = os.fdopen(descriptor, "rb", closefd=True) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    if file is None:
        os.close(descriptor)
        if path.is_dir():
            raise ConfigError(f"{path} is a folder", hint=f"name the {what} in it")
        raise ConfigError(f"{path} is a pipe or a device", hint=f"write the {what} into a file")
    return file


def check_folder(path: Path, named: str) -> None:
    """Make sure that files can be written in a folder, which need not be there yet; nothing is left in it.

    To be asked before the work whose results go there.

    Args:
        named: what the folder is to the user, such as an option with its value.

    Raises:
        ConfigError: what is there is no folder, or takes no files.
    """
    there = next(each for each in (path.absolute(), *path.absolute().parents) if os.path.lexists(each))
    if not there.is_dir():
        raise ConfigError(f"{named}: {there} is not a folder", hint="choose another name")
    try:
        # Tried, as permissions do not say it all: of the superuser, of /proc, of a volume that can only be read.
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        # Of a folder that takes no new names the system says that there is no such file.
        reason = "" if error.errno == errno.ENOENT else f": {error.strerror}"
        raise ConfigError(
            f"{named}: {there} cannot be written to{reason}", hint="change its permissions, or choose another name"
        ) from error


def check_file(path: Path, named: str) -> None:
    """Make sure that `write_text` can write a file; as `check_folder`.

    Raises:
        ConfigError: it cannot.
    """
    _require_place(path, named)
    if not _takes_text_as_it_is(path):
        check_folder(path.parent, named)
    elif not os.access(path, os.W_OK):
        raise ConfigError(f"{named} cannot be written to", hint="choose another")


def _require_place(path: Path, named: str) -> None:
    if path.is_dir():
        raise ConfigError(f"{named} is a folder", hint="name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"{named}: there is no folder {path.parent}", hint="make it, or choose another")


def _takes_text_as_it_is(path: Path) -> bool:
    """Whether it is a device or a pipe, which no file may take the place of."""
    return path.parent == DEVICES or (path.exists() and not path.is_file())


def write_text(path: Path, text: str) -> None:
    """Write all of it or nothing; to a device or a pipe, such as /dev/stdout, as far as it takes it.

    Raises:
        ConfigError: there is no such folder, or one of this name.
    """
    _require_place(path, str(path))
    if _takes_text_as_it_is(path):
        with named_in_errors(path), path.open("w", encoding="utf-8") as stream:
            stream.write(text)
        return
    write_whole(path, text.encode())


@contextmanager
def locked(directory: Path, what: str, wait_seconds: float = LOOKED_AT_SECONDS) -> Iterator[None]:
    """Hold a folder for this process alone; the system lets go of it when the process dies, however it dies.

    Args:
        wait_seconds: for another process to let go of it.

    Raises:
        ConfigError: another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.locked(directory / "lock", wait_seconds))
        except lock.LockHeld as error:
            raise ConfigError(
                f"{what} is being run by {error.holder}", hint="wait for it, or end it; watch it with mixopt status"
            ) from error
        yield
