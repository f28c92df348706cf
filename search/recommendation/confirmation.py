"""Confirmation: what the best few mixtures and the baselines, trained again with new seeds, show.

The search's own runs are not counted again: a mixture was picked because its run, or runs like it, came out well, so
part of that was luck. New seeds are free of it. Comparisons are paired by seed, which removes what a seed does to every
mixture alike; what it does to one alone is the noise, estimated over all of them. The answer is the mixture, baseline
or not, of which most is expected after that: what the search predicted, and what the new seeds measured, each as far as
it can be trusted.

Where trials tell what groups of documents cost them, intervals also hold for other documents than those measured on
(search.recommendation.documents), else for other seeds alone.

Shapes: M mixtures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from search.errors import SearchError
from search.history import History
from search.mixture import Mixture
from search.noise import Layout, Noise, by_seed
from search.objective import UNITS
from search.problem import BASELINE, PROPORTIONAL, Problem
from search.recommendation.confirmation_trials import MOST_TIMES, Arm, arms_of, quantile, values_of
from search.recommendation.documents import DocumentError, Redrawn, document_error, redraw
from search.recommendation.metric_tests import MetricTests, metric_tests
from search.recommendation.recommendation import LEVEL, Candidate
from search.trust_region import TrustRegion

Verdict = Literal["better", "no difference shown", "worse", "not compared"]
# The variance of predictions' errors, in units of that of the measurements, is believed to be between these.
ERRORS = (0.01, 100.0)


@dataclass(frozen=True)
class Outcome:
    """One mixture over its confirmation seeds.

    Attributes:
        label: why it was confirmed: a candidate's label, or "baseline:<name>".
        values: its objective by seed; a failed run's seed is absent.
        difference: mean of (its objective - the proportional mixture's) over the seeds that both have.
        margin: half the width of the difference's 95% interval, the noise estimated over all mixtures; None where that
            cannot be. With several candidates it is widened by Bonferroni's rule, so that all their intervals hold
            together.
        verdict: whether that interval leaves out 0.
        sentence: the same in words.
        also: labels of what is the same mixture, or nearly, and is not trained beside it.
        adjusted: its mean without what each seed did to all, so that means over different seeds can be compared.
        tests: its metrics, one by one, beside the objective's baseline or else the proportional mixture.
        redrawn: its objective on other documents like those it was measured on; None where that is not known.
    """

    label: str
    mixture: Mixture
    values: Mapping[int, float]
    difference: float | None
    margin: float | None
    verdict: Verdict
    sentence: str
    also: tuple[str, ...] = ()
    adjusted: float | None = None
    tests: MetricTests | None = None
    redrawn: Redrawn | None = field(default=None, compare=False, repr=False)

    @property
    def broken(self) -> tuple[str, ...]:
        """Metrics that are shown to be worse than they may be: the mixture is no answer."""
        return () if self.tests is None else self.tests.broken

    @property
    def names(self) -> tuple[str, ...]:
        """Of the baselines that it stands for."""
        labels = (self.label, *self.also)
        return tuple(label.removeprefix(BASELINE) for label in labels if label.startswith(BASELINE))

    @property
    def is_baseline(self) -> bool:
        return self.label.startswith(BASELINE)

    @property
    def name(self) -> str:
        """In a sentence: "the proposed mixture", "uniform"."""
        return self.label.removeprefix(BASELINE) if self.is_baseline else f"the {self.label} mixture"

    @property
    def mean(self) -> float | None:
        if self.adjusted is not None or not self.values:
            return self.adjusted
        return float(np.mean(list(self.values.values())))


@dataclass(frozen=True)
class Comparison:
    """The answer beside its strongest rival: the best baseline, or, where a baseline is the answer, the best candidate.

    Attributes:
        label: the rival's.
        difference: mean of (the answer's objective - the rival's) over the seeds that both have.
        margin: half the width of its 95% interval, the noise estimated over all mixtures; None where it cannot be.
    """

    label: str
    difference: float
    margin: float | None
    seeds: int
    sentence: str

    @property
    def shown(self) -> bool:
        return self.margin is not None and abs(self.difference) > self.margin


@dataclass(frozen=True)
class Confirmation:
    """Outcomes of the candidates, then of the baselines, and the winner among them.

    Attributes:
        winner: of which most is expected, by what was predicted and measured.
        beside: the winner beside its strongest rival; None where nothing was measured beside it.
        run_sd: standard deviation of what neither a run's mixture nor its seed explains; None with too few seeds.
        over_documents: whether the intervals hold for other seeds and other documents; else for other seeds alone.
    """

    candidates: tuple[Outcome, ...]
    baselines: tuple[Outcome, ...]
    winner: Outcome
    beside: Comparison | None = None
    run_sd: float | None = None
    over_documents: bool = False

    @property
    def cautions(self) -> tuple[str, ...]:
        """A sentence for each other mixture that measured better than the winner."""
        outcomes = [*self.candidates, *self.baselines]
        noise, found = by_seed([outcome.values for outcome in outcomes]).noise, []
        for outcome in outcomes:
            difference, seeds = paired(self.winner.values, outcome.values)
            if outcome is self.winner or difference is None or difference <= 0:
                continue
            if outcome.broken and outcome.tests is not None:
                found.append(_refusal(outcome, outcome.tests, difference))
                continue
            margin = _margin(noise, seeds, 1, document_error(self.winner.redrawn, outcome.redrawn))
            interval = "" if margin is None else f" ± {margin:.4f}"
            name = f"the {outcome.label.removeprefix(BASELINE)} mixture"
            what = f"{name} measured lower than the answer, by {difference:.4f}{interval} over {_count(seeds)}"
            if margin is None or difference <= margin:
                found.append(f"{what}: too little to prefer it; more seeds (confirm.seeds) would tell")
            else:
                found.append(f"{what}; what the search predicted, or where an answer may lie, speaks against it")
        return tuple(found)


def confirm(
    problem: Problem,
    candidates: Sequence[Candidate],
    seeds: int,
    history: History,
    predicted: Callable[[Mixture], float] | None = None,
    trust: TrustRegion | None = None,
) -> Confirmation:
    """What the completed confirmation trials of at least one candidate show.

    Args:
        seeds: as many as were asked for.
        predicted: the objective that the search expects of a mixture; None where it predicts nothing.
        trust: where the answer may lie; a baseline beyond its max_kl is compared and never the answer.

    Raises:
        SearchError: no confirmation trial of the proportional mixture was completed.
    """
    arms, most = arms_of(problem, candidates), MOST_TIMES * seeds
    reference = values_of(problem, problem.baselines[PROPORTIONAL], most, history)
    if not reference:
        raise SearchError(
            f"no confirmation trial of the {PROPORTIONAL} mixture was completed", hint="see why: mixopt status"
        )
    values = [values_of(problem, arm.mixture, most, history) for arm in arms]
    layout = by_seed(values)
    tests = metric_tests(problem, [arm.mixture for arm in arms], seeds, history)
    on_others = [redraw(problem, arm.mixture, each, history) for arm, each in zip(arms, values, strict=True)]
    reference_on_others = redraw(problem, problem.baselines[PROPORTIONAL], reference, history)
    outcomes = [
        replace(
            _outcome(
                problem,
                arm,
                measured,
                reference,
                len(candidates),
                layout,
                place,
                document_error(redrawn, reference_on_others),
            ),
            tests=of_metrics,
            redrawn=redrawn,
        )
        for place, (arm, measured, redrawn, of_metrics) in enumerate(zip(arms, values, on_others, tests, strict=True))
    ]
    expected = expectations(outcomes, None if predicted is None else [predicted(each.mixture) for each in outcomes])
    allowed = [not outcome.broken and _allowed(problem, outcome.mixture, trust) for outcome in outcomes]
    if not any(allowed):
        # Nothing may be the answer but what the others are compared with.
        allowed = [PROPORTIONAL in outcome.names for outcome in outcomes]
    best = _lowest(outcomes, expected, allowed)
    return Confirmation(
        tuple(outcome for outcome in outcomes if not outcome.is_baseline),
        tuple(outcome for outcome in outcomes if outcome.is_baseline),
        best,
        _beside(problem, best, outcomes, expected, layout.noise),
        None if layout.noise is None else layout.noise.run_sd,
        all(outcome.redrawn is not None for outcome in outcomes if outcome.values),
    )


def winner(outcomes: Sequence[Outcome], predicted: Sequence[float] | None = None) -> Outcome:
    """The mixture of which most is expected, after predictions, in the same order, and new seeds."""
    return _lowest(outcomes, expectations(outcomes, predicted), [True] * len(outcomes))


def expectations(outcomes: Sequence[Outcome], predicted: Sequence[float] | None) -> Float[np.ndarray, " M"]:
    """The objective that is expected of each, relative to each other, [M]; infinite for one that was not measured.

    Differences between mixtures are taken to be predicted with an error whose size the new seeds show, as far as it is
    more than their noise: the larger it is, and the more seeds a mixture has, the more its measurements count. Without
    predictions the lowest mean is expected to be lowest.
    """
    values = [outcome.values for outcome in outcomes]
    layout = by_seed(values)
    known_M = np.isfinite(layout.mean_K)
    expected_M: Float[np.ndarray, " M"] = np.where(known_M, layout.mean_K, np.inf)
    if predicted is None or known_M.sum() < 2:
        return expected_M
    predicted_K = np.array(predicted)[known_M]
    if layout.noise is None:
        expected_M[known_M] = predicted_K
        return expected_M
    off_K = expected_M[known_M] - predicted_K
    off_K = off_K - off_K.mean()
    chance_K = layout.noise.run_sd**2 / np.array([len(runs) for runs in values if runs])
    chance_K = chance_K + _by_documents([outcome for outcome, known in zip(outcomes, known_M, strict=True) if known])
    if not chance_K.any():
        return expected_M
    # How large the variance of the predictions' errors is, as likely as the measurements make it.
    error_R1 = np.geomspace(*ERRORS, 41)[:, None] * chance_K.mean()
    log_likelihood_R = -0.5 * (np.log(error_R1 + chance_K) + off_K**2 / (error_R1 + chance_K)).sum(axis=1)
    likelihood_R = np.exp(log_likelihood_R - log_likelihood_R.max())
    believed_K = likelihood_R @ (error_R1 / (error_R1 + chance_K)) / likelihood_R.sum()
    expected_M[known_M] = predicted_K + believed_K * off_K
    return expected_M


def _by_documents(outcomes: Sequence[Outcome]) -> Float[np.ndarray, " K"]:
    """Variance of each mean, relative to that of them all, that comes from the documents; 0 where it is not known."""
    redrawn = [outcome.redrawn for outcome in outcomes]
    if any(each is None for each in redrawn):
        return np.zeros(len(outcomes))
    drawn_KD = np.array([np.mean(list(each.values.values()), axis=0) for each in redrawn if each is not None])
    variance_K: Float[np.ndarray, " K"] = (drawn_KD - drawn_KD.mean(axis=0)).var(axis=1, ddof=1)
    return variance_K


def _lowest(outcomes: Sequence[Outcome], expected_M: Float[np.ndarray, " M"], allowed: Sequence[bool]) -> Outcome:
    """The first of those of which most is expected; of none, the first."""
    return outcomes[int(np.where(allowed, expected_M, np.inf).argmin())]


def _allowed(problem: Problem, mixture: Mixture, trust: TrustRegion | None) -> bool:
    weights_1D = mixture.reordered(problem.space.domains).array[None]
    natural = trust is None or bool(trust.natural_enough(weights_1D, problem.space)[0])
    return natural and bool(problem.feasible(weights_1D)[0])


def _beside(
    problem: Problem,
    best: Outcome,
    outcomes: Sequence[Outcome],
    expected_M: Float[np.ndarray, " M"],
    noise: Noise | None,
) -> Comparison | None:
    """The best of the other kind: a baseline for a candidate, a candidate for a baseline."""
    of_baselines = not best.is_baseline
    others = [
        (float(expected), place)
        for place, (outcome, expected) in enumerate(zip(outcomes, expected_M, strict=True))
        if outcome is not best and (bool(outcome.names) if of_baselines else not outcome.is_baseline)
    ]
    if not others or not math.isfinite(min(others)[0]):
        return None
    rival = outcomes[min(others)[1]]
    difference, seeds = paired(best.values, rival.values)
    if difference is None:
        return None
    margin = _margin(noise, seeds, 1, document_error(best.redrawn, rival.redrawn))
    what = f"{rival.names[0]}, the best baseline" if of_baselines else rival.name
    interval = "" if margin is None else f" ± {margin:.4f}"
    by = f"by {abs(difference):.4f}{interval} {UNITS[problem.objective.unit]} ({_count(seeds)})"
    if margin is not None and abs(difference) > margin:
        sentence = f"{'beats' if difference < 0 else 'is worse than'} {what}{',' * of_baselines} {by}"
    else:
        sentence = f"is not shown to differ from {what}: {_apart(difference)} {by}"
    return Comparison(rival.label, difference, margin, seeds, sentence)


def _outcome(
    problem: Problem,
    arm: Arm,
    values: dict[int, float],
    reference: dict[int, float],
    comparisons: int,
    layout: Layout,
    place: int,
    documents: DocumentError | None,
) -> Outcome:
    """What one mixture has shown, beside the proportional one."""
    mean = float(layout.mean_K[place]) if values else None

    def found(difference: float | None, margin: float | None, verdict: Verdict, sentence: str) -> Outcome:
        return Outcome(arm.label, arm.mixture, values, difference, margin, verdict, sentence, arm.also, mean)

    if arm.mixture.same_as(problem.baselines[PROPORTIONAL]):
        return found(0.0, None, "not compared", f"is the {PROPORTIONAL} mixture")
    difference, seeds = paired(values, reference)
    if difference is None:
        return found(None, None, "not compared", f"was not compared with {PROPORTIONAL}: no seed of both was completed")
    unit = UNITS[problem.objective.unit]
    margin = _margin(layout.noise, seeds, comparisons, documents) if seeds > 1 else None
    if margin is None:
        by = f"{_apart(difference)} than {PROPORTIONAL} by {abs(difference):.4f} {unit}"
        why = "one seed gives no interval" if seeds == 1 else "nothing tells its noise"
        return found(difference, None, "not compared", f"is {by}, but {why}")
    evidence = f"± {margin:.4f} {unit} ({LEVEL:.0%}, {_count(seeds)})"
    if abs(difference) <= margin:
        apart = f"{_apart(difference)} by {abs(difference):.4f}"
        sentence = f"is not shown to beat {PROPORTIONAL}: {apart} {evidence}"
        return found(difference, margin, "no difference shown", sentence)
    if difference < 0:
        return found(difference, margin, "better", f"beats {PROPORTIONAL} by {-difference:.4f} {evidence}")
    return found(difference, margin, "worse", f"is worse than {PROPORTIONAL} by {difference:.4f} {evidence}")


def _refusal(outcome: Outcome, tests: MetricTests, difference: float) -> str:
    worst = max(outcome.broken, key=lambda name: abs(tests.metrics[name].difference))
    test = tests.metrics[worst]
    others = f" (and {len(outcome.broken) - 1} more)" if len(outcome.broken) > 1 else ""
    interval = "" if test.margin is None else f" ± {test.margin:.4f}"
    return (
        f"{outcome.name} measured lower than the answer, by {difference:.4f}, and is refused: {worst}{others} is shown "
        f"to be worse than {tests.baseline} allows, by {abs(test.difference):.4f}{interval}"
    )


def _margin(noise: Noise | None, seeds: int, comparisons: int, documents: DocumentError | None) -> float | None:
    """Half the width of the interval of a difference over so many shared seeds; None where the noise is not known.

    The variances of seeds and documents add up; the degrees of freedom are Welch's and Satterthwaite's.
    """
    if noise is None:
        return None
    error, freedom = noise.run_sd * math.sqrt(2 / seeds), float(noise.freedom)
    if documents is not None and documents.sd > 0:
        of_seeds, error = error, math.hypot(error, documents.sd)
        freedom = error**4 / (of_seeds**4 / noise.freedom + documents.sd**4 / documents.freedom)
    return quantile(1 - (1 - LEVEL) / (2 * comparisons), freedom) * error


def paired(values: Mapping[int, float], others: Mapping[int, float]) -> tuple[float | None, int]:
    """Mean difference over the seeds that both have, None where there are none, and how many these are."""
    shared = [values[seed] - others[seed] for seed in values if seed in others]
    return (float(np.mean(shared)), len(shared)) if shared else (None, 0)


def _apart(difference: float) -> str:
    return "lower" if difference < 0 else "higher"


def _count(seeds: int) -> str:
    return f"{seeds} seed{'s' * (seeds != 1)}"
