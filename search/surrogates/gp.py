"""Plain Gaussian processes on the square roots of the weights, without a warp."""

from __future__ import annotations

from search.surrogates import warped_process
from search.surrogates.base import SingleScale
from search.surrogates.blend import WarpedGP
from search.surrogates.rows import Rows
from search.surrogates.warped_process import Components, WarpedProcess, unwarped


class IsotropicGP(SingleScale[Components]):
    """One length scale: the fewest hyperparameters, for the fewest runs."""

    fewest_runs = 4

    def _fit_alike(self, rows: Rows, choice: Components | None) -> WarpedProcess:
        return warped_process.fit(rows, self.seed, choice or self._components(rows))

    def _components(self, rows: Rows) -> Components:
        return unwarped(rows, self.seed, lengths=1)


class ArdGP(IsotropicGP):
    """A length scale per domain: it learns which domains matter."""

    def _components(self, rows: Rows) -> Components:
        return unwarped(rows, self.seed, lengths=rows.weights_ND.shape[1])


class MultiFidelityGP(WarpedGP):
    """One process over all fidelities, each with its gain, its noise and a link to the next, and without a warp."""

    def _components(self, rows: Rows) -> Components:
        return unwarped(rows, self.seed, lengths=rows.weights_ND.shape[1])
