"""What `mixopt replay` does: strategies played over a table of finished runs, many seeds each, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product, takewhile
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.runs import table
from mixopt.runs.fit import OBJECTIVES, Wish, mean_of
from search.acquisitions import ACQUISITIONS
from search.mixture import FloatArray
from search.replay import CONTROL, Replay, Trajectory
from search.strategies import STRATEGIES
from search.strategies.base import Settings
from search.surrogates import DEFAULT, SURROGATES

# In target runs: where regret is read.
COSTS = [factor * scale for scale in (1, 10, 100, 1000, 10_000) for factor in (1, 2, 3, 5)]

# Told how many replays are done, of how many.
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Options:
    """
    Attributes:
        strategies: those to replay beside the control. Default: all.
        seeds: replays of each strategy, seeded 0, 1, 2, ...
        warm_start: runs that a strategy opens with. Default: by costs and domains, see search.replay.
        acquisition: what `bayes` asks by. Default: what goes with the objective.
        surrogate: what `regmix` and `climb` predict with.
        batch: trials asked for at a time.
        budget: target runs' worth after which a replay ends. Default: when the best mixture has been trained.

    Raises:
        SearchError: a name that does not exist.
    """

    strategies: tuple[str, ...] = ()
    seeds: int = 20
    warm_start: int | None = None
    acquisition: str | None = None
    surrogate: str = DEFAULT
    batch: int = 1
    budget: float = inf

    def __post_init__(self) -> None:
        for name in self.strategies:
            STRATEGIES[name]
        SURROGATES[self.surrogate]
        # Looked up only where it is used: that loads torch.
        if self.acquisition is not None:
            ACQUISITIONS[self.acquisition]


def replay(wish: Wish, options: Options, on_step: OnStep) -> dict[str, Any]:
    """The JSON document of `mixopt replay`; a number that is not defined, such as a cost never reached, is None.

    Args:
        wish: the table, its metrics, the objective and the target.

    Raises:
        ConfigError, SearchError: the table or an option is wrong, or there is too little to replay.
    """
    if options.acquisition is not None and (options.acquisition == "hypervolume") != (wish.objective == "pareto"):
        raise ConfigError(
            f"acquisition {options.acquisition} and objective {wish.objective} do not go together",
            hint="hypervolume is for pareto, and pareto is searched by no other",
        )
    runs, table_notes = table.read(wish.runs, wish.metrics)
    notes = list(table_notes)
    if wish.target is not None:
        runs = runs.targeting(wish.target)
    objective = OBJECTIVES[wish.objective](mean_of(wish, runs, notes))
    past = Replay(runs, objective, options.warm_start)
    notes += past.notes
    settings = Settings(surrogate=options.surrogate, acquisition=options.acquisition or Settings.acquisition)
    strategies: dict[str, list[Trajectory]] = {name: [] for name in (CONTROL, *(options.strategies or STRATEGIES))}
    # All strategies seed by seed, not one after the other: what is left then takes as long as what is done did.
    total = options.seeds * len(strategies)
    for done, (seed, name) in enumerate(product(range(options.seeds), strategies)):
        on_step(done, total)
        strategies[name].append(past.play(name, settings, seed, options.batch, options.budget))
    on_step(total, total)
    return {
        "runs": {fidelity.proxy: int(past.runs.at(level).sum()) for level, fidelity in enumerate(past.runs.fidelities)},
        "target": past.runs.target.proxy,
        "costs": past.costs,
        "objective": {
            "kind": wish.objective,
            "metrics": list(objective.metrics),
            "maximised": sorted(objective.maximised),
            "sd": past.sd,
        },
        "best": {"objective": past.best, "mixture": past.best_mixture.as_dict()},
        "seeds": options.seeds,
        "strategies": _summaries(strategies),
        "notes": notes,
        "files": [],
    }


def save(document: dict[str, Any], directory: Path) -> None:
    """Draw the regret, and name the file in the document."""
    from mixopt.runs.plots import draw_replay

    directory.mkdir(parents=True, exist_ok=True)
    document["files"] = [str(draw_replay(document, directory))]


def _summaries(played: dict[str, list[Trajectory]]) -> dict[str, Any]:
    """What came of each strategy, at costs up to where the last replay ended."""
    longest = max(trajectory.steps[-1].cost for each in played.values() for trajectory in each)
    costs = [*takewhile(lambda cost: cost < longest, COSTS), *[cost for cost in COSTS if cost >= longest][:1]]
    return {name: _summary(trajectories, costs) for name, trajectories in played.items()}


def _summary(trajectories: Sequence[Trajectory], costs: Sequence[int]) -> dict[str, Any]:
    cost_S = np.array([trajectory.cost_to_best for trajectory in trajectories])
    regret_CS = np.array([[trajectory.regret_at(cost) for trajectory in trajectories] for cost in costs])
    return {
        "cost_to_best": _defined(cost_S),
        "median": _defined(np.median(cost_S)[None])[0],
        "q75": _defined(np.quantile(cost_S, 0.75, method="higher")[None])[0],
        "regret": {
            "costs": list(costs),
            "median": _defined(np.median(regret_CS, axis=1)),
            "q25": _defined(np.quantile(regret_CS, 0.25, axis=1, method="lower")),
            "q75": _defined(np.quantile(regret_CS, 0.75, axis=1, method="higher")),
        },
    }


def _defined(numbers: FloatArray) -> list[float | None]:
    """Infinite, for what never came, is None."""
    return [number if isfinite(number) else None for number in numbers.tolist()]
