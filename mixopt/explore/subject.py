"""What is explored: a study, or a table of finished runs, with the predictor that its answer rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mixopt.base.errors import ConfigError
from mixopt.results.answer import Answer, Outcome
from mixopt.runs import surrogates as surrogate_fits
from mixopt.runs.fit import answering, surrogates_to_fit
from mixopt.runs.objective import name_of
from mixopt.runs.problem import MEAN_MIXTURE, pose
from mixopt.runs.request import FitRequest
from mixopt.runs.surrogates import OnStep
from mixopt.settings.schema import StudyFile
from mixopt.study.budget import spent_budget
from mixopt.study.clock import Seconds
from mixopt.study.planning import plan_as_measured
from mixopt.study.record import not_prepared, read_record
from mixopt.study.refit import refit
from search.designs.baselines import EPOCHS
from search.errors import TooFewMixtures
from search.mixture import Mixture
from search.objective import UNITS
from search.problem import PROPORTIONAL, Problem
from search.randomness import generator
from search.recommendation.predictor import Predictor
from search.recommendation.recommend import recommend_by
from search.recommendation.recommendation import Recommendation
from search.space import DomainLimits, Space
from tracking import keys

ANSWER = "answer"
# What stands for the proportional mixture where nobody knows how many tokens there are.
MEAN = "the mean of the runs"


@dataclass(frozen=True, eq=False)
class Subject:
    """
    Attributes:
        name: the study's, or the table's.
        objective: what is predicted, in words; lower is better.
        unit: its unit; "" where a table does not say.
        mixtures: to begin with, by name, the answer first.
        notes: what a careful reader wants to know.
        supply: tokens that there are of each domain; of none where a table, or the limits beside it, do not say.
        study: its file; None for a table.
        answer: the study's, where it has one.
        natural: what the mixture is called that all are compared with: of a table that does not say how many tokens
            there are it is another.
    """

    name: str
    objective: str
    unit: str
    predictor: Predictor
    mixtures: Mapping[str, Mixture]
    notes: tuple[str, ...]
    supply: Mapping[str, int]
    study: StudyFile | None = None
    answer: Answer | None = None
    natural: str = PROPORTIONAL

    @property
    def problem(self) -> Problem:
        return self.predictor.problem

    @property
    def space(self) -> Space:
        return self.problem.space

    @property
    def domains(self) -> tuple[str, ...]:
        return self.space.domains

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.problem.objective.metrics

    @property
    def proportional(self) -> Mixture:
        return self.problem.baselines[PROPORTIONAL]

    def confirmed(self, mixture: Mixture) -> Outcome | None:
        """What was measured of a mixture when the study's answer was confirmed; None where it was not."""
        confirmation = None if self.answer is None else self.answer.confirmation
        outcomes = () if confirmation is None else confirmation.outcomes
        return next((each for each in outcomes if Mixture.of(each.mixture).same_as(mixture)), None)

    @property
    def most_epochs(self) -> dict[str, float]:
        """How often a run may read each domain."""
        most = {each.name: self.space.max_epochs_of(each) for each in self.space.limits}
        return {name: EPOCHS if epochs is None else epochs for name, epochs in most.items()}

    @cached_property
    def unlimited(self) -> Space:
        """All mixtures of the domains, whatever the limits."""
        return Space(tuple(DomainLimits(each.name, each.tokens) for each in self.space.limits))

    @cached_property
    def possible_ND(self) -> Float[np.ndarray, "N D"]:
        """Mixtures from all over what the search trusts."""
        return self.predictor.trusted.everywhere(generator(self.problem.seed, "explore"))

    @cached_property
    def possible_NM(self) -> Float[np.ndarray, "N M"]:
        """What is predicted of them."""
        return self.predictor.model.mean(self.possible_ND)


