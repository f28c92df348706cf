"""Which runs of other studies of the same MLflow experiment count as evidence, by the text of their pools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Part

# Studies that are named in one row.
NAMED = 3


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
    why_tied: str | None = None
    """Why these losses are not comparable; null where all are."""
    left_out: Mapping[str, int] = {}
    """How many of its runs do not count, by the reason."""
    why_not: str | None = None
    """Why nothing of it is taken; null where something is."""

    @property
    def said(self) -> str:
        """Why not all of it counts as it is, in a line; "" where it does."""
        if self.why_not is not None:
            return self.why_not
        tied = [f"losses of {', '.join(self.tied)} tied by a line: {self.why_tied}"] if self.tied else []
        return "; ".join([*(f"{count} {why}" for why, count in self.left_out.items()), *tied])


class Reused(Part):
    """What was found, and taken once, when the study began."""

    runs: int
    studies: tuple[OtherStudy, ...]

    @property
    def together(self) -> tuple[tuple[OtherStudy, ...], ...]:
        """As they are shown: each by itself; those of which nothing counts for one reason together, where they are
        more than can be named in a row."""
        alike: dict[str, list[OtherStudy]] = {}
        for each in self.studies:
            alike.setdefault(each.study if each.why_not is None else f"not: {each.why_not}", []).append(each)
        return tuple(
            group
            for several in alike.values()
            for group in ([tuple(several)] if len(several) > NAMED else [(each,) for each in several])
        )
