"""What `mixopt fit` does: from a table of finished runs to validated surrogates and a mixture.

    request --> problem (runs, target, objective, space) --> fit and cross-validate surrogates --> recommend
                                                                    score on the holdout <--- |

Shapes: N runs, D domains, M metrics.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mixopt.base.errors import ConfigError
from mixopt.results.fit import (
    DomainEpochs,
    FitObjective,
    FitResult,
    FittedSurrogate,
    HeldBound,
    HeldOutRuns,
    MetricPredictability,
    NaturalMixture,
    SkippedSurrogate,
)
from mixopt.results.recommendation import Interval, Recommendation, Validation
from mixopt.results.scale import FinalRun, ScalePath
from mixopt.runs import holdout as holdouts
from mixopt.runs import surrogates as surrogate_fits
from mixopt.runs import table as run_table
from mixopt.runs.objective import name_of
from mixopt.runs.problem import FitProblem, pose
from mixopt.runs.request import FitRequest
from mixopt.runs.surrogates import OnStep
from mixopt.runs.table import complete_fidelities
from search.designs.choices import choices
from search.evidence import Evidence
from search.fidelity import Fidelity
from search.mixture import FloatArray, Mixture
from search.problem import PROPORTIONAL, Problem
from search.recommendation.predictability import bounds, predictability, run_noise
from search.recommendation.predictor import Predictor
from search.recommendation.recommend import recommend_by, recommend_observed
from search.recommendation.recommendation import Estimate
from search.recommendation.scale_path import scale_path
from search.recommendation.trusted_mixtures import TrustedMixtures
from search.recommendation.validation import Score
from search.runs import BoolArray, Runs
from search.scales import Goal
from search.space import TOLERANCE, Space
from search.surrogates import DEFAULT, SCALING_LAW, SURROGATES
from search.surrogates.loss_model import LossModel
from search.surrogates.scaling_law import AnyScale
from search.trust_region import TrustRegion

# A target of so many times the parameters or the cost of the dearest runs is far, and FAR_DEFAULT ranks best there.
FAR = 100
FAR_DEFAULT = "far_blend"
# What predicts for a scale that has no runs.
# What the default is compared with unless all are asked for: Olmix's law, RegMix's kind of trees, and the law that is
# a part of the default.
COMPARED = ("log_linear", "lightgbm", "effective_data")


@dataclass(frozen=True)
class FirstAnswer:
    """What the first surrogate says before anything shows how far it can be trusted.

    Attributes:
        expected: objective of the mixture.
    """

    surrogate: str
    objective: str
    mixture: Mixture
    expected: float


OnFirst = Callable[[FirstAnswer], None]


def fit(request: FitRequest, on_step: OnStep, on_first: OnFirst | None = None) -> FitResult:
    """What the runs say: how well surrogates predict them, and a mixture; `save` adds files.

    Args:
        on_first: told a first answer, long before the validated one.

    Raises:
        ConfigError, SearchError: a table or an option is wrong, or nothing can be said.
    """
    posed = pose(request)
    problem, runs = posed.problem, posed.runs
    names, left_out = surrogates_to_fit(request, posed)
    goal = problem.goal

    def first(model: LossModel, evidence: Evidence) -> None:
        if on_first is not None:
            on_first(_first_answer(request, names[0], problem, model, evidence))

    predictors, unfitted = surrogate_fits.fit_all(names, problem, runs, on_step, first)
    skipped = unfitted | left_out
    if predictors:
        chosen = answering(request, posed, predictors)
        why = surrogate_fits.why(chosen, predictors)
        if not chosen.validation.trustworthy:
            _check_limits(request, problem.space, runs, why)
        recommendation = recommend_by(chosen)
    elif problem.objective.baseline is not None:
        raise ConfigError(
            f"objective {request.objective} needs predictions, and {names[0]} gives none: {skipped[names[0]]}",
            hint="add runs, or choose --objective mean",
        )
    else:
        chosen = None
        why = f"no surrogate could be fitted: {skipped[names[0]]}"
        _check_limits(request, problem.space, runs, why)
        recommendation = recommend_observed(problem, Evidence(runs, problem.objective), why)
    notes = [*posed.notes, *(warning for warning in recommendation.warnings if warning != why)]
    if problem.objective.baseline is not None:
        notes.append(
            f"the {problem.objective.baseline} mixture, which the objective compares with, is predicted, not run"
        )
    natural = problem.baselines[PROPORTIONAL]
    if goal is not None and not (chosen is not None and chosen.model.beyond_runs):
        refused = f"{SCALING_LAW} cannot predict it: {posed.refusal}" if posed.refusal else "only a law of scale does"
        notes.append(f"predictions are those of {runs.target.proxy}, not of the final run: {refused}")
    return FitResult(
        runs={fidelity.proxy: int(runs.at(index).sum()) for index, fidelity in enumerate(runs.fidelities)},
        target=posed.wanted.proxy,
        predicted_at=runs.target.proxy,
        objective=FitObjective(
            kind=request.objective,
            name=name_of(request.objective, problem.objective),
            metrics=runs.metrics,
            maximised=tuple(sorted(problem.objective.maximised)),
        ),
        default=None if chosen is None else chosen.name,
        trusted=chosen is not None and chosen.validation.trustworthy,
        why=why,
        surrogates={
            **{
                name: FittedSurrogate(cross_validation=Validation.of(each.validation))
                for name, each in predictors.items()
            },
            **{name: SkippedSurrogate(skipped=reason) for name, reason in skipped.items()},
        },
        holdout={}
        if posed.holdout is None
        else {name: holdouts.scores(_at(each, posed.holdout), posed.holdout) for name, each in predictors.items()},
        recommendation=Recommendation.of(recommendation),
        natural=NaturalMixture(
            source=posed.natural_is,
            mixture=natural.as_dict(),
            predicted=None if chosen is None else _expected(chosen, natural),
        ),
        measured=_measured(runs),
        predictions=None if chosen is None else _predictions(chosen, posed.holdout),
        predictability=() if chosen is None else _predictability(chosen, name_of(request.objective, problem.objective)),
        bounds=tuple(
            HeldBound(**asdict(bound), says=str(bound))
            for bound in bounds(problem.space, recommendation.mixture, runs.weights_ND)
        ),
        notes=tuple(notes),
        target_tokens=problem.space.target_tokens,
        epochs=_epochs(problem.space, natural, recommendation.mixture),
        goal=None if goal is None else FinalRun(params=goal.params, tokens=goal.tokens),
        path=None if goal is None else _path(predictors),
    )


def save(result: FitResult, directory: Path) -> FitResult:
    """Write the mixture, the front and the plots.

    Returns:
        The result with the names of the files.
    """
    from mixopt.base.files import write_text
    from mixopt.runs.plots import draw_fit

    directory.mkdir(parents=True, exist_ok=True)
    mixture, front = directory / "mixture.json", directory / "front.csv"
    write_text(mixture, json.dumps(result.recommendation.mixture, indent=2) + "\n")
    written = [mixture]
    if points := result.recommendation.front:
        write_text(front, run_table.text([(point.mixture, point.predicted) for point in points]))
        written.append(front)
    else:
        # Not that of an earlier fit.
        front.unlink(missing_ok=True)
    files = tuple(str(path) for path in (*written, *draw_fit(result, directory)))
    notes = result.notes
    if result.predictions and not result.predictions.measured:
        notes = (*notes, f"no picture of predictions: no run at {result.predictions.fidelity} was predicted unseen")
    return result.model_copy(update={"files": files, "notes": notes})


def _first_answer(
    request: FitRequest, name: str, problem: Problem, model: LossModel, evidence: Evidence
) -> FirstAnswer:
    """The proposal of search.recommendation.recommend, without what it is compared with."""

    def order(weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        return problem.objective.order(model.mean(weights_ND), evidence.baseline_M)

    best_KD = TrustedMixtures(problem, evidence, TrustRegion()).most_promising(order)
    mixture = choices(problem).mixture(best_KD.mean(axis=0))
    expected = float(problem.objective.value(model.mean(mixture.array[None]), evidence.baseline_M)[0])
    return FirstAnswer(name, name_of(request.objective, problem.objective), mixture, expected)


def surrogates_to_fit(request: FitRequest, posed: FitProblem) -> tuple[tuple[str, ...], dict[str, str]]:
    """Those to fit, what the mixture rests on first; and why others are left out."""
    if request.surrogates:
        if SCALING_LAW in request.surrogates and posed.refusal is not None:
            raise ConfigError(
                f"{SCALING_LAW} cannot predict the target: {posed.refusal}",
                hint="add runs of another scale, with their params and tokens, or choose another --surrogate",
            )
        return tuple(dict.fromkeys(request.surrogates)), {}
    skipped = {}
    default, goal = DEFAULT, posed.problem.goal
    if goal is not None and posed.refusal is None:
        default = SCALING_LAW
    elif _is_far(posed.wanted if goal is None else _as_fidelity(goal, posed.wanted), posed.runs.target):
        default = FAR_DEFAULT
    if not request.every:
        return tuple(dict.fromkeys((default, DEFAULT, *COMPARED))), {}
    if posed.refusal is not None:
        skipped[SCALING_LAW] = posed.refusal
    if default != FAR_DEFAULT:
        skipped[FAR_DEFAULT] = f"the target is not {FAR} times as large as the runs"
    if len(complete_fidelities(posed.runs)) == 1:
        skipped |= dict.fromkeys(("multi_fidelity_gp", SCALING_LAW), "the runs are of one fidelity")
    return (default, *(name for name in SURROGATES if name != default and name not in skipped)), skipped


def answering(request: FitRequest, posed: FitProblem, predictors: Mapping[str, Predictor]) -> Predictor:
    """The one that the mixture rests on."""
    # What is best at the scale of the runs says little of another.
    fixed = request.surrogates or posed.problem.goal is not None or posed.wanted.proxy != posed.runs.target.proxy
    return next(iter(predictors.values())) if fixed else surrogate_fits.choose(predictors)


def _as_fidelity(goal: Goal, like: Fidelity) -> Fidelity:
    """The final run, its cost in the unit of another fidelity's."""
    params = goal.params or like.params
    growth = (params / like.params if like.params else 1.0) * goal.tokens / like.tokens
    return replace(like, params=round(params), flops=like.flops * (growth if np.isfinite(growth) else 1.0))


