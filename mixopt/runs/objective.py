"""What is to be low over a table of finished runs.

Shapes: N runs, M metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.runs.directions import directions
from search.mixture import FloatArray
from search.objective import Hinge, NoWorse, Objective, Pareto, WeightedMean, WorstCase
from search.runs import Runs

OBJECTIVES: Mapping[str, Callable[[WeightedMean], Objective]] = {
    "mean": lambda mean: mean,
    "standardized": lambda mean: mean,  # of metrics divided by their spreads
    "worst": lambda mean: WorstCase(mean.metrics, maximised=mean.maximised),
    "no-worse": lambda mean: NoWorse(mean, allowance=0.0),
    "hinge": Hinge,
    "pareto": Pareto,
}
# A mean of metrics whose spreads differ by more is decided by few of them.
UNEVEN = 10.0


def mean_of(runs: Runs, kind: str, maximize: Sequence[str], minimize: Sequence[str], notes: list[str]) -> WeightedMean:
    """The mean of every metric that varies, in the direction that is better.

    Args:
        kind: of the objective, a name of OBJECTIVES.
        maximize, minimize: metrics of which more, or less, is better; the others go by their names.
        notes: what was decided is added to them.

    Raises:
        ConfigError: no metric varies, or a metric that is named is not there.
    """
    maximised, direction_notes = directions(runs, maximize, minimize)
    notes += direction_notes
    spreads = dict(zip(runs.metrics, map(float, _spread_M(runs)), strict=True))
    varied = {name: spread for name, spread in spreads.items() if spread > 0}
    if not varied:
        raise ConfigError(
            f"metric {', '.join(runs.metrics)} is the same in every run, and cannot tell mixtures apart",
            hint="choose another with --metric",
        )
    if constant := [name for name in spreads if name not in varied]:
        notes.append(f"the same in every run, and so left out of the objective: {', '.join(constant)}")
    if kind != "standardized":
        notes += _unlike(varied, maximised)
    weights = {name: 1 / spread if kind == "standardized" else 1.0 for name, spread in varied.items()}
    return WeightedMean(weights, maximised=maximised & frozenset(varied))


def _unlike(spreads: Mapping[str, float], maximised: frozenset[str]) -> list[str]:
    """A note where the metrics can hardly be added as they are."""
    widest, narrowest = max(spreads, key=spreads.__getitem__), min(spreads, key=spreads.__getitem__)
    ratio = spreads[widest] / spreads[narrowest]
    if ratio > UNEVEN:
        return [
            f"metric {widest} varies {ratio:.0f} times as much as {narrowest}, and counts for so much more: "
            "--objective standardized makes them equal"
        ]
    scores = [name for name in spreads if name in maximised]
    losses = [name for name in spreads if name not in maximised]
    if scores and losses:
        return [
            f"metrics that are minimised, such as {losses[0]}, and maximised, such as {scores[0]}, are hardly in one "
            "unit, yet count as they are: --objective standardized divides each by its spread"
        ]
    return []


def _spread_M(runs: Runs) -> FloatArray:
    """Standard deviation of each metric about the means of the fidelities, [M]; 0 for a metric that does not vary."""
    deviation_NM = runs.values_NM.copy()
    for index in range(len(runs.fidelities)):
        here_N = runs.at(index)
        deviation_NM[here_N] -= _mean_of_measured(runs.values_NM[here_N])
    spread_M = np.sqrt(_mean_of_measured(deviation_NM**2))
    # What rounding leaves of a constant.
    spread_M[spread_M <= 1e-12 * _mean_of_measured(np.abs(runs.values_NM))] = 0
    return spread_M


def _mean_of_measured(values_NM: FloatArray) -> FloatArray:
    """[M]; 0 where nothing was measured."""
    measured_NM = np.isfinite(values_NM)
    mean_M: FloatArray = np.where(measured_NM, values_NM, 0).sum(axis=0) / np.maximum(measured_NM.sum(axis=0), 1)
    return mean_M


def name_of(kind: str, objective: Objective) -> str:
    """What a reader calls the objective; lower is better."""
    if kind != "mean" or len(objective.metrics) > 1:
        return f"{'mean' if kind == 'pareto' else kind} of {len(objective.metrics)} metrics"
    [metric] = objective.metrics
    return f"-{metric}" if metric in objective.maximised else metric
