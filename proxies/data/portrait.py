"""What a pool of text is like, in numbers that mean the same in every study and for every tokenizer.

    embed        a window of text as a point: counts of its pieces of three to five bytes, hashed with fixed constants
                 into so many dimensions (feature hashing with signs: Weinberger et al., "Feature hashing for large
                 scale multitask learning", 0902.2206); nothing is learned
    windows      pieces of a pool's text, evenly spaced through its tokens, and so as often as a model sees them
    coordinates  the mean of its windows: near for pools of one kind
    sketch       the lowest hashes of its documents (bottom-k MinHash; Broder, "On the resemblance and containment of
                 documents", 1997): says which share of two pools' documents is the same

Shapes: W windows, E dimensions, K hashes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.data.shards import TokenArray
from proxies.data.splitmix import spread

DIMENSIONS = 256
LENGTHS = (3, 4, 5)  # of the pieces that are counted, in bytes
WINDOWS, WINDOW_TOKENS = 128, 192
# The share of two pools' documents that is the same is known to about 3 of 100.
SKETCH = 256
DECIMALS = 4  # of coordinates, as they are kept

SPACES = re.compile(r"\s+")
_BASE = 0x100000001B3


@dataclass(frozen=True)
class Portrait:
    """
    Attributes:
        coordinates: [E].
        documents: the lowest hashes of its documents, rising, K of them at most.
        whole: whether these are all the documents that there are.
    """

    coordinates: tuple[float, ...]
    documents: tuple[int, ...]
    whole: bool

    @classmethod
    def of(cls, texts: Sequence[str], hashes: NDArray[np.uint64]) -> Portrait:
        """
        Args:
            texts: windows of the pool, one at least.
            hashes: of all its documents.
        """
        mean_E = embed(texts).mean(axis=0)
        # Those of lowest hash are held out of a pool: mixed, they say nothing of that.
        lowest = np.unique(spread(hashes))
        coordinates = tuple(round(float(value), DECIMALS) for value in mean_E)
        return cls(coordinates, tuple(map(int, lowest[:SKETCH])), len(lowest) <= SKETCH)

    def resemblance(self, other: Portrait) -> float:
        """The share of both pools' documents that is in each of them, 0 to 1; an estimate where there are many."""
        mine, theirs = set(self.documents), set(other.documents)
        either = sorted(mine | theirs)
        if not (self.whole and other.whole):
            either = either[:SKETCH]
        return len(mine & theirs & set(either)) / len(either) if either else 0.0

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        documents = [f"{code:016x}" for code in self.documents]
        return {"coordinates": list(self.coordinates), "documents": documents, "whole": self.whole}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Portrait:
        """
        Raises:
            ValueError, LookupError, TypeError: it is not what `plain` gives.
        """
        coordinates = tuple(float(value) for value in plain["coordinates"])
        if len(coordinates) != DIMENSIONS:
            raise ValueError(f"{len(coordinates)} coordinates, and not {DIMENSIONS}")
        return cls(coordinates, tuple(int(code, 16) for code in plain["documents"]), bool(plain["whole"]))


def windows(tokens: TokenArray | NDArray[Any], count: int = WINDOWS, length: int = WINDOW_TOKENS) -> list[NDArray[Any]]:
    """`count` pieces of so many tokens, evenly spaced; they overlap where there are fewer, and are shorter than the
    whole at most."""
    starts = np.linspace(0, max(len(tokens) - length, 0), count).round().astype(np.int64)
    return [tokens[int(start) : int(start) + length] for start in starts]


def embed(texts: Sequence[str]) -> NDArray[np.float64]:
    """Each text as a point of length 1, [W E]; a text without a piece to count is at 0."""
    return np.array([_embedded(text) for text in texts]).reshape(-1, DIMENSIONS)


def _embedded(text: str) -> NDArray[np.float64]:
    plain = SPACES.sub(" ", text.lower()).encode()
    bytes_N = np.frombuffer(plain, np.uint8).astype(np.uint64)
    point_E = np.zeros(DIMENSIONS)
    code_N = np.zeros(len(bytes_N) + 1, np.uint64)
    for length in range(1, min(LENGTHS[-1], len(bytes_N)) + 1):
        # Of the piece of this length that begins at each byte, from that of one less.
        code_N = code_N[: len(bytes_N) - length + 1] * np.uint64(_BASE) + bytes_N[length - 1 :] + np.uint64(1)
        if length in LENGTHS:
            piece_P, count_P = np.unique(spread(code_N), return_counts=True)
            sign_P = np.where(piece_P >> np.uint64(63), 1.0, -1.0)
            # Square roots: words that every text has would else be all that counts.
            place_P = (piece_P % np.uint64(DIMENSIONS)).astype(np.int64)
            point_E += np.bincount(place_P, sign_P * np.sqrt(count_P), DIMENSIONS)
    size = float(np.linalg.norm(point_E))
    return point_E / size if size > 0 else point_E