def _is_far(wanted: Fidelity, dearest: Fidelity) -> bool:
    return wanted.flops >= FAR * dearest.flops or wanted.params >= FAR * dearest.params > 0


def _check_limits(request: FitRequest, space: Space, runs: Runs, why: str) -> None:
    """Before a run has to be the answer.

    Args:
        why: no prediction can be.

    Raises:
        ConfigError: no run at the target keeps the limits of a domain.
    """
    if request.limits is None:
        return
    weights_ND = runs.weights_ND[runs.at_target_N]
    for name, weights_N, least, most in zip(space.domains, weights_ND.T, space.lower_D, space.upper_D, strict=True):
        if not ((weights_N >= least - TOLERANCE) & (weights_N <= most + TOLERANCE)).any():
            limit = f"pin {least:g}" if least == most else f"limits {least:.4g} to {most:.4g}"
            raise ConfigError(
                f"{request.limits.source}: no run at {runs.target.proxy} keeps the {limit} of domains.{name}, where "
                f"runs have {weights_N.min():.3g} to {weights_N.max():.3g}; and {why}",
                hint=f"give domains.{name} a min and a max that some run keeps, or add runs that keep these",
            )


def _epochs(space: Space, natural: Mixture, recommended: Mixture) -> dict[str, DomainEpochs]:
    """How often the run that the mixture is for repeats each domain; nothing where its tokens are not known."""
    if space.target_tokens is None:
        return {}
    of_natural, of_recommended = space.epochs(natural), space.epochs(recommended)
    return {
        name: DomainEpochs(
            natural=of_natural[name], recommended=of_recommended[name], max_epochs=space.most_epochs(name)
        )
        for name in space.domains
    }


