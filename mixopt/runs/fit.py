"""What `mixopt fit` does: from a table of finished runs to validated surrogates and a mixture, as plain data.

    read --> question (target, metrics, objective, space) --> fit and cross-validate surrogates --> recommend
                                                                  score on the holdout <--- |

Shapes: N runs, D domains, M metrics.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.runs import holdout as holdouts
from mixopt.runs import surrogates as surrogate_fits
from mixopt.runs import table as run_table
from mixopt.runs.directions import directions
from mixopt.runs.domains import over_domains_of_now
from mixopt.runs.surrogates import OnStep
from mixopt.runs.table import Source, measured
from mixopt.settings.space import SpaceFile, check_domains
from search.designs.baselines import baselines
from search.evidence import Evidence
from search.fidelity import Fidelity
from search.mixture import FloatArray, Mixture
from search.objective import NoWorse, Objective, Pareto, WeightedMean, WorstCase
from search.problem import REFERENCE, Problem, Rung
from search.recommendation.recommend import Estimate, Predictor, recommend_by, recommend_observed
from search.reuse import Changes
from search.runs import Runs
from search.space import TOLERANCE, DomainLimits, Space
from search.surrogates import DEFAULT, SURROGATES

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
# A target of so many times the parameters or the cost of the dearest runs is far, and FAR_DEFAULT ranks best there.
FAR = 100
FAR_DEFAULT = "far_blend"


@dataclass(frozen=True)
class Wish:
    """What a user asks for; None and () leave the choice to the runs.

    Attributes:
        target: the fidelity that the mixture is for. Default: the dearest that runs and holdout share, or the dearest
            of both.
        surrogates: the first that can be fitted gives the mixture. Default: all that the runs are made for.
        changes: what became of domains of the runs that the space has not.
    """

    runs: Source
    holdout: Source | None = None
    metrics: tuple[str, ...] = ()
    objective: str = "mean"
    maximize: tuple[str, ...] = ()
    minimize: tuple[str, ...] = ()
    space: SpaceFile | None = None
    target: str | None = None
    surrogates: tuple[str, ...] = ()
    changes: Changes = field(default_factory=Changes)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ConfigError(
                f"objective {self.objective!r} does not exist", hint=f"choose from {', '.join(OBJECTIVES)}"
            )
        if unknown := [name for name in self.surrogates if name not in set(SURROGATES)]:
            raise ConfigError(f"surrogate {unknown[0]!r} does not exist", hint=f"choose from {', '.join(SURROGATES)}")
        if self.changes != Changes() and self.space is None:
            raise ConfigError(
                "domains that were renamed or split need --space",
                hint="name today's domains and their tokens in it: domains: {web: {tokens: 6B}, ...}",
            )


@dataclass(frozen=True)
class Question:
    """What the tables and the wish amount to.

    Attributes:
        runs: those to fit; their metrics are the objective's, in its order, and their target is the fidelity that
            predictions are in the units of.
        wanted: the fidelity that the mixture is for; the runs' target, unless it has no run.
        holdout: those to score, of one fidelity, or None.
        natural_is: where the mixture that answers are compared with comes from.
    """

    problem: Problem
    runs: Runs
    wanted: Fidelity
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
    names, left_out = _surrogates(wish, question)
    predictors, unfitted = surrogate_fits.fit_all(names, problem, runs, on_step)
    skipped = unfitted | left_out
    if predictors:
        # What is best at the scale of the runs says little of another.
        fixed = wish.surrogates or question.wanted.proxy != runs.target.proxy
        chosen = next(iter(predictors.values())) if fixed else surrogate_fits.choose(predictors)
        why = surrogate_fits.why(chosen, predictors)
        if not chosen.validation.trustworthy:
            _check_limits(wish, problem.space, runs, why)
        recommendation = recommend_by(chosen)
    elif problem.objective.baseline is not None:
        raise ConfigError(
            f"objective {wish.objective} needs predictions, and {names[0]} gives none: {skipped[names[0]]}",
            hint="add runs, or choose --objective mean",
        )
    else:
        chosen = None
        why = f"no surrogate could be fitted: {skipped[names[0]]}"
        _check_limits(wish, problem.space, runs, why)
        recommendation = recommend_observed(problem, Evidence(runs, problem.objective), why)
    notes = [*question.notes, *(warning for warning in recommendation.warnings if warning != why)]
    if problem.objective.baseline is not None:
        notes.append(
            f"the {problem.objective.baseline} mixture, which the objective compares with, is predicted, not run"
        )
    return {
        "runs": {fidelity.proxy: int(runs.at(level).sum()) for level, fidelity in enumerate(runs.fidelities)},
        "target": question.wanted.proxy,
        "predicted_at": runs.target.proxy,
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
            **{name: {"cross_validation": each.validation.as_dict()} for name, each in predictors.items()},
            **{name: {"skipped": reason} for name, reason in skipped.items()},
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
        "measured": _measured(runs),
        "predictions": _predictions(chosen, question.holdout) if chosen else None,
        "notes": notes,
        "files": [],
    }


def save(document: dict[str, Any], directory: Path) -> None:
    """Write the mixture, the front and the plots, and name the files in the document."""
    from mixopt.base.files import write_text
    from mixopt.runs.plots import draw_fit

    directory.mkdir(parents=True, exist_ok=True)
    mixture, front = directory / "mixture.json", directory / "front.csv"
    write_text(mixture, json.dumps(document["recommendation"]["mixture"], indent=2) + "\n")
    written = [mixture]
    if points := document["recommendation"]["front"]:
        write_text(front, run_table.text([(point["mixture"], point["predicted"]) for point in points]))
        written.append(front)
    else:
        # Not that of an earlier fit.
        front.unlink(missing_ok=True)
    document["files"] = [str(path) for path in (*written, *draw_fit(document, directory))]


def ask(wish: Wish) -> Question:
    """
    Raises:
        ConfigError, SearchError: a table or an option is wrong.
    """
    notes: list[str] = []
    table, held_out = _tables(wish, notes)
    runs, metric_notes = run_table.choose_metrics(table, wish.runs, wish.metrics)
    notes += metric_notes
    if held_out is not None and wish.holdout is not None:
        held_out, metric_notes = holdouts.matched(held_out, wish.holdout, runs)
        notes += metric_notes
    if len(np.unique(runs.mixture_N)) < 2:
        raise ConfigError(f"{wish.runs}: one mixture leaves nothing to compare", hint="give runs of several mixtures")
    complete = measured(runs.select(runs.complete_N))
    if not complete:
        raise ConfigError(
            f"{wish.runs}: no run measured all of {', '.join(runs.metrics)}", hint="choose some of them with --metric"
        )
    wanted = _wanted(wish, runs, complete, measured(held_out) if held_out is not None else [])
    if wanted.proxy in (fidelity.proxy for fidelity in complete):
        runs = runs.targeting(wanted.proxy)
    else:
        runs = runs.targeting(complete[-1].proxy)
        notes.append(
            f"no run at {wanted.proxy} measured every metric: predictions are those of {runs.target.proxy}, and only "
            "their ranking is taken to carry over"
        )
    if wish.target is None and (
        same := [each.proxy for each in complete if each.proxy != wanted.proxy and each.flops == wanted.flops]
    ):
        notes.append(f"{wanted.proxy} and {', '.join(same)} cost the same: --target-fidelity chooses between them")
    mean = mean_of(wish, runs, notes)
    objective, runs = OBJECTIVES[wish.objective](mean), runs.of(*mean.metrics)
    space, natural_is = _space(wish.space, runs, notes)
    if held_out is not None:
        held_out, holdout_notes = holdouts.to_score(held_out.of(*mean.metrics), runs, wanted.proxy)
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
    return Question(problem, runs, wanted, held_out, natural_is, tuple(notes))


def _tables(wish: Wish, notes: list[str]) -> tuple[Runs, Runs | None]:
    """The runs and the holdout, if there is one: every metric, over the domains of now where these changed."""
    read: dict[Source, Runs] = {}
    for source in (wish.runs, wish.holdout):
        if source is None:
            continue
        read[source], table_notes = run_table.read_all(source)
        notes += table_notes
    if wish.space is not None and wish.changes != Changes():
        changed = [source for source, runs in read.items() if set(runs.domains) != set(wish.space.domains)]
        if not changed:
            raise ConfigError(
                f"{wish.runs}: its domains are those of {wish.space.file} already, none is to be renamed or split",
                hint="leave out --renamed and --split, or correct the domains of the file",
            )
        for source in changed:
            read[source], changed_notes = over_domains_of_now(read[source], source, wish.changes, wish.space)
            notes += changed_notes
    return read[wish.runs], None if wish.holdout is None else read[wish.holdout]


def _wanted(wish: Wish, runs: Runs, complete: Sequence[Fidelity], held_out: Sequence[Fidelity]) -> Fidelity:
    """The fidelity asked for, or else the dearest that both tables have, or else the dearest.

    Args:
        complete: those at which runs measured every metric.
        held_out: those of the holdout.

    Raises:
        ConfigError: neither table has the one asked for.
    """
    if wish.target is None:
        there = {fidelity.proxy for fidelity in held_out}
        shared = [fidelity for fidelity in complete if fidelity.proxy in there]
        return max(shared or (*complete, *held_out), key=lambda fidelity: fidelity.flops)
    known = {fidelity.proxy: fidelity for fidelity in (*held_out, *runs.fidelities)}
    if wish.target not in known:
        raise ConfigError(f"fidelity {wish.target!r} does not exist", hint=f"choose from {', '.join(known)}")
    return known[wish.target]


def _surrogates(wish: Wish, question: Question) -> tuple[tuple[str, ...], dict[str, str]]:
    """Those to fit, what the mixture rests on first; and why others are left out."""
    if wish.surrogates:
        return tuple(dict.fromkeys(wish.surrogates)), {}
    skipped = {}
    default = DEFAULT
    if _is_far(question.wanted, question.runs.target):
        default = FAR_DEFAULT
    else:
        skipped[FAR_DEFAULT] = f"the target is not {FAR} times as large as the runs"
    if len(measured(question.runs)) == 1:
        skipped["multi_fidelity_gp"] = "the runs are of one fidelity"
    return (default, *(name for name in SURROGATES if name != default and name not in skipped)), skipped


def _is_far(wanted: Fidelity, dearest: Fidelity) -> bool:
    return wanted.flops >= FAR * dearest.flops or wanted.params >= FAR * dearest.params > 0


def mean_of(wish: Wish, runs: Runs, notes: list[str]) -> WeightedMean:
    """Every metric that varies, in the direction that is better."""
    maximised, direction_notes = directions(runs, wish.maximize, wish.minimize)
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
    if wish.objective != "standardized":
        notes += _unlike(varied, maximised)
    weights = {name: 1 / spread if wish.objective == "standardized" else 1.0 for name, spread in varied.items()}
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


def _space(file: SpaceFile | None, runs: Runs, notes: list[str]) -> tuple[Space, str]:
    """The mixtures that may be the answer, and in words what its natural mixture is."""
    if file is not None:
        check_domains(file, runs.domains)
    counted = {} if file is None else {name: each.tokens for name, each in file.domains.items() if each.tokens}
    if file is not None and len(counted) == len(runs.domains):
        tokens, natural_is = counted, f"the shares of the tokens in {file.file}"
    else:
        mean_D = runs.weights_ND.mean(axis=0)
        tokens = {name: max(round(share * SUPPLY), 1) for name, share in zip(runs.domains, mean_D, strict=True)}
        natural_is = "the mean mixture of the runs, for no --space gives the tokens of every domain"
        if file is not None and file.target.tokens is not None:
            missing = next(name for name in runs.domains if name not in counted)
            raise ConfigError(
                f"{file.file}: target.tokens limits shares by supply, and domains.{missing}.tokens is not given",
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
    return Space(tuple(limits), file.group_limits, file.target.tokens, file.target.max_epochs), natural_is


def _check_limits(wish: Wish, space: Space, runs: Runs, why: str) -> None:
    """Before a run has to be the answer.

    Args:
        why: no prediction can be.

    Raises:
        ConfigError: no run at the target keeps the limits of a domain.
    """
    if wish.space is None:
        return
    weights_ND = runs.weights_ND[runs.at_target_N]
    for name, weights_N, least, most in zip(space.domains, weights_ND.T, space.lower_D, space.upper_D, strict=True):
        if not ((weights_N >= least - TOLERANCE) & (weights_N <= most + TOLERANCE)).any():
            limit = f"pin {least:g}" if least == most else f"limits {least:.4g} to {most:.4g}"
            raise ConfigError(
                f"{wish.space.file}: no run at {runs.target.proxy} keeps the {limit} of domains.{name}, where "
                f"runs have {weights_N.min():.3g} to {weights_N.max():.3g}; and {why}",
                hint=f"give domains.{name} a min and a max that some run keeps, or add runs that keep these",
            )


def _name(kind: str, objective: Objective) -> str:
    """The objective for a reader; lower is better."""
    if kind != "mean" or len(objective.metrics) > 1:
        return f"{'mean' if kind == 'pareto' else kind} of {len(objective.metrics)} metrics"
    [metric] = objective.metrics
    return f"-{metric}" if metric in objective.maximised else metric


def _expected(predictor: Predictor, mixture: Mixture) -> dict[str, float]:
    """The objective of a new run of a mixture, with its 95% interval."""
    mean, sd, *_ = predictor.expect(mixture)
    return asdict(Estimate.of(mean, sd))


def _measured(runs: Runs) -> dict[str, list[float]]:
    """The metrics of the runs that measured all of them at the target."""
    values_NM = runs.values_NM[runs.at_target_N & runs.complete_N]
    return dict(zip(runs.metrics, values_NM.T.tolist(), strict=True))


def _predictions(predictor: Predictor, holdout: Runs | None) -> dict[str, Any]:
    """Measured and predicted objective of runs at one fidelity that the predicting surrogate was not fitted to."""
    if holdout is None:
        kind, fidelity = "cross-validation", predictor.problem.target
        measured_N, predicted_N = surrogate_fits.held_out(predictor)
    else:
        kind, fidelity = "holdout", holdout.target
        measured_N = predictor.problem.objective.value(holdout.values_NM, predictor.evidence.baseline_M)
        predicted_N = predictor.objective(holdout.weights_ND)
    return {
        "of": kind,
        "fidelity": fidelity.proxy,
        "measured": measured_N.tolist(),
        "predicted": predicted_N.tolist(),
    }
