"""Objectives: what was measured on a trial turned into the one number to minimise.

Every objective says so twice, in NumPy and in PyTorch: the second is what BoTorch differentiates.

Shapes: N mixtures, M metrics; `...` any number of leading axes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from search.errors import SearchError
from search.trial import Loss, Measurement

if TYPE_CHECKING:
    from torch import Tensor

Unit = Literal["nats_per_token", "bits_per_byte"]
UNITS: Mapping[Unit, str] = {"nats_per_token": "nats per token", "bits_per_byte": "bits per byte"}

# Where mixtures are sorted, those that break a constraint come behind every objective that there is.
BEHIND = 1e6


class Objective(ABC):
    """Lower is better. Values are read per metric and put together only here.

    Attributes:
        metrics: what counts, in the order of every `M` axis: evaluation sets, or columns of a table of runs.
        unit: in which unit losses are read from measurements.
        baseline: the name of the baseline whose values `value` and `excess` want, or None.
        maximised: the metrics of which more is better, such as accuracies.
        families: metrics that belong together, by the name of their family.
        is_constrained: not every mixture may be an answer, however low its objective: `excess` says which.
    """

    is_constrained: ClassVar[bool] = False

    if TYPE_CHECKING:
        # To be read: some objectives have them as fields, some compute them.
        @property
        def metrics(self) -> tuple[str, ...]: ...
        @property
        def unit(self) -> Unit: ...
        @property
        def baseline(self) -> str | None: ...
        @property
        def maximised(self) -> frozenset[str]: ...
        @property
        def families(self) -> Mapping[str, tuple[str, ...]]: ...

    @property
    def sign_M(self) -> Float[np.ndarray, " M"]:
        """-1 for a metric of which more is better, else 1."""
        return np.array([-1.0 if name in self.maximised else 1.0 for name in self.metrics])

    @property
    def emphasis_M(self) -> Float[np.ndarray, " M"]:
        """How much each metric counts, whatever its direction; the sum is 1."""
        equal_M: Float[np.ndarray, " M"] = np.full(len(self.metrics), 1 / len(self.metrics))
        return equal_M

    def losses(self, measurement: Measurement) -> Float[np.ndarray, " M"]:
        """The losses of this objective's metrics at the end of a run, [M]."""
        return self.read(measurement.losses)

    def read(self, losses: Mapping[str, Loss]) -> Float[np.ndarray, " M"]:
        """The losses of this objective's metrics, [M].

        Raises:
            SearchError: one of the metrics is missing.
        """
        missing = [name for name in self.metrics if name not in losses]
        if missing:
            raise SearchError(
                f"no loss was measured on {', '.join(missing)}",
                hint=f"choose from {', '.join(losses)} in the objective",
            )
        return np.array([getattr(losses[name], self.unit) for name in self.metrics])

    @abstractmethod
    def value(
        self, values_NM: Float[np.ndarray, "N M"], baseline_M: Float[np.ndarray, " M"] | None = None
    ) -> Float[np.ndarray, " N"]:
        """The objective of N vectors of metrics, [N].

        Args:
            values_NM: measured or predicted values, one row a mixture.
            baseline_M: the values of `self.baseline` at the same fidelity; needed where that is not None.
        """

    @abstractmethod
    def tensor_value(self, values: Tensor, baseline_M: Tensor | None = None) -> Tensor:
        """The same of a tensor [..., M], [...]."""

    def excess(
        self, values_NM: Float[np.ndarray, "N M"], baseline_M: Float[np.ndarray, " M"] | None = None
    ) -> Float[np.ndarray, "N M"]:
        """How far each metric is beyond what it may be, [N, M]; above 0 a constraint is broken."""
        return np.full(values_NM.shape, -np.inf)

    def tensor_excess(self, values: Tensor, baseline_M: Tensor | None = None) -> Tensor:
        """The same of a tensor [..., M], [..., M]."""
        return values.new_full(values.shape, -float("inf"))

    def order(
        self,
        values_NM: Float[np.ndarray, "N M"],
        baseline_M: Float[np.ndarray, " M"] | None = None,
        doubt_NM: Float[np.ndarray, "N M"] | float = 0.0,
    ) -> Float[np.ndarray, " N"]:
        """What mixtures are sorted by, [N]: the objective; behind all others those that break a constraint, by how far.

        Args:
            doubt_NM: by how much a metric's excess may be larger than it seems.
        """
        value_N = self.value(values_NM, baseline_M)
        if not self.is_constrained:
            return value_N
        beyond_N = np.maximum(self.excess(values_NM, baseline_M) + doubt_NM, 0).sum(axis=1)
        ordered_N: Float[np.ndarray, " N"] = np.where(beyond_N > 0, BEHIND + beyond_N, value_N)
        return ordered_N

    def _known(self, baseline_M: Float[np.ndarray, " M"] | None) -> Float[np.ndarray, " M"]:
        if baseline_M is None:
            raise SearchError(
                f"the objective is measured against the {self.baseline} baseline, which has no measurement",
                hint="see why that trial failed: mixopt status",
            )
        return baseline_M


