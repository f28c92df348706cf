"""The objective of a study file."""

from __future__ import annotations

from mixopt.settings.schema import StudyFile
from search.objective import Hinge, NoWorse, Objective, Pareto, WeightedMean, WorstCase


def objective_of(file: StudyFile) -> Objective:
    settings = file.objective
    if settings.kind == "worst_case":
        return WorstCase(tuple(settings.metrics or file.evaluation_sets), settings.baseline, settings.unit)
    families = {name: tuple(family.metrics) for name, family in (settings.families or {}).items()}
    mean = WeightedMean(_weights(file), settings.unit, families=families)
    match settings.kind:
        case "weighted":
            return mean
        case "no_worse":
            return NoWorse(mean, settings.allowance or 0.0, settings.baseline)
        case "hinge":
            return Hinge(mean, settings.times if settings.times is not None else Hinge.times, settings.baseline)
        case "pareto":
            return Pareto(mean)


def _weights(file: StudyFile) -> dict[str, float]:
    """Of each evaluation set in the mean: its own, or its part of its family's."""
    settings = file.objective
    if settings.families is None:
        return settings.weights or dict.fromkeys(file.evaluation_sets, 1.0)
    families = settings.families.values()
    return {metric: family.weight / len(family.metrics) for family in families for metric in family.metrics}
