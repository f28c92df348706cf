"""How far a study is: what `mixopt status --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Part, Result, Shares


class TrialCount(Part):
    total: int
    by_proxy: Mapping[str, int]


class TrialStates(Part):
    """How many trials are in which state."""

    completed: TrialCount
    stopped: TrialCount
    """Ended early, because they were hopeless."""
    running: TrialCount
    failed: TrialCount

    @property
    def by_name(self) -> dict[str, TrialCount]:
        return {
            "completed": self.completed,
            "stopped": self.stopped,
            "running": self.running,
            "failed": self.failed,
        }


class FailedTrial(Part):
    trial: str
    origin: str
    """Who asked for it."""
    kind: str
    message: str


class AnswerInShort(Part):
    mixture: Shares
    confirmed: bool
    verdict: str


class StatusFields(Part):
    """What is recorded of a study."""

    study: str
    trials: TrialStates
    flops: float
    """Of what was measured."""
    training_seconds: float
    restarts: int
    """How often trials went on from a checkpoint after their worker had died."""
    failures: tuple[FailedTrial, ...]
    answer: AnswerInShort | None
    tracking_uri: str


class Status(StatusFields, Result):
    """How far a study is."""

    schema_version: Literal[1] = 1
