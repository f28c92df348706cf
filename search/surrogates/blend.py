"""The default: a warped Gaussian process and the law of effective data, in the shares that held-out runs give them.

With many clear runs the process is the better of the two, with much noise the law often is, and across scales too: what
it cannot express is mostly what does not carry over. The law's share is its posterior mean, given how both
predict held-out runs; where the law has proved itself, it keeps at least a share that grows with how much larger the
target is than the runs.

Shapes: N runs, D domains, S shares.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from search.mixture import FloatArray
from search.runs import IntArray
from search.surrogates.base import Prediction, Surrogate
from search.surrogates.effective_data import EffectiveData
from search.surrogates.warped_gp import FOLDS, SUBSET, WarpedGP, folds, robust_variance

# Explained variance of held-out runs from which on, and at which in full, the law has proved itself.
LEAST_R2, FULL_R2 = 0.6, 0.9


class Blend(Surrogate):
    """
    Attributes:
        least_share: what a law that has proved itself in full has at least.
        process: fitted to all runs.
        law: fitted to the target's runs alone where it predicts these better so; missing where its share is 0.
        share: the law's, from 0 to 1; the process has the rest.
    """

    fewest_runs = WarpedGP.fewest_runs
    least_share: ClassVar[float] = 0.1
    process: WarpedGP
    law: EffectiveData
    share: float
    _rescaling: float
    _law_of_target: bool

    def _fit(self, weights_ND: FloatArray, values_N: FloatArray, level_N: IntArray) -> None:
        if self._earlier is not None:
            self.process = self._earlier.process.refit(weights_ND, values_N, level_N)
            self.share, self._rescaling = self._earlier.share, self._earlier._rescaling
            self._law_of_target = self._earlier._law_of_target
        else:
            self.process = WarpedGP(self.seed).fit(weights_ND, values_N, level_N)
            self._weigh(weights_ND, values_N, level_N)
        if self.share:
            rows_N = level_N == level_N.max() if self._law_of_target else np.ones(len(values_N), dtype=bool)
            self.law = EffectiveData(self.seed).fit(weights_ND[rows_N], values_N[rows_N], level_N[rows_N])

    def _weigh(self, weights_ND: FloatArray, values_N: FloatArray, level_N: IntArray) -> None:
        """Choose the law's share by held-out runs, and the width of intervals with it."""
        self.share, self._rescaling, self._law_of_target = 0.0, 1.0, False
        scored_N, target_N = self.process.scored_N, level_N == level_N.max()
        runs, domains = len(values_N), int((np.ptp(weights_ND, axis=0) > 0).sum())
        if scored_N.sum() < 2 * EffectiveData.fewest_runs or np.ptp(values_N[scored_N]) == 0:
            return
        of_law_N = self._held_out_law(weights_ND[scored_N], values_N[scored_N], level_N[scored_N])
        if np.array_equal(scored_N, target_N) and not target_N.all():
            # A cheap fidelity with another optimum may bend the law, which has no room for it, more than it informs it.
            by_all_N = self._held_out_law(weights_ND, values_N, level_N)[scored_N]
            misses = [((values_N[scored_N] - each_N) ** 2).sum() for each_N in (of_law_N, by_all_N)]
            self._law_of_target = bool(misses[0] < misses[1])
            of_law_N = of_law_N if self._law_of_target else by_all_N
        values_N, held_out = values_N[scored_N], self.process.held_out
        explained = 1 - float(((values_N - of_law_N) ** 2).mean() / values_N.var())
        proved = np.clip((explained - LEAST_R2) / (FULL_R2 - LEAST_R2), 0, 1)
        share = _posterior_share(values_N, held_out.mean_N, of_law_N, several=bool(level_N.any()))
        share = max(share, self.least_share * proved)
        # The law has a parameter a domain and more: with hardly as many runs it is not asked.
        self.share = float(share * np.clip(runs / max(domains, 1) - 1, 0, 1))
        joined = self._joined(held_out, of_law_N)
        self._rescaling = robust_variance((values_N - joined.mean_N) / joined.sd_N)
        if level_N.any():
            self._rescaling = max(self._rescaling, 1.0)

    def _held_out_law(self, weights_ND: FloatArray, values_N: FloatArray, level_N: IntArray) -> FloatArray:
        """Each run predicted by the law from the folds that it is not in, [N]."""
        fold_N = folds_by_level(level_N, self.seed)
        of_law_N = np.empty_like(values_N)
        for fold in np.unique(fold_N):
            out_N = fold_N == fold
            law = EffectiveData(self.seed).fit(weights_ND[~out_N], values_N[~out_N], level_N[~out_N])
            of_law_N[out_N] = law.mean(weights_ND[out_N])
        return of_law_N

    def _joined(self, of_process: Prediction, of_law_N: FloatArray) -> Prediction:
        """The variance is the process's, and what the two disagree by."""
        gap_N = of_law_N - of_process.mean_N
        variance_N = of_process.sd_N**2 + self.share * (1 - self.share) * gap_N**2
        return Prediction(of_process.mean_N + self.share * gap_N, np.sqrt(self._rescaling * variance_N))

    def mean(self, weights_ND: FloatArray) -> FloatArray:
        mean_N = self.process.mean(weights_ND)
        if self.share:
            mean_N = mean_N + self.share * (self.law.mean(weights_ND) - mean_N)
        return mean_N

    def predict(self, weights_ND: FloatArray) -> Prediction:
        of_process = self.process.predict(weights_ND)
        return self._joined(of_process, self.law.mean(weights_ND)) if self.share else of_process


class FarBlend(Blend):
    """For a target a hundred times as large as the runs, or larger."""

    least_share = 0.5


def folds_by_level(level_N: IntArray, seed: int) -> IntArray:
    """The fold that each run is held out in, [N]; of two or more runs of a fidelity, some are in another fold."""
    # With many runs a third less of them predicts as well.
    count = FOLDS if len(level_N) <= SUBSET else 3
    fold_N = np.empty_like(level_N)
    for level in np.unique(level_N):
        here_N = level_N == level
        fold_N[here_N] = folds(int(here_N.sum()), seed) % count
    return fold_N


def _posterior_share(values_N: FloatArray, one_N: FloatArray, other_N: FloatArray, several: bool) -> float:
    """Mean share of the law, `other_N`, beside the process, `one_N`, the errors of the average being normal.

    The prior leans to the law on one fidelity: where noise hides who is right, the simpler one is. On `several` it
    leans to the process: what differs between them the law cannot say.
    """
    share_S = np.linspace(0, 1, 101)
    error_SN = values_N - one_N - share_S[:, None] * (other_N - one_N)
    squares_S = (error_SN**2).sum(axis=1)
    log_likelihood_S = -0.5 * len(values_N) * np.log(np.maximum(squares_S, 1e-300))
    prior_S = (1 - share_S) ** 2 if several else share_S
    posterior_S = prior_S * np.exp(log_likelihood_S - log_likelihood_S.max())
    return float(posterior_S @ share_S / posterior_S.sum())
