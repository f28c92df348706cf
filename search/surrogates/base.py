"""What every surrogate is: fitted to measured mixtures, it predicts others, and says how far it may be off.

Shapes: N mixtures, D domains, L fidelities.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from search.mixture import FloatArray
from search.runs import IntArray, present
from search.surrogates.lifting import at_target


@dataclass(frozen=True)
class Prediction:
    """A new measurement is expected at mean_N, give or take sd_N: the surrogate's doubt and the noise, together."""

    mean_N: FloatArray
    sd_N: FloatArray


class Surrogate(ABC):
    """One number as a function of the mixture. The same seed and rows give the same predictions.

    Attributes:
        fewest_runs: it cannot be fitted to fewer rows.
    """

    fewest_runs: ClassVar[int]

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        # In a refit: the surrogate whose costly choices to keep.
        self._earlier: Self | None = None

    def fit(self, weights_ND: FloatArray, values_N: FloatArray, level_N: IntArray | None = None) -> Self:
        """Fit to measured values; a second call forgets the first.

        Args:
            level_N: the fidelity of each run, 0 the cheapest; predictions are for the highest that has runs. Default:
                all alike.
        """
        assert weights_ND.ndim == 2 and values_N.shape == weights_ND.shape[:1], "one value a mixture"
        assert len(values_N) >= self.fewest_runs, f"{len(values_N)} runs, {self.fewest_runs} needed"
        assert np.isfinite(weights_ND).all() and np.isfinite(values_N).all(), "failed trials are no observations"
        self._fit(weights_ND, values_N, present(np.zeros(len(values_N), int) if level_N is None else level_N))
        return self

    def refit(self, weights_ND: FloatArray, values_N: FloatArray, level_N: IntArray | None = None) -> Self:
        """Another one, fitted to these rows; it may keep a setting that was costly to choose for the rows of `fit`."""
        other = type(self)(self.seed)
        other._earlier = self
        return other.fit(weights_ND, values_N, level_N)

    @abstractmethod
    def _fit(self, weights_ND: FloatArray, values_N: FloatArray, level_N: IntArray) -> None:
        """As `fit`; levels are 0 to L - 1 and none is without runs."""

    @abstractmethod
    def mean(self, weights_ND: FloatArray) -> FloatArray:
        """The means of `predict` alone, which can be far cheaper, [N]."""

    @abstractmethod
    def predict(self, weights_ND: FloatArray) -> Prediction: ...


class SingleScale(Surrogate):
    """It knows values of one fidelity only: those of others are mapped to the target first (search.lifting)."""

    def _fit(self, weights_ND: FloatArray, values_N: FloatArray, level_N: IntArray) -> None:
        if level_N.any():
            weights_ND, values_N = at_target(weights_ND, values_N, level_N, self._reference)
        self._fit_alike(weights_ND, values_N)

    def _reference(self, weights_ND: FloatArray, values_N: FloatArray) -> Callable[[FloatArray], FloatArray]:
        if len(values_N) < self.fewest_runs:
            return lambda wanted_ND: np.full(len(wanted_ND), values_N.mean())
        alone = type(self)(self.seed)
        alone._earlier = self._earlier
        return alone.fit(weights_ND, values_N).mean

    @abstractmethod
    def _fit_alike(self, weights_ND: FloatArray, values_N: FloatArray) -> None:
        """Fit to values that are all in the target's units."""


def is_constant(values_N: FloatArray) -> bool:
    """Whether values are equal but for rounding, in whatever unit they are."""
    return bool(np.ptp(values_N) <= 1e-9 * float(np.abs(values_N).max()))
