"""A Gaussian process over all fidelities at once, with noise that may depend on the mixture.

The process is search.surrogates.gaussian_process over every run: each fidelity has its gain, its noise and a link to
the next, so that many cheap runs inform the target as far as the data say that they agree. First a line ties each
fidelity to the one with the most runs (search.lifting).

Where mixtures were measured repeatedly, the spread of the repetitions shows whether noise changes with the value (at
the proportional mixture it can be 25 times smaller than at a one-domain corner): then log variance is a line in the
predicted value, shrunk towards a constant.

Shapes: N runs, Q queries, D domains, R mixtures with repeated runs.
"""

from __future__ import annotations

import numpy as np

from search.mixture import FloatArray
from search.runs import DECIMALS, IntArray
from search.surrogates.base import Prediction, Surrogate, is_constant
from search.surrogates.gaussian_process import GaussianProcess, Hyperparameters
from search.surrogates.gp import ArdGP
from search.surrogates.lifting import lines, same_spread

# Repetitions beyond the first, summed over mixtures, below which noise counts as constant.
FEWEST_REPETITIONS = 8
# Prior standard deviation of the change in log variance over one standard deviation of the values.
SLOPE_SD = 1.0
LARGEST_RATIO = 50.0


class MultiFidelityGP(Surrogate):
    fewest_runs = 4
    _process: GaussianProcess

    def _fit(self, weights_ND: FloatArray, values_N: FloatArray, level_N: IntArray) -> None:
        self._target = int(level_N.max())
        self._constant = is_constant(values_N)
        self._lines = lines(weights_ND, values_N, level_N, lambda *rows: ArdGP(self.seed).fit(*rows).mean, same_spread)
        reference_N = self._lines.to_reference(values_N, level_N)
        start = Hyperparameters.start(weights_ND.shape[1], self._target + 1)
        if self._earlier is not None and len(self._earlier._process.hyperparameters.log_noise_L) == self._target + 1:
            start = self._earlier._process.hyperparameters
        self._process = GaussianProcess(weights_ND, reference_N, level_N, start=start)
        self._noise_slope, self._noise_centre = self._noise_line(weights_ND, reference_N, level_N)
        if self._noise_slope:
            self._process = GaussianProcess(
                weights_ND,
                reference_N,
                level_N,
                start=self._process.hyperparameters,
                noise_scale_N=self._noise_scale(self._process.mean_at(weights_ND, self._lines.reference)),
            )

    def _noise_line(self, weights_ND: FloatArray, values_N: FloatArray, level_N: IntArray) -> tuple[float, float]:
        """Slope and centre of log variance over the value, from repeated runs; slope 0 where these show nothing.

        The logarithm of a variance from k degrees of freedom lies digamma(k / 2) - log(k / 2) below that of the true
        one in the mean, and scatters with variance trigamma(k / 2).
        """
        from scipy.special import digamma, polygamma

        rows_ND = np.column_stack([np.round(weights_ND, DECIMALS), level_N])
        distinct_RD, group_N, counts_R = np.unique(rows_ND, axis=0, return_inverse=True, return_counts=True)
        group_N = group_N.reshape(-1)
        mean_R = np.bincount(group_N, values_N) / counts_R
        spread_R = np.bincount(group_N, (values_N - mean_R[group_N]) ** 2)
        repeated_R = (counts_R > 1) & (spread_R > 0)
        free_R = counts_R[repeated_R] - 1
        if free_R.sum() < FEWEST_REPETITIONS:
            return 0.0, 0.0
        at_R, level_R = mean_R[repeated_R], distinct_RD[repeated_R, -1]
        log_R = np.log(spread_R[repeated_R] / free_R) - digamma(free_R / 2) + np.log(free_R / 2)
        weight_R = 1 / polygamma(1, free_R / 2)
        centre, width = float(np.average(at_R, weights=weight_R)), float(values_N.std()) or 1.0
        across_R = (at_R - centre) / width
        # Each fidelity has its own noise: only differences within one count.
        for level in np.unique(level_R):
            here_R = level_R == level
            log_R[here_R] -= np.average(log_R[here_R], weights=weight_R[here_R])
            across_R[here_R] -= np.average(across_R[here_R], weights=weight_R[here_R])
        precision = float(weight_R @ across_R**2) + 1 / SLOPE_SD**2
        slope = float(weight_R @ (across_R * log_R)) / precision
        return (slope / width, centre) if abs(slope) > 2 * precision**-0.5 else (0.0, centre)

    def _noise_scale(self, values_N: FloatArray) -> FloatArray:
        scale_N: FloatArray = np.exp(self._noise_slope * (values_N - self._noise_centre))
        return np.clip(scale_N, 1 / LARGEST_RATIO, LARGEST_RATIO)

    def mean(self, weights_ND: FloatArray) -> FloatArray:
        return self._lines.from_reference(self._process.mean_at(weights_ND, self._target), self._target)

    def predict(self, weights_ND: FloatArray) -> Prediction:
        mean_Q, variance_Q = self._process.predict(weights_ND, self._target)
        noise = self._process.sd**2 * self._process.hyperparameters.noise_L[self._target]
        variance_Q = variance_Q + noise * (self._noise_scale(mean_Q) - 1)
        sd_Q = np.zeros_like(mean_Q) if self._constant else np.sqrt(np.maximum(variance_Q, 0))
        return Prediction(self.mean(weights_ND), self._lines.slope_L[self._target] * sd_Q)
