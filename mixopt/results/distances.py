"""How far a study's pools are from what it is judged on: what `mixopt distances --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Part, Result, Shares


class PoolDistances(Part):
    """One pool."""

    tokens: int
    """Its supply."""
    distances: Mapping[str, float]
    """By evaluation set."""
    nearest_pool: str
    """The other pool that is nearest, as text is counted."""


class NearMixture(Part):
    """A mixture, and how far its text is from the evaluation sets of the objective, together, by their weights."""

    mixture: Shares
    distance: float


class Distances(Result):
    """How far pools are from evaluation sets: sliced transport distances of samples of their text."""

    schema_version: Literal[1] = 1
    study: str
    evaluation_sets: tuple[str, ...]
    """Of the objective."""
    domains: Mapping[str, PoolDistances]
    mixtures: Mapping[str, NearMixture]
    """`transport`, the nearest within the limits: a first guess before any run; and the study's baselines."""
