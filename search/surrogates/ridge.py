"""Linear models: ridge regression on centred and scaled features of the weights.

The ridge is the one with the least leave-one-out error, which has a closed form (Hastie, Tibshirani and Friedman,
The Elements of Statistical Learning, equation 7.52). The noise is such that those errors are as large as the model
says they should be: with leverage h, their variance is noise^2 / (1 - h).

Shapes: N mixtures, D domains, P = D (D + 1) / 2 pairs, F features, S = min(N, F) singular values, R ridges.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from search.surrogates.base import Fitted, Prediction, SingleScale
from search.surrogates.rows import Rows

# Shares far below this count as nothing.
LOG_OFFSET = 1e-3
RIDGES = np.geomspace(1e-3, 1e3, 25)
# A feature that varies less than this never varied: it is left as it is.
FLAT = 1e-9


class Ridge(SingleScale[None]):
    """One kind is its `features`, and how they are scaled."""

    fewest_runs = 4

    @abstractmethod
    def features(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N F"]:
        """What the values are linear in, [N, F]."""

    def _scales(self, spread_F: Float[np.ndarray, " F"]) -> Float[np.ndarray, " F"]:
        """What features with these standard deviations are divided by, [F]: each by its own."""
        return np.where(spread_F > FLAT, spread_F, 1.0)

    def _fit_alike(self, rows: Rows, choice: None) -> FittedRidge:
        values_N, features_NF = rows.values_N, self.features(rows.weights_ND)
        centre_F, scale_F, mean = features_NF.mean(axis=0), self._scales(features_NF.std(axis=0)), values_N.mean()
        left_NS, singular_S, right_SF = np.linalg.svd((features_NF - centre_F) / scale_F, full_matrices=False)
        along_S = left_NS.T @ (values_N - mean)

        kept_RS = singular_S**2 / (singular_S**2 + RIDGES[:, None])
        leverage_RN = 1 / len(values_N) + kept_RS @ (left_NS**2).T
        spare_RN = np.maximum(1 - leverage_RN, 1e-6)
        errors_RN = (values_N - mean - kept_RS * along_S @ left_NS.T) / spare_RN
        best = int((errors_RN**2).mean(axis=1).argmin())

        ridge = float(RIDGES[best])
        slopes_F = (singular_S / (singular_S**2 + ridge) * along_S) @ right_SF
        noise = float(np.sqrt((errors_RN[best] ** 2 * spare_RN[best]).mean()))
        parts = (float(mean), slopes_F, noise, len(values_N), ridge, kept_RS[best], right_SF)
        return FittedRidge(self.features, centre_F, scale_F, *parts)


class Linear(Ridge):
    """On shares and their logarithms, in which the first tokens of a domain count for more than the last."""

    def features(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N F"]:
        return np.hstack([weights_ND, np.log(weights_ND + LOG_OFFSET)])


class Quadratic(Ridge):
    """On shares and their products, for few domains, whose pairs can help or hurt each other.

    Y. Liang et al., "MoDoMoDo: Multi-Domain Data Mixtures for Multimodal LLM Reinforcement Learning", arXiv 2505.24871,
    2025, fit it to mixtures of fine-tuning data.
    """

    def features(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N F"]:
        one_P, other_P = np.triu_indices(weights_ND.shape[1])
        return np.hstack([weights_ND, weights_ND[:, one_P] * weights_ND[:, other_P]])

    def _scales(self, spread_F: Float[np.ndarray, " F"]) -> Float[np.ndarray, " F"]:
        """One for all: divided by its own, a product of two rare domains would get as much to say as a share."""
        typical = float(np.sqrt((spread_F**2).mean()))
        return np.full_like(spread_F, typical if typical > FLAT else 1.0)


@dataclass(frozen=True, eq=False)
class FittedRidge(Fitted[None]):
    """
    Attributes:
        features: from mixtures [N, D] to features [N, F].
        kept_S: how much of the slope in each direction of `right_SF` the ridge leaves.
    """

    features: Callable[[Float[np.ndarray, "N D"]], Float[np.ndarray, "N F"]]
    centre_F: Float[np.ndarray, " F"]
    scale_F: Float[np.ndarray, " F"]
    centre: float
    slopes_F: Float[np.ndarray, " F"]
    noise: float
    runs: int
    ridge: float
    kept_S: Float[np.ndarray, " S"]
    right_SF: Float[np.ndarray, "S F"]
    choice: None = None

    def predict(self, weights_ND: Float[np.ndarray, "N D"]) -> Prediction:
        """The doubt counts directions too in which the fitted rows never varied."""
        scaled_NF = (self.features(weights_ND) - self.centre_F) / self.scale_F
        known_N = (scaled_NF @ self.right_SF.T) ** 2 @ self.kept_S
        leverage_N = 1 / self.runs + ((scaled_NF**2).sum(axis=1) - known_N) / self.ridge
        return Prediction(self.centre + scaled_NF @ self.slopes_F, self.noise * np.sqrt(1 + leverage_N))
