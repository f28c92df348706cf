"""What a study will cost: what `mixopt plan --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Part, Result


class PackSpeed(Part):
    """Trials of one proxy that a GPU trains side by side."""

    members: int
    tokens_per_second: float
    """Of all members together."""


class ProxyPlan(Part):
    """The trials of one proxy, at most."""

    proxy: str
    kind: str
    """dense or moe; `yours` where another trainer trains it."""
    params: int
    tokens: int
    """Of one trial."""
    flops: float
    """Of one trial."""
    search_trials: int
    confirmation_trials: int
    total_tokens: int
    total_flops: float
    tokens_per_second: float | None
    """Of one trial; null where nothing was measured."""
    pack: PackSpeed | None
    """Null where nothing was measured, or no GPU is used."""


class PlannedDomain(Part):
    """What one domain can give in the final run; epochs are null where the tokens of that run are not known."""

    tokens: int
    """Its supply."""
    proportional: float
    """Its share in the proportional mixture, as it will be trained."""
    most: float
    """The largest share that any mixture within the limits gives it."""
    epochs: float | None
    """How often the final run repeats it with the proportional mixture."""
    epochs_of_most: float | None
    """... and with its largest share."""
    max_epochs: float | None
    """How often that run may."""


class PlannedLevel(Part):
    """What all domains in a domain with parts can give together."""

    domains: tuple[str, ...]
    tokens: int
    proportional: float
    most: float
    """The largest sum of their shares that any mixture within the limits gives them."""


class PlanEstimate(Result):
    """What will run, at most, and what it takes."""

    schema_version: Literal[1] = 1
    study: str
    device: str | None
    """Null where another trainer trains."""
    slots: int | None
    """Trials, or packs of them, at a time; null where nobody says."""
    proxies: tuple[ProxyPlan, ...]
    trials: int
    total_tokens: int
    total_flops: float
    notes: tuple[str, ...]
    training_seconds: float | None
    """Null where nothing was measured."""
    wall_seconds: float | None
    gpu_hours: float | None
    """Null where no GPU was measured, or named (mixopt plan --gpu)."""
    gpu_hours_are: str | None
    """Whether they are measured, or by which speed they are assumed."""
    target_tokens: int | None = None
    """Of the final run."""
    domains: Mapping[str, PlannedDomain] = {}
    levels: Mapping[str, PlannedLevel] = {}
    """Domains with parts, outer ones before those inside them."""
