"""What the report of a study says: from its answer, plan and history, its surrogate fitted once more.

Shapes: N runs, M metrics, P mixtures trained with two proxies.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import mean

import numpy as np

from mixopt.report.content import (
    OBJECTIVE,
    Agreement,
    Apart,
    Budget,
    Content,
    Course,
    Decision,
    DomainEffect,
    Effects,
    FailedTrial,
    Front,
    Gain,
    HeldOut,
    Kept,
    KeptPrediction,
    Losses,
    Missing,
    ProxyBudget,
    RankAgreement,
    Reproduction,
    Rival,
    Step,
    Tried,
    TriedMixture,
)
from mixopt.results.answer import Answer, Confirmation, Outcome
from mixopt.results.predictions import PredictedGain
from mixopt.results.recommendation import Validation
from mixopt.runs.surrogates import held_out
from mixopt.settings.levels import sum_over
from mixopt.settings.schema import StudyFile
from mixopt.settings.units import show_count
from mixopt.study.answer import answer_so_far, how_far
from mixopt.study.calibration import gain_score
from mixopt.study.distances import FEW, is_quick, pool_distances
from mixopt.study.growth import why_no_path
from mixopt.study.nearness import Samples
from mixopt.study.plan import Plan
from mixopt.study.planning import plan_as_measured
from mixopt.study.predictions import confirmed_gains, judged, predictions_in
from mixopt.study.record import journal_path, not_prepared
from mixopt.study.refit import refit
from search.errors import TooFewMixtures
from search.fidelity import Fidelity
from search.history import History
from search.mixture import Mixture
from search.objective import UNITS, Hinge, NoWorse, Objective, Pareto, WeightedMean, WorstCase
from search.problem import BASELINE, PROPORTIONAL, Problem
from search.recommendation.effects import Effect, effects
from search.recommendation.predictor import Predictor
from search.recommendation.ranking import rank_correlation
from search.recommendation.recommendation import Estimate
from search.seeds import SEARCH_SEED, is_of_search
from tracking.entries import Closed
from tracking.journal import read
from tracking.record import Record

MOST_NAMED = 6
FEWEST_RANKED = 3  # pools beside a set's own


def report_content(file: StudyFile, record: Record) -> Content:
    """What the report says of a study that has run, or runs.

    Raises:
        ConfigError: its tokens are not here.
        SearchError, TrackingError: the surrogate cannot be fitted again, or there is nothing to report yet.
    """
    plan = plan_as_measured(file, record)
    if plan is None:
        raise not_prepared(file, "write the report where it ran")
    return summarise(plan, record.history, answer_so_far(file, record))


def summarise(plan: Plan, history: History, answer: Answer, fitted: Predictor | None = None) -> Content:
    """What the report of a study says.

    Args:
        history: running trials included.
        fitted: what the answer rests on, where it is still there.

    Raises:
        SearchError: the surrogate cannot be fitted again.
        TrackingError: the study's journal is damaged.
    """
    problem = plan.problem
    predictor = fitted or _predictor(plan, history, answer.recommendation.method)
    effects_here = _effects(predictor, answer)
    return Content(
        study=answer.study,
        standing=_standing(plan, history, answer),
        objective=_in_words(problem.objective),
        scale=_scale(problem),
        unit=UNITS[problem.objective.unit],
        target=answer.objective.proxy,
        trials=answer.trials,
        notes=answer.notes,
        domains=answer.domains,
        levels=answer.levels,
        decision=_decision(plan, answer, predictor),
        losses=_losses(problem, history, answer),
        held_out=_held_out(predictor),
        effects=effects_here,
        course=_course(plan, history),
        tried=_tried(problem, history),
        agreement=_agreement(problem, history),
        front=_front(problem, history, answer),
        path=answer.path or Missing(why_no_path(plan, history) or "It is said at the end of the study."),
        failures=tuple(
            FailedTrial(
                entry.trial.id,
                entry.trial.origin,
                entry.trial.fidelity.proxy,
                entry.trial.seed,
                entry.failure.kind.value,
                entry.failure.message,
                entry.failure.seconds,
            )
            for entry in history.failed
        ),
        stopped=len(history.stopped),
        budget=_budget(plan, history),
        reproduction=_reproduction(plan, history, answer),
        predictions=_kept(plan, answer),
        reused=answer.reused,
        apart=_apart(plan, effects_here),
    )


def _in_words(objective: Objective) -> str:
    """What is to be low."""
    match objective:
        case WeightedMean():
            return f"the mean loss, {_weights(objective)}"
        case WorstCase():
            return f"the most that a loss exceeds that of {objective.baseline}, of {_named(objective.metrics)}"
        case NoWorse():
            return (
                f"the mean loss, {_weights(objective.mean)}, while none of {_named(objective.metrics)} is shown to "
                f"exceed that of {objective.baseline} by more than {objective.allowance:g}"
            )
        case Hinge():
            return (
                f"the mean loss, {_weights(objective.mean)}, in which what exceeds that of {objective.baseline} counts "
                f"{objective.times:g} times"
            )
        case Pareto():
            return f"several losses at once, of {_named(objective.metrics)}; for one number their mean, " + _weights(
                objective.mean
            )
    raise AssertionError(f"an objective without words: {objective}")


def _weights(mean: WeightedMean) -> str:
    weights = {name: mean.weights[name] / sum(mean.weights.values()) for name in mean.metrics}
    if len(set(weights.values())) == 1:
        return f"of {_named(mean.metrics)} alike"
    return "weights " + _named([f"{name} {weight:.3g}" for name, weight in weights.items()])


def _named(metrics: Sequence[str]) -> str:
    left = len(metrics) - MOST_NAMED
    return ", ".join(metrics[:MOST_NAMED]) + (f" and {left} more" if left > 0 else "")


def _scale(problem: Problem) -> str:
    target, run = problem.target, problem.space.target_tokens
    size, seen = show_count(target.params), show_count(target.tokens)
    larger = "" if run is None else f"; the run that the answer is for has {show_count(run)} tokens"
    return f"Proxy {target.proxy} has {size} parameters and is trained on {seen} tokens{larger}"


def _standing(plan: Plan, history: History, answer: Answer) -> str | None:
    if answer.ended and not history.running:
        return None
    begun = f", {len(history.running)} more begun" if history.running else ""
    confirmed = "; nothing is confirmed yet" if plan.file.confirm.candidates > 0 and not answer.confirmed else ""
    return f"{how_far(plan, history)} of the search have ended{begun}{confirmed}"


def _predictor(plan: Plan, history: History, method: str) -> Predictor | Missing:
    """The surrogate that the answer rests on, or else the study's, fitted and validated again."""
    if plan.file.search.strategy == "random":
        return Missing("search.strategy random predicts nothing")
    try:
        return refit(plan, history, method)
    except TooFewMixtures as error:
        return Missing(error.message)


