"""What strategies would have cost on finished runs: what `mixopt replay --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Part, Result, Shares
from mixopt.results.objective import RunsObjective


class ReplayObjective(RunsObjective):
    """The objective of a replay."""

    sd: float
    """Its standard deviation over the mixtures of the target."""


class BestRun(Part):
    """The lowest objective that there was to find."""

    objective: float
    mixture: Shares


class Regret(Part):
    """How far the best that was found lay above the best that there was; null before anything was found."""

    costs: tuple[int, ...]
    """In target runs."""
    median: tuple[float | None, ...]
    """Over the seeds, at each cost."""
    q25: tuple[float | None, ...]
    q75: tuple[float | None, ...]


class PlayedStrategy(Part):
    """One strategy over all seeds; costs are in target runs, null where the best run was never trained."""

    cost_to_best: tuple[float | None, ...]
    """By seed."""
    median: float | None
    q75: float | None
    regret: Regret

    @property
    def found(self) -> int:
        """With how many seeds the best run was trained."""
        return sum(cost is not None for cost in self.cost_to_best)


class ReplayResult(Result):
    """What it would have cost each strategy to find the best of the runs."""

    schema_version: Literal[1] = 1
    runs: Mapping[str, int]
    """How many mixtures there were at each fidelity."""
    target: str
    costs: Mapping[str, float]
    """Of a run at each fidelity, in target runs."""
    objective: ReplayObjective
    best: BestRun
    seeds: int
    strategies: Mapping[str, PlayedStrategy]
    notes: tuple[str, ...]
    files: tuple[str, ...] = ()
    """What was written."""
