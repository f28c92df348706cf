"""What the laws share: a curve of known form, fitted under weak priors, and how far its predictions may be off.

    value = offset + slope * shape(weights; theta)

The shape, one file a law, is smooth in its parameters theta. It is standardised over the fitted rows, and so are the
values: one prior on offset and slope then suits losses, accuracies and any unit, and the slope's sign tells whether
less or more is better. The fit is the mode of the posterior under independent normal priors and normal noise:

1. Search by least squares, with analytic derivatives, from one start for either sign of the slope, under an assumed
   noise; keep the better. (On RegMix's runs, the other sign's fit is far worse, and further starts end in the same
   two places.)
2. Estimate the noise from the residuals and search again from there, twice.
3. Linearise at the mode (Laplace): that gives the doubt about a prediction, to which the noise is added, and the
   leave-one-out errors. Where these are larger than the model says, the predictions' intervals widen as much.

Shapes: N mixtures, D domains, P parameters theta of the shape, Q = 2 + P parameters with offset and slope.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult, least_squares

from search.mixture import FloatArray
from search.surrogates.base import Prediction, SingleScale

# Standard deviations, in units of that of the values.
OFFSET_SD, SLOPE_SD = 1.0, 2.0
ASSUMED_NOISE = 0.15
LEAST_NOISE, MOST_NOISE = 0.02, 1.0
# Predictions go beyond the fitted values by so many of their standard deviations at most.
REACH = 3.0
# A shape that varies over the fitted rows by less than this share of its mean is flat.
FLAT = 1e-6
# e to this power can be divided by its inverse, and the ratio squared, without overflow.
MOST_EXPONENT = 150.0
# Relative gain in cost at which a start is judged, and at which the fit is done.
ROUGH, FINE = 1e-3, 1e-8
MOST_STEPS = 200


@dataclass(frozen=True)
class Prior:
    """Independent normal distributions of theta."""

    mean_P: FloatArray
    sd_P: FloatArray


class Law(SingleScale):
    """A law is its shape, its prior, and where to start.

    Attributes:
        loo_r2: 1 - the mean squared leave-one-out error of the standardised values, from the linearised fit.
    """

    fewest_runs = 4
    loo_r2: float

    @abstractmethod
    def _shape(self, theta_P: FloatArray, weights_ND: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The shape, positive, [N], and its derivatives by theta, [N, P]."""

    @abstractmethod
    def _prior(self, domains: int) -> Prior: ...

    @abstractmethod
    def _start(self, rise_D: FloatArray) -> FloatArray:
        """A rough theta, [P], of a shape that goes with the weights as `rise_D` says: their correlations with it."""

    def _fit_alike(self, weights_ND: FloatArray, values_N: FloatArray) -> None:
        runs = len(values_N)
        self._weights_ND = weights_ND
        self._mean = float(values_N.mean())
        # Equal values differ by rounding only.
        self._scale = max(float(values_N.std()), 1e-12 * abs(self._mean), float(np.finfo(float).tiny))
        target_N = (values_N - self._mean) / self._scale
        self._least = float(values_N.min()) - REACH * self._scale
        self._most = float(values_N.max()) + REACH * self._scale

        prior = self._prior(weights_ND.shape[1])
        prior_mean_Q = np.append([0.0, 0.0], prior.mean_P)
        prior_sd_Q = np.append([OFFSET_SD, SLOPE_SD], prior.sd_P)

        def search(start_Q: FloatArray, noise: float, tolerance: float) -> OptimizeResult:
            def misfit(parameters_Q: FloatArray) -> FloatArray:
                error_N = self._curve(parameters_Q, weights_ND)[0] - target_N
                return np.append(error_N / noise, (parameters_Q - prior_mean_Q) / prior_sd_Q)

            def jacobian(parameters_Q: FloatArray) -> FloatArray:
                return np.vstack([self._curve(parameters_Q, weights_ND)[1] / noise, np.diag(1 / prior_sd_Q)])

            return least_squares(misfit, start_Q, jacobian, ftol=tolerance, max_nfev=MOST_STEPS)

        rise_D = _correlations(weights_ND, target_N)
        starts = [np.append([0.0, sign], self._start(sign * rise_D)) for sign in (1.0, -1.0)]
        noise = ASSUMED_NOISE
        found = min((search(start_Q, noise, ROUGH) for start_Q in starts), key=lambda result: float(result.cost))
        freedom = max(runs - len(prior_mean_Q), runs / 2)
        for _ in range(2):
            error_N = found.fun[:runs] * noise
            noise = float(np.clip(np.sqrt(error_N @ error_N / freedom), LEAST_NOISE, MOST_NOISE))
            found = search(found.x, noise, FINE)

        self._parameters_Q, self._noise = found.x, noise
        # The parameters' covariance is root root'.
        self._root_QQ = np.linalg.inv(np.linalg.qr(found.jac).R)
        spare_N = np.maximum(1 - self._doubt(found.jac[:runs]), 0.05)
        left_out_N = found.fun[:runs] * noise / spare_N
        self.loo_r2 = float(1 - (left_out_N**2).mean())
        # If the law is right, their variance is noise^2 / spare.
        self._widening = max(1.0, float((left_out_N**2 * spare_N).mean()) / noise**2)

    def mean(self, weights_ND: FloatArray) -> FloatArray:
        """Within REACH standard deviations of the fitted values: a power of nearly nothing explodes."""
        return self._bounded(self._mean + self._scale * self._curve(self._parameters_Q, weights_ND)[0])

    def _bounded(self, values_N: FloatArray) -> FloatArray:
        return np.clip(values_N, self._least, self._most)

    def predict(self, weights_ND: FloatArray) -> Prediction:
        curve_N, slopes_NQ = self._curve(self._parameters_Q, weights_ND)
        variance_N = self._widening * (self._noise**2 + self._doubt(slopes_NQ))
        return Prediction(self._bounded(self._mean + self._scale * curve_N), self._scale * np.sqrt(variance_N))

    def _doubt(self, slopes_NQ: FloatArray) -> FloatArray:
        """The variance of curves with these derivatives that comes from the parameters', [N]."""
        doubt_N: FloatArray = ((slopes_NQ @ self._root_QQ) ** 2).sum(axis=1)
        return doubt_N

    def _curve(self, parameters_Q: FloatArray, weights_ND: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Standardised values, [N], and their derivatives by the parameters, [N, Q]."""
        (offset, slope), theta_P = parameters_Q[:2], parameters_Q[2:]
        fitted_N, fitted_NP = self._shape(theta_P, self._weights_ND)
        centre, centre_P = fitted_N.mean(), fitted_NP.mean(axis=0)
        spread = max(fitted_N.std(), FLAT * centre)
        spread_P = (fitted_N - centre) @ fitted_NP / len(fitted_N) / spread

        shape_N, shape_NP = self._shape(theta_P, weights_ND)
        height_N = (shape_N - centre) / spread
        height_NP = (shape_NP - centre_P - np.outer(height_N, spread_P)) / spread
        return offset + slope * height_N, np.column_stack([np.ones_like(height_N), height_N, slope * height_NP])


def bounded_exp(exponent: FloatArray) -> FloatArray:
    """exp for shapes: a very steep one, as an outlier can call for, stays finite far from the fitted rows."""
    return np.exp(np.clip(exponent, -MOST_EXPONENT, MOST_EXPONENT))


def _correlations(weights_ND: FloatArray, target_N: FloatArray) -> FloatArray:
    """Of each domain's weight with the standardised values, [D]; 0 for a weight that does not vary."""
    spread_D = weights_ND.std(axis=0)
    covariance_D: FloatArray = (weights_ND - weights_ND.mean(axis=0)).T @ target_N / len(target_N)
    return covariance_D / np.where(spread_D > 0, spread_D, 1)
