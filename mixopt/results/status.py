"""How far a study is: what `mixopt status --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Part, Result, Shares

Activity = Literal["running", "pausing", "paused", "stopping", "waiting", "interrupted", "ended"]


class TrialCount(Part):
    total: int
    by_proxy: Mapping[str, int]


class TrialStates(Part):
    """How many trials are in which state."""

    completed: TrialCount
    stopped: TrialCount
    """Ended early, because they were hopeless."""
    running: TrialCount
    interrupted: TrialCount = TrialCount(total=0, by_proxy={})
    """Begun, and trained by nobody at present: the study goes on with them from their checkpoints."""
    failed: TrialCount

    @property
    def by_name(self) -> dict[str, TrialCount]:
        return {
            "completed": self.completed,
            "stopped": self.stopped,
            "running": self.running,
            **({"interrupted": self.interrupted} if self.interrupted.total else {}),
            "failed": self.failed,
        }


class FailedTrial(Part):
    trial: str
    origin: str
    """Who asked for it."""
    kind: str
    message: str


class MetricNoise(Part):
    run_sd: float
    """Standard deviation of what a seed does to one mixture alone."""
    seed_sd: float
    """Of what it does to all mixtures."""


class NoiseFloor(Part):
    """What mixtures that were trained with several seeds say of the noise, and so of what the study can resolve."""

    mixtures: int
    """How many these are."""
    freedom: int
    """Degrees of freedom that it rests on; with fewer than 5 it may well be half or twice of it."""
    objective: MetricNoise
    metrics: Mapping[str, MetricNoise]
    seeds: int
    """Of the confirmation."""
    resolves: float
    """The least difference between two mixtures that so many seeds of both show, more often than not."""
    seeds_for_half: int
    """How many seeds of both would show half of that."""


class AnswerInShort(Part):
    mixture: Shares
    confirmed: bool
    verdict: str


class StatusFields(Part):
    """What is recorded of a study."""

    study: str
    activity: Activity | None = None
    """What its driver is at: pausing and stopping once somebody asked for it; interrupted where there is none, and
    something is left to do. Null where it is not known."""
    driver: str | None = None
    """Who runs it, where that can be seen from here: process and machine."""
    mlflow_away: str | None = None
    """Why MLflow does not take what is recorded, and how much waits for it; null where it does, or the journal is
    elsewhere."""
    trials: TrialStates
    flops: float
    """Of what was measured."""
    training_seconds: float
    restarts: int
    """How often trials went on from a checkpoint after their worker had died."""
    failures: tuple[FailedTrial, ...]
    noise: NoiseFloor | None = None
    """Null while no two mixtures were trained with the same two seeds, or the study file is not at hand."""
    answer: AnswerInShort | None
    tracking_uri: str
    pool_changes: tuple[str, ...] = ()
    """How today's pools differ from those that were measured, in sentences."""


class Status(StatusFields, Result):
    """How far a study is."""

    schema_version: Literal[1] = 1
