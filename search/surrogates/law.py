"""What the laws share: a curve of known form, fitted under weak priors, and how far its predictions may be off.

    value = offset + slope * shape(weights; theta)

The shape, one file per law, is smooth in its parameters theta. It is standardised over the fitted rows, and so are the
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
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import OptimizeResult, least_squares

from search.surrogates.base import Fitted, Prediction, SingleScale
from search.surrogates.rows import Rows

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

# From theta [P] and mixtures [N, D] to the shape, [N], and its derivatives by theta, [N, P].
Shape = Callable[
    [Float[np.ndarray, " P"], Float[np.ndarray, "N D"]], tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N P"]]
]


class Law(SingleScale[None]):
    """A law is its shape, its prior, and where to start."""

    fewest_runs = 4

    @abstractmethod
    def shape(
        self, theta_P: Float[np.ndarray, " P"], weights_ND: Float[np.ndarray, "N D"]
    ) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N P"]]:
        """The shape, positive, [N], and its derivatives by theta, [N, P]."""

    @abstractmethod
    def prior(self, domains: int) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
        """Mean and standard deviation of theta, twice [P]."""

    @abstractmethod
    def start(self, rise_D: Float[np.ndarray, " D"]) -> Float[np.ndarray, " P"]:
        """A rough theta, [P], of a shape that goes with the weights as `rise_D` says: their correlations with it."""

    def _fit_alike(self, rows: Rows, choice: None) -> FittedLaw:
        weights_ND, values_N, runs = rows.weights_ND, rows.values_N, len(rows)
        mean = float(values_N.mean())
        # Equal values differ by rounding only.
        scale = max(float(values_N.std()), 1e-12 * abs(mean), float(np.finfo(float).tiny))
        target_N = (values_N - mean) / scale
        prior_mean_P, prior_sd_P = self.prior(weights_ND.shape[1])
        prior_mean_Q, prior_sd_Q = np.append([0.0, 0.0], prior_mean_P), np.append([OFFSET_SD, SLOPE_SD], prior_sd_P)
        curve = Curve(self.shape, weights_ND)

        def search(start_Q: Float[np.ndarray, " Q"], noise: float, tolerance: float) -> OptimizeResult:
            def misfit(parameters_Q: Float[np.ndarray, " Q"]) -> Float[np.ndarray, " A"]:
                error_N = curve.at(parameters_Q, weights_ND)[0] - target_N
                return np.append(error_N / noise, (parameters_Q - prior_mean_Q) / prior_sd_Q)

            def jacobian(parameters_Q: Float[np.ndarray, " Q"]) -> Float[np.ndarray, "A Q"]:
                return np.vstack([curve.at(parameters_Q, weights_ND)[1] / noise, np.diag(1 / prior_sd_Q)])

            return least_squares(misfit, start_Q, jacobian, ftol=tolerance, max_nfev=MOST_STEPS)

        rise_D = correlations(weights_ND, target_N)
        starts = [np.append([0.0, sign], self.start(sign * rise_D)) for sign in (1.0, -1.0)]
        noise = ASSUMED_NOISE
        found = min((search(start_Q, noise, ROUGH) for start_Q in starts), key=lambda result: float(result.cost))
        freedom = max(runs - len(prior_mean_Q), runs / 2)
        for _ in range(2):
            error_N = found.fun[:runs] * noise
            noise = float(np.clip(np.sqrt(error_N @ error_N / freedom), LEAST_NOISE, MOST_NOISE))
            found = search(found.x, noise, FINE)

        root_QQ = np.linalg.inv(np.linalg.qr(found.jac).R)
        spare_N = np.maximum(1 - _doubt(found.jac[:runs], root_QQ), 0.05)
        left_out_N = found.fun[:runs] * noise / spare_N
        # If the law is right, their variance is noise^2 / spare.
        widening = max(1.0, float((left_out_N**2 * spare_N).mean()) / noise**2)
        bounds = float(values_N.min()) - REACH * scale, float(values_N.max()) + REACH * scale
        return FittedLaw(curve, found.x, root_QQ, noise, widening, mean, scale, bounds)


@dataclass(frozen=True, eq=False)
class Curve:
    """A shape, standardised over the fitted rows."""

    shape: Shape
    fitted_ND: Float[np.ndarray, "N D"]

    def at(
        self, parameters_Q: Float[np.ndarray, " Q"], weights_ND: Float[np.ndarray, "N D"]
    ) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N Q"]]:
        """Standardised values, [N], and their derivatives by the parameters, [N, Q]."""
        (offset, slope), theta_P = parameters_Q[:2], parameters_Q[2:]
        fitted_N, fitted_NP = self.shape(theta_P, self.fitted_ND)
        centre, centre_P = fitted_N.mean(), fitted_NP.mean(axis=0)
        spread = max(fitted_N.std(), FLAT * centre)
        spread_P = (fitted_N - centre) @ fitted_NP / len(fitted_N) / spread

        shape_N, shape_NP = (fitted_N, fitted_NP)
        if weights_ND is not self.fitted_ND:
            shape_N, shape_NP = self.shape(theta_P, weights_ND)
        height_N = (shape_N - centre) / spread
        height_NP = (shape_NP - centre_P - np.outer(height_N, spread_P)) / spread
        return offset + slope * height_N, np.column_stack([np.ones_like(height_N), height_N, slope * height_NP])


@dataclass(frozen=True, eq=False)
class FittedLaw(Fitted[None]):
    """
    Attributes:
        root_QQ: the parameters' covariance is root root'.
        bounds: of predictions: a power of nearly nothing explodes.
    """

    curve: Curve
    parameters_Q: Float[np.ndarray, " Q"]
    root_QQ: Float[np.ndarray, "Q Q"]
    noise: float
    widening: float
    centre: float
    scale: float
    bounds: tuple[float, float]
    choice: None = None

    def mean(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        return self._values(self.curve.at(self.parameters_Q, weights_ND)[0])

    def predict(self, weights_ND: Float[np.ndarray, "N D"]) -> Prediction:
        curve_N, slopes_NQ = self.curve.at(self.parameters_Q, weights_ND)
        variance_N = self.widening * (self.noise**2 + _doubt(slopes_NQ, self.root_QQ))
        return Prediction(self._values(curve_N), self.scale * np.sqrt(variance_N))

    def _values(self, curve_N: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        return np.clip(self.centre + self.scale * curve_N, *self.bounds)


def _doubt(slopes_NQ: Float[np.ndarray, "N Q"], root_QQ: Float[np.ndarray, "Q Q"]) -> Float[np.ndarray, " N"]:
    """The variance of curves with these derivatives that comes from the parameters', [N]."""
    doubt_N: Float[np.ndarray, " N"] = ((slopes_NQ @ root_QQ) ** 2).sum(axis=1)
    return doubt_N


def bounded_exp(exponent: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    """exp for shapes: a very steep one, as an outlier can call for, stays finite far from the fitted rows."""
    return np.asarray(np.exp(np.clip(exponent, -MOST_EXPONENT, MOST_EXPONENT)))


def correlations(weights_ND: Float[np.ndarray, "N D"], target_N: Float[np.ndarray, " N"]) -> Float[np.ndarray, " D"]:
    """Of each domain's weight with the standardised values, [D]; 0 for a weight that does not vary."""
    spread_D = weights_ND.std(axis=0)
    covariance_D: Float[np.ndarray, " D"] = (weights_ND - weights_ND.mean(axis=0)).T @ target_N / len(target_N)
    return covariance_D / np.where(spread_D > 0, spread_D, 1)
