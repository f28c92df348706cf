"""The default: a warped Gaussian process and the law of effective data, in the shares that held-out runs give them.

With many clear runs the process is the better of the two, with much noise the law often is, and across scales too: what
it cannot express is mostly what does not carry over. The law's share is its posterior mean, given how both
predict held-out runs; where the law has proved itself, it keeps at least a share that grows with how much larger the
target is than the runs.

Shapes: N runs, D domains, S shares or scored runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from search.runs import numbered
from search.surrogates import warped_process
from search.surrogates.base import Fitted, Predict, Prediction, Surrogate, hold_out
from search.surrogates.effective_data import EffectiveData
from search.surrogates.lifting import in_target_units
from search.surrogates.rows import Rows
from search.surrogates.warped_process import Components, WarpedProcess

# Explained variance of held-out runs from which on, and at which in full, the law has proved itself.
LEAST_R2, FULL_R2 = 0.6, 0.9
# Held-out predictions of so many mixtures at the target are judged there alone.
ENOUGH_AT_TARGET = 8
PRIOR_RUNS = 10.0
LEAST_WIDENING, MOST_WIDENING = 0.3, 9.0
# Degrees of freedom of held-out errors, and by how much normal intervals are wider than their scale to hold about 80%
# and 95% of them.
TAIL, TAIL_WIDTH = 5.0, 1.15


@dataclass(frozen=True, eq=False)
class BlendChoice:
    """
    Attributes:
        law_part: the law's, from 0 to 1; the process has the rest.
        law_of_target: the law is fitted to the target's runs alone, because it predicts these better so.
        widening: of the variance, as held-out runs call for it.
    """

    process: Components
    law_part: float = 0.0
    law_of_target: bool = False
    widening: float = 1.0


@dataclass(frozen=True, eq=False)
class FittedBlend(Fitted[BlendChoice]):
    process: WarpedProcess
    law: Fitted[None] | None
    choice: BlendChoice
    held_out: Prediction | None = None

    def predict(self, weights_ND: Float[np.ndarray, "N D"]) -> Prediction:
        of_process = self.process.predict(weights_ND)
        of_law_N = of_process.mean_N if self.law is None else self.law.mean(weights_ND)
        return _joined(of_process, of_law_N, self.choice)


class Blend(Surrogate[BlendChoice]):
    """
    Attributes:
        least_share: what a law that has proved itself in full has at least; None: there is no law.
    """

    fewest_runs = 4
    least_share: ClassVar[float | None] = 0.1

    def fit_rows(self, rows: Rows, choice: BlendChoice | None = None) -> FittedBlend:
        if choice is None:
            return self.finish(rows, self.begin(rows))
        process = warped_process.fit(rows, self.seed, choice.process)
        return FittedBlend(process, self._law(rows, choice), choice)

    def begin(self, rows: Rows) -> FittedBlend:
        """The process alone: the law's share is for held-out runs to say."""
        process = warped_process.fit(rows, self.seed, self._components(rows))
        return FittedBlend(process, None, BlendChoice(process.choice))

    def finish(self, rows: Rows, begun: Fitted[BlendChoice]) -> FittedBlend:
        assert isinstance(begun, FittedBlend)
        choice, held_out = self._choose(rows, begun.process)
        return FittedBlend(begun.process, self._law(rows, choice), choice, held_out)

    def _components(self, rows: Rows) -> Components:
        return warped_process.choose(rows, self.seed)

    def _law(self, rows: Rows, choice: BlendChoice) -> Fitted[None] | None:
        return self._fit_law(rows, choice.law_of_target) if choice.law_part else None

    def _fit_law(self, rows: Rows, of_target: bool) -> Fitted[None]:
        return EffectiveData(self.seed).fit_rows(rows.select(rows.at_target_N) if of_target else rows)

    def _choose(self, rows: Rows, process: WarpedProcess) -> tuple[BlendChoice, Prediction | None]:
        """The law's share and the width of intervals by held-out runs, and what is then predicted of these."""
        choice = BlendChoice(process.choice)
        of_process = hold_out(
            rows, self.fewest_runs, lambda known: warped_process.fit(known, self.seed, process.choice).predict
        )
        if of_process is None:
            return choice, None
        several, target = bool(rows.fidelity_N.any()), int(rows.fidelity_N.max())
        predicted_N = process.predict(rows.weights_ND).mean_N
        values_N = in_target_units(rows.values_N, rows.fidelity_N, target, predicted_N)
        # Where all that a fold's fit knows is equal, it has no doubt that could be judged.
        scored_N = of_process.sd_N > 0
        if not scored_N.any():
            return choice, of_process
        there_N = scored_N & rows.at_target_N
        if enough_there := len(np.unique(numbered(rows.weights_ND[there_N]))) >= ENOUGH_AT_TARGET:
            scored_N = there_N
        measured_S = values_N[scored_N]

        def missed(mean_N: Float[np.ndarray, " N"]) -> float:
            return float(((measured_S - mean_N[scored_N]) ** 2).sum())

        of_law_N = of_process.mean_N
        if self.least_share is not None and len(measured_S) >= 2 * self.fewest_runs and np.ptp(measured_S):
            # A cheap fidelity with another optimum may bend the law, which has no room for it, more than it informs it.
            found = [
                (missed(prediction.mean_N), of_target, prediction.mean_N)
                for of_target in (False, True)[: 1 + (several and enough_there)]
                if (prediction := hold_out(rows, self.fewest_runs, self._law_predicts(of_target))) is not None
            ]
            misses, of_target, of_law_N = min(found, key=lambda each: each[0])
            explained = 1 - misses / len(measured_S) / float(measured_S.var())
            proved = float(np.clip((explained - LEAST_R2) / (FULL_R2 - LEAST_R2), 0, 1))
            share = _posterior_share(measured_S, of_process.mean_N[scored_N], of_law_N[scored_N], several)
            # The law has a parameter per domain and more: with hardly as many runs it is not asked.
            domains = int((np.ptp(rows.weights_ND, axis=0) > 0).sum())
            asked = float(np.clip(len(rows) / max(domains, 1) - 1, 0, 1))
            choice = replace(choice, law_part=asked * max(share, self.least_share * proved), law_of_target=of_target)
        joined = _joined(of_process, of_law_N, choice)
        widening = robust_variance((measured_S - joined.mean_N[scored_N]) / joined.sd_N[scored_N])
        choice = replace(choice, widening=max(widening, 1.0) if several else widening)
        return choice, _joined(of_process, of_law_N, choice)

    def _law_predicts(self, of_target: bool) -> Callable[[Rows], Predict]:
        return lambda known: self._fit_law(known, of_target).predict


