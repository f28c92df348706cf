"""Pools cut into levels of quality: what `mixopt quality --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Part, Result


class ScoreRange(Part):
    """The least and the largest score of a level."""

    least: float
    most: float


class QualityLevel(Part):
    """A file of documents that are about as good as each other."""

    name: str
    """The domain that it is in the new study file."""
    file: str
    documents: int
    bytes: int
    """UTF-8, of the text that was scored."""
    scores: Mapping[str, ScoreRange]


class CutPool(Part):
    """A domain and its levels, best first."""

    domain: str
    asked_levels: int
    levels: tuple[QualityLevel, ...]


class Quality(Result):
    """What became of the domains that ask for levels of quality."""

    schema_version: Literal[1] = 1
    study_file: str
    """The new study file, whose domains have the levels as their parts."""
    pools: tuple[CutPool, ...]
    notes: tuple[str, ...]
