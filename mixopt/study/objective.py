"""The objective of a study file."""

from __future__ import annotations

from mixopt.settings.schema import StudyFile
from search.objective import NoWorse, Objective, Pareto, WeightedMean, WorstCase


def objective_of(file: StudyFile) -> Objective:
    settings = file.objective
    if settings.kind == "worst_case":
        return WorstCase(tuple(settings.metrics or file.evaluation_sets), settings.baseline, settings.unit)
    mean = WeightedMean(settings.weights or dict.fromkeys(file.evaluation_sets, 1.0), settings.unit)
    match settings.kind:
        case "weighted":
            return mean
        case "no_worse":
            return NoWorse(mean, settings.allowance or 0.0, settings.baseline)
        case "pareto":
            return Pareto(mean)
