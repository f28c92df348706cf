"""What every surrogate is: fitted to measured mixtures, it predicts others, and says how far it may be off.

Shapes: N mixtures, D domains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from search.mixture import FloatArray


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

    def fit(self, weights_ND: FloatArray, values_N: FloatArray) -> Self:
        """Fit to measured values; a second call forgets the first."""
        assert weights_ND.ndim == 2 and values_N.shape == weights_ND.shape[:1], "one value a mixture"
        assert len(values_N) >= self.fewest_runs, f"{len(values_N)} runs, {self.fewest_runs} needed"
        assert np.isfinite(weights_ND).all() and np.isfinite(values_N).all(), "failed trials are no observations"
        self._fit(weights_ND, values_N)
        return self

    def refit(self, weights_ND: FloatArray, values_N: FloatArray) -> Self:
        """Another one, fitted to these rows; it may keep a setting that was costly to choose for the rows of `fit`."""
        return type(self)(self.seed).fit(weights_ND, values_N)

    @abstractmethod
    def _fit(self, weights_ND: FloatArray, values_N: FloatArray) -> None: ...

    @abstractmethod
    def mean(self, weights_ND: FloatArray) -> FloatArray:
        """The means of `predict` alone, which can be far cheaper, [N]."""

    @abstractmethod
    def predict(self, weights_ND: FloatArray) -> Prediction: ...
