"""The trials of a study, one by one: what `mixopt trials --json` prints."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Part, Result, Shares

Purpose = Literal["baseline", "design", "search", "queued", "attached", "repeat", "confirm"]
State = Literal["completed", "stopped", "running", "interrupted", "failed"]


class ListedTrial(Part):
    """A trial, and what became of it."""

    trial: str
    purpose: Purpose
    """What it is for: a repeat tells the noise, and a confirmation chooses nothing."""
    origin: str
    """Who asked for it, in the search's own words."""
    proxy: str
    tokens: int
    """That it is, or was to be, trained on."""
    seed: int
    state: State
    """Stopped: ended early, because it was hopeless. Interrupted: begun, and trained by nobody at present."""
    objective: float | None
    """Those of two proxies, or of search and confirmation, cannot be compared. Null where it measured none, or not yet
    the baseline that it is judged by."""
    allowed: bool | None
    """Whether it keeps the objective's constraint; null where it has no objective."""
    seconds: float | None
    """Of training, over all starts; null while it runs."""
    starts: int
    """How often it was started: more than once where its worker died."""
    began: str | None
    """In UTC, ISO 8601; null where it is not known."""
    ended: str | None
    mixture: Shares
    kind: str | None = None
    """Of a failed trial: of its failure."""
    message: str | None = None


class TrialList(Result):
    """The trials of a study."""

    schema_version: Literal[1] = 1
    study: str
    target: str | None
    """The proxy that the answer is for; null where that is not known."""
    unit: Literal["nats_per_token", "bits_per_byte"] | None
    """Of the objectives."""
    of: int
    """How many trials the study has; those that were not asked for are left out of the list."""
    trials: tuple[ListedTrial, ...]
