"""Where a broken file is broken: libraries say that reading failed, a person wants file, line and remedy."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, cast

import fsspec
import pyarrow
import zstandard

from proxies.errors import Unreadable
from proxies.storage import url_options

# Compressed with --long: what may have to be kept in memory to unpack it.
LARGEST_WINDOW = 1 << 31
BLOCK = 1 << 18  # bytes that are read at once

READ_ERRORS = (OSError, EOFError, ValueError, zlib.error, zstandard.ZstdError, pyarrow.ArrowException)


def located(error: Exception, name: str, url: str) -> Unreadable:
    """What to tell the user about `error`, which reading the file at `url` of domain `name` raised."""
    if isinstance(error, UnicodeDecodeError):
        try:
            where = _first_bad_utf8(url)
        except READ_ERRORS as damage:  # what is wrong with its text is not all that is wrong
            return located(damage, name, url)
        return Unreadable(f"{name}: {url} {where}", hint="convert the file to UTF-8")
    if isinstance(error, EOFError):
        return Unreadable(f"{name}: {url} is truncated: {error}", hint="copy or download the file again")
    if isinstance(error, FileNotFoundError):
        return Unreadable(f"{name}: {url} is gone", hint="leave the files alone while they are read")
    reason = " ".join(str(error).split())
    return Unreadable(f"{name}: {url} cannot be read: {reason}", hint="it is damaged or out of reach: copy it again")


class WholeZst(io.RawIOBase):
    """The content of a .zst file of any number of frames; the library's own reader takes a cut-off one for short.

    Raises:
        EOFError: on reading to the end, if the file ends within a frame.
    """

    BLOCK = 1 << 16  # compressed bytes read at once

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._frame = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()
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
                self._frame = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()
            self._content = memoryview(self._frame.decompress(block))
        size = min(len(buffer), len(self._content))
        buffer[:size], self._content = self._content[:size], self._content[size:]
        return size


@contextmanager
def open_bytes(url: str) -> Iterator[IO[bytes]]:
    """What is in a file, here or behind a URL, unpacked where its name ends in .gz or .zst."""
    with ExitStack() as stack:
        packed = stack.enter_context(_packed(url))
        if url.endswith(".gz"):
            yield cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=packed)))
        elif url.endswith(".zst"):
            yield cast(IO[bytes], io.BufferedReader(WholeZst(packed), BLOCK))
        else:
            yield packed


def _packed(url: str) -> IO[bytes]:
    if "://" not in url:
        return Path(url).open("rb")
    if url.startswith(("http://", "https://")):
        return cast(IO[bytes], fsspec.open(url, "rb", **url_options(url)).open())
    # Tries again where a server hangs up, which fsspec does not.
    from datasets.utils.file_utils import xopen

    return cast(IO[bytes], xopen(url, "rb"))


@contextmanager
def open_text(url: str, errors: str = "strict") -> Iterator[io.TextIOBase]:
    """The same as text; \\r and \\r\\n end a line as \\n does; `errors`: what becomes of other bytes than UTF-8."""
    with open_bytes(url) as content, io.TextIOWrapper(content, encoding="utf-8", errors=errors) as text:
        yield text


def _first_bad_utf8(url: str) -> str:
    """Where it is, for a person: the line and the byte."""
    decode, before, lines, pending = codecs.utf_8_decode, 0, 1, b""
    with open_bytes(url) as content:
        while block := content.read(BLOCK):
            pending += block
            try:
                done = decode(pending, "strict", False)[1]
            except UnicodeDecodeError as error:
                lines += _line_ends(pending[: error.start])
                byte = pending[error.start]
                return f"line {lines} is not UTF-8: byte 0x{byte:02x} at offset {before + error.start}"
            lines += _line_ends(pending[:done])
            before, pending = before + done, pending[done:]
    return f"line {lines} is not UTF-8: it ends within a character"


def _line_ends(text: bytes) -> int:
    return text.count(b"\n") or text.count(b"\r")
