"""What somebody asks of a table of finished runs, on the command line or in Python, checked before a table is read."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import inf
from typing import Any

from mixopt.base.errors import ConfigError
from mixopt.runs.objective import OBJECTIVES
from mixopt.runs.table import TableSource
from mixopt.settings.schema import ObjectiveSettings
from mixopt.settings.space import Limits
from search.acquisitions import ACQUISITIONS
from search.reuse import Changes
from search.strategies import STRATEGIES
from search.surrogates import DEFAULT, SURROGATES

# Subsets of a backtest: one has no spread.
FEWEST_SUBSETS = 2


@dataclass(frozen=True, kw_only=True)
class RunsRequest:
    """What every question about runs says; None and () leave the choice to the runs.

    Attributes:
        metrics: those that count. Default: all.
        objective: a name of OBJECTIVES.
        objective_settings: its weights or families, and what else a study file says of it.
        maximize, minimize: metrics of which more, or less, is better. Default: by their names.
        target: the fidelity that is asked about.

    Raises:
        ConfigError, SearchError: a name does not exist, or two options do not go together.
    """

    runs: TableSource
    metrics: tuple[str, ...] = ()
    objective: str = "mean"
    objective_settings: ObjectiveSettings | None = None
    maximize: tuple[str, ...] = ()
    minimize: tuple[str, ...] = ()
    target: str | None = None

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ConfigError(
                f"objective {self.objective!r} does not exist",
                hint=f"choose from {', '.join(OBJECTIVES)}; or name a YAML file with a section objective",
            )


@dataclass(frozen=True, kw_only=True)
class FitRequest(RunsRequest):
    """What is asked of `mixopt fit`.

    Attributes:
        target: the fidelity that the mixture is for. Default: the dearest that runs and holdout share, or the dearest
            of both.
        limits: on the mixture.
        goal_params, goal_tokens: of the run that the mixture is for, where it is none of the fidelities. Default: those
            of the limits, where they say its parameters.
        surrogates: the first that can be fitted gives the mixture. Default: the default one, and COMPARED.
        every: all surrogates that the runs are made for, in place of these.
        changes: what became of domains of the runs that the limits have not.
    """

    holdout: TableSource | None = None
    limits: Limits | None = None
    goal_params: float | None = None
    goal_tokens: float | None = None
    surrogates: tuple[str, ...] = ()
    every: bool = False
    changes: Changes = field(default_factory=Changes)
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [name for name in self.surrogates if name not in set(SURROGATES)]:
            raise ConfigError(f"surrogate {unknown[0]!r} does not exist", hint=f"choose from {', '.join(SURROGATES)}")
        if self.surrogates and self.every:
            raise ConfigError("--all and --surrogate do not go together", hint="leave one of them out")
        if self.changes != Changes() and self.limits is None:
            raise ConfigError(
                "domains that were renamed or split need --space",
                hint="name today's domains and their tokens in it: domains: {web: {tokens: 6B}, ...}",
            )


@dataclass(frozen=True, kw_only=True)
class BacktestRequest(RunsRequest):
    """What is asked of `mixopt backtest`, of one table; several tables are several requests.

    Attributes:
        target: the fidelity that is predicted. Default: the dearest.
        limits: their tokens say which mixture is proportional.
        surrogates: those to compare. Default: the default one, and COMPARED.
        every: all surrogates that the runs are made for, in place of these.
        known: how many mixtures a surrogate knows. Default: 16 and doubled, as long as enough are left.
        seeds: random subsets of each size.
        strategies: those to replay beside the control; none: no replay.
        replays: of each strategy.
        seed: every random choice follows from it.
    """

    limits: Limits | None = None
    surrogates: tuple[str, ...] = ()
    every: bool = False
    known: tuple[int, ...] = ()
    seeds: int = 5
    strategies: tuple[str, ...] = ()
    replays: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        # The same rules, and the same words for what breaks them.
        _ = self.fit, self.replay
        if self.seeds < FEWEST_SUBSETS:
            hint = f"give {FEWEST_SUBSETS} or more"
            raise ConfigError(f"--seeds {self.seeds}: so few subsets tell no spread", hint)

    @property
    def fit(self) -> FitRequest:
        """What `mixopt fit` would be asked of the same runs."""
        return FitRequest(
            **_common(self), limits=self.limits, surrogates=self.surrogates, every=self.every, seed=self.seed
        )

    @property
    def replay(self) -> ReplayRequest:
        """What `mixopt replay` is asked of the same runs."""
        return ReplayRequest(**_common(self), strategies=self.strategies, seeds=self.replays)


@dataclass(frozen=True, kw_only=True)
class ReplayRequest(RunsRequest):
    """What is asked of `mixopt replay`.

    Attributes:
        target: the fidelity whose best run is looked for. Default: the dearest.
        strategies: those to replay beside the control. Default: all.
        seeds: replays of each strategy, seeded 0, 1, 2, ...
        warm_start: runs that a strategy opens with. Default: by costs and domains, see search.replay.
        acquisition: what `bayes` asks by. Default: what goes with the objective.
        surrogate: what `regmix` and `climb` predict with.
        batch: trials asked for at a time.
        budget: target runs' worth after which a replay ends. Default: when the best mixture has been trained.
    """

    strategies: tuple[str, ...] = ()
    seeds: int = 20
    warm_start: int | None = None
    acquisition: str | None = None
    surrogate: str = DEFAULT
    batch: int = 1
    budget: float = inf

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.strategies:
            STRATEGIES[name]
        SURROGATES[self.surrogate]
        if self.acquisition is None:
            return
        # Looked up only where it is used: that loads torch.
        ACQUISITIONS[self.acquisition]
        if (self.acquisition == "hypervolume") != (self.objective == "pareto"):
            raise ConfigError(
                f"acquisition {self.acquisition} and objective {self.objective} do not go together",
                hint="hypervolume is for pareto, and pareto is searched by no other",
            )


def _common(request: RunsRequest) -> dict[str, Any]:
    """What every question about runs says."""
    return {each.name: getattr(request, each.name) for each in fields(RunsRequest)}
