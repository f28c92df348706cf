"""Confirmation: the best few mixtures and the baselines, trained again with new seeds.

The search's own runs are not counted again: a mixture was picked because its run, or runs like it, came out well, so
part of that was luck. New seeds are free of it. Comparisons are paired by seed, which removes what a seed does to every
mixture alike. Nor does the lowest confirmed objective win, which would be luck again: the search's first candidate
does, unless the new seeds show that another mixture is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.errors import SearchError
from search.history import History
from search.mixture import Mixture
from search.objective import Unit
from search.problem import BASELINE, PROPORTIONAL, SEARCH_SEED, Problem
from search.recommendation.recommendation import LEVEL, Candidate
from search.trial import Trial

UNITS: Mapping[Unit, str] = {"nats_per_token": "nats per token", "bits_per_byte": "bits per byte"}

Verdict = Literal["better", "no difference shown", "worse", "not compared"]


@dataclass(frozen=True)
class Outcome:
    """One mixture over its confirmation seeds.

    Attributes:
        label: why it was confirmed: a candidate's label, or "baseline:<name>".
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

    @property
    def mean(self) -> float | None:
        return float(np.mean(list(self.values.values()))) if self.values else None


@dataclass(frozen=True)
class Confirmation:
    """Outcomes of the candidates, then of the baselines, and the winner among them.

    The winner is the first candidate that was measured, unless it is worse than proportional or another mixture is
    shown to be better; then that one, the best where there are several.
    """

    candidates: tuple[Outcome, ...]
    baselines: tuple[Outcome, ...]
    winner: Outcome

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


def confirmation_trials(problem: Problem, candidates: Sequence[Candidate], seeds: int) -> list[Trial]:
    """Each candidate and baseline at the target with seeds 1 to `seeds`, seed by seed, none twice."""
    labelled = [*candidates, *_baseline_candidates(problem)]
    return History().new(
        Trial(entry.mixture, problem.target, seed, f"confirm:{entry.label}")
        for seed in _seeds(seeds)
        for entry in labelled
    )


def confirm(problem: Problem, candidates: Sequence[Candidate], seeds: int, history: History) -> Confirmation:
    """What the completed confirmation trials of at least one candidate show.

    Raises:
        SearchError: no confirmation trial of the proportional mixture was completed.
    """
    baselines = _baseline_candidates(problem)
    reference = _values(problem, problem.baselines[PROPORTIONAL], seeds, history)
    if not reference:
        raise SearchError(
            f"no confirmation trial of the {PROPORTIONAL} mixture was completed", hint="see why: mixopt status"
        )
    candidate_outcomes, baseline_outcomes = (
        tuple(
            _outcome(problem, entry, _values(problem, entry.mixture, seeds, history), reference, len(candidates))
            for entry in entries
        )
        for entries in (candidates, baselines)
    )
    return Confirmation(candidate_outcomes, baseline_outcomes, winner(candidate_outcomes, baseline_outcomes))


def winner(candidates: Sequence[Outcome], baselines: Sequence[Outcome]) -> Outcome:
    """The first candidate that was measured, or what is shown to be better (benchmarks/confirmation.py).

    An interval is of its one comparison: whoever has to choose gains nothing by an error rate over all of them.
    """
    [proportional] = [outcome for outcome in baselines if outcome.label == BASELINE + PROPORTIONAL]
    first = next((outcome for outcome in candidates if outcome.difference is not None), proportional)
    others = _others(first, (*candidates, *baselines))
    noise = _noise((first, *others))
    # The change has to prove itself: one that does not even look better is not made.
    better = [proportional] if (first.difference or 0.0) > 0 else []
    for outcome in others:
        mean, margin, runs = _paired(outcome.values, first.values, 1)
        if noise is not None and margin is not None:
            margin = noise * math.sqrt(2 / runs)
        if mean is not None and margin is not None and mean < -margin:
            better.append(outcome)
    return min(better, key=lambda outcome: _paired(outcome.values, first.values, 1)[0] or 0.0, default=first)


def _noise(outcomes: Sequence[Outcome]) -> float | None:
    """Half the width of the interval of one run: what neither its mixture nor its seed explains, over all mixtures.

    Two seeds of one mixture say next to nothing of the noise, two of six mixtures enough (a two-way layout without
    interaction). None with fewer than two seeds that all mixtures have.
    """
    from scipy.special import stdtrit

    measured = [outcome.values for outcome in outcomes if outcome.values]
    seeds = sorted(set.intersection(*(set(values) for values in measured)))
    freedom = (len(measured) - 1) * (len(seeds) - 1)
    if freedom < 1:
        return None
    values_MS = np.array([[values[seed] for seed in seeds] for values in measured])
    rest_MS = values_MS - values_MS.mean(axis=0) - values_MS.mean(axis=1, keepdims=True) + values_MS.mean()
    return float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(float((rest_MS**2).sum()) / freedom)


def _others(one: Outcome, outcomes: Iterable[Outcome]) -> list[Outcome]:
    """The other mixtures, each once: baselines may be the same one under two names."""
    found: list[Outcome] = []
    for outcome in outcomes:
        if not any(outcome.mixture.same_as(known.mixture) for known in (one, *found)):
            found.append(outcome)
    return found


def _baseline_candidates(problem: Problem) -> list[Candidate]:
    return [Candidate(BASELINE + name, mixture) for name, mixture in problem.baselines.items()]


def _seeds(count: int) -> range:
    return range(SEARCH_SEED + 1, SEARCH_SEED + 1 + count)


def _values(problem: Problem, mixture: Mixture, seeds: int, history: History) -> dict[int, float]:
    """The mixture's objective by seed, where it was measured, and the objective's baseline too if it needs one."""
    values = {}
    for seed in _seeds(seeds):
        value = problem.objective_of(Trial(mixture, problem.target, seed), history)
        if value is not None:
            values[seed] = value
    return values


def _outcome(
    problem: Problem, entry: Candidate, values: dict[int, float], reference: dict[int, float], comparisons: int
) -> Outcome:
    if entry.mixture == problem.baselines[PROPORTIONAL]:
        return Outcome(entry.label, entry.mixture, values, 0.0, None, "not compared", f"is the {PROPORTIONAL} mixture")
    difference, margin, runs = _paired(values, reference, comparisons)
    if difference is None:
        sentence = f"was not compared with {PROPORTIONAL}: no seed of both was completed"
        return Outcome(entry.label, entry.mixture, values, None, None, "not compared", sentence)
    unit = UNITS[problem.objective.unit]
    if margin is None:
        by = f"{_apart(difference)} than {PROPORTIONAL} by {abs(difference):.4f} {unit}"
        sentence = f"is {by}, but one seed gives no interval"
        return Outcome(entry.label, entry.mixture, values, difference, None, "not compared", sentence)

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
    return Outcome(entry.label, entry.mixture, values, difference, margin, verdict, sentence)


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
