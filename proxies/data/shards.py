"""Token shards: files of tokens, with their loss masks and a list of the documents in them, that never change.

A shard `train-00003` is up to three files: `.tokens`, `.mask` (uint8, 1 where a token carries loss; only of
sources with prompts) and `.documents` (uint64 pairs: content hash, tokens of the document, or piece of a long one).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from proxies.data.tokenizer import TokenisedDocument
from proxies.errors import ProxyError
from proxies.storage import open_whole

OPEN_MAPS = 8  # of one domain; there may be a hundred domains

TokenType = np.dtype[np.uint16] | np.dtype[np.uint32]


@dataclass(frozen=True)
class Shard:
    """What a manifest says of one shard.

    Attributes:
        name: its path below the corpus folder, without ending.
        sha256: of its tokens and its masks: the same for the same documents, in whatever way they were added.
    """

    name: str
    tokens: int
    documents: int
    masked: bool
    sha256: str

    @property
    def files(self) -> list[str]:
        """The names of its files."""
        endings = (".tokens", ".mask", ".documents") if self.masked else (".tokens", ".documents")
        return [self.name + ending for ending in endings]

    def check_content(self, directory: Path) -> None:
        """Compares tokens and masks with the manifest.

        Raises:
            ProxyError: they are others.
        """
        digest = hashlib.sha256()
        for name in self.files[:-1]:
            with (directory / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        if digest.hexdigest() != self.sha256:
            shard = directory / self.name
            raise ProxyError(
                f"{shard} holds other tokens than its manifest says",
                hint=f"its disk changed them: remove the folder {shard.parent}, and run again, which tokenises it anew",
            )

    def check_sizes(self, directory: Path, dtype: TokenType) -> None:
        """Compares the sizes of its files with the manifest.

        Raises:
            ProxyError: a file is missing or has another size.
        """
        sizes = {".tokens": self.tokens * dtype.itemsize, ".documents": self.documents * 16}
        for ending, size in (sizes | {".mask": self.tokens} if self.masked else sizes).items():
            file = directory / (self.name + ending)
            found = file.stat().st_size if file.exists() else None
            if found != size:
                raise ProxyError(
                    f"{file} holds {'nothing' if found is None else f'{found:,} bytes'}, and should hold {size:,}",
                    hint="it was changed or removed after it was written: prepare the corpus again",
                )

    def in_full_length(self, directory: Path, dtype: TokenType) -> bool:
        """Whether its files are there, with the sizes that they should have; what they hold is not read."""
        try:
            self.check_sizes(directory, dtype)
        except ProxyError:
            return False
        return True

    def documents_N2(self, directory: Path) -> NDArray[np.uint64]:
        """Content hash and number of tokens of each document, in order."""
        return np.fromfile(directory / f"{self.name}.documents", dtype="<u8").reshape(-1, 2)


class ShardWriter:
    """Writes one shard: `add` documents, then `close`; until then its files have names that nobody reads.

    As a context manager, it leaves nothing behind after an error.
    """

    def __init__(self, directory: Path, name: str, dtype: TokenType, masked: bool) -> None:
        self.tokens = 0
        self._directory, self._name, self._dtype, self._masked = directory, name, dtype, masked
        self._documents: list[tuple[int, int]] = []
        endings = [".tokens", *([".mask"] if masked else [])]
        self._digests = {ending: hashlib.sha256() for ending in endings}
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        self._open = ExitStack()
        self._files = {
            ending: self._open.enter_context(open_whole(directory / (name + ending)))
            for ending in (*endings, ".documents")
        }

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def add(self, document: TokenisedDocument) -> None:
        tokens = len(document.tokens_N)
        self._write(".tokens", document.tokens_N.astype(self._dtype).tobytes())
        if self._masked:
            self._write(".mask", bytes(document.prompt_tokens) + b"\1" * (tokens - document.prompt_tokens))
        self._documents.append((document.hash, tokens))
        self.tokens += tokens

    def copy(self, source: Shard, keep_N: NDArray[np.bool_]) -> None:
        """Adds those documents of another shard that `keep_N` marks."""
        documents_N2 = source.documents_N2(self._directory)
        keep_T = np.repeat(keep_N, documents_N2[:, 1].astype(np.int64))
        for ending in self._digests:
            dtype = self._dtype if ending == ".tokens" else np.dtype(np.uint8)
            values_T = np.fromfile(self._directory / (source.name + ending), dtype=dtype)
            self._write(ending, values_T[keep_T].tobytes())
        self._documents += [(int(code), int(tokens)) for code, tokens in documents_N2[keep_N]]
        self.tokens += int(keep_T.sum())

    def close(self) -> Shard:
        """Gives the files their names, safely on the disk."""
        self._files[".documents"].write(np.array(self._documents, dtype="<u8").tobytes())
        self._open.close()
        digests = b"".join(digest.digest() for digest in self._digests.values())
        sha256 = hashlib.sha256(digests).hexdigest()
        return Shard(self._name, self.tokens, len(self._documents), self._masked, sha256)

    def _write(self, ending: str, data: bytes) -> None:
        self._files[ending].write(data)
        self._digests[ending].update(data)


class TokenArray:
    """The tokens (or masks) of several shards as one array, mapped into memory; only what is asked for is read."""

    def __init__(self, files: Sequence[Path], lengths: Sequence[int], dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._files = tuple(files)
        self._ends = np.cumsum(lengths, dtype=np.int64)
        # A map holds its file open, and a large corpus has more shards than a process may.
        self._maps: dict[int, NDArray[Any]] = {}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: slice) -> NDArray[Any]:
        start, stop, step = index.indices(len(self))
        assert step == 1, "slices without a step only"
        parts = [np.empty(0, self.dtype)]
        while start < stop:
            number = int(np.searchsorted(self._ends, start, side="right"))
            first = int(self._ends[number - 1]) if number else 0
            end = min(stop, int(self._ends[number]))
            parts.append(self._map(number)[start - first : end - first])
            start = end
        return np.concatenate(parts)

    def windows(self, start_N: NDArray[np.int64], length: int) -> NDArray[Any]:
        """`length` tokens from each of these on, [N, length]."""
        found_NL = np.empty((len(start_N), length), self.dtype)
        number_N = np.searchsorted(self._ends, start_N, side="right")
        for number in np.unique(number_N):
            here = np.flatnonzero(number_N == number)
            whole = start_N[here] + length <= self._ends[number]
            if (within := here[whole]).size:
                first = self._ends[number - 1] if number else 0
                found_NL[within] = sliding_window_view(self._map(int(number)), length)[start_N[within] - first]
            for row in here[~whole]:  # it goes on in the next shard
                found_NL[row] = self[int(start_N[row]) : int(start_N[row]) + length]
        return found_NL

    def _map(self, number: int) -> NDArray[Any]:
        if number not in self._maps:
            if len(self._maps) == OPEN_MAPS:
                del self._maps[next(iter(self._maps))]
            self._maps[number] = self._mapped(number)
        return self._maps[number]

    def _mapped(self, number: int) -> NDArray[Any]:
        before = int(self._ends[number - 1]) if number else 0
        try:
            return np.memmap(self._files[number], self.dtype, mode="r", shape=(int(self._ends[number]) - before,))
        except (ValueError, OSError) as error:
            raise ProxyError(
                f"{self._files[number]} is missing or ends early", hint="prepare the corpus again"
            ) from error
