"""What a keeper looks for: what `mixopt logs --json` prints of a study on this machine, or of one of its trials."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Result, Shares


class StudyLog(Result):
    """The log of a study that ran on this machine."""

    schema_version: Literal[1] = 1
    study: str
    file: str
    log: str


class TrialLog(Result):
    """What became of a trial, and why."""

    schema_version: Literal[1] = 1
    study: str
    trial: str
    origin: str
    """Who asked for it."""
    proxy: str
    tokens: int
    seed: int
    mixture: Shares
    state: Literal["running", "completed", "stopped", "failed"]
    restarts: tuple[str, ...] = ()
    """Why it was started again, each time that its worker died."""
    kind: str | None
    """Of a failed trial: of its failure."""
    message: str | None
    traceback: str | None
    """Where in the code it died; null where nothing was raised, as when a worker was lost."""
