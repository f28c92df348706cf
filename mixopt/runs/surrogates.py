"""Every surrogate fitted and cross-validated, side by side, and the one that the answer rests on.

Shapes: N runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from typing import Any, TypeVar

import numpy as np
from joblib import cpu_count

from mixopt.base.errors import ConfigError
from proxies.processes import process_pool
from search.errors import SearchError
from search.evidence import Evidence
from search.mixture import FloatArray
from search.problem import Problem
from search.recommendation.predictor import Predictor
from search.recommendation.validation import FEWEST_RUNS, Validation, cross_validate
from search.runs import Runs
from search.surrogates import SURROGATES
from search.surrogates.base import Fitted
from search.surrogates.loss_model import LossModel, fit_metric
from search.trust_region import TrustRegion

# Another surrogate takes the default's place where, over at least so many held-out runs of the target, its mean squared
# error is smaller by this share, and by so many standard errors of the paired differences. With less, the choice would
# be the noise's; and the best at one scale is often not the best at another.
RUNS_TO_REPLACE = 50
SHARE_TO_REPLACE = 0.2
ERRORS_TO_REPLACE = 3.0

Key = TypeVar("Key")
Result = TypeVar("Result")

# Told how many steps are done, of how many.
OnStep = Callable[[int, int], None]


def fit_all(
    names: Sequence[str], problem: Problem, runs: Runs, on_step: OnStep
) -> tuple[dict[str, Predictor], dict[str, str]]:
    """The surrogates that could be fitted and cross-validated, in the order of the names; and why others could not.

    Raises:
        ConfigError: a process was killed.
    """
    mixtures = len(np.unique(runs.mixture_N))
    if mixtures < FEWEST_RUNS:
        reason = f"{mixtures} mixtures are too few for a regression, {FEWEST_RUNS} the least"
        return {}, dict.fromkeys(names, reason)
    metrics = runs.metrics
    done, total = 0, 2 * len(names) * len(metrics)

    def advance(steps: int) -> None:
        nonlocal done
        done += steps
        on_step(done, total)

    advance(0)
    processes = cpu_count() if len(names) > 1 else 1
    with process_pool(processes, threads=1) if processes > 1 else nullcontext() as pool:
        fits = _call(
            pool,
            _fit,
            {(name, metric): (name, problem.seed, runs, metric) for name in names for metric in metrics},
            lambda: advance(1),
        )
        models: dict[str, LossModel] = {}
        skipped: dict[str, str] = {}
        for name in names:
            parts = [fits[name, metric] for metric in metrics]
            if reasons := [part for part in parts if isinstance(part, str)]:
                skipped[name] = reasons[0]
                advance(len(metrics))
            else:
                fitted = tuple(part for part in parts if isinstance(part, Fitted))
                models[name] = LossModel(SURROGATES[name](problem.seed), runs, fitted)
        evidence = Evidence(runs, problem.objective, _baseline(problem, models))
        validations = _call(
            pool,
            _validate,
            {name: (model, evidence) for name, model in models.items()},
            lambda: advance(len(metrics)),
        )
    predictors = {}
    for (name, model), validation in zip(models.items(), validations.values(), strict=True):
        if isinstance(validation, str):
            skipped[name] = validation
        else:
            predictors[name] = Predictor(problem, evidence, name, model, validation, TrustRegion())
    return predictors, skipped


def _call(
    pool: Executor | None,
    function: Callable[..., Result],
    tasks: Mapping[Key, tuple[Any, ...]],
    on_done: Callable[[], None],
) -> dict[Key, Result]:
    """`function(*arguments)` of every task, in their order; in the pool whichever was done first, else one by one."""
    if pool is None:
        results = {}
        for key, arguments in tasks.items():
            results[key] = function(*arguments)
            on_done()
        return results
    try:
        futures = {key: pool.submit(function, *arguments) for key, arguments in tasks.items()}
        for future in as_completed(futures.values()):
            future.result()
            on_done()
    except BrokenProcessPool as error:
        raise ConfigError(
            "a process that fits surrogates was killed",
            hint="most likely memory ran out: compare fewer surrogates at a time",
        ) from error
    return {key: future.result() for key, future in futures.items()}


def _fit(name: str, seed: int, runs: Runs, metric: str) -> Fitted[Any] | str:
    """The surrogate fitted to a metric, or why the runs are no basis for it."""
    try:
        return fit_metric(SURROGATES[name](seed), runs, metric)
    except SearchError as error:
        return error.message


def _validate(model: LossModel, evidence: Evidence) -> Validation | str:
    try:
        return cross_validate(model, evidence)
    except SearchError as error:
        return error.message


def _baseline(problem: Problem, models: Mapping[str, LossModel]) -> FloatArray | None:
    """The metrics of the objective's baseline as the first model predicts them, [M]: one measure for all models.

    Few tables hold a run of the very mixture, and the noise of one would be in every comparison.
    """
    if problem.objective.baseline is None or not models:
        return None
    baseline_1D = problem.baselines[problem.objective.baseline].array[None]
    [baseline_M] = next(iter(models.values())).mean(baseline_1D)
    return np.asarray(baseline_M)


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