def _decision(plan: Plan, answer: Answer, predictor: Predictor | Missing) -> Decision:
    recommendation, confirmation = answer.recommendation, answer.confirmation
    not_predicted = None
    if recommendation.predicted is None:
        # The reason stands first among the warnings, if the search gave one.
        warnings = recommendation.warnings or ["no prediction was trusted"]
        reason = predictor.reason if isinstance(predictor, Missing) else warnings[0]
        not_predicted = f"the proposal is the best mixture measured: {reason}"
    trusted = None if not_predicted or isinstance(predictor, Missing) else predictor
    outcomes = {} if confirmation is None else {each.label: each for each in confirmation.outcomes}
    # Two names of nearly one mixture are one row; what answers are compared with has one of its own.
    the_same = {label for outcome in outcomes.values() for label in outcome.also} - {BASELINE + PROPORTIONAL}
    outcomes |= {label: outcome for outcome in tuple(outcomes.values()) for label in outcome.also}
    reference = plan.problem.baselines[PROPORTIONAL]

    def rival(label: str, mixture: Mixture, baseline: str | None = None) -> Rival:
        outcome = outcomes.get(label)
        same = mixture.same_as(reference)
        foretold = None if answer.predictions is None else answer.predictions.gain_of(label)
        return Rival(
            baseline or label,
            baseline is not None,
            same,
            mixture.as_dict(),
            None if trusted is None or same else _predicted_gain(trusted, mixture, reference, foretold),
            None if outcome is None or same else _confirmed_gain(outcome),
            {} if outcome is None else outcome.values,
            None if baseline is None else recommendation.beats.get(baseline),
        )

    domains = plan.problem.space.domains
    proposals = recommendation.candidates
    chosen = confirmation.winner.label if confirmation else proposals[0].label
    predicted = {}
    if recommendation.predicted is not None:
        predicted = {OBJECTIVE: recommendation.predicted, **recommendation.predicted_losses}
    return Decision(
        verdict=answer.verdict,
        answer=chosen.removeprefix(BASELINE),
        rivals=(
            *(rival(each.label, Mixture.of(each.mixture).reordered(domains)) for each in proposals),
            *(
                rival(BASELINE + name, mixture, name)
                for name, mixture in plan.problem.baselines.items()
                if BASELINE + name not in the_same
            ),
        ),
        predicted=predicted,
        not_predicted=not_predicted,
        not_confirmed=None if confirmation else _not_confirmed(plan),
        beside=_beside(confirmation),
        ranges=recommendation.ranges,
        ranges_of_levels={name: level.range for name, level in recommendation.levels.items()},
        over="seeds" if confirmation is None else confirmation.over,
    )