class FarBlend(Blend):
    """For a target a hundred times as large as the runs, or larger."""

    least_share = 0.5


class WarpedGP(Blend):
    """The process alone."""

    least_share = None


def _joined(of_process: Prediction, of_law_N: Float[np.ndarray, " N"], choice: BlendChoice) -> Prediction:
    """The variance is the process's, and what the two disagree by, widened."""
    gap_N = of_law_N - of_process.mean_N
    variance_N = of_process.sd_N**2 + choice.law_part * (1 - choice.law_part) * gap_N**2
    return Prediction(of_process.mean_N + choice.law_part * gap_N, np.sqrt(choice.widening * variance_N))


def _posterior_share(
    values_N: Float[np.ndarray, " N"], one_N: Float[np.ndarray, " N"], other_N: Float[np.ndarray, " N"], several: bool
) -> float:
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


def robust_variance(error_N: Float[np.ndarray, " N"]) -> float:
    """By how much variances have to grow for these standardised errors to be as expected.

    A few runs are always far off (a domain alone, an unlucky seed), so errors have heavier tails than a normal
    distribution, and their variance would make most intervals too wide. The scale is that of a Student t, pulled to 1
    as if by PRIOR_RUNS further runs that say so.
    """
    scale = 1.0
    for _ in range(50):
        weight_N = (TAIL + 1) / (TAIL + error_N**2 / scale)
        scale = (float((weight_N * error_N**2).sum()) + PRIOR_RUNS / TAIL_WIDTH**2) / (len(error_N) + PRIOR_RUNS)
        scale = max(scale, 1e-6)
    return float(np.clip(TAIL_WIDTH**2 * scale, LEAST_WIDENING, MOST_WIDENING))