def of_runs(request: FitRequest, on_step: OnStep) -> Subject:
    """A table of finished runs, fitted as `mixopt fit` fits it.

    Raises:
        ConfigError, SearchError: the table or an option is wrong, or no surrogate could be fitted.
    """
    posed = pose(request)
    names, _ = surrogates_to_fit(request, posed)
    predictors, skipped = surrogate_fits.fit_all(names, posed.problem, posed.runs, on_step)
    if not predictors:
        raise ConfigError(
            f"{request.runs}: nothing can be predicted: {next(iter(skipped.values()))}",
            hint="add runs of other mixtures, or leave out metrics that few of them measured",
        )
    predictor = answering(request, posed, predictors)
    found = recommend_by(predictor)
    natural = MEAN if posed.natural_is == MEAN_MIXTURE else PROPORTIONAL
    return Subject(
        name=Path(str(request.runs)).name,
        objective=name_of(request.objective, posed.problem.objective),
        unit="",
        predictor=predictor,
        mixtures=_mixtures(found.mixture, found, posed.problem, natural),
        notes=(surrogate_fits.why(predictor, predictors), *posed.notes),
        supply={} if natural == MEAN else _tokens(posed.problem.space),
        natural=natural,
    )


def of_study(file: StudyFile) -> Subject:
    """A study that has run, or runs, with the surrogate of its answer fitted again.

    Raises:
        ConfigError, SearchError: it has not run far enough, or predicts nothing.
        TrackingError: its record cannot be read, or its pools are no longer those that were measured.
    """
    record = read_record(file, apart_from="inventory")
    plan = plan_as_measured(file, record)
    if plan is None:
        raise not_prepared(file, "explore it where it ran")
    history = record.history.without_running()
    recorded = record.written.get(keys.ANSWER)
    answer = None if recorded is None else Answer.read(recorded)
    try:
        predictor = refit(plan, history, None if answer is None else answer.recommendation.method)
    except TooFewMixtures as error:
        spent = spent_budget(plan, history, Seconds.recorded(record.tags).search)
        go_on = (
            f"go on with: {file.goes_on_by}"
            if spent is None
            else f"raise {spent} in {file.file}, then {file.goes_on_by}"
        )
        raise ConfigError(f"nothing can be predicted yet: {error.message}", hint=go_on) from error
    found = recommend_by(predictor)
    chosen = found.mixture if answer is None else Mixture.of(answer.mixture)
    return Subject(
        name=file.study,
        objective=f"{file.objective.kind} of {len(plan.problem.objective.metrics)} losses",
        unit=UNITS[plan.problem.objective.unit],
        predictor=predictor,
        mixtures=_mixtures(chosen, found, plan.problem),
        notes=(f"{predictor.name}, fitted to {len(predictor.evidence.runs)} measurements", *found.warnings),
        supply=_tokens(plan.problem.space),
        study=file,
        answer=answer,
    )


def _tokens(space: Space) -> dict[str, int]:
    return {each.name: each.tokens for each in space.limits}


def _mixtures(
    answer: Mixture, found: Recommendation, problem: Problem, natural: str = PROPORTIONAL
) -> dict[str, Mixture]:
    """What to begin with, each mixture once, in the order of the space's domains."""
    named = {ANSWER: answer}
    named |= {each.label: each.mixture for each in found.candidates}
    baselines = {natural if name == PROPORTIONAL else name: each for name, each in problem.baselines.items()}
    named |= baselines
    named |= {f"front {number}": point.mixture for number, point in enumerate(found.front, start=1)}
    kept: dict[str, Mixture] = {}
    for name, mixture in named.items():
        ordered = mixture.reordered(problem.space.domains)
        if name in baselines or not any(ordered.same_as(other) for other in kept.values()):
            kept[name] = ordered
    return kept


def trained_range(subject: Subject) -> Sequence[tuple[float, float]]:
    """The least and the largest share of each domain that was trained."""
    trained_ND = subject.predictor.evidence.runs.weights_ND
    return list(zip(trained_ND.min(axis=0).tolist(), trained_ND.max(axis=0).tolist(), strict=True))