def _not_confirmed(plan: Plan) -> str:
    if plan.file.confirm.candidates == 0:
        return "the study asks for no confirmation (confirm.candidates is 0)"
    return "the study has not come to the end of its confirmation"


def _beside(confirmation: Confirmation | None) -> tuple[str, Gain] | None:
    if confirmation is None or (other := confirmation.beside) is None:
        return None
    return other.label.removeprefix(BASELINE), _gain_of(other.difference, other.margin)


def _confirmed_gain(outcome: Outcome) -> Gain | None:
    """None where no seed of both mixtures was completed."""
    if outcome.difference is None:
        return None
    return _gain_of(outcome.difference, outcome.margin)


def _gain_of(difference: float, margin: float | None) -> Gain:
    """Of a mixture whose objective differs so from another's: less is a gain."""
    gain = -difference
    return Gain(gain, None, None) if margin is None else Gain(gain, gain - margin, gain + margin)


def _predicted_gain(predictor: Predictor, mixture: Mixture, reference: Mixture, foretold: PredictedGain | None) -> Gain:
    """As it was kept before the confirmation, where it was."""
    if foretold is not None:
        return Gain(foretold.interval.mean, foretold.interval.lower, foretold.interval.upper)
    gain = Estimate.of(*predictor.gain(mixture, reference))
    return Gain(gain.mean, gain.lower, gain.upper)


def _losses(problem: Problem, history: History, answer: Answer) -> Losses | Missing:
    if answer.confirmation is None:
        return Missing("no mixture was confirmed")
    confirmed = [entry for entry in history.at(problem.target) if not is_of_search(entry.trial.seed)]
    found: dict[str, dict[str, float]] = {}
    for outcome in answer.confirmation.outcomes:
        mixture = Mixture.of(outcome.mixture)
        runs = [entry.measurement.losses for entry in confirmed if entry.trial.mixture.same_as(mixture)]
        if runs:
            label = outcome.label.removeprefix(BASELINE)
            unit = problem.objective.unit
            found[label] = {name: mean(getattr(losses[name], unit) for losses in runs) for name in runs[0]}
    if PROPORTIONAL not in found:
        return Missing(f"the confirmation of the {PROPORTIONAL} mixture is not in the record")
    outcomes = {outcome.label.removeprefix(BASELINE): outcome for outcome in answer.confirmation.outcomes}
    return Losses(
        tuple(found),
        {name: tuple(losses[name] for losses in found.values()) for name in found[PROPORTIONAL]},
        {label: outcome.metrics for label, outcome in outcomes.items()},
        {label: outcome.families for label, outcome in outcomes.items()},
        problem.objective.baseline or PROPORTIONAL,
    )


