"""Studies that were submitted to a cluster: what `submit`, `status --address`, `logs` and `list` print."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Part, Result
from mixopt.results.status import StatusFields


class Job(Part):
    """One submission of a study."""

    study: str
    job: str
    """Its id in the cluster."""
    state: str
    """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    message: str
    """Ray's explanation of the state, with the end of the log where it failed."""
    attempts: int
    """How often the study was submitted."""
    started: str | None
    """In UTC, ISO 8601."""
    ended: str | None
    experiment: str


class SubmittedJob(Job, Result):
    """What `mixopt submit` began, or found running."""

    schema_version: Literal[1] = 1
    submitted: bool
    """False where the study was running already."""


class JobLog(Job, Result):
    """A submitted study and what it printed."""

    schema_version: Literal[1] = 1
    log: str


class JobWithTrials(StatusFields, Job, Result):
    """A submitted study and how far it is."""

    schema_version: Literal[1] = 1


class JobAlone(Job, Result):
    """A submitted study whose trials cannot be seen from here."""

    schema_version: Literal[1] = 1
    trials: None = None
    note: str
    """Why."""


class JobList(Result):
    """The studies that were submitted to a cluster."""

    schema_version: Literal[1] = 1
    studies: tuple[Job, ...]
