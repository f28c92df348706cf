"""What `mixopt fit` does: from a table of finished runs to validated surrogates and a mixture, as plain data.

    read --> question (target, metrics, objective, space) --> fit and cross-validate each surrogate --> recommend
                                                                     score on the holdout <--- |

Shapes: N runs, D domains, M metrics.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from mixopt import holdout as holdouts
from mixopt import run_table, space_file
from mixopt.errors import ConfigError
from search.designs.baselines import baselines
from search.errors import SearchError
from search.evidence import Evidence
from search.mixture import FloatArray, Mixture
from search.objective import NoWorse, Objective, Pareto, WeightedMean, WorstCase
from search.problem import REFERENCE, Problem, Rung
from search.recommend import Predictor, recommend_by, recommend_observed
from search.runs import BoolArray, Runs
from search.space import DomainLimits, Group, Space
from search.surrogates import DEFAULT, SURROGATES
from search.surrogates.loss_model import LossModel
from search.trust import TrustRegion
from search.validation import FEWEST_RUNS, cross_validate

OBJECTIVES: Mapping[str, Callable[[WeightedMean], Objective]] = {
    "mean": lambda mean: mean,
    "standardized": lambda mean: mean,  # of metrics divided by their spreads
    "worst": lambda mean: WorstCase(mean.metrics, maximised=mean.maximised),
    "no-worse": lambda mean: NoWorse(mean, allowance=0.0),
    "pareto": Pareto,
}
# A mean of metrics whose spreads differ by more is decided by few of them.
UNEVEN = 10.0
# Where only shares are known, they stand for supplies of so many tokens in all.
SUPPLY = 10**12

# Told how many surrogates are done, of how many.
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Wish:
    """What a user asks for; None and () leave the choice to the runs.

    Attributes:
        target: the fidelity that predictions are for. Default: the dearest that runs and holdout share.
        surrogates: the first that can be fitted gives the mixture. Default: all.
    """

    runs: Path
    holdout: Path | None = None
    metrics: tuple[str, ...] = ()
    objective: str = "mean"
    maximize: tuple[str, ...] = ()
    minimize: tuple[str, ...] = ()
    space: Path | None = None
    target: str | None = None
    surrogates: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ConfigError(
                f"objective {self.objective!r} does not exist", hint=f"choose from {', '.join(OBJECTIVES)}"
            )
        if unknown := [name for name in self.surrogates if name not in set(SURROGATES)]:
            raise ConfigError(f"surrogate {unknown[0]!r} does not exist", hint=f"choose from {', '.join(SURROGATES)}")


@dataclass(frozen=True)
class Question:
    """What the tables and the wish amount to.

    Attributes:
        runs: those to fit; their metrics are the objective's, in its order.
        holdout: those to score, of one fidelity, or None.
        natural_is: where the mixture that answers are compared with comes from.
    """

    problem: Problem
    runs: Runs
    holdout: Runs | None
    natural_is: str
    notes: tuple[str, ...]


def fit(wish: Wish, on_step: OnStep) -> dict[str, Any]:
    """The JSON document of `mixopt fit`; a number that is not defined is None.

    Raises:
        ConfigError, SearchError: a table or an option is wrong, or nothing can be said.
    """
    question = ask(wish)
    problem, runs = question.problem, question.runs
    names = wish.surrogates or (DEFAULT, *(name for name in SURROGATES if name != DEFAULT))
    predictors, skipped = _predictors(names, question, on_step)
    chosen = next(iter(predictors.values()), None)
    if chosen is None:
        if problem.objective.baseline is not None:
            raise ConfigError(
                f"objective {wish.objective} needs predictions, and {names[0]} gives none: {skipped[names[0]]}",
                hint="add runs, or choose --objective mean",
            )
        why = f"no surrogate could be fitted: {skipped[names[0]]}"
        recommendation = recommend_observed(problem, Evidence(runs, problem.objective), why)
    else:
        why = _why(chosen)
        recommendation = recommend_by(chosen)
    notes = [*question.notes, *recommendation.warnings]
    if problem.objective.baseline is not None:
        notes.append(
            f"the {problem.objective.baseline} mixture, which the objective compares with, is predicted, not run"
        )
    return {
        "runs": {fidelity.proxy: int(runs.at(level).sum()) for level, fidelity in enumerate(runs.fidelities)},
        "target": runs.target.proxy,
        "objective": {
            "kind": wish.objective,
            "name": _name(wish.objective, problem.objective),
            "metrics": list(runs.metrics),
            "maximised": sorted(problem.objective.maximised),
        },
        "default": chosen and chosen.name,
        "trusted": chosen is not None and chosen.validation.trustworthy,
        "why": why,
        "surrogates": {
            name: {"cross_validation": predictors[name].validation.as_dict()}
            if name in predictors
            else {"skipped": skipped[name]}
            for name in names
        },
        "holdout": {name: holdouts.scores(each, question.holdout) for name, each in predictors.items()}
        if question.holdout is not None
        else {},
        "recommendation": recommendation.as_dict(),
        "natural": {
            "is": question.natural_is,
            "mixture": problem.baselines[REFERENCE].as_dict(),
            "predicted": chosen and _expected(chosen, problem.baselines[REFERENCE]),
        },
        "predictions": _predictions(chosen, question.holdout) if chosen else None,
        "notes": notes,
        "files": [],
    }


def save(document: dict[str, Any], directory: Path) -> None:
    """Write the mixture and the plots, and name the files in the document."""
    from mixopt.files import write_text
    from mixopt.plots import draw

    directory.mkdir(parents=True, exist_ok=True)
    mixture = directory / "mixture.json"
    write_text(mixture, json.dumps(document["recommendation"]["mixture"], indent=2) + "\n")
    document["files"] = [str(path) for path in (mixture, *draw(document, directory))]


def ask(wish: Wish) -> Question:
    """
    Raises:
        ConfigError, SearchError: a table or an option is wrong.
    """
    table, table_notes = run_table.read(wish.runs)
    notes = list(table_notes)
    runs = table.of(*dict.fromkeys(wish.metrics or table.metrics))
    held_out = None
    if wish.holdout is not None:
        held_out, holdout_notes = holdouts.read(wish.holdout, runs)
        notes += holdout_notes
    measured_N: BoolArray = np.logical_or.reduce(np.isfinite(runs.values_NM), axis=1)
    if not measured_N.all():
        notes.append(f"{(~measured_N).sum()} runs measured none of these metrics and are left out")
        runs = runs.select(measured_N)
    runs = runs.targeting(wish.target or _dearest(runs, held_out))
    mean = mean_of(wish, runs, notes)
    objective, runs = OBJECTIVES[wish.objective](mean), runs.of(*mean.metrics)
    space, natural_is = _space(wish.space, runs, notes)
    if held_out is not None:
        held_out, holdout_notes = holdouts.to_score(held_out.of(*mean.metrics), runs)
        notes += holdout_notes
        if objective.baseline is not None and held_out.target.proxy != runs.target.proxy:
            raise ConfigError(
                f"objective {wish.objective} compares with the {objective.baseline} mixture at {runs.target.proxy}, "
                f"and the holdout was measured at {held_out.target.proxy}",
                hint=f"give a holdout at {runs.target.proxy}, or another --objective",
            )
    compared = baselines(space, (REFERENCE, "uniform"))
    notes += [f"the {each.name} mixture is moved into the limits: {each.broken[0]}" for each in compared if each.broken]
    problem = Problem(
        space=space,
        rungs=tuple(Rung(fidelity, int(runs.at(level).sum())) for level, fidelity in enumerate(runs.fidelities)),
        objective=objective,
        baselines={each.name: each.mixture for each in compared},
        seed=wish.seed,
    )
    return Question(problem, runs, held_out, natural_is, tuple(notes))


def _dearest(runs: Runs, held_out: Runs | None) -> str:
    """The most expensive fidelity with a run, if possible one that the holdout has too."""
    names = [fidelity.proxy for level, fidelity in enumerate(runs.fidelities) if runs.at(level).any()]
    others = names if held_out is None else [fidelity.proxy for fidelity in held_out.fidelities]
    return [name for name in names if name in others or not set(names) & set(others)][-1]


def mean_of(wish: Wish, runs: Runs, notes: list[str]) -> WeightedMean:
    """Every metric that varies, in the direction that is better."""
    maximised, direction_notes = run_table.directions(runs, wish.maximize, wish.minimize)
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
    widest, narrowest = max(varied, key=varied.__getitem__), min(varied, key=varied.__getitem__)
    ratio = varied[widest] / varied[narrowest]
    if wish.objective != "standardized" and ratio > UNEVEN:
        notes.append(
            f"metric {widest} varies {ratio:.0f} times as much as {narrowest}, and counts for so much more: "
            "--objective standardized makes them equal"
        )
    weights = {name: 1 / spread if wish.objective == "standardized" else 1.0 for name, spread in varied.items()}
    return WeightedMean(weights, maximised=maximised & frozenset(varied))


def _spread_M(runs: Runs) -> FloatArray:
    """Standard deviation of each metric about the means of the fidelities, [M]; 0 for a metric that does not vary."""
    deviation_NM = runs.values_NM.copy()
    for level in np.unique(runs.level_N):
        here_N = runs.at(level)
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


def _space(path: Path | None, runs: Runs, notes: list[str]) -> tuple[Space, str]:
    """The mixtures that may be the answer, and in words what its natural mixture is."""
    file = None if path is None else space_file.read(path, runs.domains)
    counted = {} if file is None else {name: each.tokens for name, each in file.domains.items() if each.tokens}
    if len(counted) == len(runs.domains):
        tokens, natural_is = counted, f"the shares of the tokens in {path}"
    else:
        mean_D = runs.weights_ND.mean(axis=0)
        tokens = {name: max(round(share * SUPPLY), 1) for name, share in zip(runs.domains, mean_D, strict=True)}
        natural_is = "the mean mixture of the runs, for no --space gives the tokens of every domain"
        if file is not None and file.target.tokens is not None:
            missing = next(name for name in runs.domains if name not in counted)
            raise ConfigError(
                f"{path}: target.tokens limits shares by supply, and domains.{missing}.tokens is not given",
                hint="give the tokens of every domain, or remove target.tokens",
            )
    limits = []
    for name, weights_N in zip(runs.domains, runs.weights_ND.T, strict=True):
        least, most = (0.0, 1.0) if file is None else file.domains[name].bounds
        if not weights_N.any():
            notes.append(f"domain {name} has no share in any run, so nothing is known of it: it is kept at {least:g}")
            most = least
        limits.append(DomainLimits(name, tokens[name], least, most))
    if file is None:
        return Space(tuple(limits)), natural_is
    groups = tuple(Group(name, tuple(each.domains), each.min, each.max) for name, each in file.groups.items())
    return Space(tuple(limits), groups, file.target.tokens, file.target.max_epochs), natural_is


def _predictors(
    names: Sequence[str], question: Question, on_step: OnStep
) -> tuple[dict[str, Predictor], dict[str, str]]:
    """The surrogates that could be fitted and cross-validated, and why the others could not."""
    problem, runs = question.problem, question.runs
    mixtures = len(np.unique(runs.mixture_N))
    if mixtures < FEWEST_RUNS:
        reason = f"{mixtures} mixtures are too few for a regression, {FEWEST_RUNS} the least"
        return {}, dict.fromkeys(names, reason)
    predictors, skipped = {}, {}
    baseline_M = None
    for done, name in enumerate(names):
        on_step(done, len(names))
        try:
            model = LossModel.fit(SURROGATES[name], problem.seed, runs)
            if problem.objective.baseline is not None and baseline_M is None:
                # Few tables hold a run of the very mixture, and the noise of one would be in every comparison.
                baseline_M = model.mean(problem.baselines[problem.objective.baseline].array[None])[0]
            evidence = Evidence(runs, problem.objective, baseline_M)
            validation = cross_validate(model, problem.seed, evidence)
        except SearchError as error:
            skipped[name] = error.message
        else:
            predictors[name] = Predictor(problem, evidence, name, model, validation, TrustRegion())
    on_step(len(names), len(names))
    return predictors, skipped


def _name(kind: str, objective: Objective) -> str:
    """The objective for a reader; lower is better."""
    if kind != "mean" or len(objective.metrics) > 1:
        return f"{kind} of {len(objective.metrics)} metrics"
    [metric] = objective.metrics
    return f"-{metric}" if metric in objective.maximised else metric


def _why(chosen: Predictor) -> str:
    validation, target = chosen.validation, chosen.problem.target.proxy
    correlation = validation.objective.spearman
    shown = "no" if correlation is None else f"{correlation:.3f}"
    where = f"{validation.runs} runs" + (f" at {target}" if validation.at_target >= FEWEST_RUNS else "")
    evidence = f"its rank correlation with {where} that it was not fitted to is {shown}"
    if validation.trustworthy:
        return f"{chosen.name} is trusted: {evidence}"
    if validation.at_target < FEWEST_RUNS:
        evidence += f", and only {validation.at_target} runs at {target} show how far the others rank as it does"
    return f"{chosen.name} is not trusted: {evidence}, no better than chance"


def _expected(predictor: Predictor, mixture: Mixture) -> dict[str, float]:
    """The objective of a new run of a mixture, with its 95% interval."""
    mean, sd, *_ = predictor.expect(mixture)
    reach = NormalDist().inv_cdf(0.975) * sd
    return {"mean": mean, "lower": mean - reach, "upper": mean + reach}


def _predictions(predictor: Predictor, holdout: Runs | None) -> dict[str, Any]:
    """Measured and predicted objective of runs at one fidelity that the predicting surrogate was not fitted to."""
    objective, baseline_M = predictor.problem.objective, predictor.evidence.baseline_M
    if holdout is not None:
        kind, runs = "holdout", holdout
        predicted_NM = predictor.model.mean(runs.weights_ND)
    else:
        everything, residual_NM = predictor.evidence.runs, predictor.validation.residual_NM
        kind, runs = "cross-validation", everything.select(everything.at_target_N)
        if len(residual_NM) == len(everything):
            residual_NM = residual_NM[everything.at_target_N]
        predicted_NM = runs.values_NM - residual_NM
    measured_N = objective.value(runs.values_NM[runs.complete_N], baseline_M)
    return {
        "of": kind,
        "fidelity": runs.target.proxy,
        "measured": measured_N.tolist(),
        "predicted": objective.value(predicted_NM[runs.complete_N], baseline_M).tolist(),
    }
