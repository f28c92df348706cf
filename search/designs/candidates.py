"""The mixtures among which an answer is looked for: many, feasible, and cheap to draw."""

from __future__ import annotations

import numpy as np

from search.designs.dirichlet import draw, reachable, tempered
from search.mixture import FloatArray
from search.space import Space

# Projecting takes about a millisecond each; a thousand corners and faces span a tight space well.
PROJECTIONS = 1000


def feasible_candidates(space: Space, count: int, generator: np.random.Generator) -> FloatArray:
    """Feasible mixtures, [count, D], from Dirichlet(natural) as RegMix draws them.

    Draws outside the space are replaced: some by the nearest feasible mixture, the others by points between two
    feasible ones, which are feasible since the space is convex.
    """
    prior_D = reachable(space, tempered(space, 1.0))
    draws_ND = draw(space, prior_D, np.ones(count), generator)
    feasible_N = space.feasible(draws_ND)
    outside_ND = draws_ND[~feasible_N]
    moved_ND = np.array([space.project(weights_D).array for weights_D in outside_ND[:PROJECTIONS]])
    found_ND = np.vstack([draws_ND[feasible_N], moved_ND.reshape(-1, len(space.domains))])
    missing = count - len(found_ND)
    one_N, other_N = generator.integers(len(found_ND), size=(2, missing))
    share_N1 = generator.random((missing, 1))
    return np.vstack([found_ND, share_N1 * found_ND[one_N] + (1 - share_N1) * found_ND[other_N]])
