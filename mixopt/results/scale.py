"""How the best mixture moves as runs grow, from the smallest that were trained to the final run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from mixopt.results.base import Part, Shares
from mixopt.results.recommendation import Interval

if TYPE_CHECKING:
    from search.recommendation import scale_path


class FinalRun(Part):
    """The run that a mixture is for."""

    params: float | None
    """Its parameters, embeddings left out."""
    tokens: float | None
    """Its training tokens."""


class ScalePoint(FinalRun):
    """The best mixture at one scale."""

    trained: bool
    """Whether runs were trained there."""
    mixture: Shares
    shares: Mapping[str, tuple[float, float]]
    """The 95% interval of each domain's share in it."""
    predicted: Interval
    """Objective of one new run of it."""


class ScalePath(Part):
    """The best mixture from scale to scale, the last point that of the final run."""

    points: tuple[ScalePoint, ...]
    moved: float
    """Share of the tokens that differs between what is best at the largest scale that was trained and at the last."""
    gain: Interval
    """By how much the objective of the final run is lower with what is best there."""
    matters: bool
    """Whether that is a gain beyond doubt."""

    @classmethod
    def of(cls, found: scale_path.ScalePath) -> Self:
        return cls(
            points=tuple(
                ScalePoint(
                    params=point.params,
                    tokens=point.tokens,
                    trained=point.trained,
                    mixture=point.mixture.as_dict(),
                    shares=dict(point.shares),
                    predicted=Interval.of(point.predicted),
                )
                for point in found.points
            ),
            moved=found.moved,
            gain=Interval.of(found.gain),
            matters=found.matters,
        )
