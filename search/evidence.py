"""What is known when a question is put: runs, the objective that they are judged by, and what they are judged against.

Shapes: N runs, D domains, M metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from search.errors import SearchError
from search.history import History
from search.mixture import FloatArray, Mixture
from search.objective import Objective
from search.problem import SEARCH_SEED, Problem
from search.runs import Runs
from search.space import Space


@dataclass(frozen=True)
class Evidence:
    """Runs read by an objective.

    Attributes:
        runs: their metrics are the objective's, their target is the fidelity that the answer is for.
        baseline_M: values of the objective's baseline at the target; needed where the objective has one.
        measured_baselines: measured objective at the target of the baselines that were trained there.
        warnings: sentences on what could not be used.
    """

    runs: Runs
    objective: Objective
    baseline_M: FloatArray | None = None
    measured_baselines: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.runs.metrics == self.objective.metrics

    @cached_property
    def objective_N(self) -> FloatArray:
        """The objective of each run, in the units of its own fidelity; NaN where a metric is missing."""
        values_N = np.full(len(self.runs), np.nan)
        complete_N = self.runs.complete_N
        values_N[complete_N] = self.objective.value(self.runs.values_NM[complete_N], self.baseline_M)
        return values_N

    @cached_property
    def at_target_N(self) -> FloatArray:
        """The objective of the runs that measured it at the target, infinite elsewhere, [N]."""
        measured_N = self.runs.at_target_N & np.isfinite(self.objective_N)
        return np.where(measured_N, self.objective_N, np.inf)

    @property
    def measured_at_target(self) -> bool:
        """Whether a run measured the objective at the target."""
        return bool(np.isfinite(self.at_target_N).any())

    def best_observed(self, space: Space) -> Mixture | None:
        """The feasible mixture with the lowest objective measured at the target, if there is one."""
        value_N = np.where(space.feasible(self.runs.weights_ND), self.at_target_N, np.inf)
        best = int(value_N.argmin())
        return self.runs.mixture(best) if np.isfinite(value_N[best]) else None


def gather(problem: Problem, history: History) -> Evidence:
    """What the search's completed trials say about the problem.

    Raises:
        SearchError: no trial was completed at the target, or not the baseline that the objective needs.
    """
    runs = runs_of(problem, history)
    if not runs.at_target_N.any():
        raise SearchError(
            f"no trial of proxy {problem.target.proxy} was completed, the one that the answer is for",
            hint="see why they failed: mixopt status",
        )
    return evidence_of(problem, history, runs)


def evidence_of(problem: Problem, history: History, runs: Runs) -> Evidence:
    baseline_M = None
    if problem.objective.baseline is not None:
        baseline = history.measured(problem.baselines[problem.objective.baseline], problem.target, SEARCH_SEED)
        baseline_M = None if baseline is None else problem.objective.losses(baseline)
        if baseline_M is None:
            raise SearchError(
                f"the objective is measured against the {problem.objective.baseline} baseline, which has no "
                "measurement",
                hint="see why that trial failed: mixopt status",
            )
    failed = sum(entry.trial.seed == SEARCH_SEED for entry in history.failed)
    values = {
        name: problem.value_of(mixture, problem.target, SEARCH_SEED, history)
        for name, mixture in problem.baselines.items()
    }
    return Evidence(
        runs,
        problem.objective,
        baseline_M,
        {name: value for name, value in values.items() if value is not None},
        (f"{failed} trials failed and are no evidence for or against their mixtures",) if failed else (),
    )


def runs_of(problem: Problem, history: History) -> Runs:
    """The search's completed trials, in the order of their ids, after the runs that the problem brought along."""
    entries = [
        (entry, level)
        for level, rung in enumerate(problem.rungs)
        for entry in history.at(rung.fidelity)
        if entry.trial.seed == SEARCH_SEED
    ]
    domains, metrics = problem.space.domains, problem.objective.metrics
    own = Runs(
        names=tuple(entry.trial.id for entry, _ in entries),
        domains=domains,
        metrics=metrics,
        fidelities=tuple(rung.fidelity for rung in problem.rungs),
        weights_ND=np.array([entry.trial.mixture.reordered(domains).array for entry, _ in entries]).reshape(
            -1, len(domains)
        ),
        level_N=np.array([level for _, level in entries], dtype=np.int64),
        values_NM=np.array([problem.objective.losses(entry.measurement) for entry, _ in entries]).reshape(
            -1, len(metrics)
        ),
    )
    return own if problem.earlier is None else problem.earlier.before(own)
