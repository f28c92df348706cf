"""A quadratic in the weights, a + b.w + w'Cw: what MoDoMoDo fits to mixtures of fine-tuning data.

Y. Liang et al., "MoDoMoDo: Multi-Domain Data Mixtures for Multimodal LLM Reinforcement Learning", arXiv 2505.24871,
2025.

Its D (D + 3) / 2 coefficients are held down by a ridge. For few domains, whose pairs can help or hurt each other.

Shapes: N mixtures, D domains, P = D (D + 1) / 2 products, F = D + P features.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from search.surrogates.ridge import FLAT, Ridge


class Quadratic(Ridge):
    def features(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N F"]:
        one_P, other_P = np.triu_indices(weights_ND.shape[1])
        return np.hstack([weights_ND, weights_ND[:, one_P] * weights_ND[:, other_P]])

    def _scales(self, spread_F: Float[np.ndarray, " F"]) -> Float[np.ndarray, " F"]:
        """One for all: divided by its own, a product of two rare domains would get as much to say as a share."""
        typical = float(np.sqrt((spread_F**2).mean()))
        return np.full_like(spread_F, typical if typical > FLAT else 1.0)
