"""Ridge regression on shares and their logarithms: cheap, smooth, and hard to overfit.

The logarithm lets the first tokens of a domain count for more than the last. The ridge is the one with the least
leave-one-out error, which has a closed form (Hastie, Tibshirani and Friedman, The Elements of Statistical Learning,
equation 7.52).

Shapes: N mixtures, D domains, F = 2 D features, R ridges.
"""

from __future__ import annotations

import numpy as np

from search.mixture import FloatArray
from search.surrogates.base import Prediction, Surrogate

# Shares far below this count as nothing.
LOG_OFFSET = 1e-3
RIDGES = np.geomspace(1e-3, 1e3, 25)


class Linear(Surrogate):
    fewest_runs = 4

    def _fit(self, weights_ND: FloatArray, values_N: FloatArray) -> None:
        features_NF = _features(weights_ND)
        self._centre_F = features_NF.mean(axis=0)
        self._scale_F = np.maximum(features_NF.std(axis=0), 1e-12)
        self._mean = float(values_N.mean())
        left_NF, singular_F, right_FF = np.linalg.svd(self._standardised(weights_ND), full_matrices=False)
        along_F = left_NF.T @ (values_N - self._mean)

        kept_RF = singular_F**2 / (singular_F**2 + RIDGES[:, None])
        leverage_RN = 1 / len(values_N) + kept_RF @ (left_NF**2).T
        errors_RN = (values_N - self._mean - kept_RF * along_F @ left_NF.T) / np.maximum(1 - leverage_RN, 1e-6)
        best = int((errors_RN**2).mean(axis=1).argmin())

        self._slopes_F = right_FF.T @ (kept_RF[best] * along_F / np.maximum(singular_F, 1e-12))
        self._covariance_FF = (right_FF.T / (singular_F**2 + RIDGES[best])) @ right_FF
        self._sd = float(np.sqrt((errors_RN[best] ** 2).mean()))

    def mean(self, weights_ND: FloatArray) -> FloatArray:
        mean_N: FloatArray = self._mean + self._standardised(weights_ND) @ self._slopes_F
        return mean_N

    def predict(self, weights_ND: FloatArray) -> Prediction:
        features_NF = self._standardised(weights_ND)
        leverage_N = np.einsum("nf,fg,ng->n", features_NF, self._covariance_FF, features_NF)
        return Prediction(self.mean(weights_ND), self._sd * np.sqrt(1 + leverage_N))

    def _standardised(self, weights_ND: FloatArray) -> FloatArray:
        standardised_NF: FloatArray = (_features(weights_ND) - self._centre_F) / self._scale_F
        return standardised_NF


def _features(weights_ND: FloatArray) -> FloatArray:
    return np.hstack([weights_ND, np.log(weights_ND + LOG_OFFSET)])