def _held_out(predictor: Predictor | Missing) -> HeldOut | Missing:
    if isinstance(predictor, Missing):
        return predictor
    measured_N, predicted_N = held_out(predictor)
    if not len(measured_N):
        target = predictor.problem.target.proxy
        return Missing(f"too few mixtures were measured at {target} to leave any out of the regression")
    scores = Validation.of(predictor.validation)
    return HeldOut(predictor.name, tuple(measured_N.tolist()), tuple(predicted_N.tolist()), scores)


def _kept(plan: Plan, answer: Answer) -> Kept | Missing:
    """Predictions of this study, and of those in its folder, that were confirmed."""
    kind, unit = plan.file.objective.kind, plan.problem.objective.unit
    recorded = predictions_in(plan.file.home) | (
        {} if answer.predictions is None else {answer.study: answer.predictions}
    )
    alike = {study: each for study, each in recorded.items() if (each.kind, each.unit) == (kind, unit)}
    found = tuple(
        KeptPrediction(
            study,
            study == answer.study,
            each.label,
            each.is_baseline,
            Gain(predicted.mean, predicted.lower, predicted.upper),
            Gain(confirmed.mean, confirmed.lower, confirmed.upper),
        )
        for study, predictions in alike.items()
        for each in judged(predictions)
        if each.measured is not None and each.error is not None
        for predicted, confirmed in ((Estimate.of(each.gain, each.sd), Estimate.of(each.measured, each.error)),)
    )
    if not any(each.own for each in found):
        return Missing("no prediction of this study was confirmed, or its regression is not trusted")
    score = gain_score([each for study, kept in alike.items() for each in confirmed_gains(study, kept)])
    return Kept(found, score)


def _effects(predictor: Predictor | Missing, answer: Answer) -> Effects | Missing:
    if isinstance(predictor, Missing):
        return predictor
    if not predictor.validation.trustworthy:
        return Missing(f"{predictor.name} is not shown to rank unseen mixtures better than chance")
    mixture = Mixture.of(answer.recommendation.mixture).reordered(predictor.problem.space.domains)
    trained_ND = predictor.evidence.runs.weights_ND
    moved: dict[str, tuple[str, ...]] = {domain: (domain,) for domain in mixture.domains}
    moved |= {sum_over(level): domains for level, domains in predictor.problem.levels.items()}
    curves = effects(predictor.objective, mixture, trained_ND, moved)
    by_metric = {OBJECTIVE: curves} | {
        metric: effects(fitted.mean, mixture, trained_ND, moved)
        for metric, fitted in zip(predictor.model.runs.metrics, predictor.model.fitted, strict=True)
    }
    _, doubt, *_ = predictor.expect(mixture)
    return Effects(
        {
            name: DomainEffect(
                share,
                curves[name],
                {metric: _slope(each[name], share) for metric, each in by_metric.items()},
                curves[name].flat(doubt),
            )
            for name, domains in moved.items()
            for share in (math.fsum(mixture[domain] for domain in domains),)
        },
        doubt,
    )


def _apart(plan: Plan, found: Effects | Missing) -> Apart | Missing:
    if plan.corpus is None:
        return Missing("another trainer has the text")
    if not is_quick(plan):
        return Missing(
            f"of more than {FEW} pools and evaluation sets they take longer than a report may; "
            f"mixopt distances {plan.file.file}"
        )
    known = pool_distances(plan, Samples(plan.corpus, plan.problem.space, plan.problem.objective))
    return Apart(known, found if isinstance(found, Missing) else _near_helped(known, found))


