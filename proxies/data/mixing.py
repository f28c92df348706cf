"""Weights into a stream of training rows: any row can be asked for, and every prefix keeps the weights.

A row is T + 1 consecutive tokens of one domain. Two questions are answered apart:

1. Which domain gives row t?   Tijdeman's chairman assignment: after any number of rows, each domain has given
   its exact share of them up to less than one row; so has every batch, whatever its size, up to two.
   (R. Tijdeman, "The chairman assignment problem", Discrete Mathematics 32, 1980.)
2. Which of the domain's rows?   Its tokens are cut into chunks, and an epoch is a permutation of the chunks,
   computed by a Feistel network of four rounds from seed, domain and epoch: nothing is stored, whatever the size.

Shapes: B rows, T tokens, D domains of the corpus (K of them with a weight above 0), N rows of the stream.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxies.data.manifest import Corpus
from proxies.data.splitmix import spread
from proxies.errors import ProxyError
from proxies.targets import IGNORED

SUM_TOLERANCE = 1e-6
FEISTEL_ROUNDS = 4
BLOCK = 4096  # rows that are reckoned at once

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Rows of the stream.

    Attributes:
        inputs_BT, targets_BT: tokens, and the token that follows each; -100 where there is no loss.
        domain_B: index into the corpus's domains.
    """

    inputs_BT: NDArray[np.int32]
    targets_BT: NDArray[np.int32]
    domain_B: Integers


class Schedule:
    """Which of K domains gives each row, and how many rows it gave before; grown as far as asked for.

    Of the domains whose share is not yet given by a margin d = 1 / (2K - 2), the one is taken that would first
    be behind by 1 - d. Then |rows given - weight x rows| <= 1 - d < 1 after every row.
    """

    def __init__(self, weights_K: NDArray[np.float64]) -> None:
        # Python's numbers: one at a time, they are several times faster than NumPy's.
        self._weights_K: list[float] = weights_K.tolist()
        self._margin = 1 / max(1, 2 * len(weights_K) - 2)
        self._given_K = [0] * len(weights_K)
        self._waiting = [(self._release(domain), domain) for domain in range(len(weights_K))]  # by row of release
        heapq.heapify(self._waiting)
        self._released: list[tuple[float, int]] = []  # by deadline
        self._blocks: list[tuple[Integers, Integers]] = []

    def rows(self, start: int, stop: int) -> tuple[Integers, Integers]:
        """Domain of each row from `start` to `stop`, and which of the domain's rows it is."""
        while len(self._blocks) * BLOCK < stop:
            self._blocks.append(self._next_block())
        first = start // BLOCK
        blocks = [(np.empty(0, np.int64), np.empty(0, np.int64)), *self._blocks[first : math.ceil(stop / BLOCK)]]
        domain_N, nth_N = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        here = slice(start - first * BLOCK, stop - first * BLOCK)
        return domain_N[here], nth_N[here]

    def _next_block(self) -> tuple[Integers, Integers]:
        waiting, released = self._waiting, self._released
        domains, nths = [], []
        for row in range(len(self._blocks) * BLOCK + 1, (len(self._blocks) + 1) * BLOCK + 1):
            # One is always released; after many millions of rows, rounding may hold it back by a hair.
            while waiting and (waiting[0][0] <= row or not released):
                _, domain = heapq.heappop(waiting)
                heapq.heappush(released, (self._deadline(domain), domain))
            _, domain = heapq.heappop(released)
            domains.append(domain)
            nths.append(self._given_K[domain])
            self._given_K[domain] += 1
            heapq.heappush(waiting, (self._release(domain), domain))
        return np.array(domains, dtype=np.int64), np.array(nths, dtype=np.int64)

    def _release(self, domain: int) -> float:
        # Rounding leaves a sum of shares short of a margin that it meets exactly, as with two equal weights.
        return (self._given_K[domain] + self._margin - 1e-9) / self._weights_K[domain]

    def _deadline(self, domain: int) -> float:
        return (self._given_K[domain] + 1 - self._margin) / self._weights_K[domain]


