"""A design that spreads: of several draws the one furthest from all before it is kept.

D. P. Mitchell, "Spectrally optimal sampling for distribution ray tracing", SIGGRAPH 1991 (best candidates); distances
are taken between square roots of shares, where mixtures are as far apart as surrogates see them.

Shapes: N draws, K mixtures that are there, D domains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from search.designs.dirichlet import MINIMUM_WEIGHT
from search.mixture import Mixture

# After so many draws in a row that bring nothing new the space counts as exhausted.
PATIENCE = 20


@runtime_checkable  # its types are checked in the tests
class Feasible(Protocol):
    """What says which mixtures may be trained: a space, or one whose grades are in order."""

    def feasible(self, weights_ND: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]: ...

    def project(self, weights_D: Float[np.ndarray, " D"]) -> Mixture: ...


def furthest_apart(
    space: Feasible,
    domains: tuple[str, ...],
    draws: Callable[[int], Float[np.ndarray, "N D"]],
    known_KD: Float[np.ndarray, "K D"],
    count: int,
) -> list[Mixture]:
    """`count` distinct feasible mixtures, fewer only where the space does not hold so many.

    The first n of a longer design are the design of n: raising the number of trials keeps the old ones.

    Args:
        draws: of the mixture of this number, among which one is chosen.
        known_KD: what new ones are kept away from.
    """
    design_ND, known, misses = np.array(known_KD), len(known_KD), 0
    while len(design_ND) < known + count and misses < PATIENCE:
        drawn_ND = draws(len(design_ND) - known)
        feasible_ND = drawn_ND[space.feasible(drawn_ND)]
        if not len(feasible_ND):
            feasible_ND = np.array([space.project(drawn_D).array for drawn_D in drawn_ND])
        apart_N = np.abs(feasible_ND[:, None] - design_ND).sum(axis=2).min(axis=1)
        new_ND = feasible_ND[apart_N > MINIMUM_WEIGHT]
        if not len(new_ND):
            misses += 1
            continue
        misses = 0
        squared_NK = ((np.sqrt(new_ND)[:, None] - np.sqrt(design_ND)) ** 2).sum(axis=2)
        design_ND = np.vstack([design_ND, new_ND[squared_NK.min(axis=1).argmax()]])
    return [Mixture.from_array(domains, weights_D) for weights_D in design_ND[known:]]
