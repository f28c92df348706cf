"""What stands in the way of studies on this machine, this cluster, this store: what `mixopt doctor --json` prints."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Part, Result

State = Literal["ok", "warn", "bad"]


class Finding(Part):
    """One thing that was looked at."""

    about: Literal["machine", "store", "study", "cluster"]
    what: str
    state: State
    """ok; warn: studies run, but slower or less safely; bad: they do not, or a secret is open."""
    found: str
    remedy: str | None = None


class Diagnosis(Result):
    """All that was looked at."""

    schema_version: Literal[1] = 1
    findings: tuple[Finding, ...]
    healthy: bool
    """Whether nothing is bad."""
