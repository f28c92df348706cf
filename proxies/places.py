"""Files on this machine or elsewhere, by place: a path, or a URL that fsspec opens (s3://..., file://...)."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from proxies.errors import ProxyError

Result = TypeVar("Result")

PAUSES = (1.0, 4.0, 10.0, 20.0)  # seconds between attempts to read what is elsewhere
PARTIAL = ".tmp"  # ending of files on a disk that are still written


def write(place: str | Path, content: bytes) -> None:
    """Write all of `content` or nothing: on a disk by renaming, elsewhere as one object.

    Raises:
        ProxyError: it cannot be written.
    """
    with _explained("written", place):
        fs, path = _opened(place)
        if not isinstance(fs, LocalFileSystem):
            fs.pipe_file(path, content)
            return
        with _renamed_to(Path(path)) as partial, partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def upload(file: Path, place: str | Path) -> None:
    """`write` the content of a file.

    Raises:
        ProxyError: it cannot be written.
    """
    with _explained("written", place):
        fs, path = _opened(place)
        if not isinstance(fs, LocalFileSystem):
            fs.put_file(str(file), path)
            return
        with _renamed_to(Path(path)) as partial:
            shutil.copyfile(file, partial)


def read(place: str | Path) -> bytes:
    """
    Raises:
        FileNotFoundError: there is no such file.
        ProxyError: it cannot be read.
    """

    def content() -> bytes | None:
        with _explained("read", place):
            fs, path = _opened(place)
            with suppress(FileNotFoundError):
                found: bytes = fs.cat_file(path)
                return found
        return None

    found = _patiently(place, content)
    if found is None:
        raise FileNotFoundError(place)
    return found


def download(place: str | Path, file: Path) -> None:
    """Copy to a file on this machine; after a death in between it is there in part.

    Raises:
        ProxyError: it cannot be read, or there is no room for it.
    """

    def copy() -> None:
        with _explained("read", place):
            fs, path = _opened(place)
            file.parent.mkdir(parents=True, exist_ok=True)
            fs.get_file(path, str(file))

    _patiently(place, copy)


def sizes(folder: str | Path) -> dict[str, int]:
    """The bytes of each file in a folder and those below it; of no file where there is no such folder.

    Raises:
        ProxyError: it cannot be read.
    """
    with _explained("listed", folder):
        fs, path = _opened(folder)
        fs.invalidate_cache()  # others write there
        return {
            name.removeprefix(path.rstrip("/") + "/"): about["size"]
            for name, about in fs.find(path, detail=True).items()
        }


def remove(place: str | Path) -> None:
    """Remove a file, where there is one.

    Raises:
        ProxyError: it cannot be removed.
    """
    with _explained("removed", place):
        fs, path = _opened(place)
        with suppress(FileNotFoundError):
            fs.rm_file(path)


def _opened(place: str | Path) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a place, and the place's name there."""
    if "://" not in str(place):
        return LocalFileSystem(), str(Path(place).absolute())
    fs, path = fsspec.core.url_to_fs(str(place))
    return fs, path


def _patiently(place: str | Path, action: Callable[[], Result]) -> Result:
    """What is elsewhere may be away for a moment, and a trial should not end for it."""
    for pause in PAUSES if "://" in str(place) else ():
        try:
            return action()
        except ProxyError as error:
            if isinstance(error.__cause__, ImportError | FileNotFoundError):
                raise
            time.sleep(pause)
    return action()


@contextmanager
def _renamed_to(path: Path) -> Iterator[Path]:
    """A name in the same folder, which is made, to write under; another one each time, for two may write at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def _explained(done: str, place: str | Path) -> Iterator[None]:
    """Each file system fails in words and classes of its own."""
    try:
        yield
    except Exception as error:
        hint = "is the address right, does it answer from here, and may this machine write there?"
        if isinstance(error, ImportError):
            hint = "install what opens such URLs, for s3:// with: pip install s3fs"
        reason = " ".join(str(error).split()) or "no reason given"
        raise ProxyError(f"{place} cannot be {done}: {type(error).__name__}: {reason}", hint) from error
