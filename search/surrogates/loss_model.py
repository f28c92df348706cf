"""One surrogate a metric: losses are predicted one by one, and put together only by the objective.

A fit to the objective itself ranks worse: it hides which domain helps which metric.

Shapes: N mixtures, D domains, M metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from search.mixture import FloatArray
from search.surrogates.base import Surrogate


@dataclass(frozen=True)
class LossModel:
    surrogates: tuple[Surrogate, ...]

    @classmethod
    def fit(cls, kind: type[Surrogate], seed: int, weights_ND: FloatArray, losses_NM: FloatArray) -> Self:
        return cls(tuple(kind(seed).fit(weights_ND, losses_N) for losses_N in losses_NM.T))

    def refit(self, weights_ND: FloatArray, losses_NM: FloatArray) -> Self:
        """The same surrogates fitted to other rows, what was costly to choose kept."""
        return type(self)(
            tuple(
                surrogate.refit(weights_ND, losses_N)
                for surrogate, losses_N in zip(self.surrogates, losses_NM.T, strict=True)
            )
        )

    def mean(self, weights_ND: FloatArray) -> FloatArray:
        """Predicted losses, [N, M]."""
        return np.column_stack([surrogate.mean(weights_ND) for surrogate in self.surrogates])

    def predict(self, weights_ND: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Predicted losses and their standard deviations, twice [N, M]."""
        predictions = [surrogate.predict(weights_ND) for surrogate in self.surrogates]
        return (
            np.column_stack([prediction.mean_N for prediction in predictions]),
            np.column_stack([prediction.sd_N for prediction in predictions]),
        )
