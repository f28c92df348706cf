"""Confirmation: the best few mixtures and the baselines, trained again with new seeds.

The search's own runs are not counted again: a mixture was picked because its run, or runs like it, came out well, so
part of that was luck. New seeds are free of it. Comparisons are paired by seed, which removes what a seed does to every
mixture alike.

All are trained with two seeds; what is shown to be out by then gets no more of them, and those whose order is still
open get what that saves: successive rejection (J.-Y. Audibert, S. Bubeck and R. Munos, "Best Arm Identification in
Multi-Armed Bandits", COLT 2010), here with a stated error. The answer is the mixture, baseline or not, of which most is
expected after that: what the search predicted, and what the new seeds measured, each as far as it can be trusted.

Shapes: M mixtures, S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from search.errors import SearchError
from search.history import History
from search.mixture import NEAR, Mixture
from search.noise import two_way
from search.objective import UNITS
from search.problem import BASELINE, PROPORTIONAL, Problem
from search.recommendation.recommendation import LEVEL, Candidate
from search.seeds import of_confirmation
from search.trial import Trial

Verdict = Literal["better", "no difference shown", "worse", "not compared"]


@dataclass(frozen=True)
class Outcome:
    """One mixture over its confirmation seeds.

    Attributes:
        label: why it was confirmed: a candidate's label, or "baseline:<name>".
        also: labels of what is nearly the same mixture, and is not trained beside it.
        values: its objective by seed; a failed run's seed is absent.
        difference: mean of (its objective - the proportional mixture's) over the seeds that both have.
        margin: half the width of the difference's Student-t interval; None below two such seeds. With several
            candidates it is widened by Bonferroni's rule, so that all their intervals hold together with 95%.
        verdict: whether that interval leaves out 0.
        sentence: the same in words.
    """

    label: str
    mixture: Mixture
    values: Mapping[int, float]
    difference: float | None
    margin: float | None
    verdict: Verdict
    sentence: str
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the baselines that it stands for."""
        labels = (self.label, *self.also)
        return tuple(label.removeprefix(BASELINE) for label in labels if label.startswith(BASELINE))

    @property
    def name(self) -> str:
        """In a sentence: "the proposed mixture", "uniform"."""
        return self.names[0] if self.label.startswith(BASELINE) else f"the {self.label} mixture"

    @property
    def mean(self) -> float | None:
        return float(np.mean(list(self.values.values()))) if self.values else None


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
        rival: None where nothing was measured beside it.
        run_sd: standard deviation of what neither a run's mixture nor its seed explains; None with too few seeds.
    """

    candidates: tuple[Outcome, ...]
    baselines: tuple[Outcome, ...]
    winner: Outcome
    rival: Comparison | None = None
    run_sd: float | None = None

    @property
    def cautions(self) -> tuple[str, ...]:
        """A sentence for each other mixture that measured better than the winner, though it is not shown to be."""
        found = []
        for outcome in _others(self.winner, (*self.candidates, *self.baselines)):
            lower, margin, runs = _paired(self.winner.values, outcome.values, 1)
            if lower is not None and lower > 0:
                interval = "" if margin is None else f" ± {margin:.4f}"
                found.append(
                    f"the {outcome.label.removeprefix(BASELINE)} mixture measured lower than the answer, by "
                    f"{lower:.4f}{interval} over {runs} seed{'s' * (runs > 1)}: too little to prefer it when all are "
                    "compared; more seeds (confirm.seeds) would tell"
                )
        return tuple(found)


# All mixtures get so many seeds; those still open after the seeds that were asked for, up to so many times as many.
FIRST_SEEDS = 2
MOST_TIMES = 2
# A mixture is out where its difference from the best is beyond this one-sided quantile: of a hundred that are as good
# as the best, one is thrown out by mistake, at each look.
OUT = 0.99
# The variance of predictions' errors, in units of that of the measurements, is believed to be between these.
ERRORS = (0.01, 100.0)


@dataclass(frozen=True)
class _Arm:
    label: str
    mixture: Mixture
    also: tuple[str, ...] = ()


def confirmation_size(problem: Problem, candidates: int, seeds: int) -> int:
    """How many trials a confirmation of so many candidates takes, at most."""
    return seeds * (candidates + len(_arms(problem, ())))


def next_confirmations(problem: Problem, candidates: Sequence[Candidate], seeds: int, history: History) -> list[Trial]:
    """What to train next at the target, seed by seed; none while a seed is being trained, and at the end.

    Which follows is a question of what has ended, whatever its order.
    """
    arms, ended = _arms(problem, candidates), history.without_running().trial_ids
    left = seeds * len(arms)
    open_arms = arms
    for seed in of_confirmation(MOST_TIMES * seeds):
        if seed > FIRST_SEEDS:
            open_arms = _open(problem, arms, history, seed - 1)
            if seed > seeds and len(open_arms) < 2:
                return []
            kept = [arm for arm in arms if arm in open_arms or (seed <= seeds and arm.label == BASELINE + PROPORTIONAL)]
        else:
            kept = arms
        wanted = History().new(Trial(arm.mixture, problem.target, seed, f"confirm:{arm.label}") for arm in kept)
        left -= len(wanted)
        if left < 0:
            return []
        if any(trial.id not in ended for trial in wanted):
            return history.new(wanted)
    return []


def _open(problem: Problem, arms: Sequence[_Arm], history: History, seeds: int) -> list[_Arm]:
    """Those that may still be the best, by so many seeds of all that were not out before."""
    values = [_values(problem, arm.mixture, seeds, history) for arm in arms]
    noise, freedom = _noise(values)
    if noise is None:
        return [arm for arm, measured in zip(arms, values, strict=True) if measured]
    # A seed that failed throws nothing out.
    asked = [
        sum(Trial(arm.mixture, problem.target, seed).id in history.trial_ids for seed in of_confirmation(seeds))
        for arm in arms
    ]
    means = {
        place: float(np.mean(list(measured.values())))
        for place, measured in enumerate(_without_seeds(values))
        if measured and asked[place] == seeds
    }
    best = min(means, key=lambda place: means[place], default=0)
    reach = _quantile(OUT, freedom) * noise
    return [
        arms[place]
        for place, mean in means.items()
        if mean - means[best] <= reach * math.sqrt(1 / len(values[place]) + 1 / len(values[best]))
    ]


def _without_seeds(values: Sequence[Mapping[int, float]]) -> list[dict[int, float]]:
    """The values without what each seed did to the mixtures that every seed measured."""
    seeds = sorted(set().union(*values))
    whole = [measured for measured in values if len(measured) == len(seeds)]
    if not whole:
        return [dict(measured) for measured in values]
    effect = {seed: float(np.mean([measured[seed] for measured in whole])) for seed in seeds}
    centre = float(np.mean(list(effect.values())))
    return [{seed: value - effect[seed] + centre for seed, value in measured.items()} for measured in values]


def confirm(
    problem: Problem,
    candidates: Sequence[Candidate],
    seeds: int,
    history: History,
    predicted: Callable[[Mixture], float] | None = None,
) -> Confirmation:
    """What the completed confirmation trials of at least one candidate show.

    Args:
        seeds: as many as were asked for.
        predicted: the objective that the search expects of a mixture; None where it predicts nothing.

    Raises:
        SearchError: no confirmation trial of the proportional mixture was completed.
    """
    arms, most = _arms(problem, candidates), MOST_TIMES * seeds
    reference = _values(problem, problem.baselines[PROPORTIONAL], most, history)
    if not reference:
        raise SearchError(
            f"no confirmation trial of the {PROPORTIONAL} mixture was completed", hint="see why: mixopt status"
        )
    outcomes = [
        _outcome(problem, arm, _values(problem, arm.mixture, most, history), reference, len(candidates)) for arm in arms
    ]
    expected = {} if predicted is None else {outcome.label: predicted(outcome.mixture) for outcome in outcomes}
    best = winner(outcomes[: len(candidates)], outcomes[len(candidates) :], expected)
    run_sd, _ = _noise([outcome.values for outcome in outcomes])
    return Confirmation(
        tuple(outcomes[: len(candidates)]),
        tuple(outcomes[len(candidates) :]),
        best,
        _rival(problem, best, outcomes, expected),
        run_sd,
    )


def winner(
    candidates: Sequence[Outcome], baselines: Sequence[Outcome], predicted: Mapping[str, float] | None = None
) -> Outcome:
    """The mixture of which most is expected, after predictions and new seeds (benchmarks/confirmation.py).

    Differences between mixtures are taken to be predicted with an error that the new seeds show, as far as it is more
    than their noise: the larger it is, the more the measurements count. Without predictions the lowest mean is expected
    to be lowest.

    Args:
        predicted: the objective that the search expected, by label.
    """
    measured = [outcome for outcome in (*candidates, *baselines) if outcome.values]
    if len(measured) < 2:
        return next(iter(measured), candidates[0] if candidates else baselines[0])
    expected = _expected(measured, predicted or {})
    return measured[int(np.argmin(expected))]


def _expected(measured: Sequence[Outcome], predicted: Mapping[str, float]) -> list[float]:
    """The objective that is expected of each, relative to each other."""
    noise, _ = _noise([outcome.values for outcome in measured])
    mean_M = np.array([np.mean(list(values.values())) for values in _without_seeds([one.values for one in measured])])
    if not predicted:
        return list(mean_M)
    predicted_M = np.array([predicted[outcome.label] for outcome in measured])
    seeds_M = np.array([len(outcome.values) for outcome in measured])
    if noise is None:
        return list(predicted_M)
    off_M = (mean_M - mean_M.mean()) - (predicted_M - predicted_M.mean())
    chance_M = noise**2 / seeds_M
    if not chance_M.any():
        return list(mean_M)
    # How much larger the predictions' errors are than chance, as likely as the measurements make it.
    ratio_R = np.geomspace(*ERRORS, 41)
    misfit = float((off_M**2 / chance_M).sum())
    log_likelihood_R = -0.5 * ((len(off_M) - 1) * np.log(1 + ratio_R) + misfit / (1 + ratio_R))
    likelihood_R = np.exp(log_likelihood_R - log_likelihood_R.max())
    believed = float(likelihood_R @ (ratio_R / (1 + ratio_R)) / likelihood_R.sum())
    return list(predicted_M - predicted_M.mean() + believed * off_M)


def _rival(
    problem: Problem, best: Outcome, outcomes: Sequence[Outcome], predicted: Mapping[str, float]
) -> Comparison | None:
    """The best of the other kind: a baseline for a candidate, a candidate for a baseline."""
    of_baselines = not best.names
    others = [each for each in _others(best, outcomes) if bool(each.names) == of_baselines and each.values]
    if not others:
        return None
    rival = winner(others, (), predicted)
    difference, _, seeds = _paired(best.values, rival.values, 1)
    if difference is None:
        return None
    noise, freedom = _noise([outcome.values for outcome in outcomes])
    margin = None if noise is None else _quantile((1 + LEVEL) / 2, freedom) * noise * math.sqrt(2 / seeds)
    what = f"{rival.name}, the best baseline," if of_baselines else rival.name
    interval = "" if margin is None else f" ± {margin:.4f}"
    by = f"{abs(difference):.4f}{interval} {UNITS[problem.objective.unit]} ({seeds} seed{'s' * (seeds > 1)})"
    if margin is not None and abs(difference) > margin:
        sentence = f"{'beats' if difference < 0 else 'is worse than'} {what} by {by}"
    else:
        sentence = f"is not shown to differ from {what} {_apart(difference)} by {by}"
    return Comparison(rival.label, difference, margin, seeds, sentence)


def _noise(values: Sequence[Mapping[int, float]]) -> tuple[float | None, int]:
    """Standard deviation of what neither a run's mixture nor its seed explains, over all mixtures, and its freedom.

    Two seeds of one mixture say next to nothing of the noise, two of six mixtures enough (a two-way layout without
    interaction). None where nothing is left over to estimate it from.
    """
    cells = [
        (mixture, seed, value) for mixture, measured in enumerate(values) for seed, value in sorted(measured.items())
    ]
    seeds = sorted({seed for _, seed, _ in cells})
    if not cells:
        return None, 0
    found = two_way(
        np.array([value for _, _, value in cells]),
        np.array([mixture for mixture, _, _ in cells]),
        np.array([seeds.index(seed) for _, seed, _ in cells]),
    )
    return (None, 0) if found is None else (found.run_sd, found.freedom)


def _quantile(level: float, freedom: int) -> float:
    """Of Student's t, one-sided."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, level))


def _arms(problem: Problem, candidates: Sequence[Candidate]) -> list[_Arm]:
    """What is confirmed: the candidates, then the baselines that are not nearly the same as one before.

    Proportional always has a row of its own.
    """
    arms = [_Arm(candidate.label, candidate.mixture) for candidate in candidates]
    for name, mixture in problem.baselines.items():
        same = next((arm for arm in arms if arm.mixture.total_variation(mixture) < NEAR), None)
        if same is None or name == PROPORTIONAL:
            arms.append(_Arm(BASELINE + name, mixture))
        else:
            arms[arms.index(same)] = replace(same, also=(*same.also, BASELINE + name))
    return arms


def _others(one: Outcome, outcomes: Iterable[Outcome]) -> list[Outcome]:
    """The other mixtures, each once: baselines may be the same one under two names."""
    found: list[Outcome] = []
    for outcome in outcomes:
        if not any(outcome.mixture.same_as(known.mixture) for known in (one, *found)):
            found.append(outcome)
    return found


def _values(problem: Problem, mixture: Mixture, seeds: int, history: History) -> dict[int, float]:
    """The mixture's objective by seed, where it was measured, and the objective's baseline too if it needs one."""
    values = {}
    for seed in of_confirmation(seeds):
        value = problem.objective_of(Trial(mixture, problem.target, seed), history)
        if value is not None:
            values[seed] = value
    return values


def _outcome(
    problem: Problem, entry: _Arm, values: dict[int, float], reference: dict[int, float], comparisons: int
) -> Outcome:
    if entry.mixture == problem.baselines[PROPORTIONAL]:
        return Outcome(
            entry.label, entry.mixture, values, 0.0, None, "not compared", f"is the {PROPORTIONAL} mixture", entry.also
        )
    difference, margin, runs = _paired(values, reference, comparisons)
    if difference is None:
        sentence = f"was not compared with {PROPORTIONAL}: no seed of both was completed"
        return Outcome(entry.label, entry.mixture, values, None, None, "not compared", sentence, entry.also)
    unit = UNITS[problem.objective.unit]
    if margin is None:
        by = f"{_apart(difference)} than {PROPORTIONAL} by {abs(difference):.4f} {unit}"
        sentence = f"is {by}, but one seed gives no interval"
        return Outcome(entry.label, entry.mixture, values, difference, None, "not compared", sentence, entry.also)

    apart = f"{_apart(difference)} by {abs(difference):.4f}"
    verdict: Verdict = "no difference shown"
    if abs(difference) > margin:
        verdict = "better" if difference < 0 else "worse"
    evidence = f"± {margin:.4f} {unit} ({LEVEL:.0%}, {runs} seeds)"
    sentence = {
        "better": f"beats {PROPORTIONAL} by {-difference:.4f} {evidence}",
        "worse": f"is worse than {PROPORTIONAL} by {difference:.4f} {evidence}",
        "no difference shown": f"is not shown to beat {PROPORTIONAL}: {apart} {evidence}",
    }[verdict]
    return Outcome(entry.label, entry.mixture, values, difference, margin, verdict, sentence, entry.also)


def _apart(difference: float) -> str:
    return "lower" if difference < 0 else "higher"


def _paired(
    values: Mapping[int, float], others: Mapping[int, float], comparisons: int
) -> tuple[float | None, float | None, int]:
    """Mean difference over the seeds that both have, half its interval's width (from two seeds on), and the seeds."""
    from scipy.special import stdtrit

    differences = np.array([values[seed] - others[seed] for seed in values if seed in others])
    runs = len(differences)
    if runs == 0:
        return None, None, 0
    if runs == 1:
        return float(differences[0]), None, 1
    quantile = float(stdtrit(runs - 1, 1 - (1 - LEVEL) / (2 * comparisons)))
    return float(differences.mean()), quantile * float(differences.std(ddof=1)) / math.sqrt(runs), runs
