"""What was asked of a study that runs: what `pause`, `resume`, `stop` and `cancel` print."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Result


class Asked(Result):
    """What was asked of a study, and of whom."""

    schema_version: Literal[1] = 1
    study: str
    asked: Literal["pause", "resume", "stop", "cancel"]
    before: str | None = None
    """What was asked of it until then, such as pause; null where it was nothing, or a cluster is asked."""
    job: str | None
    """Its id in the cluster, of a submitted study."""
    state: str | None = None
    """Of that job, when this was printed: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    driver: str | None
    """Who runs it on this machine, or did; null where nobody does."""
    ended: bool
    """Whether nobody runs it any more."""
