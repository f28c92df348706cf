"""Values of several fidelities in the units of one: what lets a surrogate of a single scale use all runs.

The fidelity with the most runs is the reference. A surrogate fitted there predicts the mixtures of every other
fidelity, and a line, value there = intercept + slope * predicted value, ties the two together. No mixture needs to be
measured twice. The slope is shrunk towards 1 (a nat saved cheaply is a nat saved at the target) as if by PRIOR_RUNS
further runs that say so, and kept above 0, for few runs must not turn the ranking around.

Shapes: N runs, D domains, L fidelities, K runs of one fidelity, M metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from search.arrays import Array
from search.runs import among
from search.surrogates.rows import Rows

PRIOR_RUNS = 2.0
SMALLEST_SLOPE = 0.05

# From mixtures [N, D] to predicted values, [N].
Mean = Callable[[Float[np.ndarray, "N D"]], Float[np.ndarray, " N"]]
# From predicted and measured values of one fidelity, [K], and the reference's variance to intercept and slope.
Tie = Callable[[Float[np.ndarray, " K"], Float[np.ndarray, " K"], float], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Lines:
    """value at fidelity = intercept + slope * value at the reference."""

    reference: int
    intercept_L: Float[np.ndarray, " L"]
    slope_L: Float[np.ndarray, " L"]

    def to_reference(self, rows: Rows) -> Rows:
        fidelity_N = rows.fidelity_N
        return replace(rows, values_N=(rows.values_N - self.intercept_L[fidelity_N]) / self.slope_L[fidelity_N])

    def from_reference(self, values: Array, fidelity: int) -> Array:
        """In NumPy or PyTorch, of any shape."""
        there: Array = float(self.intercept_L[fidelity]) + float(self.slope_L[fidelity]) * values
        return there


def line(
    predicted_K: Float[np.ndarray, " K"], values_K: Float[np.ndarray, " K"], variance: float
) -> tuple[float, float]:
    """Intercept and slope of values over predicted values, shrunk towards 1 in units of `variance`."""
    across_K = predicted_K - predicted_K.mean()
    together = float(across_K @ (values_K - values_K.mean())) / variance
    alone = float(across_K @ across_K) / variance
    slope = max((PRIOR_RUNS + together) / (PRIOR_RUNS + alone), SMALLEST_SLOPE)
    return float(values_K.mean() - slope * predicted_K.mean()), slope


def same_spread(
    predicted_K: Float[np.ndarray, " K"], values_K: Float[np.ndarray, " K"], variance: float
) -> tuple[float, float]:
    """Intercept and slope that give the predicted values the measured ones' spread, shrunk as in `line`.

    For models that know by themselves how far two fidelities agree: the slope of a regression is small where they
    hardly do, and values divided by it would spread far beyond the reference's.
    """
    measured, predicted = float(values_K.var()) / variance, float(predicted_K.var()) / variance
    slope = ((PRIOR_RUNS + len(values_K) * measured) / (PRIOR_RUNS + len(values_K) * predicted)) ** 0.5
    return float(values_K.mean() - slope * predicted_K.mean()), slope


def lines(rows: Rows, reference: Mean, tie: Tie = line) -> Lines:
    """The line of each fidelity.

    Args:
        reference: what predicts the values of the fidelity with the most runs.
        tie: what draws a line.
    """
    intercept_L, slope_L = np.zeros(rows.fidelities), np.ones(rows.fidelities)
    variance = float(rows.of_reference.values_N.var()) or 1.0
    for fidelity in set(range(rows.fidelities)) - {rows.reference}:
        here = rows.select(rows.fidelity_N == fidelity)
        intercept_L[fidelity], slope_L[fidelity] = tie(reference(here.weights_ND), here.values_N, variance)
    return Lines(rows.reference, intercept_L, slope_L)


def at_target(rows: Rows, fit: Callable[[Rows], Mean]) -> Rows:
    """One table in the units of the target: its own runs, and those of other mixtures, mapped.

    Args:
        fit: what predicts values from the runs of the reference.
    """
    tied = lines(rows, fit(rows.of_reference))
    mapped_N = tied.from_reference(tied.to_reference(rows).values_N, rows.fidelities - 1)
    here_N = rows.at_target_N
    kept_N = here_N | ~among(rows.weights_ND, rows.weights_ND[here_N])
    alike = replace(
        rows,
        values_N=np.where(here_N, rows.values_N, mapped_N),
        fidelity_N=np.zeros_like(rows.fidelity_N),
        scales=None if rows.scales is None else rows.scales.at(np.array([rows.fidelities - 1])),
    )
    return alike.select(kept_N)


def in_target_units(
    values_N: Float[np.ndarray, " N"], fidelity_N: Int[np.ndarray, " N"], target: int, mean_N: Float[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """The values, those of cheaper runs moved along the line that ties them to predictions for the target, [N].

    Args:
        values_N: NaN where a run did not measure the metric.
        mean_N: what is predicted of each run's mixture.
    """
    moved_N = values_N.copy()
    for fidelity in np.unique(fidelity_N[fidelity_N != target]):
        here_N = (fidelity_N == fidelity) & np.isfinite(values_N)
        if here_N.any():
            spread = float(values_N[here_N].var()) or 1.0
            intercept, slope = line(values_N[here_N], mean_N[here_N], spread)
            moved_N[here_N] = intercept + slope * values_N[here_N]
    return moved_N
