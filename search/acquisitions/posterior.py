"""Fitted processes as a BoTorch model, whose posterior can be differentiated by the mixture.

Running trials count as measured, with what is expected of them: D. Ginsbourger, R. Le Riche and L. Carraro, "Kriging is
well-suited to parallelize optimization", Computational Intelligence in Expensive Optimization Problems, 2010. Every
mean stays as it is, and variances shrink around them.

Shapes: N runs, the first K of them measured and the others running, D domains, Q mixtures taken together, B others,
M metrics; `...` any number of leading axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.models.model import Model
from botorch.posteriors.gpytorch import GPyTorchPosterior
from gpytorch.distributions import MultitaskMultivariateNormal, MultivariateNormal
from jaxtyping import Float, Int
from linear_operator import to_linear_operator
from linear_operator.utils.cholesky import psd_safe_cholesky
from torch import Tensor

from search.gaussian_process.kernel import Kernel
from search.gaussian_process.process import JITTER, GaussianProcess

# Below this weight the slope of the square root, which grows without bound, is taken to stay as it is.
STEEPEST = 1e-4
# Added to every variance, so that mixtures that come twice can be sampled together.
NUGGET = 1e-7


@dataclass(frozen=True, eq=False)
class Belief:
    """One process at one of its fidelities, in the units of the values that it was fitted to.

    Attributes:
        fidelity: which one to predict.
        widening: by how much its variances turned out to be too small.
        root_NN: lower root of the covariance of the runs, which are at `features_ND` and `fidelity_N`.
    """

    process: GaussianProcess
    fidelity: int
    widening: float
    kernel: Kernel[Tensor]
    features_ND: Tensor
    fidelity_N: Tensor
    root_NN: Tensor

    @classmethod
    def of(cls, process: GaussianProcess, fidelity: int, widening: float = 1.0) -> Belief:
        kernel: Kernel[Tensor] = Kernel.of(process.hyperparameters, torch)
        runs = (process.data.features_ND, process.data.fidelity_N, process.root_NN)
        return cls(process, fidelity, widening, kernel, *map(torch.as_tensor, runs))

    def believing(self, weights_PD: Float[np.ndarray, "P D"], fidelity_P: Int[np.ndarray, " P"]) -> Belief:
        """The belief in which these mixtures count as measured, with what is expected of them."""
        features_PD, fidelities_P = features(torch.as_tensor(weights_PD)), torch.as_tensor(fidelity_P)
        across_NP = self.kernel.covariance(self.features_ND, self.fidelity_N, features_PD, fidelities_P)
        explained_NP = torch.linalg.solve_triangular(self.root_NN, across_NP, upper=False)
        own_PP = self.kernel.covariance(features_PD, fidelities_P, features_PD, fidelities_P)
        noise_P = torch.as_tensor(self.process.hyperparameters.noise_L)[fidelities_P] + JITTER
        own_root_PP = torch.linalg.cholesky(own_PP - explained_NP.T @ explained_NP + noise_P.diag())
        upper_NP = torch.zeros_like(explained_NP)
        return replace(
            self,
            features_ND=torch.cat([self.features_ND, features_PD]),
            fidelity_N=torch.cat([self.fidelity_N, fidelities_P]),
            root_NN=torch.cat(
                [torch.cat([self.root_NN, upper_NP], dim=1), torch.cat([explained_NP.T, own_root_PP], dim=1)]
            ),
        )

    def moments(self, weights_QD: Tensor, observation_noise: bool = False) -> tuple[Tensor, Tensor]:
        """Mean [..., Q] and covariance [..., Q, Q] of mixtures [..., Q, D]."""
        features_QD, process = features(weights_QD), self.process
        across_QN, explained_NQ = self._across(features_QD)
        measured_K = torch.as_tensor(process.weighted_N)
        mean_Q = float(process.data.offset_L[self.fidelity]) + across_QN[..., : len(measured_K)] @ measured_K
        extra = NUGGET + (float(process.hyperparameters.noise_L[self.fidelity]) if observation_noise else 0.0)
        extra_QQ = self._variance * extra * torch.eye(features_QD.shape[-2], dtype=torch.float64)
        covariance_QQ = self._covariance(features_QD, explained_NQ, features_QD, explained_NQ)
        return process.data.mean + process.data.sd * mean_Q, covariance_QQ + extra_QQ

    def covariance(self, weights_QD: Tensor, other_BD: Tensor) -> Tensor:
        """Of mixtures [..., Q, D] with [B, D], [..., Q, B]."""
        features_QD, features_BD = features(weights_QD), features(other_BD)
        return self._covariance(features_QD, self._across(features_QD)[1], features_BD, self._across(features_BD)[1])

    @property
    def noise_sd(self) -> float:
        """Standard deviation of what a run measures around the truth."""
        return float(np.sqrt(self._variance * self.process.hyperparameters.noise_L[self.fidelity]))

    @property
    def _variance(self) -> float:
        """What a variance of 1 among standardised values stands for."""
        return self.widening * self.process.data.sd**2

    def _covariance(self, one_QD: Tensor, one_NQ: Tensor, other_BD: Tensor, other_NB: Tensor) -> Tensor:
        """Of features [..., Q, D] with [..., B, D], and of what the runs explain of both, [..., Q, B]."""
        at_Q, at_B = (torch.full(rows.shape[-2:-1], self.fidelity) for rows in (one_QD, other_BD))
        return self._variance * (self.kernel.covariance(one_QD, at_Q, other_BD, at_B) - one_NQ.mT @ other_NB)

    def _across(self, features_QD: Tensor) -> tuple[Tensor, Tensor]:
        """Of [..., Q, D]: prior covariance with the runs [..., Q, N], and the same through the root, [..., N, Q]."""
        rows_BD = features_QD.reshape(-1, features_QD.shape[-1])
        at_B = torch.full((len(rows_BD),), self.fidelity)
        across_BN = self.kernel.covariance(rows_BD, at_B, self.features_ND, self.fidelity_N)
        explained_NB = torch.linalg.solve_triangular(self.root_NN, across_BN.T, upper=False)
        shape = (*features_QD.shape[:-1], -1)
        return across_BN.reshape(shape), explained_NB.T.reshape(shape).mT


class MetricsModel(Model):
    """A belief for each metric, whose errors are correlated.

    Args:
        correlation_MM: of the errors, positive definite.
    """

    def __init__(self, beliefs: Sequence[Belief], correlation_MM: Float[np.ndarray, "M M"]) -> None:
        super().__init__()
        self.beliefs = tuple(beliefs)
        self.correlation_MM = torch.as_tensor(correlation_MM)

    @property
    def num_outputs(self) -> int:
        return len(self.beliefs)

    @property
    def batch_shape(self) -> torch.Size:
        return torch.Size()

    def posterior(
        self,
        X: Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
    ) -> GPyTorchPosterior:
        """Of all metrics, jointly over mixtures [..., Q, D]."""
        assert output_indices is None and posterior_transform is None
        moments = [belief.moments(X, bool(observation_noise)) for belief in self.beliefs]
        if len(moments) == 1:
            mean_Q, covariance_QQ = moments[0]
            return GPyTorchPosterior(MultivariateNormal(mean_Q, to_linear_operator(covariance_QQ)))
        mean_QM = torch.stack([mean_Q for mean_Q, _ in moments], dim=-1)
        root_MQQ = torch.stack([psd_safe_cholesky(covariance_QQ) for _, covariance_QQ in moments], dim=-3)
        # Of one mixture: correlation times both standard deviations.
        joint_MQMQ = torch.einsum("mn,...mqk,...nrk->...mqnr", self.correlation_MM, root_MQQ, root_MQQ)
        both = mean_QM.shape[-2] * mean_QM.shape[-1]
        joint = to_linear_operator(joint_MQMQ.reshape(*X.shape[:-2], both, both))
        return GPyTorchPosterior(MultitaskMultivariateNormal(mean_QM, joint, interleaved=False))


def features(weights: Tensor) -> Tensor:
    """As of search.gaussian_process, with a gradient that stays finite where a domain has nothing."""
    line = weights / (2 * weights.detach().clamp_min(STEEPEST).sqrt())
    return line + (weights.detach().clamp_min(0).sqrt() - line.detach())