class MixedStream:
    """The rows that a trial trains on: a pure function of corpus, weights, row length and seed.

    Args:
        weights: share of the training tokens of each domain; domains left out have none.
        sequence_length: T, tokens of a row.
        available_tokens: of these domains only so many tokens are used (at least one row), the same ones
            whatever the seed: a short run then repeats its data as often as the long run that it stands for.
            A domain that holds less gives what it has: see `used_tokens`.

    Attributes:
        used_tokens: of each domain with a weight above 0, the tokens that its rows are drawn from, in whole rows.

    Raises:
        ProxyError: a domain is unknown or shorter than a row, or the weights are not shares.
    """

    def __init__(
        self,
        corpus: Corpus,
        weights: Mapping[str, float],
        sequence_length: int,
        seed: int,
        available_tokens: Mapping[str, int] | None = None,
    ) -> None:
        _check_weights(corpus, weights)
        self._sequence_length = sequence_length
        self._seed = seed
        self._names = [name for name in corpus.domains if weights.get(name, 0) > 0]
        self._index_K = np.array([list(corpus.domains).index(name) for name in self._names])
        weights_K = np.array([weights[name] for name in self._names])
        self._schedule = Schedule(weights_K / weights_K.sum())
        self._tokens = [corpus.train_tokens(name) for name in self._names]
        self._masks = [corpus.train_loss_mask(name) for name in self._names]
        self._chunks_K = [(len(tokens) - 1) // sequence_length for tokens in self._tokens]
        for name, chunks, tokens in zip(self._names, self._chunks_K, self._tokens, strict=True):
            if chunks < 1:
                raise ProxyError(
                    f"domain {name} has {len(tokens)} training tokens, less than one row of {sequence_length} + 1",
                    hint="lower the sequence length, or give the domain more text",
                )
        available = available_tokens or {}
        self._used_K = [
            min(chunks, max(1, available.get(name, chunks * sequence_length) // sequence_length))
            for name, chunks in zip(self._names, self._chunks_K, strict=True)
        ]
        self._blocks: dict[tuple[int, int], Integers] = {}
        used = zip(self._names, self._used_K, strict=True)
        self.used_tokens: Mapping[str, int] = {name: chunks * sequence_length for name, chunks in used}

    def rows(self, start: int, count: int) -> Rows:
        """The rows from `start` to `start + count`."""
        domain_B, nth_B = self._schedule.rows(start, start + count)
        length = self._sequence_length
        inputs_BT = np.empty((count, length), dtype=np.int32)
        targets_BT = np.empty((count, length), dtype=np.int32)
        for domain in np.unique(domain_B):
            here = np.flatnonzero(domain_B == domain)
            first_N = self._chunks(int(domain), nth_B[here]) * length
            tokens_NT = self._tokens[domain].windows(first_N, length + 1)
            inputs_BT[here], targets_BT[here] = tokens_NT[:, :-1], tokens_NT[:, 1:]
            if (mask := self._masks[domain]) is not None:
                targets_BT[here] = np.where(mask.windows(first_N + 1, length) == 0, IGNORED, targets_BT[here])
        return Rows(inputs_BT, targets_BT, self._index_K[domain_B])

    def realised(self, rows: int) -> tuple[dict[str, int], dict[str, float]]:
        """Tokens that each domain gave in the first `rows` rows, and how often that is through what it has to give."""
        domain_N, _ = self._schedule.rows(0, rows)
        rows_K = np.bincount(domain_N, minlength=len(self._names))
        tokens = {name: int(given) * self._sequence_length for name, given in zip(self._names, rows_K, strict=True)}
        epochs = {
            name: float(given / used) for name, given, used in zip(self._names, rows_K, self._used_K, strict=True)
        }
        return tokens, epochs

    def _chunks(self, domain: int, nth_B: Integers) -> Integers:
        """Which chunk of a domain its rows number `nth_B` are."""
        chunk_B = np.empty_like(nth_B)
        block_B = nth_B // BLOCK
        for block in np.unique(block_B):
            here_B = block_B == block
            chunk_B[here_B] = self._block_chunks(domain, int(block))[nth_B[here_B] - block * BLOCK]
        return chunk_B

    def _block_chunks(self, domain: int, block: int) -> Integers:
        """As `_permuted`; the last ones are kept, for a stream is read from front to back."""
        key = domain, block
        if key not in self._blocks:
            if len(self._blocks) == 2 * len(self._names):
                del self._blocks[next(iter(self._blocks))]
            self._blocks[key] = self._permuted(domain, block)
        return self._blocks[key]

    def _permuted(self, domain: int, block: int) -> Integers:
        """Those of the rows number `block` x BLOCK on, [BLOCK]: all at once takes hardly longer than a few."""
        name, used, chunks = self._names[domain], self._used_K[domain], self._chunks_K[domain]
        epoch_B, position_B = np.divmod(np.arange(block * BLOCK, (block + 1) * BLOCK), used)
        chunk_B = np.empty_like(position_B)
        for epoch in np.unique(epoch_B):
            here_B = epoch_B == epoch
            chunk_B[here_B] = permute(position_B[here_B], used, f"{self._seed} {epoch} {name}")
        return permute(chunk_B, chunks, f"available {name}") if used < chunks else chunk_B


def permute(index_N: Integers, size: int, key: str) -> Integers:
    """Where a permutation of 0 ... size - 1, chosen by `key`, puts each of `index_N`.

    A Feistel network permutes the numbers of an even count of bits; what falls outside `size` is permuted again
    until it falls inside ("cycle walking"; J. Black and P. Rogaway, "Ciphers with arbitrary finite domains", 2002).
    """
    half_bits = max(3, math.ceil((size - 1).bit_length() / 2))
    low = np.uint64((1 << half_bits) - 1)
    shift = np.uint64(half_bits)
    keys = np.frombuffer(hashlib.sha256(key.encode()).digest(), dtype="<u8")
    value_N = index_N.astype(np.uint64)
    outside_N = np.ones(len(value_N), dtype=np.bool_)
    while outside_N.any():
        left, right = value_N[outside_N] >> shift, value_N[outside_N] & low
        for number in range(FEISTEL_ROUNDS):
            left, right = right, left ^ (spread(right ^ keys[number]) & low)
        value_N[outside_N] = (left << shift) | right
        outside_N = value_N >= size
    return value_N.astype(np.int64)


def _check_weights(corpus: Corpus, weights: Mapping[str, float]) -> None:
    for name, weight in weights.items():
        if name not in corpus.domains:
            raise ProxyError(f"no domain {name} in the corpus", hint=f"there are {', '.join(corpus.domains)}")
        if not math.isfinite(weight) or weight < 0:
            raise ProxyError(f"domain {name}: weight {weight} is not a share", hint="weights are finite and 0 or above")
    if abs(math.fsum(weights.values()) - 1) > SUM_TOLERANCE:
        raise ProxyError(
            f"the weights sum to {math.fsum(weights.values()):.6g}, not 1", hint="divide them by their sum"
        )
