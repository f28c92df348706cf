"""Where a broken file is broken: libraries say that reading failed, a person wants file, line and remedy."""

from __future__ import annotations

import io
import zlib
from typing import IO

import fsspec
import pyarrow
import zstandard

from proxies.errors import ProxyError
from proxies.storage import url_options

READ_ERRORS = (OSError, EOFError, ValueError, zlib.error, zstandard.ZstdError, pyarrow.ArrowException)


def located(error: Exception, name: str, url: str) -> ProxyError:
    """What to tell the user about `error`, which reading the file at `url` of domain `name` raised."""
    if isinstance(error, UnicodeDecodeError):
        return ProxyError(f"{name}: {url} {_first_bad_utf8(url)}", hint="convert the file to UTF-8")
    if isinstance(error, EOFError):
        return ProxyError(f"{name}: {url} is truncated: {error}", hint="copy or download the file again")
    if isinstance(error, FileNotFoundError):
        return ProxyError(f"{name}: {url} is gone", hint="leave the files alone while they are read")
    reason = " ".join(str(error).split())
    return ProxyError(f"{name}: {url} cannot be read: {reason}", hint="it is damaged or out of reach: copy it again")


class WholeZst(io.RawIOBase):
    """The content of a .zst file of any number of frames; the library's own reader takes a cut-off one for short.

    Raises:
        EOFError: on reading to the end, if the file ends within a frame.
    """

    BLOCK = 1 << 16  # compressed bytes read at once

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._content = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._content:
            block = self._frame.unused_data or self._file.read(self.BLOCK)
            if not block and not self._frame.eof:
                raise EOFError("it ends within a compressed frame")
            if not block:
                return 0
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._content = memoryview(self._frame.decompress(block))
        size = min(len(buffer), len(self._content))
        buffer[:size], self._content = self._content[:size], self._content[size:]
        return size


def _first_bad_utf8(url: str) -> str:
    with fsspec.open(url, "rb", compression="infer", **url_options(url)) as file:
        offset = 0
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return f"line {number} is not UTF-8: byte 0x{byte:02x} at offset {offset + error.start}"
            offset += len(line)
    return "is not UTF-8"
