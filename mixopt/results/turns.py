"""What people who train trials themselves are given and told: what `mixopt ask` and `mixopt tell` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Part, Result, Shares


class AskedTrial(Part):
    """One trial to train."""

    trial: str
    """Its id, by which its losses are told."""
    purpose: str
    """Why it is asked for: design, baseline:uniform, log_ei, confirm:proposed, ..."""
    proxy: str
    params: int
    tokens: int
    seed: int
    """For the trainer's randomness; 31 bits. Trials of one replicate share it."""
    weights: Shares
    domain_tokens: Mapping[str, int]
    """Training tokens of each domain, which sum to `tokens`."""
    metrics: tuple[str, ...]
    """What has to be told."""


class AskedTrials(Result):
    """Trials for one client, whose losses it owes."""

    schema_version: Literal[1] = 1
    study: str
    client: str
    trials: tuple[AskedTrial, ...]
    new: int
    """How many of them were opened now; the others were open before."""
    others: int
    """How many trials are open for other clients."""
    ended: bool
    """Whether nothing is left to train: the study has its answer, or was stopped."""
    verdict: str | None
    """Of that answer."""
    halted: Literal["paused", "stopped"] | None = None
    """Why no new trials are given, where somebody asked for that: mixopt resume takes it back."""


class AttachedRuns(Result):
    """Runs that were trained before, and are trials of the study now."""

    schema_version: Literal[1] = 1
    study: str
    attached: tuple[str, ...]
    """Ids of the trials that they are."""
    known: int
    """How many had been attached before."""
    left_out: tuple[str, ...]
    """Sentences: which were left out, and what was decided on the way."""


class ToldTrials(Result):
    """What was recorded of trials that were told."""

    schema_version: Literal[1] = 1
    study: str
    recorded: tuple[str, ...]
    """Ids of the trials that were closed now."""
    failed: Mapping[str, str] = {}
    """... and of those among them that have no losses: why."""
    known: tuple[str, ...]
    """... and of those of which the same had been told before."""
    left_out: tuple[str, ...]
    """Sentences: which rows of a table were not taken, and why."""
    still_open: int
    ended: bool
    verdict: str | None
