"""What is known when a question is put: runs, the objective that they are judged by, and what they are judged against.

Shapes: N runs, D domains, M metrics, L fidelities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from search.errors import SearchError
from search.fidelity import Fidelity
from search.history import History
from search.mixture import Mixture
from search.noise import Noise, measure_noise, seed_shifts, within_mixtures
from search.objective import Objective
from search.problem import Problem
from search.runs import Runs
from search.seeds import SEARCH_SEED, is_of_search
from search.trial import Loss, Trial

# A measured excess counts as a broken constraint beyond so many standard deviations of a difference between two runs.
MEASURED_BEYOND = 1.65


@dataclass(frozen=True)
class Evidence:
    """Runs read by an objective.

    Attributes:
        runs: their metrics are the objective's, their target is the fidelity that the answer is for.
        baseline_M: values of the objective's baseline at the target; needed where the objective has one.
        measured_baselines: measured objective at the target of the baselines that were trained there.
        warnings: sentences on what could not be used.
        baseline_LM: values of the objective's baseline at each of the runs' fidelities, NaN where it was not measured;
            None where no more than the target's is known.
        noise: of the objective at the target; None where no two mixtures were trained with the same two seeds.
    """

    runs: Runs
    objective: Objective
    baseline_M: Float[np.ndarray, " M"] | None = None
    measured_baselines: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    baseline_LM: Float[np.ndarray, "L M"] | None = None
    noise: Noise | None = None

    def __post_init__(self) -> None:
        assert self.runs.metrics == self.objective.metrics

    @cached_property
    def objective_N(self) -> Float[np.ndarray, " N"]:
        """The objective of each run, in the units of its own fidelity.

        NaN where a metric is missing, or the baseline's values at that fidelity, which the objective needs.
        """
        runs = self.runs
        values_N = np.full(len(runs), np.nan)
        for index in range(len(runs.fidelities)):
            here_N = runs.at(index) & runs.complete_N
            if here_N.any():
                values_N[here_N] = self.objective.value(runs.values_NM[here_N], self._baseline_at(index))
        return values_N

    def _baseline_at(self, index: int) -> Float[np.ndarray, " M"] | None:
        if index == len(self.runs.fidelities) - 1:
            return self.baseline_M
        return np.full(len(self.runs.metrics), np.nan) if self.baseline_LM is None else self.baseline_LM[index]

    @cached_property
    def at_target_N(self) -> Float[np.ndarray, " N"]:
        """The objective of the runs that measured it at the target, infinite elsewhere, [N]."""
        measured_N = self.runs.at_target_N & np.isfinite(self.objective_N)
        return np.where(measured_N, self.objective_N, np.inf)

    def best_observed(self, allowed_N: Bool[np.ndarray, " N"]) -> Mixture | None:
        """Of the runs that are allowed, the mixture with the lowest objective measured at the target, if any.

        That of a mixture with several runs is that of their mean. One that is measured to break a constraint by more
        than the noise of a run explains comes behind all that keep them.
        """
        runs = self.runs
        rows = np.flatnonzero(allowed_N & np.isfinite(self.at_target_N))
        if not len(rows):
            return None
        _, place_R, count_K = np.unique(runs.mixture_N[rows], return_inverse=True, return_counts=True)
        mean_KM = np.zeros((len(count_K), runs.values_NM.shape[1]))
        np.add.at(mean_KM, place_R, runs.values_NM[rows] / count_K[place_R, None])
        within_KM = np.broadcast_to(-MEASURED_BEYOND * self._difference_sd_M, mean_KM.shape)
        order_K = self.objective.order(mean_KM, self.baseline_M, within_KM)
        return runs.mixture(int(rows[order_K[place_R].argmin()]))

    @property
    def _difference_sd_M(self) -> Float[np.ndarray, " M"]:
        """Of two runs at the target, by repeated mixtures; infinite without any, for then nothing is shown, [M]."""
        here_N = self.runs.at_target_N & self.runs.complete_N
        square_M, freedom = within_mixtures(self.runs.values_NM[here_N], self.runs.mixture_N[here_N])
        sd_M: Float[np.ndarray, " M"] = np.sqrt(2 * square_M / freedom) if freedom else np.full_like(square_M, np.inf)
        return sd_M


def gather(problem: Problem, history: History) -> Evidence:
    """What the search's completed trials say about the problem.

    Raises:
        SearchError: no trial was completed at the target, or not the baseline that the objective needs.
    """
    runs = runs_of(problem, history)
    if not runs.at_target_N.any():
        raise SearchError(
            f"no trial of proxy {problem.target.proxy} was completed, the one that the answer is for",
            hint="what became of them shows: mixopt status",
        )
    return evidence_of(problem, history, runs)


def evidence_of(problem: Problem, history: History, runs: Runs) -> Evidence:
    """The runs as evidence.

    Raises:
        SearchError: the baseline that the objective needs was not measured at the target.
    """
    baseline_M = baseline_LM = None
    if problem.objective.baseline is not None:
        baseline_LM = _baseline_by_level(problem.baselines[problem.objective.baseline], history, runs)
        baseline_M = baseline_LM[-1]
        if np.isnan(baseline_M).any():
            raise SearchError(
                f"the objective is measured against the {problem.objective.baseline} baseline, which has no "
                "measurement",
                hint="see why that trial failed: mixopt status",
            )
    failed = sum(is_of_search(entry.trial.seed) for entry in history.failed)
    values = {
        name: problem.value_of(mixture, problem.target, SEARCH_SEED, history)
        for name, mixture in problem.baselines.items()
    }
    return Evidence(
        runs,
        problem.objective,
        baseline_M,
        {name: value for name, value in values.items() if value is not None},
        _of_failures(failed),
        baseline_LM,
        _noise(problem, history),
    )


def _noise(problem: Problem, history: History) -> Noise | None:
    """By the search's own repeats: the confirmation, which comes later, changes no answer of the search."""
    baseline = problem.objective.baseline
    own = [entry for entry in history.at(problem.target) if is_of_search(entry.trial.seed)]
    found = measure_noise(problem.objective, own, None if baseline is None else problem.baselines[baseline])
    return None if found is None else found.objective


