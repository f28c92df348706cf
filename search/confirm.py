"""Confirmation: the best few mixtures and the baselines, trained again with new seeds.

The search's own runs are not counted again: a mixture was picked because its run, or runs like it, came out well, so
part of that was luck. New seeds are free of it. All comparisons are with the proportional mixture and paired by
seed, which removes what a seed does to every mixture alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.errors import SearchError
from search.history import History
from search.mixture import Mixture
from search.objective import Unit
from search.problem import REFERENCE, SEARCH_SEED, Problem
from search.recommend import Candidate
from search.trial import Trial

LEVEL = 0.95
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

    def as_dict(self) -> dict[str, object]:
        return {
            "label": self.label,
            "mixture": self.mixture.as_dict(),
            "values": {str(seed): value for seed, value in self.values.items()},
            "mean": self.mean,
            "difference": self.difference,
            "margin": self.margin,
            "verdict": self.verdict,
            "sentence": self.sentence,
        }


@dataclass(frozen=True)
class Confirmation:
    """Outcomes of the candidates, then of the baselines; `winner` has the lowest confirmed objective of them all."""

    candidates: tuple[Outcome, ...]
    baselines: tuple[Outcome, ...]
    winner: Outcome

    def as_dict(self) -> dict[str, object]:
        return {
            "candidates": [outcome.as_dict() for outcome in self.candidates],
            "baselines": [outcome.as_dict() for outcome in self.baselines],
            "winner": self.winner.as_dict(),
        }


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
    reference = _values(problem, problem.baselines[REFERENCE], seeds, history)
    if not reference:
        raise SearchError(
            f"no confirmation trial of the {REFERENCE} mixture was completed", hint="see why: mixopt status"
        )
    candidate_outcomes, baseline_outcomes = (
        tuple(
            _outcome(problem, entry, _values(problem, entry.mixture, seeds, history), reference, len(candidates))
            for entry in entries
        )
        for entries in (candidates, baselines)
    )
    compared = [entry for entry in (*candidate_outcomes, *baseline_outcomes) if entry.difference is not None]
    # By difference and not by mean: where seeds failed, means are over different seeds.
    winner = min(compared, key=lambda outcome: outcome.difference or 0.0)
    return Confirmation(candidate_outcomes, baseline_outcomes, winner)


def _baseline_candidates(problem: Problem) -> list[Candidate]:
    return [Candidate(f"baseline:{name}", mixture) for name, mixture in problem.baselines.items()]


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
    from scipy.special import stdtrit

    if entry.mixture == problem.baselines[REFERENCE]:
        return Outcome(entry.label, entry.mixture, values, 0.0, None, "not compared", f"is the {REFERENCE} mixture")
    differences = np.array([values[seed] - reference[seed] for seed in values if seed in reference])
    runs = len(differences)
    if runs == 0:
        sentence = f"was not compared with {REFERENCE}: no seed of both was completed"
        return Outcome(entry.label, entry.mixture, values, None, None, "not compared", sentence)
    difference = float(differences.mean())
    unit = UNITS[problem.objective.unit]
    if runs == 1:
        sentence = f"differs from {REFERENCE} by {difference:+.4f} {unit}, but one seed gives no interval"
        return Outcome(entry.label, entry.mixture, values, difference, None, "not compared", sentence)

    quantile = float(stdtrit(runs - 1, 1 - (1 - LEVEL) / (2 * comparisons)))
    margin = quantile * float(differences.std(ddof=1)) / math.sqrt(runs)
    verdict: Verdict = "no difference shown"
    if abs(difference) > margin:
        verdict = "better" if difference < 0 else "worse"
    evidence = f"± {margin:.4f} {unit} ({LEVEL:.0%}, {runs} seeds)"
    sentence = {
        "better": f"beats {REFERENCE} by {-difference:.4f} {evidence}",
        "worse": f"is worse than {REFERENCE} by {difference:.4f} {evidence}",
        "no difference shown": f"does not beat {REFERENCE}: {difference:+.4f} {evidence}",
    }[verdict]
    return Outcome(entry.label, entry.mixture, values, difference, margin, verdict, sentence)
