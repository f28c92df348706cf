"""How predicted gains compare with the gains that confirmations measured, and what that says of the next prediction.

A search proposes the mixture of which most is expected, and of many expectations the best is, on the average, too high:
the optimiser's curse (J. E. Smith and R. L. Winkler, "The Optimizer's Curse", Management Science 2006). What is wrong
with a surrogate otherwise comes on top. Both show once predictions that were kept are compared with what was measured
later.

For each confirmation i: predicted gain g with standard deviation s, less the noise of the two runs that s is of, and
measured gain m with standard error e. Its error, g - m, counts by w_i, in proportion to 1 / (s^2 + e^2 + the median of
these): a prediction that doubted itself a lot says little of a bias, and none counts more than twice as much as one of
the usual doubt. The optimism d is the sum of w_i (g - m), where the w_i sum to 1. Errors of one study share its
surrogate and its baseline's runs, so that the error of d is estimated between the J studies: its square is J / (J - 1)
* sum_j (sum_i in j of w_i (g - m - d))^2, the cluster-robust one (K.-Y. Liang and S. L. Zeger, Biometrika 1986). The
correction is d times d^2 / (d^2 + error^2), the best linear shrinkage where d is as large as it seems: with few studies
nearly none. By what errors are then beyond their standard deviations intervals are widened.

Shapes: N confirmations, J studies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from search.intervals import reach
from search.recommendation.recommendation import LEVEL, Estimate

# Before so many confirmations, of so many studies, nothing is corrected.
FEWEST, FEWEST_STUDIES = 8, 3
# So many confirmations as the record has count as much, for the width of intervals, as the belief that it is right.
WIDTH_BELIEF = 8


@dataclass(frozen=True)
class Confirmed:
    """A gain over the proportional mixture, predicted before it was measured.

    Attributes:
        study: confirmations of one study err together.
        predicted, sd: mean and standard deviation of what was predicted, in the unit of the objective.
        measured, error: mean gain over the seeds of the confirmation, and its standard error.
        noise: of a difference of two runs, which `sd` is of; `error` has what is left of it over the seeds.
    """

    study: str
    predicted: float
    sd: float
    measured: float
    error: float
    noise: float = 0.0

    @property
    def optimism(self) -> float:
        """By how much the prediction was too high."""
        return self.predicted - self.measured

    @property
    def spread(self) -> float:
        """Standard deviation that the prediction gave the optimism, the noise of the confirmation in place of runs'."""
        return math.sqrt(max(self.sd**2 - self.noise**2, 0.0) + self.error**2)


@dataclass(frozen=True)
class Calibration:
    """What a record of predictions shows.

    Attributes:
        confirmations, studies: how many there are.
        optimism: weighted mean of predicted minus measured gain: above 0 predictions are too high.
        optimism_error: its standard error between studies; None with one study.
        rmse: root mean squared error of the predictions.
        coverage_80, coverage_95: share of the measured gains inside these intervals, the confirmation's noise added.
        width: root mean square of the errors in units of what they were predicted to be, the correction taken out.
    """

    confirmations: int
    studies: int
    optimism: float
    optimism_error: float | None
    rmse: float
    coverage_80: float
    coverage_95: float
    width: float

    @classmethod
    def of(cls, record: Sequence[Confirmed]) -> Calibration | None:
        """None of an empty record."""
        if not record:
            return None
        optimism_N = np.array([each.optimism for each in record])
        spread_N = np.maximum([each.spread for each in record], 1e-12)
        weight_N = 1 / (spread_N**2 + np.median(spread_N) ** 2)
        weight_N /= weight_N.sum()
        mean = float(weight_N @ optimism_N)
        error = _between_studies(record, weight_N * (optimism_N - mean))
        shrunk = _shrunk(mean, error)
        inside = {level: reach(level) * spread_N for level in (0.8, LEVEL)}
        return cls(
            confirmations=len(record),
            studies=len({each.study for each in record}),
            optimism=mean,
            optimism_error=error,
            rmse=float(np.sqrt((optimism_N**2).mean())),
            coverage_80=float((np.abs(optimism_N) <= inside[0.8]).mean()),
            coverage_95=float((np.abs(optimism_N) <= inside[LEVEL]).mean()),
            width=float(np.sqrt((((optimism_N - shrunk) / spread_N) ** 2).mean())),
        )

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the mean optimism, at 95%, by Student's t between studies; None with one study."""
        if self.optimism_error is None:
            return None
        from scipy.special import stdtrit

        reach = float(stdtrit(self.studies - 1, (1 + LEVEL) / 2)) * self.optimism_error
        return self.optimism - reach, self.optimism + reach

    @property
    def corrects(self) -> bool:
        """Whether there is enough to correct what is predicted next."""
        return self.confirmations >= FEWEST and self.studies >= FEWEST_STUDIES

    @property
    def correction(self) -> float:
        """What is to be taken off a predicted gain: the mean optimism, shrunk towards 0."""
        return _shrunk(self.optimism, self.optimism_error) if self.corrects else 0.0

    @property
    def widening(self) -> float:
        """What a predicted standard deviation is to be multiplied by: never less than 1."""
        if not self.corrects:
            return 1.0
        belief = WIDTH_BELIEF
        return max(1.0, math.sqrt((self.confirmations * self.width**2 + belief) / (self.confirmations + belief)))

    def correct(self, gain: float, sd: float) -> Estimate:
        """A predicted gain as the record has it, the doubt about the correction added to its interval."""
        if not self.corrects:
            return Estimate.of(gain, sd)
        doubt = (self.optimism_error or 0.0) * _kept(self.optimism, self.optimism_error)
        return Estimate.of(gain - self.correction, math.hypot(self.widening * sd, doubt))


def _between_studies(record: Sequence[Confirmed], residual_N: Float[np.ndarray, " N"]) -> float | None:
    """Standard error of a weighted mean, from what each adds to it beyond its share; None with one study."""
    names = [each.study for each in record]
    studies = list(dict.fromkeys(names))
    if len(studies) < 2:
        return None
    sums_J = [sum(value for name, value in zip(names, residual_N, strict=True) if name == study) for study in studies]
    factor = len(studies) / (len(studies) - 1)
    return math.sqrt(factor * float(np.square(sums_J).sum()))


def _shrunk(mean: float, error: float | None) -> float:
    return mean * _kept(mean, error)


def _kept(mean: float, error: float | None) -> float:
    """The share of a mean that is believed."""
    if error is None:
        return 0.0
    total = mean**2 + error**2
    return mean**2 / total if total > 0 else 0.0
