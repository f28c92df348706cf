"""Objectives: the losses of a trial turned into the one number to minimise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.errors import SearchError
from search.mixture import FloatArray
from search.trial import Measurement

Unit = Literal["nats_per_token", "bits_per_byte"]


class Objective(ABC):
    """Lower is better. Losses are read per metric (evaluation set) and put together only here.

    Attributes:
        metrics: the evaluation sets that matter, in the order of every `M` axis.
        unit: in which unit their losses are read.
        baseline: the name of the baseline whose losses `value` wants, or None.
    """

    metrics: tuple[str, ...]
    unit: Unit
    baseline: str | None

    def losses(self, measurement: Measurement) -> FloatArray:
        """The losses of this objective's metrics, [M].

        Raises:
            SearchError: the measurement lacks one of the metrics.
        """
        missing = [name for name in self.metrics if name not in measurement.losses]
        if missing:
            raise SearchError(
                f"no loss was measured on {', '.join(missing)}",
                hint=f"choose from {', '.join(measurement.losses)} in the objective",
            )
        return np.array([getattr(measurement.losses[name], self.unit) for name in self.metrics])

    @abstractmethod
    def value(self, losses_NM: FloatArray, baseline_M: FloatArray | None = None) -> FloatArray:
        """The objective of N vectors of losses, [N].

        Args:
            losses_NM: measured or predicted losses, one row a mixture.
            baseline_M: the losses of `self.baseline` at the same fidelity; needed where that is not None.
        """


@dataclass(frozen=True)
class WeightedMean(Objective):
    """The weighted mean of the losses; weights are divided by their sum."""

    weights: Mapping[str, float]
    unit: Unit = "nats_per_token"
    baseline: None = None

    def __post_init__(self) -> None:
        if not self.weights or any(weight < 0 for weight in self.weights.values()) or not sum(self.weights.values()):
            raise SearchError(
                f"objective weights {dict(self.weights)} cannot be averaged with",
                hint="give at least one evaluation set a weight above 0, and none a negative one",
            )

    @property
    def metrics(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(name for name, weight in self.weights.items() if weight > 0)

    def value(self, losses_NM: FloatArray, baseline_M: FloatArray | None = None) -> FloatArray:
        weights_M = np.array([self.weights[name] for name in self.metrics])
        mean_N: FloatArray = losses_NM @ (weights_M / weights_M.sum())
        return mean_N


@dataclass(frozen=True)
class WorstCase(Objective):
    """The largest loss above a baseline's: below 0 no metric is worse than under the baseline (group DRO's excess)."""

    metrics: tuple[str, ...]
    baseline: str = "proportional"
    unit: Unit = "nats_per_token"

    def __post_init__(self) -> None:
        if not self.metrics:
            raise SearchError("a worst case over no evaluation set", hint="name at least one in objective.metrics")

    def value(self, losses_NM: FloatArray, baseline_M: FloatArray | None = None) -> FloatArray:
        if baseline_M is None:
            raise SearchError(
                f"the worst case is measured against the {self.baseline} baseline, which has no measurement",
                hint="see why that trial failed: mixopt status",
            )
        worst_N: FloatArray = (losses_NM - baseline_M).max(axis=1)
        return worst_N
