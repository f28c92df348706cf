"""Plain Gaussian processes on the square roots of the weights, without a warp.

Shapes: N mixtures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from search.gaussian_process.hyperparameters import Hyperparameters
from search.gaussian_process.process import GaussianProcess
from search.surrogates.base import Fitted, Prediction, SingleScale, is_constant
from search.surrogates.blend import WarpedGP
from search.surrogates.rows import Rows
from search.surrogates.warped_process import Components, unwarped


@dataclass(frozen=True, eq=False)
class FittedGP(Fitted[Hyperparameters]):
    process: GaussianProcess
    choice: Hyperparameters
    constant: bool
    held_out: None = None

    def mean(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        return self.process.mean(weights_ND)

    def predict(self, weights_ND: Float[np.ndarray, "N D"]) -> Prediction:
        mean_N, variance_N = self.process.predict(weights_ND)
        return Prediction(mean_N, np.zeros_like(mean_N) if self.constant else np.sqrt(variance_N))


class IsotropicGP(SingleScale[Hyperparameters]):
    """One length scale: the fewest hyperparameters, for the fewest runs."""

    fewest_runs = 4

    def _fit_alike(self, rows: Rows, choice: Hyperparameters | None) -> FittedGP:
        start = choice or Hyperparameters.start(self._lengths(rows.weights_ND.shape[1]))
        process = GaussianProcess.fit(rows.weights_ND, rows.values_N, start=start)
        return FittedGP(process, process.hyperparameters, is_constant(rows.values_N))

    def _lengths(self, domains: int) -> int:
        return 1


class ArdGP(IsotropicGP):
    """A length scale per domain: it learns which domains matter."""

    def _lengths(self, domains: int) -> int:
        return domains


class MultiFidelityGP(WarpedGP):
    """One process over all fidelities, each with its gain, its noise and a link to the next, and without a warp."""

    def _start(self, rows: Rows) -> Components:
        return Components((unwarped(rows.weights_ND.shape[1]),))
