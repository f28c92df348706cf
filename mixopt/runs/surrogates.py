"""Every surrogate fitted and cross-validated, side by side, and the one that the answer rests on.

Shapes: N runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from mixopt.runs.work import Work, processes_for
from search.errors import SearchError
from search.evidence import Evidence
from search.mixture import FloatArray
from search.problem import Problem
from search.recommendation.predictor import Predictor, predicted_baseline
from search.recommendation.validation import FEWEST_RUNS, cross_validate
from search.runs import Runs
from search.surrogates import SURROGATES
from search.surrogates.base import Fitted, Prediction
from search.surrogates.loss_model import LossModel, begin_metric, finish_metric
from search.trust_region import TrustRegion

# Another surrogate takes the default's place where, over at least so many held-out runs of the target, its mean squared
# error is smaller by this share, and by so many standard errors of the paired differences. With less, the choice would
# be the noise's; and the best at one scale is often not the best at another.
RUNS_TO_REPLACE = 50
SHARE_TO_REPLACE = 0.2
ERRORS_TO_REPLACE = 3.0

# Told how many steps are done, of how many.
OnStep = Callable[[int, int], None]
# Told what the first surrogate knows, and the evidence that it was fitted to.
OnFirst = Callable[[LossModel, Evidence], None]


def fit_all(
    names: Sequence[str],
    problem: Problem,
    runs: Runs,
    on_step: OnStep,
    on_first: OnFirst = lambda _model, _evidence: None,
) -> tuple[dict[str, Predictor], dict[str, str]]:
    """The surrogates that could be fitted and cross-validated, in the order of the names; and why others could not.

    Args:
        on_first: told what the first of them knows before it is validated.

    Raises:
        ConfigError: a process was killed.
    """
    mixtures = len(np.unique(runs.mixture_N))
    if mixtures < FEWEST_RUNS:
        reason = f"{mixtures} mixtures are too few for a regression, {FEWEST_RUNS} the least"
        return {}, dict.fromkeys(names, reason)
    metrics, seed = runs.metrics, problem.seed
    done, total = 0, 2 * len(names) * len(metrics)
    begun: dict[tuple[str, str], Fitted[Any]] = {}
    fits: dict[tuple[str, str], tuple[Fitted[Any], Prediction | None]] = {}
    reasons: dict[tuple[str, str], str] = {}
    on_step(done, total)
    with processes_for(total) as pool:
        work = Work[tuple[str, str]](pool, "compare fewer surrogates at a time")
        for name, metric in product(names, metrics):
            work.add((name, metric), _begin, name, seed, runs, metric)
        for (name, metric), found in work.results():
            done += 1
            if isinstance(found, str):
                reasons[name, metric] = found
                done += 1
            elif isinstance(found, Fitted):
                begun[name, metric] = found
                work.add((name, metric), _finish, name, seed, runs, metric, found)
                if name == names[0] and all((name, each) in begun for each in metrics):
                    model = LossModel(SURROGATES[name](seed), runs, tuple(begun[name, each] for each in metrics))
                    on_first(model, _evidence(problem, model))
            else:
                fits[name, metric] = found
            on_step(done, total)
    models: dict[str, LossModel] = {}
    skipped: dict[str, str] = {}
    for name in names:
        if why_not := [reasons[name, metric] for metric in metrics if (name, metric) in reasons]:
            skipped[name] = why_not[0]
            continue
        fitted, out_of_fold = zip(*(fits[name, metric] for metric in metrics), strict=True)
        models[name] = LossModel(SURROGATES[name](seed), runs, fitted, out_of_fold)
    predictors = {}
    for name, model in models.items():
        # One measure for all: where the objective has a baseline, as the first model predicts it.
        evidence = _evidence(problem, next(iter(models.values())).at_runs())
        try:
            validation = cross_validate(model, evidence)
        except SearchError as error:
            skipped[name] = error.message
        else:
            if model.beyond_runs:
                evidence = _evidence(problem, model)
            predictors[name] = Predictor(problem, evidence, name, model, validation, TrustRegion())
    return predictors, skipped


def _begin(name: str, seed: int, runs: Runs, metric: str) -> Fitted[Any] | str:
    """The surrogate fitted to a metric, nothing held out, or why the runs are no basis for it."""
    try:
        return begin_metric(SURROGATES[name](seed), runs, metric)
    except SearchError as error:
        return error.message


def _finish(name: str, seed: int, runs: Runs, metric: str, begun: Fitted[Any]) -> tuple[Fitted[Any], Prediction | None]:
    return finish_metric(SURROGATES[name](seed), runs, metric, begun)


def _evidence(problem: Problem, model: LossModel) -> Evidence:
    """Judged by the baseline as it is predicted: few tables hold a run of the very mixture, and it would be one run."""
    return Evidence(model.runs, problem.objective, predicted_baseline(problem, model))


def choose(predictors: Mapping[str, Predictor]) -> Predictor:
    """The first, or the best of those that predict the target's runs clearly better."""
    first = next(iter(predictors.values()))
    better = [other for other in predictors.values() if _clearly_better(other, first)]
    return min(better, key=lambda each: each.validation.objective.rmse, default=first)


