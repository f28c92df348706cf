"""The mixtures among which an answer is looked for: many, feasible, and cheap to draw."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from search.designs.dirichlet import draw, reachable, tempered
from search.designs.tempered_dirichlet import POWER, STRENGTHS
from search.space import Space

# Around the natural mixture, the design's centre, and an even one.
POWERS = (1.0, POWER, 0.0)
# Projecting takes about a millisecond each; a thousand corners and faces span a tight space well.
PROJECTIONS = 1000


def sample_mixtures(
    space: Space, trained_ND: Float[np.ndarray, "N D"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "Q D"]:
    """Feasible mixtures, [count, D], over the same space as the design's.

    RegMix draws from Dirichlet(natural), which hardly leaves the largest domain where supplies are unequal. Here half
    are drawn with the design's strengths around several centres, of those outside the space some moved to the nearest
    feasible mixture. The others are the trained mixtures and points between one of these and any other candidate,
    feasible since the space is convex.
    """
    drawn_ND = np.vstack(
        [
            draw(
                space,
                reachable(space, tempered(space, power)),
                generator.choice(STRENGTHS, size=count // 2 // len(POWERS)),
                generator,
            )
            for power in POWERS
        ]
    )
    inside_N = space.feasible(drawn_ND)
    outside_ND = generator.permutation(drawn_ND[~inside_N])[:PROJECTIONS]
    moved_ND = [space.project(weights_D).array for weights_D in outside_ND]
    found_ND = np.vstack([trained_ND, drawn_ND[inside_N], *moved_ND])
    # Between trained ones, or any where none is feasible.
    trained_ND = trained_ND if len(trained_ND) else found_ND
    missing = max(count - len(found_ND), 0)
    one_ND = trained_ND[generator.integers(len(trained_ND), size=missing)]
    other_ND = found_ND[generator.integers(len(found_ND), size=missing)]
    share_N1 = generator.random((missing, 1))
    return np.vstack([found_ND, share_N1 * one_ND + (1 - share_N1) * other_ND])[:count]
