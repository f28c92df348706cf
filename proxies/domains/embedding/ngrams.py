"""N-grams of characters and words, counted for many texts at once.

Texts are joined into one array of bytes, and every step is one operation of NumPy on all of it: n-grams of bytes are
packed into integers by shifts, words are hashed by differences of one running sum. A loop over texts, as in
scikit-learn's HashingVectorizer, takes many times as long (DECISIONS.md has figures).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUCKET_BITS = 16
BUCKETS = 1 << BUCKET_BITS

# Of a longer text three windows are read, from its beginning, middle and end: files of one kind begin with one licence.
WINDOW = 1024  # characters

# Bytes that are worked on at once: what fits into a core's caches.
BLOCK = 1 << 19
# Zero bytes after each text, so that no n-gram spans two.
GAP = 8

# Odd numbers whose multiples spread over all bits.
SPREAD_32 = np.uint32(0x9E3779B1)
SPREAD_64 = np.uint64(0x9E3779B97F4A7C15)
PRIME = 0x100000001B3  # of FNV; odd, so that its powers can be divided by


def _folded(digits: bool) -> NDArray[np.uint8]:
    """What a byte counts as: letters of either case alike, and with `digits` all of these."""
    fold = np.arange(256, dtype=np.uint8)
    fold[ord("A") : ord("Z") + 1] += 32
    if digits:
        fold[ord("0") : ord("9") + 1] = ord("0")
    return fold


def _in_words() -> NDArray[np.bool_]:
    """Whether a byte is part of a word: letters, digits, and all beyond ASCII."""
    inside = np.zeros(256, dtype=np.bool_)
    for first, last in (("a", "z"), ("A", "Z"), ("0", "9"), ("_", "_")):
        inside[ord(first) : ord(last) + 1] = True
    inside[0x80:] = True
    return inside


FOLD, FOLD_CASE = _folded(digits=True), _folded(digits=False)
IN_WORD = _in_words()
# First bytes of signs that are words by themselves: of Chinese, Japanese, Korean.
ALONE = np.zeros(256, dtype=np.bool_)
ALONE[0xE3:0xEE] = True


def _powers(count: int, base: int) -> NDArray[np.uint64]:
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


@dataclass(frozen=True)
class Counted:
    """How often each bucket occurs in each text.

    Attributes:
        buckets_T: by text, rising within it.
        counts_T: how often.
        starts_N: where each text's buckets begin.
    """

    buckets_T: NDArray[np.int64]
    counts_T: NDArray[np.float32]
    starts_N: NDArray[np.int64]


def excerpt(text: str) -> str:
    """What is read of a text; of an excerpt, all of it."""
    if len(text) <= 3 * WINDOW:
        return text
    middle, part = (len(text) - WINDOW) // 2, WINDOW - 1
    return f"{text[:part]}\0{text[middle : middle + part]}\0{text[-WINDOW:]}"


def count_ngrams(texts: Sequence[str]) -> Counted:
    """The n-grams of each text's excerpt, of three bytes, and its words; hashed to BUCKETS."""
    buckets, counts, lengths = [], [], []
    for block in blocks([excerpt(text) for text in texts]):
        keys = np.sort(_keys(block))
        first = np.flatnonzero(np.diff(keys, prepend=keys[:1] ^ np.uint32(1)))
        counts.append(np.diff(first, append=len(keys)).astype(np.float32))
        found = keys[first]
        buckets.append((found & np.uint32(BUCKETS - 1)).astype(np.int64))
        lengths.append(np.bincount(found >> np.uint32(BUCKET_BITS), minlength=block.texts))
    if not buckets:
        return Counted(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.int64))
    ends_N = np.cumsum(np.concatenate(lengths))
    return Counted(np.concatenate(buckets), np.concatenate(counts), np.concatenate([[0], ends_N[:-1]]))


@dataclass(frozen=True)
class Block:
    """Some texts as bytes, with GAP zero bytes after each.

    Attributes:
        bytes_M: folded.
        text_M: the number of the text that a byte belongs to, its gap included.
    """

    bytes_M: NDArray[np.uint8]
    text_M: NDArray[np.uint32]
    texts: int

    def words(self) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """The hash of each word, and the number of its text."""
        inside = IN_WORD[self.bytes_M]
        starts_M = inside.copy()
        starts_M[1:] &= ~inside[:-1]
        starts_M |= ALONE[self.bytes_M]
        starts_W = np.flatnonzero(starts_M)
        # A word ends before the first byte outside, or where the next one starts.
        stops_M = ~inside
        stops_M |= starts_M
        stops = np.flatnonzero(stops_M)
        ends_W = stops[np.searchsorted(stops, starts_W, side="right")]
        terms_M = (self.bytes_M.astype(np.uint64) + np.uint64(1)) * POWERS[: len(self.bytes_M)]
        sums_M = np.cumsum(terms_M, dtype=np.uint64)
        # The sum over a word, moved to where it would be had the word stood at the beginning.
        hashes_W = (sums_M[ends_W - 1] - sums_M[starts_W] + terms_M[starts_W]) * INVERSES[starts_W]
        return hashes_W, self.text_M[starts_W]


LONGEST_BLOCK = BLOCK + (1 << 18) + GAP  # with its last text, at four bytes a character
POWERS = _powers(LONGEST_BLOCK, PRIME)
INVERSES = _powers(LONGEST_BLOCK, pow(PRIME, -1, 1 << 64))


def blocks(texts: Sequence[str], fold: NDArray[np.uint8] = FOLD) -> Iterator[Block]:
    """Texts of at most 65,536 characters each, in their order, as many at once as BLOCK holds."""
    part: list[bytes] = []
    size = 0
    for text in texts:
        part.append(text.encode("utf-8", "replace"))
        size += len(part[-1]) + GAP
        if size >= BLOCK:
            yield _block(part, fold)
            part, size = [], 0
    if part:
        yield _block(part, fold)


def _block(texts: list[bytes], fold: NDArray[np.uint8]) -> Block:
    joined = np.frombuffer(bytes(GAP).join([*texts, b""]), dtype=np.uint8)
    lengths = np.fromiter((len(text) + GAP for text in texts), dtype=np.int64, count=len(texts))
    return Block(fold[joined], np.repeat(np.arange(len(texts), dtype=np.uint32), lengths), len(texts))


def _keys(block: Block) -> NDArray[np.uint32]:
    """Text and bucket of each n-gram, in one number."""
    bytes_M = block.bytes_M
    inside = np.flatnonzero(bytes_M)
    wide = bytes_M.astype(np.uint32)
    three = wide[:-2] | (wide[1:-1] << np.uint32(8)) | (wide[2:] << np.uint32(16))
    words_W, text_W = block.words()
    keys = [
        (block.text_M[inside] << np.uint32(BUCKET_BITS)) | ((three[inside] * SPREAD_32) >> np.uint32(16)),
        (text_W << np.uint32(BUCKET_BITS)) | _bucket(words_W),
    ]
    return np.concatenate(keys)


def _bucket(hashes: NDArray[np.uint64]) -> NDArray[np.uint32]:
    return ((hashes * SPREAD_64) >> np.uint64(64 - BUCKET_BITS)).astype(np.uint32)