def _clearly_better(one: Predictor, other: Predictor) -> bool:
    squares_2N = []
    for predictor in (one, other):
        measured_N, predicted_N = held_out(predictor)
        squares_2N.append((measured_N - predicted_N) ** 2)
    gain_N = squares_2N[1] - squares_2N[0]
    runs = len(gain_N)
    if runs < RUNS_TO_REPLACE:
        return False
    least = max(SHARE_TO_REPLACE * squares_2N[1].mean(), ERRORS_TO_REPLACE * gain_N.std(ddof=1) / np.sqrt(runs))
    return bool(gain_N.mean() > least)


def held_out(predictor: Predictor) -> tuple[FloatArray, FloatArray]:
    """Measured and cross-validated objective of the runs that were held out at the target, twice [N]."""
    runs, validation = predictor.evidence.runs, predictor.validation
    scored_N = runs.at_target_N & runs.complete_N & np.isfinite(validation.residual_NM).all(axis=1)
    objective, baseline_M = predictor.problem.objective, predictor.evidence.baseline_M
    values_NM, residual_NM = runs.values_NM[scored_N], validation.residual_NM[scored_N]
    return objective.value(values_NM, baseline_M), objective.value(values_NM - residual_NM, baseline_M)


def why(chosen: Predictor, predictors: Mapping[str, Predictor]) -> str:
    """In one sentence, whether the surrogate is trusted, and how it compares with the others."""
    validation, target = chosen.validation, chosen.problem.target.proxy
    at_target = validation.at_target >= FEWEST_RUNS and len(chosen.problem.rungs) > 1
    where = f"{validation.runs} runs" + (f" at {target}" if at_target else "")
    evidence = f"its rank correlation with {where} that it was not fitted to is {_shown(chosen)}"
    if not validation.trustworthy:
        if validation.at_target >= FEWEST_RUNS:
            return f"{chosen.name} is not trusted: {evidence}, no better than chance"
        return (
            f"{chosen.name} is not trusted: {evidence}, and only {validation.at_target} runs at {target} show how far "
            "the others rank as it does"
        )
    first = next(iter(predictors.values()))
    others = [each for each in predictors.values() if each is not chosen]
    if chosen is not first:
        return (
            f"{chosen.name} is trusted: {evidence}, and its rmse of {validation.objective.rmse:.4g} is clearly below "
            f"the {first.validation.objective.rmse:.4g} of {first.name}"
        )
    if not others:
        return f"{chosen.name} is trusted: {evidence}"
    runner_up = max(others, key=_correlation)
    doubt = f", which over {len(held_out(chosen)[0])} runs at {target} is not clearly better"
    return (
        f"{chosen.name} is trusted: {evidence}; the best of the others, {runner_up.name}, has {_shown(runner_up)}"
        + (doubt if _correlation(runner_up) > _correlation(chosen) else "")
    )


def _correlation(predictor: Predictor) -> float:
    return predictor.validation.objective.spearman or 0.0


def _shown(predictor: Predictor) -> str:
    correlation = predictor.validation.objective.spearman
    return "undefined" if correlation is None else f"{correlation:.3f}"
