"""What the linear models share: ridge regression on centred and scaled features, one file per choice of features.

The ridge is the one with the least leave-one-out error, which has a closed form (Hastie, Tibshirani and Friedman,
The Elements of Statistical Learning, equation 7.52). The noise is such that those errors are as large as the model
says they should be: with leverage h, their variance is noise^2 / (1 - h).

Shapes: N mixtures, D domains, F features, S = min(N, F) singular values, R ridges.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from search.surrogates.base import Fitted, Prediction, SingleScale
from search.surrogates.rows import Rows

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
    held_out: None = None

    def mean(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        mean_N: Float[np.ndarray, " N"] = self.centre + self._scaled(weights_ND) @ self.slopes_F
        return mean_N

    def predict(self, weights_ND: Float[np.ndarray, "N D"]) -> Prediction:
        """The doubt counts directions too in which the fitted rows never varied."""
        scaled_NF = self._scaled(weights_ND)
        known_N = (scaled_NF @ self.right_SF.T) ** 2 @ self.kept_S
        leverage_N = 1 / self.runs + ((scaled_NF**2).sum(axis=1) - known_N) / self.ridge
        return Prediction(self.centre + scaled_NF @ self.slopes_F, self.noise * np.sqrt(1 + leverage_N))

    def _scaled(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N F"]:
        scaled_NF: Float[np.ndarray, "N F"] = (self.features(weights_ND) - self.centre_F) / self.scale_F
        return scaled_NF
