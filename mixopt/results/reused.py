"""Which runs of other studies of the same MLflow experiment count as evidence, by the text of their pools."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Part


class MatchedPool(Part):
    """A pool of this study that another one trained on."""

    pool: str
    was: str
    """Its name there."""
    by: Literal["tokens", "documents"]
    """By the digest of its tokens, or by the share of both pools' documents that is the same."""
    alike: float
    """That share; 1 where the tokens are the same."""


class OtherStudy(Part):
    """Another study of the experiment, and what is taken of it."""

    study: str
    mlflow_run: str
    runs: int
    """So many of its runs count."""
    of: int
    """Of so many that were measured on the documents of its search."""
    pools: tuple[MatchedPool, ...] = ()
    unknown: tuple[str, ...] = ()
    """Its pools that are none of this study's."""
    metrics: tuple[str, ...] = ()
    """Metrics of this study's objective that it measured, by the names that they have here."""
    tied: tuple[str, ...] = ()
    """Its proxies whose losses are not comparable as they are: they follow this study's along a line."""
    why_not: str | None = None
    """Why nothing of it is taken; null where something is."""


class Reused(Part):
    """What was found, and taken once, when the study began."""

    runs: int
    studies: tuple[OtherStudy, ...]
