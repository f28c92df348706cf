"""Documents that are there already: of the same text, or of nearly the same.

MinHash (Broder 1997, "On the resemblance and containment of documents"): a document is the set of its sequences of five
words; the smallest hash of a set under a random hash function is that of another set with a probability that is their
Jaccard similarity. PERMUTATIONS such hashes are cut into BANDS; two documents with any equal band are near-duplicates.
Of pairs with similarity s that are 1 - (1 - s^10)^10: 1% at .5, 25% at .7, 68% at .8, 99% at .9.

The first of several stays, in the order of the files; all that share a band with an earlier one are its duplicates.

Axes: N documents, P permutations, K bands and the hash of the whole text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxies.domains.embedding.ngrams import FOLD_CASE, SPREAD_64, blocks

BANDS, ROWS = 10, 10
PERMUTATIONS = BANDS * ROWS
WORDS = 5
# Of a longer document so much is compared; its own hash is of all of it.
COMPARED = 1 << 15  # characters
NONE = np.iinfo(np.uint32).max
# Documents whose keys are sorted at once: 16 bytes each.
SORTED_AT_ONCE = 1 << 24

_random = np.random.default_rng(int.from_bytes(b"minhash", "big"))
FLIPS_P = _random.integers(0, 1 << 32, PERMUTATIONS, dtype=np.uint32)
FACTORS_P = _random.integers(0, 1 << 32, PERMUTATIONS, dtype=np.uint32) | np.uint32(1)


def text_hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    """64 bits of a digest of each text."""
    digests = (hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest() for text in texts)
    numbers = (int.from_bytes(digest, "little") for digest in digests)
    return np.fromiter(numbers, dtype=np.uint64, count=len(texts))


def band_keys(texts: Sequence[str], hashes_N: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Shape NK-1. A document of fewer words than WORDS is near to those of the same text alone."""
    keys = np.empty((len(texts), BANDS), dtype=np.uint64)
    done = 0
    for block in blocks([text[:COMPARED] for text in texts], FOLD_CASE):
        rows = slice(done, done + block.texts)
        for band in range(BANDS):
            keys[rows, band] = (hashes_N[rows] + np.uint64(band)) * SPREAD_64
        done += block.texts
        words_W, text_W = block.words()
        if len(words_W) < WORDS:
            continue
        within_S = text_W[: -WORDS + 1] == text_W[WORDS - 1 :]
        shingles_S = np.zeros(len(words_W) - WORDS + 1, dtype=np.uint64)
        for offset in range(WORDS):
            shingles_S = shingles_S * SPREAD_64 + words_W[offset : len(words_W) - WORDS + 1 + offset]
        mixed_S = ((shingles_S * SPREAD_64) >> np.uint64(32)).astype(np.uint32)[within_S]
        text_S = text_W[: -WORDS + 1][within_S]
        if not len(mixed_S):
            continue
        starts = np.flatnonzero(np.diff(text_S, prepend=NONE))
        minima = np.empty((len(starts), PERMUTATIONS), dtype=np.uint64)
        for place, (flip, factor) in enumerate(zip(FLIPS_P, FACTORS_P, strict=True)):
            minima[:, place] = np.minimum.reduceat((mixed_S ^ flip) * factor, starts)
        for band in range(BANDS):
            key = np.full(len(starts), band + 1, dtype=np.uint64)
            for place in range(band * ROWS, (band + 1) * ROWS):
                key = (key ^ minima[:, place]) * SPREAD_64
                key ^= key >> np.uint64(29)
            keys[rows.start + text_S[starts], band] = key
    return keys


@dataclass(frozen=True)
class Duplicates:
    """Which documents are there already.

    Attributes:
        of_N: the number of the first document that each repeats, exactly or nearly; NONE where it repeats none.
        exact_N: whether the repeated text is the same.
    """

    of_N: NDArray[np.uint32]
    exact_N: NDArray[np.bool_]

    @property
    def repeats_N(self) -> NDArray[np.bool_]:
        repeats: NDArray[np.bool_] = self.of_N != NONE
        return repeats


def find_duplicates(column: Callable[[int], NDArray[np.uint64]], documents: int) -> Duplicates:
    """
    Args:
        column: the keys of all documents: at 0 the hashes of their texts, from 1 on those of each band.
    """
    of_N = np.full(documents, NONE, dtype=np.uint32)
    parts = max(1, -(-documents // SORTED_AT_ONCE))
    for number in range(1 + BANDS):
        keys_N = column(number)
        for part in range(parts):
            # Alike keys are in one part, and parts small enough to sort in little memory.
            mine = np.flatnonzero(keys_N % np.uint64(parts) == part) if parts > 1 else np.arange(documents)
            order = mine[np.argsort(keys_N[mine], kind="stable")]
            ranked = keys_N[order]
            is_first = np.append(True, ranked[1:] != ranked[:-1])[: len(order)]
            firsts = order[np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))]
            again = order[~is_first]
            of_N[again] = np.minimum(of_N[again], firsts[~is_first].astype(np.uint32))
        if number == 0:
            exact_N = of_N != NONE
            exact_of_N = of_N.copy()
    # An exact copy is a copy of that text, whatever else both are near to.
    of_N[exact_N] = exact_of_N[exact_N]
    return Duplicates(of_N, exact_N)
