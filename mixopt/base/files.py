"""Text in files, and a study's folder held for one process, with messages for a user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mixopt.base.errors import ConfigError
from proxies import lock
from proxies.storage import named_in_errors, write_whole

DEVICES = Path("/dev")

# Whoever looks whether somebody holds the folder may hold it for a moment.
LOOKED_AT_SECONDS = 0.3


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
    """Write all of it or nothing; to a device or a pipe, such as /dev/stdout, as far as it takes it.

    Raises:
        ConfigError: there is no such folder, or one of this name.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}", hint="make it, or choose another")
    if path.parent == DEVICES or (path.exists() and not path.is_file()):
        # A device or a pipe, which no file may take the place of.
        with named_in_errors(path), path.open("w", encoding="utf-8") as stream:
            stream.write(text)
        return
    write_whole(path, text.encode())


@contextmanager
def locked(directory: Path, what: str) -> Iterator[None]:
    """Hold a folder for this process alone; the system lets go of it when the process dies, however it dies.

    Raises:
        ConfigError: another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.locked(directory / "lock", LOOKED_AT_SECONDS))
        except lock.LockHeld as error:
            raise ConfigError(
                f"{what} is being run by {error.holder}", hint="wait for it, or end it; watch it with mixopt status"
            ) from error
        yield
