"""What an executor tells of the trials it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search.trial import Failure, Loss, Measurement, Trial


@dataclass(frozen=True)
class TrialProgress:
    """A trial in training."""

    trial: Trial
    tokens: int
    training_loss: float
    tokens_per_second: float
    losses: Mapping[str, Loss] | None
    """Losses of the evaluation sets, where they were just measured."""
    slower: str = ""
    """Why its steps are slower than they were asked to be."""


@dataclass(frozen=True)
class TrialRestart:
    """A trial whose worker died, and that goes on from its checkpoint."""

    trial: Trial
    start: int
    """Which start of the trial this is; 2 after the first death."""
    reason: str


@dataclass(frozen=True)
class TrialEnd:
    """The end of a trial."""

    trial: Trial
    outcome: Measurement | Failure


@dataclass(frozen=True)
class Notice:
    """Something about the machines that a careful reader wants to know."""

    text: str
    waits: bool | None = None
    """Whether the study waits for them from now on; None where that stays as it was."""


@dataclass(frozen=True)
class Fetching:
    """More of the tokens has come to the worker's node: it is alive, though it trains nothing yet."""


Event = TrialProgress | TrialRestart | TrialEnd | Notice | Fetching
