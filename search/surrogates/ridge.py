"""What the linear models share: ridge regression on centred and scaled features, one file a choice of features.

The ridge is the one with the least leave-one-out error, which has a closed form (Hastie, Tibshirani and Friedman,
The Elements of Statistical Learning, equation 7.52). The noise is such that those errors are as large as the model
says they should be: with leverage h, their variance is noise^2 / (1 - h).

Shapes: N mixtures, D domains, F features, S = min(N, F) singular values, R ridges.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from search.mixture import FloatArray
from search.surrogates.base import Prediction, SingleScale

RIDGES = np.geomspace(1e-3, 1e3, 25)
# A feature that varies less than this never varied: it is left as it is.
FLAT = 1e-9


class Ridge(SingleScale):
    """One kind is its `_features`, and how they are scaled."""

    fewest_runs = 4

    @abstractmethod
    def _features(self, weights_ND: FloatArray) -> FloatArray:
        """What the values are linear in, [N, F]."""

    def _scales(self, spread_F: FloatArray) -> FloatArray:
        """What features with these standard deviations are divided by, [F]: each by its own."""
        return np.where(spread_F > FLAT, spread_F, 1.0)

    def _fit_alike(self, weights_ND: FloatArray, values_N: FloatArray) -> None:
        features_NF = self._features(weights_ND)
        self._centre_F = features_NF.mean(axis=0)
        self._scale_F = self._scales(features_NF.std(axis=0))
        self._mean = float(values_N.mean())
        left_NS, singular_S, self._right_SF = np.linalg.svd(self._scaled(weights_ND), full_matrices=False)
        along_S = left_NS.T @ (values_N - self._mean)

        kept_RS = singular_S**2 / (singular_S**2 + RIDGES[:, None])
        leverage_RN = 1 / len(values_N) + kept_RS @ (left_NS**2).T
        spare_RN = np.maximum(1 - leverage_RN, 1e-6)
        errors_RN = (values_N - self._mean - kept_RS * along_S @ left_NS.T) / spare_RN
        best = int((errors_RN**2).mean(axis=1).argmin())

        self._runs, self._ridge, self._kept_S = len(values_N), float(RIDGES[best]), kept_RS[best]
        self._slopes_F = (singular_S / (singular_S**2 + self._ridge) * along_S) @ self._right_SF
        self._noise = float(np.sqrt((errors_RN[best] ** 2 * spare_RN[best]).mean()))

    def mean(self, weights_ND: FloatArray) -> FloatArray:
        mean_N: FloatArray = self._mean + self._scaled(weights_ND) @ self._slopes_F
        return mean_N

    def predict(self, weights_ND: FloatArray) -> Prediction:
        """The doubt counts directions too in which the fitted rows never varied."""
        scaled_NF = self._scaled(weights_ND)
        known_N = (scaled_NF @ self._right_SF.T) ** 2 @ self._kept_S
        leverage_N = 1 / self._runs + ((scaled_NF**2).sum(axis=1) - known_N) / self._ridge
        return Prediction(self._mean + scaled_NF @ self._slopes_F, self._noise * np.sqrt(1 + leverage_N))

    def _scaled(self, weights_ND: FloatArray) -> FloatArray:
        scaled_NF: FloatArray = (self._features(weights_ND) - self._centre_F) / self._scale_F
        return scaled_NF
