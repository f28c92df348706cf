"""Plain Gaussian processes on the square roots of the weights, with one length scale or one a domain.

Shapes: N runs, D domains.
"""

from __future__ import annotations

import numpy as np

from search.mixture import FloatArray
from search.surrogates.base import Prediction, SingleScale, is_constant
from search.surrogates.gaussian_process import GaussianProcess, Hyperparameters


class IsotropicGP(SingleScale):
    """One length scale: the fewest hyperparameters, for the fewest runs."""

    fewest_runs = 4
    _process: GaussianProcess

    def _fit_alike(self, weights_ND: FloatArray, values_N: FloatArray) -> None:
        start = Hyperparameters.start(self._lengths(weights_ND.shape[1]), 1)
        if self._earlier is not None:
            start = self._earlier._process.hyperparameters
        self._process = GaussianProcess(weights_ND, values_N, start=start)
        self._constant = is_constant(values_N)

    def _lengths(self, domains: int) -> int:
        return 1

    def mean(self, weights_ND: FloatArray) -> FloatArray:
        return self._process.mean_at(weights_ND)

    def predict(self, weights_ND: FloatArray) -> Prediction:
        mean_N, variance_N = self._process.predict(weights_ND)
        return Prediction(self.mean(weights_ND), np.zeros_like(mean_N) if self._constant else np.sqrt(variance_N))


class ArdGP(IsotropicGP):
    """A length scale a domain: it learns which domains matter."""

    def _lengths(self, domains: int) -> int:
        return domains
