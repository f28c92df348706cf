"""From scores, in whatever unit, to ranks in a pool, and from ranks to levels.

A text's rank is the share of the pool, in bytes, that scores better, and half of what scores the same, itself
included: 0 would be better than the best, 1 worse than the worst. Equal scores have equal ranks, whatever the order of
the texts.

Shapes: N texts, K scores of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Of what it would have if all had the same, the least that a level has.
LEAST_PART = 0.25
# One to train on, and one that is held out.
LEAST_PIECES = 2


def ranks(score_N: NDArray[np.float64], size_N: NDArray[np.int64]) -> NDArray[np.float64]:
    """Between 0 and 1, 0 the best, [N].

    Args:
        score_N: finite; larger is better.
        size_N: bytes, above 0.
    """
    _, group_N = np.unique(-score_N, return_inverse=True)
    of_group = np.bincount(group_N, weights=size_N)
    before = np.cumsum(of_group) - of_group
    ranks_N: NDArray[np.float64] = ((before + of_group / 2) / of_group.sum())[group_N]
    return ranks_N


def merged(rank_KN: NDArray[np.float64], weights_K: Sequence[float], size_N: NDArray[np.int64]) -> NDArray[np.float64]:
    """Ranks by the weighted mean of several, [N], as QuaDMix merges criteria (arXiv 2504.16511, section 3)."""
    # Rounded, so that sums of the same ranks are equal in whatever order they were added.
    mean_N = np.round(np.asarray(weights_K) @ rank_KN / sum(weights_K), 12)
    return ranks(-mean_N, size_N)


def levels(
    rank_N: NDArray[np.float64], size_N: NDArray[np.int64], count: int, pieces_N: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """The level of each text, 0 the best, [N]: cut at equal shares of the pool's bytes.

    Texts with one rank are in one level. Where these are so many that another level would have next to no text, it is
    joined with a neighbour, and there are fewer levels.

    Args:
        pieces_N: of each text, which are trained or measured on by themselves; a level has LEAST_PIECES. None: a level
            may have one text.
    """
    # A rank is never 1: the worst text is in the last level.
    level_N = np.minimum((rank_N * count).astype(np.int64), count - 1)
    least = LEAST_PART * size_N.sum() / count
    while True:
        level_N = np.unique(level_N, return_inverse=True)[1].astype(np.int64)
        bytes_L = np.bincount(level_N, weights=size_N)
        few_L = np.zeros(len(bytes_L), bool) if pieces_N is None else np.bincount(level_N, pieces_N) < LEAST_PIECES
        small_L = few_L | (bytes_L < least)
        if len(bytes_L) == 1 or not small_L.any():
            return level_N
        small = int(np.where(small_L, bytes_L, np.inf).argmin())
        beside = [place for place in (small - 1, small + 1) if 0 <= place < len(bytes_L)]
        level_N[level_N == small] = min(beside, key=lambda place: float(bytes_L[place]))