@dataclass(frozen=True)
class WeightedMean(Objective):
    """The weighted mean of the metrics; weights are divided by their sum, and those maximised count negatively."""

    weights: Mapping[str, float]
    unit: Unit = "nats_per_token"
    maximised: frozenset[str] = frozenset()
    baseline: None = None
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.weights or any(weight < 0 for weight in self.weights.values()) or not sum(self.weights.values()):
            raise SearchError(
                f"objective weights {dict(self.weights)} cannot be averaged with",
                hint="give at least one evaluation set a weight above 0, and none a negative one",
            )

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(name for name, weight in self.weights.items() if weight > 0)

    @property
    def emphasis_M(self) -> Float[np.ndarray, " M"]:
        emphasis_M: Float[np.ndarray, " M"] = np.abs(self.share_M)
        return emphasis_M

    @property
    def share_M(self) -> Float[np.ndarray, " M"]:
        """Weight of each metric with its sign; the absolute values sum to one."""
        return self.shares(self.metrics)

    def shares(self, metrics: Sequence[str]) -> Float[np.ndarray, " M"]:
        """As `share_M`, of these metrics, which may have a weight of 0."""
        signed_M = [-self.weights[name] if name in self.maximised else self.weights[name] for name in metrics]
        return np.array(signed_M) / sum(self.weights.values())

    def value(
        self, values_NM: Float[np.ndarray, "N M"], baseline_M: Float[np.ndarray, " M"] | None = None
    ) -> Float[np.ndarray, " N"]:
        mean_N: Float[np.ndarray, " N"] = values_NM @ self.share_M
        return mean_N

    def tensor_value(self, values: Tensor, baseline_M: Tensor | None = None) -> Tensor:
        return values @ values.new_tensor(self.share_M)


@dataclass(frozen=True)
class WorstCase(Objective):
    """The largest loss above a baseline's: below 0 no metric is worse than under the baseline (group DRO's excess)."""

    metrics: tuple[str, ...]
    baseline: str = "proportional"
    unit: Unit = "nats_per_token"
    maximised: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.metrics:
            raise SearchError("a worst case over no evaluation set", hint="name at least one in objective.metrics")

    @property
    def families(self) -> Mapping[str, tuple[str, ...]]:
        return {}

    def value(
        self, values_NM: Float[np.ndarray, "N M"], baseline_M: Float[np.ndarray, " M"] | None = None
    ) -> Float[np.ndarray, " N"]:
        worst_N: Float[np.ndarray, " N"] = (self.sign_M * (values_NM - self._known(baseline_M))).max(axis=1)
        return worst_N

    def tensor_value(self, values: Tensor, baseline_M: Tensor | None = None) -> Tensor:
        assert baseline_M is not None
        return (values.new_tensor(self.sign_M) * (values - baseline_M)).amax(dim=-1)


