"""What is to be low over a table of finished runs.

Shapes: N runs, M metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from mixopt.base.errors import ConfigError
from mixopt.base.files import text_in
from mixopt.base.shown import shown_name
from mixopt.runs.directions import directions
from mixopt.settings.reading import validate
from mixopt.settings.schema import ObjectiveSettings
from search.mixture import FloatArray
from search.objective import Hinge, NoWorse, Objective, Pareto, WeightedMean, WorstCase
from search.problem import PROPORTIONAL
from search.runs import Runs

OBJECTIVES: Mapping[str, Callable[[WeightedMean], Objective]] = {
    "mean": lambda mean: mean,
    "standardized": lambda mean: mean,  # of metrics divided by their spreads
    "worst": lambda mean: WorstCase(mean.metrics, maximised=mean.maximised),
    "no-worse": lambda mean: NoWorse(mean, allowance=0.0),
    "hinge": Hinge,
    "pareto": Pareto,
}
# What a study file calls them.
KINDS: Mapping[str, str] = {
    "weighted": "mean",
    "worst_case": "worst",
    "no_worse": "no-worse",
    "hinge": "hinge",
    "pareto": "pareto",
}
# The mixtures that an objective over a table may compare with.
COMPARED_WITH = (PROPORTIONAL, "uniform")
# A mean of metrics whose spreads differ by more is decided by few of them.
UNEVEN = 10.0


class _Section(BaseModel):
    """A file with the section objective of a study file; its other sections are not looked at."""

    model_config = ConfigDict(extra="ignore")

    objective: ObjectiveSettings


def objective_option(given: str) -> tuple[str, ObjectiveSettings | None]:
    """What `--objective` names: a name of OBJECTIVES, and the settings of a file.

    Raises:
        ConfigError: there is no such file, or one line for each mistake in it.
    """
    if given in OBJECTIVES or not given.lower().endswith((".yaml", ".yml")):
        return given, None
    path = Path(given)
    text = text_in(path, "file with an objective", "write one: objective: {weights: {mmlu: 2, gsm8k: 1}}")
    file, _ = validate(text, path, _Section)
    return KINDS[file.objective.kind], file.objective


def objective_of(mean: WeightedMean, kind: str, settings: ObjectiveSettings | None) -> Objective:
    """The objective of that kind over what is averaged.

    Raises:
        ConfigError: it compares with a mixture that tables of runs have no prediction of.
    """
    if settings is None:
        return OBJECTIVES[kind](mean)
    if settings.has_baseline and settings.baseline not in COMPARED_WITH:
        raise ConfigError(
            f"objective.baseline {shown_name(settings.baseline)} is not known of a table of runs",
            hint=f"choose from {', '.join(COMPARED_WITH)}",
        )
    match kind:
        case "no-worse":
            return NoWorse(mean, settings.allowance or 0.0, settings.baseline)
        case "hinge":
            return Hinge(mean, settings.times if settings.times is not None else Hinge.times, settings.baseline)
        case "worst":
            return WorstCase(mean.metrics, settings.baseline, maximised=mean.maximised)
        case _:
            return OBJECTIVES[kind](mean)


def metrics_named(settings: ObjectiveSettings | None, metrics: Sequence[str]) -> tuple[str, ...]:
    """Those of the metrics that the settings name; none, where they name none.

    Raises:
        ConfigError: one that is named is not there.
    """
    named = [] if settings is None else [name for name, weight in _weights(settings, metrics).items() if weight]
    return tuple(dict.fromkeys(named))


def _weights(settings: ObjectiveSettings, metrics: Sequence[str]) -> dict[str, float]:
    """The weight of each metric that is named: its own, or its part of its family's."""
    weights: dict[str, float] = {}

    def add(patterns: Sequence[str], weight: float) -> None:
        found = [name for pattern in patterns for name in _named(pattern, metrics)]
        for name in found:
            weights[name] = weights.get(name, 0.0) + weight / len(found)

    for family in (settings.families or {}).values():
        add(family.metrics, family.weight)
    for name, weight in (settings.weights or {}).items():
        weights |= dict.fromkeys(_named(name, metrics), weight)
    for name in settings.metrics or []:
        weights |= dict.fromkeys(_named(name, metrics), 1.0)
    return weights


def _named(pattern: str, metrics: Sequence[str]) -> list[str]:
    """
    Raises:
        ConfigError: no metric has the name, or fits.
    """
    found = [name for name in metrics if name == pattern] or [name for name in metrics if fnmatchcase(name, pattern)]
    if not found:
        names = ", ".join(map(shown_name, metrics[:8]))
        raise ConfigError(f"objective: no metric {shown_name(pattern)}", hint=f"the table has {names}")
    return found


def mean_of(
    runs: Runs,
    kind: str,
    maximize: Sequence[str],
    minimize: Sequence[str],
    notes: list[str],
    settings: ObjectiveSettings | None = None,
) -> WeightedMean:
    """The mean of every metric that varies, in the direction that is better.

    Args:
        kind: of the objective, a name of OBJECTIVES.
        maximize, minimize: metrics of which more, or less, is better; the others go by their names.
        notes: what was decided is added to them.
        settings: what weighs how much. Default: all alike.

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
    given = {} if settings is None else _weights(settings, runs.metrics)
    if any(name in varied for name in given):
        weights = {name: given[name] for name in varied if given.get(name)}
        families = {
            family: tuple(name for pattern in each.metrics for name in _named(pattern, runs.metrics) if name in weights)
            for family, each in ((settings.families if settings else None) or {}).items()
        }
        if len(set(weights.values())) > 1:
            total = sum(weights.values())
            notes.append("weights in the objective: " + ", ".join(f"{k} {v / total:.3g}" for k, v in weights.items()))
        return WeightedMean(
            weights, maximised=maximised & frozenset(weights), families={k: v for k, v in families.items() if v}
        )
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
