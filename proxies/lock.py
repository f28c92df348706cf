"""A lock on a file, for one process of one machine at a time; the system opens it when its holder dies, however."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from proxies.errors import ProxyError
from proxies.storage import write_whole

FOREVER = -1.0  # seconds, to filelock
LOOK_AGAIN_SECONDS = 0.1


class LockHeld(ProxyError):
    """Another process holds the lock.

    Attributes:
        holder: in words, with the machine: a shared folder is seen from several.
    """

    def __init__(self, file: Path, holder: str) -> None:
        super().__init__(f"{file} is held by {holder}", hint="wait for it, or end it")
        self.holder = holder


@contextmanager
def locked(file: Path, wait_seconds: float = 0) -> Iterator[None]:
    """Hold the lock while the block runs.

    Args:
        file: is made where it is not there, and left there: removed, two could hold it.
        wait_seconds: for another process to let go of it; FOREVER for as long as it takes.

    Raises:
        LockHeld: another process did not.
        ProxyError: it is a link, which may lead to a file that is no lock.
    """
    lock = FileLock(file, timeout=wait_seconds, poll_interval=LOOK_AGAIN_SECONDS)
    note = file.with_name(f"{file.name}.holder")
    try:
        lock.acquire()
    except Timeout as error:
        raise LockHeld(file, _holder(note)) from error
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ProxyError(f"{file} is a symbolic link, and is not followed", hint="remove it") from error
    try:
        write_whole(note, f"process {os.getpid()} on {socket.gethostname()}".encode())
        try:
            yield
        finally:
            note.unlink(missing_ok=True)
    finally:
        lock.release()


def holder(file: Path) -> str | None:
    """Who holds the lock, in words; None where nobody does. Whoever looks may hold it for a moment."""
    note = file.with_name(f"{file.name}.holder")
    if not note.exists():
        return None
    try:
        with FileLock(file, timeout=0):
            return None  # whoever held it died
    except (Timeout, OSError):  # OSError: not ours to lock, so only the note tells
        return _holder(note)


def _holder(note: Path) -> str:
    try:
        return note.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "another process"  # which has just begun, or is about to end
