"""What is believed of every mixture at the target, as acquisitions want it.

Shapes: N runs, P running trials, E mixtures evaluated at the target, D domains, M metrics, Q mixtures taken together;
`...` any number of leading axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from botorch.acquisition.objective import GenericMCObjective
from botorch.sampling.normal import SobolQMCNormalSampler
from torch import Tensor

from search.acquisitions.fitting import Fit
from search.acquisitions.posterior import Belief, MetricsModel
from search.evidence import Evidence
from search.mixture import FloatArray
from search.problem import Problem
from search.runs import IntArray

SAMPLES = 128
# Correlations between the errors of metrics are known from few runs: this much of them is taken away.
SHRINKAGE = 0.2
# With fewer runs that measured every metric, these are taken to err alike.
FEWEST_SHARED = 5


class Outlook:
    """
    Attributes:
        model: of the values that the processes see, by metric, at the target.
        evaluated_ED: feasible mixtures measured at the target, or running there.
        seed: of everything random in an acquisition.
    """

    def __init__(self, fits: Sequence[Fit], evidence: Evidence, problem: Problem, seed: int) -> None:
        runs, baseline_M = evidence.runs, evidence.baseline_M
        self.fits = tuple(fits)
        self.objective = evidence.objective
        self.baseline_M = None if baseline_M is None else torch.as_tensor(baseline_M)
        self.beliefs = tuple(Belief(fit.process, fit.target, fit.widening) for fit in fits)
        self.model = MetricsModel(self.beliefs, _correlation(fits))
        self.evaluated_ED = torch.as_tensor(runs.weights_ND[runs.at_target_N & problem.feasible(runs.weights_ND)])
        self.seed = seed
        self._target = len(runs.fidelities) - 1

    def believe(self, weights_PD: FloatArray, level_P: IntArray) -> None:
        """Count mixtures that are being trained as measured at their levels, with what is expected of them."""
        for fit, belief in zip(self.fits, self.beliefs, strict=True):
            # A level without runs counts as the next higher one that has some, or as the highest.
            belief.believe(weights_PD, np.searchsorted(fit.levels, level_P).clip(max=fit.target))
        self.evaluated_ED = torch.cat([self.evaluated_ED, torch.as_tensor(weights_PD[level_P == self._target])])

    def metrics(self, seen: Tensor) -> Tensor:
        """Values of the metrics at the target from those that the processes see, both [..., M]."""
        return torch.stack([_unseen(fit, seen[..., metric]) for metric, fit in enumerate(self.fits)], dim=-1)

    @property
    def worth(self) -> GenericMCObjective:
        """The objective of what the processes see, more is better."""

        def worth(seen: Tensor, X: Tensor | None = None) -> Tensor:
            return -self.objective.tensor_value(self.metrics(seen), self.baseline_M)

        return GenericMCObjective(worth)

    def sampler(self, samples: int = SAMPLES) -> SobolQMCNormalSampler:
        return SobolQMCNormalSampler(torch.Size([samples]), seed=self.seed)


def _unseen(fit: Fit, seen: Tensor) -> Tensor:
    """Values of a metric at the target from those that its process sees."""
    if not fit.warp.identity:
        seen = fit.warp.sign * (fit.warp.floor + (fit.warp.sign * seen).exp())
    standard = float(fit.lines.intercept_L[fit.target]) + float(fit.lines.slope_L[fit.target]) * seen
    return fit.centre + fit.scale * standard


def _correlation(fits: Sequence[Fit]) -> FloatArray:
    """Of the errors of the metrics when each run is left out, [M, M]: metrics that err together do not average out."""
    if len(fits) == 1:
        return np.ones((1, 1))
    error_NM = np.full((len(fits[0].measured_N), len(fits)), np.nan)
    for metric, fit in enumerate(fits):
        error_NM[fit.measured_N, metric], _ = fit.process.leave_one_out()
    shared_KM = error_NM[np.isfinite(error_NM).all(axis=1)]
    correlation_MM = np.ones((len(fits), len(fits)))
    if len(shared_KM) >= FEWEST_SHARED:
        scaled_KM = shared_KM / np.maximum(np.sqrt((shared_KM**2).mean(axis=0)), 1e-12)
        correlation_MM = scaled_KM.T @ scaled_KM / len(scaled_KM)
        np.fill_diagonal(correlation_MM, 1)
    return (1 - SHRINKAGE) * correlation_MM + SHRINKAGE * np.eye(len(fits))
