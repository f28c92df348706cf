"""Replay: what a strategy would have cost, had it ordered these finished runs one after the other.

The strategy is the one that studies use. It may choose among the mixtures that were run: at each fidelity those that
were run there. What it asks for is looked up, told to it, and charged what the run cost, the warm start too. A replay
ends when the best mixture at the target has been trained.

A strategy that asks for nothing more before that (RegMix after its design, CLIMB after its rounds) still ranks what is
left: its surrogate is fitted once more, and the target runs follow in the order of these predictions, as when a user
trains the second best, the third best and so on because the budget lasts.

Shapes: N runs, D domains, M metrics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from search.errors import SearchError
from search.evidence import Evidence, evidence_of, runs_of
from search.history import History
from search.mixture import Mixture
from search.objective import Objective
from search.problem import Problem, Rung
from search.runs import Runs, present
from search.seeds import SEARCH_SEED
from search.space import DomainLimits, Space
from search.strategies import STRATEGIES
from search.strategies.base import CHEAP, WARM_RUNS_PER_DOMAIN, Settings, Strategy
from search.surrogates import SURROGATES
from search.surrogates.loss_model import LossModel
from search.trial import Loss, Measurement, Trial

# The strategy that every other is seen beside.
CONTROL = "random"
# With fewer mixtures at the target every order is soon through.
FEWEST_AT_TARGET = 10
# Only shares matter; supplies of so many tokens in all stand for them.
SUPPLY = 10**12
# Decimals to which costs are given: 60 runs at a sixtieth of the target's cost are one target run.
COST_DECIMALS = 6


@dataclass(frozen=True)
class Step:
    """One trained trial.

    Attributes:
        cost: of all steps so far, in target runs.
        value: its objective; None below the target.
    """

    trial: Trial
    cost: float
    value: float | None


@dataclass(frozen=True)
class Trajectory:
    """What a strategy trained, in its order; `best` is the lowest objective that there was to find."""

    steps: tuple[Step, ...]
    best: float

    def best_at(self, cost: float) -> float:
        """The lowest objective reached for at most this cost, in target runs; infinite before the first target run."""
        reached = (step.value for step in self.steps if step.cost <= cost and step.value is not None)
        return min(reached, default=math.inf)

    def regret_at(self, cost: float) -> float:
        """How far `best_at` is above the best that there was."""
        return self.best_at(cost) - self.best

    @property
    def cost_to_best(self) -> float:
        """What was spent, in target runs, when the best had been trained; infinite if it never was."""
        reached = (step.cost for step in self.steps if step.value is not None and step.value <= self.best)
        return next(reached, math.inf)


class Replay:
    """Finished runs, ready to be ordered again.

    Attributes:
        runs: those that can be ordered, each mixture once at a fidelity; see `orderable`.
        warm_start: how many runs a strategy opens with, or None for what is usual; see `_rungs`.
    """

    def __init__(self, runs: Runs, objective: Objective, warm_start: int | None = None) -> None:
        """
        Raises:
            SearchError: fewer than FEWEST_AT_TARGET mixtures measured every metric of the objective at the target, or
                all are as good.
        """
        self.runs, self.notes = orderable(runs.of(*objective.metrics))
        self.objective = objective
        self.warm_start = warm_start
        self._trials = [
            Trial(self.runs.mixture(run), self.runs.fidelities[index], SEARCH_SEED)
            for run, index in enumerate(self.runs.fidelity_N)
        ]
        self._rows = {trial.id: row for row, trial in enumerate(self._trials)}
        self._baselines: dict[str, Mixture] = {}
        baseline_M = None
        if objective.baseline is not None:
            row = self._nearest_to_the_mean()
            self._baselines = {objective.baseline: self.runs.mixture(row)}
            baseline_M = self.runs.values_NM[row]
            self.notes += (
                f"{objective.baseline} is taken to be run {self.runs.names[row]}, the nearest to the mean mixture at "
                "the target; every strategy trains it first",
            )
        # Infinite below the target, and where a constraint is broken.
        self._values_N = Evidence(self.runs, objective, baseline_M).at_target_N
        excess_NM = objective.excess(self.runs.values_NM, baseline_M)
        self._values_N = np.where((excess_NM > 0).any(axis=1), np.inf, self._values_N)
        if objective.is_constrained and np.isfinite(self._values_N).sum() < 2:
            raise SearchError(
                f"no run at {self.runs.target.proxy} is measured to be as good as {objective.baseline} in every metric",
                hint="choose fewer metrics or another objective",
            )
        if self.sd == 0:
            raise SearchError(
                f"the objective is the same in every run at {self.runs.target.proxy}: there is no best to find",
                hint="choose another metric or target fidelity",
            )

    @property
    def costs(self) -> dict[str, float]:
        """Of one run, in target runs, by proxy."""
        return {fidelity.proxy: fidelity.flops / self.runs.target.flops for fidelity in self.runs.fidelities}

    @property
    def best(self) -> float:
        """The lowest objective at the target."""
        return float(self._values_N.min())

    @property
    def best_mixture(self) -> Mixture:
        return self.runs.mixture(int(self._values_N.argmin()))

    @property
    def sd(self) -> float:
        """Standard deviation of the objective over the target's mixtures."""
        return float(self._values_N[np.isfinite(self._values_N)].std())

    def play(
        self, strategy: str, settings: Settings, seed: int, batch: int = 1, budget: float = math.inf
    ) -> Trajectory:
        """Train what the strategy asks for, until the best has been trained or nothing is left.

        Args:
            strategy: its name.
            batch: how many trials are asked for, and trained, at a time.
            budget: the most to spend, in target runs.

        Raises:
            SearchError: no such strategy, or it cannot work on these runs.
        """
        problem = Problem(
            space=self._space,
            rungs=self._rungs(strategy),
            objective=self.objective,
            baselines=self._baselines,
            seed=seed,
            pool=self._pool,
        )
        spent, steps = 0.0, list[Step]()
        for trial in self._in_order(STRATEGIES[strategy](problem, settings), batch):
            spent += self.costs[trial.fidelity.proxy]
            cost = round(spent, COST_DECIMALS)
            if cost > budget:
                break
            value = float(self._values_N[self._row(trial)])
            steps.append(Step(trial, cost, value if math.isfinite(value) else None))
            if value <= self.best:
                break
        return Trajectory(tuple(steps), self.best)

    def _in_order(self, strategy: Strategy, batch: int) -> Iterator[Trial]:
        history = History()
        while trials := strategy.ask(history, batch):
            yield from trials
            for trial in trials:
                history = history.closed(trial, self._measurement(trial))
        yield from self._by_prediction(strategy, history)

    def _by_prediction(self, strategy: Strategy, history: History) -> list[Trial]:
        """The target's trials that are left, the best predicted first."""
        problem = strategy.problem
        left = history.new(trial for trial in self._trials if trial.fidelity == problem.target)
        if not left:
            return []
        evidence = evidence_of(problem, history, runs_of(problem, history))
        model = LossModel.fit(SURROGATES[strategy.settings.surrogate](problem.seed), evidence.runs)
        weights_ND = np.array([trial.mixture.array for trial in left])
        order_N = self.objective.order(model.mean(weights_ND), evidence.baseline_M)
        return [left[place] for place in np.argsort(order_N, kind="stable")]

    def _rungs(self, strategy: str) -> tuple[Rung, ...]:
        """How many trials a strategy may ask for at each fidelity.

        `random` may train everything at the target. `regmix` and `climb` open with a design at the cheapest fidelity:
        as many runs as one target run pays for, but at least 2 D + 2, about what a regression over D domains needs,
        and at most 4 D. Where no fidelity is cheap they open with 2 D + 2 runs at the target. After that `climb` has
        2 D + 2 runs at the target for its rounds. Every other strategy decides by itself, among all pools; of the
        cheapest fidelity it gets no more runs than a given `warm_start`.
        """
        *cheaper, target = (Rung(fidelity, len(self._pool[fidelity.proxy])) for fidelity in self.runs.fidelities)
        unused = [replace(rung, trials=0) for rung in cheaper]
        if strategy == "random":
            return (*unused, target)
        ratio = target.fidelity.flops / cheaper[0].fidelity.flops if cheaper else 1.0
        if strategy not in ("regmix", "climb"):
            if cheaper and self.warm_start is not None:
                cheaper[0] = _at_most(self.warm_start, cheaper[0])
            return (*cheaper, target)
        domains = len(self.runs.domains)
        few, many = 2 * domains + 2, WARM_RUNS_PER_DOMAIN * domains
        usual = few if ratio < CHEAP else min(max(int(ratio), few), many)
        warm = usual if self.warm_start is None else self.warm_start
        rounds = few if strategy == "climb" else 0
        if ratio < CHEAP:
            return (*unused, _at_most(warm + rounds, target))
        return (_at_most(warm, cheaper[0]), *unused[1:], _at_most(rounds, target))

    @cached_property
    def _pool(self) -> dict[str, tuple[Mixture, ...]]:
        return {
            fidelity.proxy: tuple(trial.mixture for trial in self._trials if trial.fidelity == fidelity)
            for fidelity in self.runs.fidelities
        }

    @cached_property
    def _space(self) -> Space:
        """Without limits, around the mean of the runs."""
        shares = zip(self.runs.domains, self.runs.weights_ND.mean(axis=0), strict=True)
        return Space(tuple(DomainLimits(name, max(round(share * SUPPLY), 1)) for name, share in shares))

    def _nearest_to_the_mean(self) -> int:
        """A row of the target's."""
        mean_D = self.runs.weights_ND[self.runs.at_target_N].mean(axis=0)
        distance_N = np.abs(self.runs.weights_ND - mean_D).sum(axis=1)
        return int(np.where(self.runs.at_target_N, distance_N, np.inf).argmin())

    def _row(self, trial: Trial) -> int:
        assert trial.id in self._rows, f"{trial.origin} asked for a mixture that was not run at {trial.fidelity.proxy}"
        return self._rows[trial.id]

    def _measurement(self, trial: Trial) -> Measurement:
        values_M = self.runs.values_NM[self._row(trial)]
        return Measurement(
            losses={
                name: Loss(value, value) for name, value in zip(self.runs.metrics, map(float, values_M), strict=True)
            },
            curve=(),
            domain_tokens={},
            domain_epochs={},
            flops=trial.fidelity.flops,
            seconds=0.0,
        )