def _near_helped(known: Mapping[str, Mapping[str, float]], found: Effects) -> RankAgreement | Missing:
    """By the surrogate's slopes, as the pools' effects are not measured one by one."""
    sets: dict[str, float | None] = {}
    variances = list[float]()
    for metric in next(iter(known.values())):
        others = [
            (distances[metric], slope)
            for pool, distances in known.items()
            if pool != metric and (slope := found.domains[pool].slopes.get(metric)) is not None
        ]
        if len(others) >= FEWEST_RANKED:
            far_K, slope_K = np.array(others).T
            sets[metric] = rank_correlation(far_K, slope_K)
            variances.append(1 / (len(others) - 1))
    measured = [value for value in sets.values() if value is not None]
    if not measured:
        return Missing(f"fewer than {FEWEST_RANKED} pools beside a set's own have an effect on it that is known")
    # Each has variance 1 / (K - 1) by chance, over K pools.
    return RankAgreement(sets, mean(measured), 2 * math.sqrt(math.fsum(variances)) / len(variances))


def _slope(effect: Effect, share: float) -> float | None:
    """Change for one more percentage point, between the steps of the curve around a share."""
    if not effect.varied:
        return None
    least, most = effect.shares[0], effect.shares[-1]
    step = (most - least) / (len(effect.shares) - 1)
    inside = min(max(share, least), most)
    low, high = max(inside - step, least), min(inside + step, most)
    below, above = np.interp([low, high], effect.shares, effect.values)
    return float(above - below) / (100 * (high - low))


def _course(plan: Plan, history: History) -> Course | Missing:
    problem, steps, flops = plan.problem, [], 0.0
    measured = (*history.completed, *history.stopped)
    searched = {entry.trial.id: entry for entry in measured if is_of_search(entry.trial.seed)}
    order = [trial_id for trial_id in _ended(plan) if trial_id in searched]
    if len(order) < len(searched):
        return Missing(
            "the order in which its trials ended is not known here: the journal of the study is elsewhere, was lost, "
            "or was made anew from what MLflow has"
        )
    for trial_id in order:
        trial, measurement = searched[trial_id].trial, searched[trial_id].measurement
        flops += measurement.flops
        value = problem.objective_of(trial, history)
        steps.append(Step(trial.id, trial.origin, trial.fidelity.proxy, flops, value))
    if not any(step.proxy == problem.target.proxy and step.objective is not None for step in steps):
        return Missing(f"no trial of the search has completed at {problem.target.proxy}")
    baselines = {
        rung.fidelity.proxy: {
            name: value
            for name, mixture in problem.baselines.items()
            if (value := problem.value_of(mixture, rung.fidelity, SEARCH_SEED, history)) is not None
        }
        for rung in problem.rungs
    }
    return Course(tuple(steps), baselines)


def _tried(problem: Problem, history: History) -> Tried | Missing:
    measured = [
        TriedMixture(entry.trial.id, entry.trial.mixture.reordered(problem.space.domains).as_dict(), value)
        for entry in history.at(problem.target)
        if is_of_search(entry.trial.seed) and (value := problem.objective_of(entry.trial, history)) is not None
    ]
    if not measured:
        return Missing(f"no trial of the search has completed at {problem.target.proxy}")
    return Tried(tuple(sorted(measured, key=lambda each: each.objective)))


def _ended(plan: Plan) -> list[str]:
    """The ids of the trials whose end the journal knows, in the order in which they ended."""
    path = journal_path(plan.file)
    if not path.exists():
        return []
    ends = (entry for entry in read(path) if isinstance(entry, Closed))
    moments = {entry.trial.id: entry.at for entry in ends if entry.at is not None}
    return sorted(moments, key=moments.__getitem__)


