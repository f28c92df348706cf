"""What is believed of every mixture at the target, as acquisitions want it.

Shapes: N runs, P running trials, E mixtures evaluated at the target, D domains, M metrics, Q mixtures taken together;
`...` any number of leading axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from botorch.acquisition.monte_carlo import qSimpleRegret
from botorch.acquisition.objective import GenericMCObjective
from botorch.sampling.normal import SobolQMCNormalSampler
from botorch.utils.objective import compute_smoothed_feasibility_indicator
from jaxtyping import Float, Int
from torch import Tensor

from search.acquisitions.fitting import MetricFit
from search.acquisitions.posterior import Belief, MetricsModel
from search.evidence import Evidence
from search.objective import Objective
from search.problem import Problem

SAMPLES = 128
# Correlations between the errors of metrics are known from few runs: this much of them is taken away.
SHRINKAGE = 0.2
# An excess is a broken constraint by degrees, for gradients to follow, within about so much of 0.
SMOOTH = 1e-3
# With fewer runs that measured every metric, these are taken to err alike.
FEWEST_SHARED = 5


@dataclass(frozen=True, eq=False)
class Outlook:
    """
    Attributes:
        beliefs: by metric, of the values that its process sees, at the target.
        correlation_MM: of the errors of the metrics.
        evaluated_ED: feasible mixtures measured at the target, or running there.
        seed: of everything random in an acquisition.
        target: the number of the target among the runs' fidelities.
    """

    fits: tuple[MetricFit, ...]
    beliefs: tuple[Belief, ...]
    correlation_MM: Float[np.ndarray, "M M"]
    objective: Objective
    baseline_M: Tensor | None
    evaluated_ED: Tensor
    seed: int
    target: int

    @classmethod
    def of(cls, fits: Sequence[MetricFit], evidence: Evidence, problem: Problem, seed: int) -> Outlook:
        runs, baseline_M = evidence.runs, evidence.baseline_M
        return cls(
            fits=tuple(fits),
            beliefs=tuple(Belief.of(fit.part.process, fit.process.target, fit.widening) for fit in fits),
            correlation_MM=_correlation(fits),
            objective=evidence.objective,
            baseline_M=None if baseline_M is None else torch.as_tensor(baseline_M),
            evaluated_ED=torch.as_tensor(runs.weights_ND[runs.at_target_N & problem.feasible(runs.weights_ND)]),
            seed=seed,
            target=len(runs.fidelities) - 1,
        )

    @cached_property
    def model(self) -> MetricsModel:
        return MetricsModel(self.beliefs, self.correlation_MM)

    def believing(self, weights_PD: Float[np.ndarray, "P D"], fidelity_P: Int[np.ndarray, " P"]) -> Outlook:
        """The outlook in which mixtures that are being trained count as measured, with what is expected of them."""
        beliefs = tuple(
            # A fidelity without runs counts as the next higher one that has some, or as the highest.
            belief.believing(weights_PD, np.searchsorted(fit.fidelities, fidelity_P).clip(max=fit.process.target))
            for fit, belief in zip(self.fits, self.beliefs, strict=True)
        )
        at_target_ED = torch.as_tensor(weights_PD[fidelity_P == self.target])
        return replace(self, beliefs=beliefs, evaluated_ED=torch.cat([self.evaluated_ED, at_target_ED]))

    def metrics(self, seen: Tensor) -> Tensor:
        """Values of the metrics at the target from those that the processes see, both [..., M]."""
        standard = (fit.part.warp.inverse(seen[..., place], torch) for place, fit in enumerate(self.fits))
        return torch.stack([fit.process.values(each) for fit, each in zip(self.fits, standard, strict=True)], dim=-1)

    @property
    def worth(self) -> GenericMCObjective:
        """The objective of what the processes see, more is better."""

        def worth(seen: Tensor, X: Tensor | None = None) -> Tensor:
            return -self.objective.tensor_value(self.metrics(seen), self.baseline_M)

        return GenericMCObjective(worth)

    @property
    def constraints(self) -> list[Callable[[Tensor], Tensor]] | None:
        """As BoTorch wants them: from what the processes see, [..., M], to [...], above 0 where one is broken."""
        if not self.objective.is_constrained:
            return None

        def excess_of(metric: int) -> Callable[[Tensor], Tensor]:
            return lambda seen: self.objective.tensor_excess(self.metrics(seen), self.baseline_M)[..., metric]

        return [excess_of(metric) for metric in range(len(self.beliefs))]

    @property
    def kept(self) -> GenericMCObjective:
        """As `worth`, but no more than the baseline's where a constraint is broken: then the baseline is the answer."""
        if self.constraints is None:
            return self.worth
        assert self.baseline_M is not None
        least, constraints = -self.objective.tensor_value(self.baseline_M, self.baseline_M), self.constraints

        def kept(seen: Tensor, X: Tensor | None = None) -> Tensor:
            worth = self.worth(seen)
            allowed = compute_smoothed_feasibility_indicator(constraints, seen, eta=SMOOTH)
            return worth - (1 - allowed) * (worth - least).clamp_min(0)

        return GenericMCObjective(kept)

    @property
    def expected(self) -> qSimpleRegret:
        """The worth that is expected of mixtures [..., 1, D], constraints kept, [...]."""
        return qSimpleRegret(self.model, sampler=self.sampler(), objective=self.kept)

    def sampler(self, samples: int = SAMPLES) -> SobolQMCNormalSampler:
        return SobolQMCNormalSampler(torch.Size([samples]), seed=self.seed)


def _correlation(fits: Sequence[MetricFit]) -> Float[np.ndarray, "M M"]:
    """Of the errors of the metrics when each run is left out, [M, M]: metrics that err together do not average out."""
    if len(fits) == 1:
        return np.ones((1, 1))
    error_NM = np.full((len(fits[0].measured_N), len(fits)), np.nan)
    for metric, fit in enumerate(fits):
        error_NM[fit.measured_N, metric] = fit.error_K
    shared_KM = error_NM[np.isfinite(error_NM).all(axis=1)]
    correlation_MM = np.ones((len(fits), len(fits)))
    if len(shared_KM) >= FEWEST_SHARED:
        scaled_KM = shared_KM / np.maximum(np.sqrt((shared_KM**2).mean(axis=0)), 1e-12)
        correlation_MM = scaled_KM.T @ scaled_KM / len(scaled_KM)
        np.fill_diagonal(correlation_MM, 1)
    return (1 - SHRINKAGE) * correlation_MM + SHRINKAGE * np.eye(len(fits))
