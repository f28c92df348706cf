"""Dirichlet draws inside a space's bounds: what the design and the answer's candidates share.

Shapes: N draws, D domains.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from search.space import TOLERANCE, Space

# Smaller shares become 0 (RegMix, 2407.01492: 100 of the 512k documents of a proxy run).
MINIMUM_WEIGHT = 2e-4


def tempered(space: Space, power: float) -> Float[np.ndarray, " D"]:
    """The natural mixture raised to a power and renormalised, [D]; 0 is uniform, 1 natural."""
    powered_D = space.natural.array**power
    tempered_D: Float[np.ndarray, " D"] = powered_D / powered_D.sum()
    return tempered_D


def reachable(space: Space, prior_D: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
    """The prior itself where it is feasible, else half way to the nearest feasible mixture, [D].

    Only half way, because the nearest mixture may give a small domain nothing, and it would never be drawn.
    """
    middle_D: Float[np.ndarray, " D"] = (prior_D + space.project(prior_D).array) / 2
    return middle_D


def draw(
    space: Space, prior_D: Float[np.ndarray, " D"], strengths_N: Float[np.ndarray, " N"], generator: np.random.Generator
) -> Float[np.ndarray, "N D"]:
    """Mixtures spread around a prior, [N, D]: they keep minimums and pins, not always maximums and groups.

    What the minimums leave is shared out by Dirichlet(strength * prior). A strength of 0.1 puts nearly all on
    one domain, one of 5 stays near the prior.
    """
    free_D = (space.most_D - space.least_D > TOLERANCE) & (prior_D > 0)
    weights_ND = np.tile(space.least_D, (len(strengths_N), 1))
    if not free_D.any():
        return weights_ND
    left = 1 - space.least_D.sum()
    alpha_NF = strengths_N[:, None] * (prior_D[free_D] / prior_D[free_D].sum())
    # Gamma(a) = Gamma(a + 1) U^(1/a), in logarithms: shapes of .001 underflow otherwise.
    log_uniform_NF = np.log1p(-generator.random(alpha_NF.shape))
    log_gamma_NF = np.log(generator.standard_gamma(alpha_NF + 1)) + log_uniform_NF / alpha_NF
    gamma_NF = np.exp(log_gamma_NF - log_gamma_NF.max(axis=1, keepdims=True))
    weights_ND[:, free_D] += left * gamma_NF / gamma_NF.sum(axis=1, keepdims=True)
    small_ND = (weights_ND < MINIMUM_WEIGHT) & (space.least_D <= TOLERANCE)
    moved_N = np.where(small_ND, weights_ND, 0).sum(axis=1)
    weights_ND[small_ND] = 0
    # The largest free weight takes what the small ones gave up, so that pins stay where they are.
    largest_N = np.where(free_D, weights_ND, -1).argmax(axis=1)
    weights_ND[np.arange(len(weights_ND)), largest_N] += moved_N
    return weights_ND
