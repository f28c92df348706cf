"""What a confirmation trains next: all mixtures with two seeds, then those that may still be the best with more.

What is shown to be out by then gets no more seeds, and those whose order is open get what that saves: successive
rejection (J.-Y. Audibert, S. Bubeck and R. Munos, "Best Arm Identification in Multi-Armed Bandits", COLT 2010), here
with a stated error. Which follows is a question of what has ended, whatever its order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from search.history import History
from search.mixture import NEAR, Mixture
from search.noise import by_seed
from search.problem import BASELINE, PROPORTIONAL, Problem
from search.seeds import of_confirmation
from search.trial import Trial

if TYPE_CHECKING:
    # Predictors load SciPy, which a plan does without.
    from search.recommendation.recommendation import Candidate

# All mixtures get so many seeds; those still open after the seeds that were asked for, up to so many times as many.
FIRST_SEEDS = 2
MOST_TIMES = 2
# A mixture is out where its difference from the best is beyond this one-sided quantile: of a hundred pairs of mixtures
# that are as good, one is taken apart by mistake, at each look.
OUT = 0.99


@dataclass(frozen=True)
class Arm:
    """A mixture to confirm.

    Attributes:
        also: labels of what is the same mixture, or nearly, and is not trained beside it.
    """

    label: str
    mixture: Mixture
    also: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        return (self.label, *self.also)


def arms_of(problem: Problem, candidates: Sequence[Candidate]) -> list[Arm]:
    """The candidates, then the baselines, each mixture once.

    Baselines that are nearly a mixture before them are that one; but what answers are compared with, the proportional
    mixture, and what the objective is measured against, have to be trained as they are.
    """
    exact = {PROPORTIONAL, problem.objective.baseline}
    labelled = [(candidate.label, candidate.mixture, True) for candidate in candidates]
    labelled += [(BASELINE + name, mixture, name in exact) for name, mixture in problem.baselines.items()]
    arms: list[Arm] = []
    for label, mixture, is_exact in labelled:
        for place, arm in enumerate(arms):
            is_near = not is_exact and arm.mixture.total_variation(mixture) < NEAR
            if is_near or arm.mixture.same_as(mixture):
                arms[place] = replace(arm, also=(*arm.also, label))
                break
        else:
            arms.append(Arm(label, mixture))
    return arms


def confirmation_size(problem: Problem, candidates: int, seeds: int) -> int:
    """How many trials a confirmation of so many candidates takes, at most."""
    return seeds * (candidates + len(arms_of(problem, ())))


def next_confirmations(problem: Problem, candidates: Sequence[Candidate], seeds: int, history: History) -> list[Trial]:
    """What to train next at the target, seed by seed; none while a seed is being trained, and at the end."""
    arms, ended = arms_of(problem, candidates), history.without_running().trial_ids
    left = seeds * len(arms)
    for seed in of_confirmation(MOST_TIMES * seeds):
        kept = arms if seed <= FIRST_SEEDS else _kept(problem, arms, seeds, seed, history)
        wanted = [Trial(arm.mixture, problem.target, seed, f"confirm:{arm.label}") for arm in kept]
        left -= len(wanted)
        if not wanted or left < 0:
            return []
        if any(trial.id not in ended for trial in wanted):
            return history.new(wanted)
    return []


def _kept(problem: Problem, arms: Sequence[Arm], seeds: int, seed: int, history: History) -> list[Arm]:
    """What gets this seed: what is open, and what it is compared with; none where there is nothing to learn."""
    still_open = _open(problem, arms, history, seed - 1)
    against = {BASELINE + str(problem.objective.baseline)} if problem.objective.baseline else set()
    if seed <= seeds:
        against.add(BASELINE + PROPORTIONAL)
        if all(against & set(arm.labels) for arm in still_open):
            return []
    elif len(still_open) < 2:
        return []
    return [arm for arm in arms if arm in still_open or against & set(arm.labels)]


def _open(problem: Problem, arms: Sequence[Arm], history: History, seeds: int) -> list[Arm]:
    """Those that may still be the best, by so many seeds; what was out after fewer has fewer."""
    values = [values_of(problem, arm.mixture, seeds, history) for arm in arms]
    # A seed that failed throws nothing out.
    asked = [
        all(Trial(arm.mixture, problem.target, seed).id in history.trial_ids for seed in of_confirmation(seeds))
        for arm in arms
    ]
    layout = by_seed(values)
    going = [place for place, measured in enumerate(values) if measured and asked[place]]
    if layout.noise is None or not going:
        return [arms[place] for place in going]
    best = min(going, key=lambda place: float(layout.mean_K[place]))
    reach = quantile(OUT, layout.noise.freedom) * layout.noise.run_sd
    return [
        arms[place]
        for place in going
        if layout.mean_K[place] - layout.mean_K[best]
        <= reach * math.sqrt(1 / len(values[place]) + 1 / len(values[best]))
    ]


def values_of(problem: Problem, mixture: Mixture, seeds: int, history: History) -> dict[int, float]:
    """The mixture's objective by seed, where it was measured, and the objective's baseline too if it needs one."""
    values = {}
    for seed in of_confirmation(seeds):
        value = problem.objective_of(Trial(mixture, problem.target, seed), history)
        if value is not None:
            values[seed] = value
    return values


def quantile(level: float, freedom: float) -> float:
    """Of Student's t, one-sided."""
    from scipy.special import stdtrit

    return float(np.asarray(stdtrit(freedom, level)))