def _baseline_by_level(baseline: Mixture, history: History, runs: Runs) -> Float[np.ndarray, "L M"]:
    """What the search measured of a baseline at each fidelity, the mean of its runs; NaN where nothing, [L, M]."""
    own = {entry.trial.id for entry in history.completed if entry.trial.mixture.same_as(baseline)}
    own_N = np.array([name in own for name in runs.names], dtype=bool)
    baseline_LM = np.full((len(runs.fidelities), len(runs.metrics)), np.nan)
    for index in np.unique(runs.fidelity_N[own_N]):
        baseline_LM[index] = runs.values_NM[own_N & runs.at(index)].mean(axis=0)
    return baseline_LM


def runs_along(problem: Problem, history: History) -> Runs:
    """As `runs_of`, and where these are of one size, or the goal's size is known, what trials measured on their way.

    With proxies of several sizes, and only tokens known of the goal, these stand for all growth: points of one size
    would say that size does nothing.
    """
    sizes = {entry.trial.fidelity.proxy for entry in history.completed}
    sized = problem.goal is not None and problem.goal.params is not None
    return runs_of(problem, history, along=sized or len(sizes) == 1)


def runs_of(problem: Problem, history: History, along: bool = False) -> Runs:
    """The search's trials that measured something, after the runs that the problem brought along.

    Repeated runs are moved by what their seeds do to all mixtures, to where the search's seed would have put them.

    Args:
        along: with what trials measured on their way, while the learning rate was constant.
    """
    levels = _levels(problem, history, along)
    entries = [(trial, losses, index) for index, level in enumerate(levels) for trial, losses in level.measured]
    domains, metrics = problem.space.domains, problem.objective.metrics
    values_NM = np.array([problem.objective.read(losses) for _, losses, _ in entries]).reshape(-1, len(metrics))
    # A mixture at one fidelity is tied to another seed of itself.
    values_NM -= seed_shifts(
        [(frozenset(trial.mixture.as_dict().items()), index) for trial, _, index in entries],
        np.array([trial.seed for trial, _, _ in entries], dtype=np.int64),
        values_NM,
    )
    own = Runs(
        names=tuple(trial.id for trial, _, _ in entries),
        domains=domains,
        metrics=metrics,
        fidelities=tuple(level.fidelity for level in levels),
        weights_ND=np.array([trial.mixture.reordered(domains).array for trial, _, _ in entries]).reshape(
            -1, len(domains)
        ),
        fidelity_N=np.array([index for _, _, index in entries], dtype=np.int64),
        values_NM=values_NM,
        supply_LD=np.array([level.supply or [np.nan] * len(domains) for level in levels], dtype=np.float64),
        goal=problem.goal,
        stable_L=np.array([level.stable for level in levels]),
    )
    return own if problem.earlier is None else problem.earlier.before(own)


class _Level(NamedTuple):
    """A fidelity, the supply that its runs draw from, and its trials, in the order of their ids, with their losses."""

    fidelity: Fidelity
    supply: tuple[float, ...] | None
    measured: list[tuple[Trial, Mapping[str, Loss]]]
    stable: bool = False


def _levels(problem: Problem, history: History, along: bool = False) -> list[_Level]:
    """The target last and the others by rising cost.

    Where trials of a rung were stopped, the tokens that they were stopped at are a fidelity of their own. There the
    trials that went on stand as well, with what they measured on their way: the two fidelities are tied by them.
    """
    levels = []
    for rung in problem.rungs:
        full = rung.fidelity
        completed = [entry for entry in history.at(full) if is_of_search(entry.trial.seed)]
        stopped = [entry for entry in history.stopped if entry.trial.fidelity == full]
        points = {entry.measurement.stopped_at or 0 for entry in stopped}
        if along:
            points |= {point.tokens for entry in completed for point in entry.measurement.curve}
        for tokens in sorted(points - {full.tokens}):
            on_the_way = [
                (entry.trial, point.losses)
                for entry in (*completed, *stopped)
                for point in entry.measurement.curve
                if point.tokens == tokens
            ]
            on_the_way.sort(key=lambda measured: measured[0].id)
            levels.append(_Level(full.after(tokens), rung.supply, on_the_way, stable=True))
        levels.append(_Level(full, rung.supply, [(entry.trial, entry.measurement.losses) for entry in completed]))
    *cheaper, target = levels
    return [*sorted(cheaper, key=lambda level: level.fidelity.flops), target]


def _of_failures(count: int) -> tuple[str, ...]:
    if count == 0:
        return ()
    if count == 1:
        return ("1 trial failed and is no evidence for or against its mixture",)
    return (f"{count} trials failed and are no evidence for or against their mixtures",)
