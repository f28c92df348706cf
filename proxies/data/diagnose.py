"""Where a broken file is broken: libraries say that reading failed, a person wants file, line and remedy."""

from __future__ import annotations

import zlib

import fsspec
import pyarrow
import zstandard

from proxies.errors import ProxyError

READ_ERRORS = (OSError, EOFError, ValueError, zlib.error, zstandard.ZstdError, pyarrow.ArrowException)

BLOCK = 1 << 16  # bytes read at once


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


def check_zst_is_whole(name: str, url: str) -> None:
    """Decompresses the file once, since the streaming reader takes a truncated file for a short one.

    Raises:
        ProxyError: the file ends within a frame, or is no zst file.
    """
    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        with fsspec.open(url, "rb") as file:
            while block := file.read(BLOCK):
                while block:
                    if frame.eof:
                        frame = zstandard.ZstdDecompressor().decompressobj()
                    frame.decompress(block)
                    block = frame.unused_data
        if not frame.eof:
            raise EOFError("it ends within a compressed frame")
    except READ_ERRORS as error:
        raise located(error, name, url) from error


def _first_bad_utf8(url: str) -> str:
    with fsspec.open(url, "rb", compression="infer") as file:
        offset = 0
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return f"line {number} is not UTF-8: byte 0x{byte:02x} at offset {offset + error.start}"
            offset += len(line)
    return "is not UTF-8"
