"""The covariance of runs, written once: in NumPy to fit with, in PyTorch to be differentiated by the mixture.

    k = between[l, l'] (s^2 Matern-5/2(r) + t^2 sum_i sqrt(w_i w'_i)) + o^2 [l = l'],
    r^2 = sum_i (sqrt w_i - sqrt w'_i)^2 / length_i^2

The square roots of the weights make Euclidean distance the Hellinger distance between mixtures, so that going from 0 to
1% of a domain is a longer way than from 50% to 51%. The second part, linear in the square roots, is a trend: it is what
much noise leaves to be learned. The last is what is not known of the mean of a fidelity.

Shapes: N and Q runs, D domains, G length scales (1 or D), L fidelities; `...` any number of leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Generic

import numpy as np

from search.arrays import Array
from search.gaussian_process.hyperparameters import Hyperparameters

ROOT_5 = 5**0.5
# Below this squared distance the root, whose slope at 0 is infinite, stays as it is.
NEAREST = 1e-15
# Of a fidelity's mean, where there is one and where there are several: a shift between scales may be large.
OFFSET_VARIANCE = (1.0, 9.0)


@dataclass(frozen=True, eq=False)
class Terms(Generic[Array]):
    """What a covariance consists of, each [..., N, Q].

    Attributes:
        slope_NQ: s^2 (1 + distance) exp(-distance), of r times the root of 5, and times what is between the fidelities:
            how the first part falls with r^2.
        local_NQ, trend_NQ: the two parts of the kernel, times what is between the fidelities.
        offset_NQ: what the mean of their fidelity adds.
    """

    slope_NQ: Array
    local_NQ: Array
    trend_NQ: Array
    offset_NQ: Array


@dataclass(frozen=True, eq=False)
class Kernel(Generic[Array]):
    """
    Attributes:
        library: numpy or torch, of whose arrays it is made and which it takes.
    """

    library: ModuleType
    local_variance: float
    trend_variance: float
    offset_variance: float
    per_length_G: Array
    between_LL: Array

    @classmethod
    def of(cls, hyper: Hyperparameters, library: ModuleType = np) -> Kernel[Array]:
        return Kernel(
            library,
            float(np.exp(2 * hyper.log_scale)),
            float(np.exp(2 * hyper.log_trend)),
            OFFSET_VARIANCE[hyper.fidelities > 1],
            library.asarray(np.exp(-hyper.log_length_G)),
            library.asarray(hyper.between_LL),
        )

    def terms(
        self, one_ND: Array, fidelity_N: Array, other_QD: Array, fidelity_Q: Array, inner_NQ: Array | None = None
    ) -> Terms[Array]:
        """Of features [..., N, D] and [..., Q, D], the square roots of weights, at their fidelities.

        Args:
            inner_NQ: the inner products of the features, where they are known.
        """
        trend_NQ = self.trend_variance * (one_ND @ other_QD.mT if inner_NQ is None else inner_NQ)
        scale_G = ROOT_5 * self.per_length_G
        one_ND, other_QD = one_ND * scale_G, other_QD * scale_G
        squared_NQ = (one_ND**2).sum(-1)[..., None] + (other_QD**2).sum(-1)[..., None, :] + one_ND @ (-2 * other_QD).mT
        distance_NQ = self.library.sqrt(self.library.clip(squared_NQ, 5 * NEAREST, None))
        decay_NQ = self.local_variance * self.library.exp(-distance_NQ)
        offset_NQ = self.offset_variance * (fidelity_N[:, None] == fidelity_Q)
        if len(self.between_LL) > 1:
            between_NQ = self.between_LL[fidelity_N[:, None], fidelity_Q]
            decay_NQ, trend_NQ = decay_NQ * between_NQ, trend_NQ * between_NQ
        falling_NQ = distance_NQ * decay_NQ
        slope_NQ = decay_NQ + falling_NQ
        local_NQ = slope_NQ + distance_NQ * falling_NQ / 3
        return Terms(slope_NQ, local_NQ, trend_NQ, offset_NQ)

    def covariance(self, one_ND: Array, fidelity_N: Array, other_QD: Array, fidelity_Q: Array) -> Array:
        """As `terms`, together, noise left out."""
        terms = self.terms(one_ND, fidelity_N, other_QD, fidelity_Q)
        covariance_NQ: Array = terms.local_NQ + terms.trend_NQ + terms.offset_NQ
        return covariance_NQ

    def variance(self, fidelity: int) -> float:
        """Of a run, noise left out: the weights of a mixture sum to one."""
        between = float(self.between_LL[fidelity, fidelity])
        return (self.local_variance + self.trend_variance) * between + self.offset_variance