@dataclass(frozen=True)
class AroundMean(Objective):
    """One that is built around a weighted mean: unit and direction of its metrics are that mean's."""

    mean: WeightedMean

    @property
    def unit(self) -> Unit:
        return self.mean.unit

    @property
    def maximised(self) -> frozenset[str]:
        return self.mean.maximised

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]: ...

    @property
    def families(self) -> Mapping[str, tuple[str, ...]]:
        return self.mean.families

    @property
    def emphasis_M(self) -> Float[np.ndarray, " M"]:
        emphasis_M: Float[np.ndarray, " M"] = np.abs(self.mean.shares(self.metrics))
        return emphasis_M

    def value(
        self, values_NM: Float[np.ndarray, "N M"], baseline_M: Float[np.ndarray, " M"] | None = None
    ) -> Float[np.ndarray, " N"]:
        mean_N: Float[np.ndarray, " N"] = values_NM @ self.mean.shares(self.metrics)
        return mean_N

    def tensor_value(self, values: Tensor, baseline_M: Tensor | None = None) -> Tensor:
        return values @ values.new_tensor(self.mean.shares(self.metrics))


@dataclass(frozen=True)
class NoWorse(AroundMean):
    """The weighted mean, while no metric, of whatever weight, may be worse than a baseline's by more than `allowance`.

    The value is the mean and nothing else: what breaks the rule is a matter of `excess`, and of how sure that is.
    """

    is_constrained: ClassVar[bool] = True

    allowance: float
    baseline: str = "proportional"

    def __post_init__(self) -> None:
        if self.allowance < 0:
            raise SearchError(f"an allowance of {self.allowance:g} is below 0", hint="give 0 or more")

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.mean.weights)

    def excess(
        self, values_NM: Float[np.ndarray, "N M"], baseline_M: Float[np.ndarray, " M"] | None = None
    ) -> Float[np.ndarray, "N M"]:
        excess_NM: Float[np.ndarray, "N M"] = self.sign_M * (values_NM - self._known(baseline_M)) - self.allowance
        return excess_NM

    def tensor_excess(self, values: Tensor, baseline_M: Tensor | None = None) -> Tensor:
        assert baseline_M is not None
        return values.new_tensor(self.sign_M) * (values - baseline_M) - self.allowance


@dataclass(frozen=True)
class Hinge(AroundMean):
    """The weighted mean, in which what is worse than under a baseline counts `times` as much as what is better.

    Marin's mixture objective of 2026 (mean, and again the mean of all regressions), with times = 2: a gain that others
    pay for has to be twice as large.
    """

    times: float = 2.0
    baseline: str = "proportional"

    def __post_init__(self) -> None:
        if self.times < 1:
            raise SearchError(
                f"what gets worse cannot count {self.times:g} times as much as what gets better", hint="give 1 or more"
            )

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.mean.metrics

    def value(
        self, values_NM: Float[np.ndarray, "N M"], baseline_M: Float[np.ndarray, " M"] | None = None
    ) -> Float[np.ndarray, " N"]:
        worse_NM = np.maximum(self.sign_M * (values_NM - self._known(baseline_M)), 0)
        value_N: Float[np.ndarray, " N"] = super().value(values_NM) + (self.times - 1) * worse_NM @ self.emphasis_M
        return value_N

    def tensor_value(self, values: Tensor, baseline_M: Tensor | None = None) -> Tensor:
        assert baseline_M is not None
        worse = (values.new_tensor(self.sign_M) * (values - baseline_M)).clamp_min(0)
        return super().tensor_value(values) + (self.times - 1) * worse @ values.new_tensor(self.emphasis_M)


@dataclass(frozen=True)
class Pareto(AroundMean):
    """All metrics at once: a mixture is on the front if no other is as good in all and better in one.

    Where one number is needed, to name one mixture of the front, it is the weighted mean.
    """

    baseline: None = None

    def __post_init__(self) -> None:
        if len(self.metrics) < 2:
            raise SearchError(
                f"a front of {', '.join(self.metrics)} alone is a single best mixture",
                hint="give a second metric a weight above 0, or choose the mean",
            )

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.mean.metrics

    def front(self, values_NM: Float[np.ndarray, "N M"]) -> NDArray[np.bool_]:
        """Which rows no other row beats: as good in every metric and better in one; boolean, [N]."""
        losses_NM = self.sign_M * values_NM
        beaten_N = np.array(
            [bool(((losses_NM <= own_M).all(axis=1) & (losses_NM < own_M).any(axis=1)).any()) for own_M in losses_NM]
        )
        return ~beaten_N
