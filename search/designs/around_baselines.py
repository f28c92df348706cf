"""A design that looks where answers are: mixtures around and between the baselines.

On real text the best mixture lies near a baseline, as a rule, and most draws from a wide Dirichlet distribution where
the objective is twice the best (DECISIONS.md). Here each mixture starts from a point between two anchors (the
baselines, and the mixture in which each domain has the share that its own evaluation set has in the objective) and
multiplies every share by a log-normal factor: most are halved or doubled at most, so that what a run teaches is about
the size of what will have to be told apart. Domains that no evaluation set of the objective belongs to may be left
out: there that pays. One mixture in eight is drawn far away, for the laws that extrapolate.

Of several draws the one furthest from all before it is kept (search.designs.furthest_apart).

Shapes: N mixtures, K anchors, D domains.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from search.designs.anchors import Anchors
from search.designs.dirichlet import draw
from search.designs.furthest_apart import furthest_apart
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


def around_baselines(space: Space, anchors: Anchors, count: int, generator: np.random.Generator) -> list[Mixture]:
    """`count` distinct feasible mixtures, as `furthest_apart` chooses them."""

    def draws(number: int) -> Float[np.ndarray, "N D"]:
        return near_or_far(space, anchors, number, generator)

    return furthest_apart(space, space.domains, draws, anchors.weights_KD, count)


def near_or_far(
    space: Space, anchors: Anchors, number: int, generator: np.random.Generator
) -> Float[np.ndarray, "N D"]:
    """Draws of the mixture of this number of a design."""
    return far(space, anchors, generator) if number % FAR_EVERY == FAR_EVERY - 1 else near(anchors, generator)


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
