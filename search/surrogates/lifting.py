"""Values of several fidelities in the units of one: what lets a surrogate of a single scale use all runs.

The fidelity with the most runs is the reference. A surrogate fitted there predicts the mixtures of every other
fidelity, and a line, value there = intercept + slope * predicted value, ties the two together. No mixture needs to be
measured twice. The slope is shrunk towards 1 (a nat saved cheaply is a nat saved at the target) as if by PRIOR_RUNS
further runs that say so, and kept above 0, for few runs must not turn the ranking around.

Shapes: N runs, D domains, L levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from search.mixture import FloatArray
from search.runs import IntArray, among

PRIOR_RUNS = 2.0
SMALLEST_SLOPE = 0.05

# From mixtures [N, D] and values [N] to a function from mixtures to predicted values.
Fit = Callable[[FloatArray, FloatArray], Callable[[FloatArray], FloatArray]]
# From predicted and measured values of one level, [P], and the reference's variance to intercept and slope.
Tie = Callable[[FloatArray, FloatArray, float], tuple[float, float]]


@dataclass(frozen=True)
class Lines:
    """value at level = intercept + slope * value at the reference level."""

    reference: int
    intercept_L: FloatArray
    slope_L: FloatArray

    def to_reference(self, values_N: FloatArray, level_N: IntArray) -> FloatArray:
        lifted_N: FloatArray = (values_N - self.intercept_L[level_N]) / self.slope_L[level_N]
        return lifted_N

    def from_reference(self, values_N: FloatArray, level: int) -> FloatArray:
        there_N: FloatArray = self.intercept_L[level] + self.slope_L[level] * values_N
        return there_N


def lines(weights_ND: FloatArray, values_N: FloatArray, level_N: IntArray, fit: Fit, tie: Tie | None = None) -> Lines:
    """The line of each level; levels are 0 to L - 1 and none is without runs.

    Args:
        tie: what draws the line; default: `line`.
    """
    counts_L = np.bincount(level_N)
    reference = int(counts_L.argmax())
    intercept_L, slope_L = np.zeros(len(counts_L)), np.ones(len(counts_L))
    if len(counts_L) > 1:
        there_N = level_N == reference
        predict = fit(weights_ND[there_N], values_N[there_N])
        variance = float(values_N[there_N].var()) or 1.0
        for level in set(range(len(counts_L))) - {reference}:
            here_N = level_N == level
            intercept_L[level], slope_L[level] = (tie or line)(predict(weights_ND[here_N]), values_N[here_N], variance)
    return Lines(reference, intercept_L, slope_L)


def line(predicted_P: FloatArray, values_P: FloatArray, variance: float) -> tuple[float, float]:
    """Intercept and slope of values over predicted values, shrunk towards 1 in units of `variance`."""
    across_P = predicted_P - predicted_P.mean()
    together = float(across_P @ (values_P - values_P.mean())) / variance
    alone = float(across_P @ across_P) / variance
    slope = max((PRIOR_RUNS + together) / (PRIOR_RUNS + alone), SMALLEST_SLOPE)
    return float(values_P.mean() - slope * predicted_P.mean()), slope


def same_spread(predicted_P: FloatArray, values_P: FloatArray, variance: float) -> tuple[float, float]:
    """Intercept and slope that give the predicted values the measured ones' spread, shrunk as in `line`.

    For models that know by themselves how far two levels agree: the slope of a regression is small where they hardly
    do, and values divided by it would spread far beyond the reference's.
    """
    measured, predicted = float(values_P.var()) / variance, float(predicted_P.var()) / variance
    slope = ((PRIOR_RUNS + len(values_P) * measured) / (PRIOR_RUNS + len(values_P) * predicted)) ** 0.5
    return float(values_P.mean() - slope * predicted_P.mean()), slope


def at_target(
    weights_ND: FloatArray, values_N: FloatArray, level_N: IntArray, fit: Fit
) -> tuple[FloatArray, FloatArray]:
    """One table in the units of the highest level: its own runs, and those of other mixtures, mapped."""
    target = int(level_N.max())
    tied = lines(weights_ND, values_N, level_N, fit)
    mapped_N = tied.from_reference(tied.to_reference(values_N, level_N), target)
    here_N = level_N == target
    kept_N = here_N | ~among(weights_ND, weights_ND[here_N])
    return weights_ND[kept_N], np.where(here_N, values_N, mapped_N)[kept_N]
