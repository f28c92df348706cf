"""What `mixopt replay` does: strategies played over a table of finished runs, many seeds each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product, takewhile
from math import isfinite
from pathlib import Path

import numpy as np

from mixopt.results.replay import BestRun, PlayedStrategy, Regret, ReplayObjective, ReplayResult
from mixopt.runs import table
from mixopt.runs.objective import mean_of, metrics_named, objective_of
from mixopt.runs.request import ReplayRequest
from mixopt.runs.work import Work, processes_for
from search.mixture import FloatArray
from search.replay import CONTROL, Replay, Trajectory
from search.strategies import STRATEGIES
from search.strategies.base import Settings

# In target runs: where regret is read.
COSTS = [factor * scale for scale in (1, 10, 100, 1000, 10_000) for factor in (1, 2, 3, 5)]

# Told how many replays are done, of how many.
OnStep = Callable[[int, int], None]


def replay(request: ReplayRequest, on_step: OnStep) -> ReplayResult:
    """What it would have cost each strategy to find the best of the runs; `save` adds the picture.

    Raises:
        ConfigError, SearchError: the table or an option is wrong, or there is too little to replay.
    """
    every, table_notes = table.read_all(request.runs)
    settings = request.objective_settings
    chosen = request.metrics or metrics_named(settings, every.metrics)
    runs, metric_notes = table.choose_metrics(every, request.runs, chosen)
    notes = [*table_notes, *metric_notes]
    if request.target is not None:
        runs = runs.targeting(request.target)
    mean = mean_of(runs, request.objective, request.maximize, request.minimize, notes, settings)
    objective = objective_of(mean, request.objective, settings)
    past = Replay(runs, objective, request.warm_start)
    notes += past.notes
    strategies_play = Settings(surrogate=request.surrogate, acquisition=request.acquisition or Settings.acquisition)
    names = tuple(dict.fromkeys((CONTROL, *(request.strategies or STRATEGIES))))
    # All strategies seed by seed, not one after the other: what is left then takes as long as what is done did.
    replays = list(product(range(request.seeds), names))
    played: dict[tuple[int, str], Trajectory] = {}
    on_step(0, len(replays))
    with processes_for(len(replays)) as pool:
        work = Work[tuple[int, str]](pool, "replay fewer runs")
        for seed, name in replays:
            work.add((seed, name), past.play, name, strategies_play, seed, request.batch, request.budget)
        for replayed, trajectory in work.results():
            played[replayed] = trajectory
            on_step(len(played), len(replays))
    strategies = {name: [played[seed, name] for seed in range(request.seeds)] for name in names}
    return ReplayResult(
        runs={fidelity.proxy: int(past.runs.at(index).sum()) for index, fidelity in enumerate(past.runs.fidelities)},
        target=past.runs.target.proxy,
        costs=past.costs,
        objective=ReplayObjective(
            kind=request.objective,
            metrics=objective.metrics,
            maximised=tuple(sorted(objective.maximised)),
            sd=past.sd,
        ),
        best=BestRun(objective=past.best, mixture=past.best_mixture.as_dict()),
        seeds=request.seeds,
        strategies=_summaries(strategies),
        notes=tuple(notes),
    )


def save(result: ReplayResult, directory: Path) -> ReplayResult:
    """Draw the regret.

    Returns:
        The result with the name of the file.
    """
    from mixopt.runs.plots import draw_replay

    directory.mkdir(parents=True, exist_ok=True)
    return result.model_copy(update={"files": (str(draw_replay(result, directory)),)})


def _summaries(played: dict[str, list[Trajectory]]) -> dict[str, PlayedStrategy]:
    """What came of each strategy, at costs up to where the last replay ended."""
    longest = max(trajectory.steps[-1].cost for each in played.values() for trajectory in each)
    costs = [*takewhile(lambda cost: cost < longest, COSTS), *[cost for cost in COSTS if cost >= longest][:1]]
    return {name: _summary(trajectories, costs) for name, trajectories in played.items()}


def _summary(trajectories: Sequence[Trajectory], costs: Sequence[int]) -> PlayedStrategy:
    cost_S = np.array([trajectory.cost_to_best for trajectory in trajectories])
    regret_CS = np.array([[trajectory.regret_at(cost) for trajectory in trajectories] for cost in costs])
    return PlayedStrategy(
        cost_to_best=_defined(cost_S),
        median=_defined(np.median(cost_S)[None])[0],
        q75=_defined(np.quantile(cost_S, 0.75, method="higher")[None])[0],
        regret=Regret(
            costs=tuple(costs),
            median=_defined(np.median(regret_CS, axis=1)),
            q25=_defined(np.quantile(regret_CS, 0.25, axis=1, method="lower")),
            q75=_defined(np.quantile(regret_CS, 0.75, axis=1, method="higher")),
        ),
    )


def _defined(numbers: FloatArray) -> tuple[float | None, ...]:
    """Infinite, for what never came, is None."""
    return tuple(number if isfinite(number) else None for number in numbers.tolist())