def _agreement(problem: Problem, history: History) -> tuple[Agreement, ...] | Missing:
    """Of each cheaper proxy with the target's."""
    if len(problem.rungs) == 1:
        return Missing(f"the study trains one proxy, {problem.target.proxy}")
    found = tuple(_agreement_of(problem, rung.fidelity, history) for rung in problem.rungs[:-1])
    if not any(each.cheap for each in found):
        return Missing(f"no mixture has completed with {problem.target.proxy} and another proxy")
    return found


def _agreement_of(problem: Problem, fidelity: Fidelity, history: History) -> Agreement:
    from scipy.stats import spearmanr

    pairs = []
    for entry in history.at(fidelity):
        if entry.trial.seed == SEARCH_SEED:
            cheap, target = (
                problem.value_of(entry.trial.mixture, each, SEARCH_SEED, history) for each in (fidelity, problem.target)
            )
            if cheap is not None and target is not None:
                pairs.append((cheap, target))
    cheap_P, target_P = np.array(pairs).reshape(-1, 2).T
    ranked = len(pairs) > 2 and np.ptp(cheap_P) > 0 and np.ptp(target_P) > 0
    spearman = float(spearmanr(cheap_P, target_P).statistic) if ranked else None
    return Agreement(fidelity.proxy, tuple(cheap_P.tolist()), tuple(target_P.tolist()), spearman)


def _front(problem: Problem, history: History, answer: Answer) -> Front | Missing:
    kind, recommendation = answer.objective.kind, answer.recommendation
    if kind != "pareto":
        return Missing(f"objective.kind is {kind}; pareto asks for a front")
    if not recommendation.front:
        return Missing(f"it is predicted, and the answer is {recommendation.method}")
    measured = (
        problem.objective.losses(entry.measurement)
        for entry in history.at(problem.target)
        if is_of_search(entry.trial.seed)
    )
    return Front(
        problem.objective.metrics,
        tuple(tuple(losses_M.tolist()) for losses_M in measured),
        recommendation.front,
        {name: estimate.mean for name, estimate in recommendation.predicted_losses.items()},
    )


def _budget(plan: Plan, history: History) -> Budget:
    ended = Counter((trial.fidelity.proxy, is_of_search(trial.seed)) for trial in history.without_running().trials)
    target = plan.problem.target
    proxies = []
    for rung in plan.problem.rungs:
        fidelity, proxy = rung.fidelity, rung.fidelity.proxy
        measurements = [
            entry.measurement for entry in (*history.completed, *history.stopped) if entry.trial.fidelity.proxy == proxy
        ]
        failures = [entry.failure for entry in history.failed if entry.trial.fidelity.proxy == proxy]
        proxies.append(
            ProxyBudget(
                proxy=proxy,
                kind=plan.file.proxies[proxy].kind,
                params=fidelity.params,
                tokens=fidelity.tokens,
                trial_flops=fidelity.flops,
                searched=ended[proxy, True],
                search_planned=plan.strategy.expected[fidelity],
                confirmed=ended[proxy, False],
                confirmation_planned=plan.confirmation_size if fidelity == target else 0,
                flops=sum(each.flops for each in measurements) + len(failures) * fidelity.flops,
                # Those of a pack were trained together.
                training_seconds=sum(each.seconds / int(each.environment.get("pack", 1)) for each in measurements)
                + sum(each.seconds for each in failures),
            )
        )
    return Budget(tuple(proxies), plan.file.budget.flops, plan.file.budget.time)


def _reproduction(plan: Plan, history: History, answer: Answer) -> Reproduction:
    environments = Counter(
        tuple(sorted(entry.measurement.environment.items())) for entry in (*history.completed, *history.stopped)
    )
    return Reproduction(
        file=str(plan.file.file),
        text=plan.file.text,
        provenance=answer.provenance,
        environments=tuple((dict(items), count) for items, count in environments.most_common()),
    )
