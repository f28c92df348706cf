"""A design that looks where answers are: mixtures around and between the baselines.

On real text the best mixture lies near a baseline, as a rule, and most draws from a wide Dirichlet distribution where
the objective is twice the best (DECISIONS.md). Here each mixture starts from a point between two anchors (the
baselines, and the mixture in which each domain has the share that its own evaluation set has in the objective) and
multiplies every share by a log-normal factor: most are halved or doubled at most, so that what a run teaches is about
the size of what will have to be told apart. Domains that no evaluation set of the objective belongs to may be left
out: there that pays. One mixture in eight is drawn far away, for the laws that extrapolate.

Of several draws the one furthest from all before it is kept (D. P. Mitchell, "Spectrally optimal sampling for
distribution ray tracing", 1991), in square roots of shares, where mixtures are as far apart as surrogates see them.

Shapes: N mixtures, K anchors, D domains.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from search.designs.anchors import Anchors
from search.designs.dirichlet import MINIMUM_WEIGHT, draw
from search.mixture import Mixture
from search.space import Space

# Standard deviations of the logarithms of the factors: a third more or less, and twice or half.
SPREADS = (0.3, 0.7)
# One mixture of so many is a far one: Dirichlet(strength * an anchor), the strength so many times the domains.
FAR_EVERY, FAR_STRENGTH = 8, 1.0
# How likely a domain that may be left out is.
LEFT_OUT = 0.25
# Draws of which one is kept.
DRAWS = 12
# After so many mixtures in a row that were drawn before, the space counts as exhausted.
PATIENCE = 20


def around_baselines(space: Space, anchors: Anchors, count: int, generator: np.random.Generator) -> list[Mixture]:
    """`count` distinct feasible mixtures, fewer only where the space does not hold so many.

    The first n of a longer design are the design of n: raising the number of trials keeps the old ones.
    """
    design_ND, known, misses = np.array(anchors.weights_KD), len(anchors.weights_KD), 0
    while len(design_ND) < known + count and misses < PATIENCE:
        is_far = (len(design_ND) - known) % FAR_EVERY == FAR_EVERY - 1
        drawn_ND = far(space, anchors, generator) if is_far else near(anchors, generator)
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
    return [Mixture.from_array(space.domains, weights_D) for weights_D in design_ND[known:]]


def near(anchors: Anchors, generator: np.random.Generator) -> Float[np.ndarray, "N D"]:
    """Around points between two anchors, all as far."""
    anchors_KD = anchors.weights_KD
    spread, (_, domains) = generator.choice(SPREADS), anchors_KD.shape
    one_ND, other_ND = (np.sqrt(anchors_KD[generator.integers(len(anchors_KD), size=DRAWS)]) for _ in range(2))
    step_N1 = generator.random((DRAWS, 1))
    centre_ND = (one_ND + step_N1 * (other_ND - one_ND)) ** 2
    drawn_ND = centre_ND * np.exp(spread * generator.standard_normal((DRAWS, domains)))
    drawn_out_ND: Bool[np.ndarray, "N D"] = generator.random((DRAWS, domains)) < LEFT_OUT
    left_out_ND: Bool[np.ndarray, "N D"] = np.logical_and(~anchors.needed_D, drawn_out_ND)
    # Not all that there is.
    some_N = np.where(left_out_ND, 0, drawn_ND).sum(axis=1) > 0
    drawn_ND[left_out_ND & some_N[:, None]] = 0
    near_ND: Float[np.ndarray, "N D"] = drawn_ND / drawn_ND.sum(axis=1, keepdims=True)
    return near_ND


def far(space: Space, anchors: Anchors, generator: np.random.Generator) -> Float[np.ndarray, "N D"]:
    anchor_D = anchors.weights_KD[generator.integers(len(anchors.weights_KD))]
    return draw(space, anchor_D, np.full(DRAWS, FAR_STRENGTH * len(anchor_D)), generator)