def orderable(runs: Runs) -> tuple[Runs, tuple[str, ...]]:
    """The runs that a replay can use, and a sentence for each kind that it cannot.

    They measured every metric, at the target or a cheaper fidelity; replicates of a mixture are one run with their
    mean values.

    Raises:
        SearchError: fewer than FEWEST_AT_TARGET mixtures of these at the target.
    """
    notes = []
    flops_N = np.array([fidelity.flops for fidelity in runs.fidelities])[runs.fidelity_N]
    as_dear_N = ~runs.at_target_N & (flops_N >= runs.target.flops)
    if as_dear_N.any():
        notes.append(f"{as_dear_N.sum()} runs cost no less than one at {runs.target.proxy} and are left out")
    if not runs.complete_N.all():
        notes.append(f"{(~runs.complete_N).sum()} runs lack a metric of the objective and are left out")
    runs = runs.select(runs.complete_N & ~as_dear_N)
    cell_N2 = np.column_stack([runs.fidelity_N, runs.mixture_N])
    _, first_N, cell_N = np.unique(cell_N2, axis=0, return_index=True, return_inverse=True)
    if len(first_N) < len(runs):
        notes.append(
            f"{len(runs) - len(first_N)} runs repeat a mixture at their fidelity: replicates count as their mean"
        )
    mean_NM = np.array([runs.values_NM[cell_N.reshape(-1) == cell].mean(axis=0) for cell in range(len(first_N))])
    merged = replace(runs.select(first_N), values_NM=mean_NM.reshape(-1, len(runs.metrics)))
    at_target = int(merged.at_target_N.sum())
    if at_target < FEWEST_AT_TARGET:
        raise SearchError(
            f"{at_target} mixtures measured every metric at {runs.target.proxy}, too few to choose among",
            hint=f"give {FEWEST_AT_TARGET} or more, or another target fidelity",
        )
    used = np.unique(merged.fidelity_N)
    fidelities = tuple(runs.fidelities[index] for index in used)
    return replace(merged, fidelities=fidelities, fidelity_N=present(merged.fidelity_N)), tuple(notes)


def _at_most(trials: int, rung: Rung) -> Rung:
    return replace(rung, trials=min(trials, rung.trials))
