"""BiMix's power laws, summed over the domains as Olmix (arXiv 2602.12237) does for any evaluation set:

    value = c + sum_i F_i (w_i + e_i)^-a_i,    F, a, e > 0

C. Ge et al., "BiMix: Bivariate Data Mixing Law for Language Model Pretraining", arXiv 2405.14908, 2024. The offsets e_i
are this project's: without them a weight of zero, which a search meets all the time, costs an infinite loss, and with a
tiny constant one the fit is spoilt by the zeros.

theta = (log F_1, ..., log F_D, log a_1, ..., log a_D, log e_1, ..., log e_D); F only up to a common factor, which is
the slope's.

Shapes: N mixtures, D domains, P = 3 D parameters.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from search.surrogates.law import Law, bounded_exp

LOG_FACTOR_SD = 2.0
LOG_POWER, LOG_POWER_SD = -2.0, 1.0
LOG_OFFSET, LOG_OFFSET_SD = float(np.log(0.03)), 1.0


class BiMix(Law):
    def shape(
        self, theta_P: Float[np.ndarray, " P"], weights_ND: Float[np.ndarray, "N D"]
    ) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N P"]]:
        log_factor_D, log_power_D, log_offset_D = theta_P.reshape(3, -1)
        power_D, offset_D = np.exp(log_power_D), np.exp(log_offset_D)
        log_share_ND = np.log(weights_ND + offset_D)
        term_ND = bounded_exp(log_factor_D - power_D * log_share_ND)
        by_log_power_ND = -term_ND * power_D * log_share_ND
        by_log_offset_ND = -term_ND * power_D * offset_D / (weights_ND + offset_D)
        return term_ND.sum(axis=1), np.hstack([term_ND, by_log_power_ND, by_log_offset_ND])

    def prior(self, domains: int) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
        mean_P = np.repeat([0.0, LOG_POWER, LOG_OFFSET], domains)
        return mean_P, np.repeat([LOG_FACTOR_SD, LOG_POWER_SD, LOG_OFFSET_SD], domains)

    def start(self, rise_D: Float[np.ndarray, " D"]) -> Float[np.ndarray, " P"]:
        return np.concatenate([-3 * rise_D, np.repeat([LOG_POWER, LOG_OFFSET], len(rise_D))])
