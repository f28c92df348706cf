"""RegMix's design, made to hold any space.

Q. Liu et al., "RegMix: Data Mixture as Regression for Language Model Pre-training", ICLR 2025,
section 3.1, and its public code.

For each mixture: draw Dirichlet(strength * natural^0.5) with one of 15 strengths, drop what is outside the space,
set shares below 2e-4 to zero, drop what was drawn already. RegMix then rounds to multiples of 2e-4, which can
break the sum and the bounds; here mixtures nearer than that count as one instead.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from search.designs.dirichlet import MINIMUM_WEIGHT, draw, reachable, tempered
from search.mixture import Mixture
from search.space import Space

POWER = 0.5
STRENGTHS = np.geomspace(0.1, 5.0, 15)
# Draws a mixture, as RegMix's sample multiplier.
DRAWS = 100
# After so many mixtures in a row that were drawn before, the space counts as exhausted.
PATIENCE = 20


def tempered_dirichlet(space: Space, count: int, generator: np.random.Generator) -> list[Mixture]:
    """`count` distinct feasible mixtures, fewer only where the space does not hold so many.

    The first n of a longer design are the design of n: raising the number of trials keeps the old ones.
    """
    prior_D = reachable(space, tempered(space, POWER))
    design_ND = np.empty((0, len(space.domains)))
    misses = 0
    while len(design_ND) < count and misses < PATIENCE:
        draws_ND = draw(space, prior_D, generator.choice(STRENGTHS, size=DRAWS), generator)
        chosen_D = _first_new(space, draws_ND, design_ND)
        if chosen_D is None:
            misses += 1
        else:
            misses = 0
            design_ND = np.vstack([design_ND, chosen_D])
    return [Mixture.from_array(space.domains, weights_D) for weights_D in design_ND]


def _first_new(
    space: Space, draws_ND: Float[np.ndarray, "N D"], design_KD: Float[np.ndarray, "K D"]
) -> Float[np.ndarray, " D"] | None:
    """The first draw that is feasible and new; in a space too tight for that, the first moved into it."""

    def new(weights_D: Float[np.ndarray, " D"]) -> bool:
        return bool((np.abs(design_KD - weights_D).sum(axis=1) > MINIMUM_WEIGHT).all())

    weights_D: Float[np.ndarray, " D"]
    for weights_D in draws_ND[space.feasible(draws_ND)]:
        if new(weights_D):
            return weights_D
    moved_D = space.project(draws_ND[0]).array
    return moved_D if new(moved_D) else None
