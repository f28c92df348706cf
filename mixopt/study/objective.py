"""The objective of a study file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mixopt.settings.schema import ObjectiveSettings, StudyFile
from search.objective import Hinge, NoWorse, Objective, Pareto, WeightedMean, WorstCase


def objective_of(file: StudyFile) -> Objective:
    return _objective(file.objective, file.evaluation_sets)


def objective_in(settings: Mapping[str, Any] | None) -> Objective | None:
    """By what a record says that its study began with, for whoever has no file; None where it does not say."""
    if not settings or "objective" not in settings:
        return None
    asked = dict(settings["objective"])
    # What is recorded has every default, also those that only some kinds take.
    if not ObjectiveSettings(kind=asked["kind"]).has_baseline:
        asked.pop("baseline", None)
    sets = (*settings["order"]["domains"], *settings.get("evaluation", {}))
    return _objective(ObjectiveSettings.model_validate(asked), sets)


def _objective(settings: ObjectiveSettings, evaluation_sets: Sequence[str]) -> Objective:
    if settings.kind == "worst_case":
        return WorstCase(tuple(settings.metrics or evaluation_sets), settings.baseline, settings.unit)
    families = {name: tuple(family.metrics) for name, family in (settings.families or {}).items()}
    mean = WeightedMean(_weights(settings, evaluation_sets), settings.unit, families=families)
    match settings.kind:
        case "weighted":
            return mean
        case "no_worse":
            return NoWorse(mean, settings.allowance or 0.0, settings.baseline)
        case "hinge":
            return Hinge(mean, settings.times if settings.times is not None else Hinge.times, settings.baseline)
        case "pareto":
            return Pareto(mean)


def _weights(settings: ObjectiveSettings, evaluation_sets: Sequence[str]) -> dict[str, float]:
    """Of each evaluation set in the mean: its own, or its part of its family's."""
    if settings.families is None:
        return settings.weights or dict.fromkeys(evaluation_sets, 1.0)
    families = settings.families.values()
    return {metric: family.weight / len(family.metrics) for family in families for metric in family.metrics}
