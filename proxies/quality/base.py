"""What every scorer is: from texts to numbers, of which larger ones are better."""

from __future__ import annotations

import hashlib
import heapq
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

# Of a pool a scorer learns from so many documents at most, or a set that is known to be good.
SAMPLE_DOCUMENTS = 20_000
# Of a document so many characters are looked at.
LOOKED_AT = 20_000


class Scorer(ABC):
    """Scores are of one text each: they depend on no other text, nor on the order of the texts."""

    @abstractmethod
    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """A finite number for each text, [N]; larger is better."""


def hashed(text: str) -> int:
    """64 bits of a text, equal in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def sample(texts: Iterable[str], count: int = SAMPLE_DOCUMENTS) -> list[str]:
    """Of distinct texts those with the lowest hashes: the same whatever their order, by rising hash."""
    # The largest hash of those that are kept lies on top.
    kept: list[tuple[int, str]] = []
    known: set[int] = set()
    for text in texts:
        if not text.strip():
            continue
        code = hashed(text)
        if code in known or (len(kept) == count and code >= -kept[0][0]):
            continue
        known.add(code)
        entry = (-code, text[:LOOKED_AT])
        if len(kept) < count:
            heapq.heappush(kept, entry)
        else:
            known.discard(-heapq.heappushpop(kept, entry)[0])
    return [text for _, text in sorted(kept, reverse=True)]