def _expected(predictor: Predictor, mixture: Mixture) -> Interval:
    """The objective of a new run of a mixture, with its 95% interval."""
    mean, sd, *_ = predictor.expect(mixture)
    return Interval.of(Estimate.of(mean, sd))


def _at(predictor: Predictor, holdout: Runs) -> Predictor:
    """Predicting for the scale of the holdout, where it predicts for any."""
    model = predictor.model
    laws = [each for each in model.fitted if isinstance(each, AnyScale)]
    if not laws or len(laws) < len(model.fitted):
        return predictor
    [params, tokens] = np.array([holdout.scales.params_L[-1], holdout.scales.tokens_L[-1]])
    there = replace(model, fitted=tuple(law.at_scale(params, tokens) for law in laws))
    return replace(predictor, model=there)


def _path(predictors: Mapping[str, Predictor]) -> ScalePath | None:
    """How the best mixture moves, by the law of scale, where it was fitted."""
    predictor = predictors.get(SCALING_LAW)
    if predictor is None:
        return None
    found = scale_path(
        predictor.problem, predictor.evidence, predictor.model, predictor.trust, predictor.validation.residual_NM
    )
    return None if found is None else ScalePath.of(found)


def _measured(runs: Runs) -> dict[str, tuple[float, ...]]:
    """The metrics of the runs that measured all of them at the target."""
    values_NM = runs.values_NM[runs.at_target_N & runs.complete_N]
    return {name: tuple(values_N) for name, values_N in zip(runs.metrics, values_NM.T.tolist(), strict=True)}


