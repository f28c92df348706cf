"""The law of effective data: a token of domain i is worth v_i tokens, and the loss falls as a power of their sum.

    value = c + A S^-g,    S = sum_i v_i w_i,    v > 0,    g > 0

It is this project's own form, a relative of the laws in M. Shukor et al., "Scaling Laws for Optimal Data Mixtures",
arXiv 2507.09404, 2025.
It needs few runs, and carries over to far larger models.

theta = (log g, log v_1, ..., log v_D).

Shapes: N mixtures, D domains, P = 1 + D parameters.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from search.surrogates.law import Law, bounded_exp

LOG_POWER, LOG_POWER_SD = -0.7, 1.0
# Wide, for a worth may be 1e-7 of another: what a script that was never seen costs, nothing else tells.
LOG_WORTH_SD = 5.0


class EffectiveData(Law):
    compresses = True

    def shape(
        self, theta_P: Float[np.ndarray, " P"], weights_ND: Float[np.ndarray, "N D"]
    ) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N P"]]:
        power, worth_D = np.exp(theta_P[0]), np.exp(theta_P[1:])
        effective_N = weights_ND @ worth_D
        log_shape_N = -power * np.log(effective_N)
        shape_N = bounded_exp(log_shape_N)
        by_log_power_N = shape_N * log_shape_N
        by_effective_N = -power * shape_N / effective_N
        return shape_N, np.column_stack([by_log_power_N, by_effective_N[:, None] * weights_ND * worth_D])

    def prior(self, domains: int) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
        return np.append(LOG_POWER, np.zeros(domains)), np.append(LOG_POWER_SD, np.full(domains, LOG_WORTH_SD))

    def start(self, rise_D: Float[np.ndarray, " D"]) -> Float[np.ndarray, " P"]:
        return np.append(LOG_POWER, -3 * rise_D)
