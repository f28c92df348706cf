"""The log-linear law, c + exp(k + t.w).

J. Ye et al., "Data Mixing Laws: Optimizing Data Mixtures by Predicting Language Modeling Performance", ICLR 2025; and
Olmix (Allen Institute for AI, arXiv 2602.12237, 2026).

A negative slope stands in for exp(k) where more is better. Three things differ from Olmix: noise that is normal (no
Huber loss), weak priors, and least squares from two starts in place of L-BFGS from hundreds.

theta = t.

Shapes: N mixtures, D domains, P = D parameters.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from search.surrogates.law import Law, bounded_exp

# Losses of single domains on the Pile call for exponents of 10 and more.
EXPONENT_SD = 8.0


class LogLinear(Law):
    def shape(
        self, theta_P: Float[np.ndarray, " P"], weights_ND: Float[np.ndarray, "N D"]
    ) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N P"]]:
        shape_N = bounded_exp(weights_ND @ theta_P)
        return shape_N, shape_N[:, None] * weights_ND

    def prior(self, domains: int) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
        return np.zeros(domains), np.full(domains, EXPONENT_SD)

    def start(self, rise_D: Float[np.ndarray, " D"]) -> Float[np.ndarray, " P"]:
        return 3 * rise_D