def _predictability(predictor: Predictor, name: str) -> tuple[MetricPredictability, ...]:
    """Of the objective, where it is of several metrics, and of each metric."""
    runs, validation = predictor.evidence.runs, predictor.validation
    cards = []
    if len(runs.metrics) > 1:
        cards.append(_card(name, validation.objective, predictor.evidence.objective_N, validation.scored_N, runs))
    for place, metric in enumerate(runs.metrics):
        if metric in validation.metrics:
            scored_N = np.isfinite(validation.residual_NM[:, place])
            cards.append(_card(metric, validation.metrics[metric], runs.values_NM[:, place], scored_N, runs))
    return tuple(cards)


def _card(metric: str, score: Score, values_N: FloatArray, scored_N: BoolArray, runs: Runs) -> MetricPredictability:
    there_N = scored_N & runs.at_target_N & np.isfinite(values_N)
    # Runs that were moved to the target's units are no measure of what it varies by.
    of_target = bool(there_N.any() and not (scored_N & ~runs.at_target_N).any())
    noise = run_noise(values_N[there_N], runs.mixture_N[there_N]) if of_target else None
    variance = float(values_N[there_N].var()) if of_target else 0.0
    found = predictability(score, len(np.unique(runs.mixture_N[scored_N])), variance, noise)
    return MetricPredictability(
        metric=metric,
        verdict=found.verdict,
        explained=found.explained,
        ceiling=found.ceiling,
        noise_sd=None if noise is None else noise.sd,
        freedom=0 if noise is None else noise.freedom,
    )


def _predictions(predictor: Predictor, holdout: Runs | None) -> HeldOutRuns:
    """Measured and predicted objective of runs at one fidelity that the predicting surrogate was not fitted to."""
    if holdout is None:
        kind, fidelity = "cross-validation", predictor.problem.target
        measured_N, predicted_N = surrogate_fits.held_out(predictor)
    else:
        kind, fidelity = "holdout", holdout.target
        measured_N = predictor.problem.objective.value(holdout.values_NM, predictor.evidence.baseline_M)
        predicted_N = _at(predictor, holdout).objective(holdout.weights_ND)
    return HeldOutRuns(
        source=kind,
        fidelity=fidelity.proxy,
        measured=tuple(measured_N.tolist()),
        predicted=tuple(predicted_N.tolist()),
    )
