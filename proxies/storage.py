"""Files that are written whole or not at all: on this machine, or at a URL that fsspec opens (s3://..., file://...).

`open_whole` and `write_whole` are for a disk, and fail as the system does; all else takes a place, which is a path or a
URL, and fails with a ProxyError.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from proxies.errors import ProxyError
from proxies.retry import retry

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

Result = TypeVar("Result")

PAUSES = (1.0, 4.0, 10.0, 20.0)  # seconds between attempts to read what is elsewhere
PARTIAL = ".mixopt-partial"  # ending of files and folders that are not whole yet; a name that nothing else uses


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """What fails in the block names the file, which the system does where opening fails, and not writing."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def open_whole(path: Path, *, mode: int = 0o666, replace: bool = True) -> Iterator[BinaryIO]:
    """A new file, open for writing, that becomes `path` when the block ends; an error in the block leaves no trace.

    It is written under a random name in the same folder, in which nobody else can have laid a link, and is on the disk
    before it gets its own.

    Args:
        mode: its permissions, less the process's umask.
        replace: take the place of a file that is there.

    Raises:
        FileExistsError: there is one, and it is not to be replaced.
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with named_in_errors(path), os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            partial.replace(path)
        else:
            path.hardlink_to(partial)  # which a rename cannot do: it replaces
    finally:
        partial.unlink(missing_ok=True)
    _sync(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Write all of `content` or nothing, safely on the disk.

    Raises:
        OSError: it cannot be written.
    """
    with open_whole(path) as file:
        file.write(content)


def remove_partial(folder: Path) -> None:
    """Remove what writers that were killed left in a folder, and in those below it, where nobody writes now."""
    for partial in folder.rglob(f"*{PARTIAL}"):
        partial.unlink()


def write(place: str | Path, content: bytes) -> None:
    """Write all of `content` or nothing: on a disk by renaming, elsewhere as one object.

    Raises:
        ProxyError: it cannot be written.
    """
    with _explained("written", place):
        fs, path = _opened(place)
        if not _on_this_machine(fs):
            fs.pipe_file(path, content)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), content)


def upload(file: Path, place: str | Path) -> None:
    """`write` the content of a file.

    Raises:
        ProxyError: it cannot be written.
    """
    with _explained("written", place):
        fs, path = _opened(place)
        if not _on_this_machine(fs):
            fs.put_file(str(file), path)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as source, open_whole(Path(path)) as target:
            shutil.copyfileobj(source, target)


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


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk as well; without this, a power cut can bring an old file back."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of file systems that keep no folders on a disk
            raise
    finally:
        os.close(descriptor)


def url_options(place: str) -> dict[str, Any]:
    """What fsspec is told about opening a URL: to go by the proxies that the environment names, and by ~/.netrc."""
    if not place.startswith(("http://", "https://")):
        return {}
    import fsspec.config

    ours: dict[str, Any] = fsspec.config.conf.get(place.partition(":")[0], {}).get("client_kwargs", {})
    return {"client_kwargs": {"trust_env": True, **ours}}


def _opened(place: str | Path) -> tuple[AbstractFileSystem, str]:
    """The file system of a place, and the place's name there."""
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    if "://" not in str(place):
        return LocalFileSystem(), str(Path(place).absolute())
    fs, path = url_to_fs(str(place), **url_options(str(place)))
    return fs, path


def _on_this_machine(fs: AbstractFileSystem) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(fs, LocalFileSystem)


def _patiently(place: str | Path, action: Callable[[], Result]) -> Result:
    """What is elsewhere may be away for a moment, and a trial should not end for it."""
    return retry(action, PAUSES if "://" in str(place) else (), _may_pass)


def _may_pass(error: Exception) -> bool:
    return isinstance(error, ProxyError) and not isinstance(error.__cause__, ImportError | FileNotFoundError)


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
