"""Fitted processes as a BoTorch model, whose posterior can be differentiated by the mixture.

Kernel and hyperparameters are those of search.surrogates.gaussian_process. Running trials are believed to come out as
expected (the kriging believer of Ginsbourger, Le Riche and Carraro, 2010): every mean stays as it is, and variances
shrink around them.

Shapes: N runs, the first K of them measured and the others running, D domains, Q mixtures taken together, B others,
M metrics, L levels; `...` any number of leading axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.models.model import Model
from botorch.posteriors.gpytorch import GPyTorchPosterior
from gpytorch.distributions import MultitaskMultivariateNormal, MultivariateNormal
from linear_operator import to_linear_operator
from linear_operator.utils.cholesky import psd_safe_cholesky
from torch import Tensor

from search.mixture import FloatArray
from search.runs import IntArray
from search.surrogates.gaussian_process import JITTER, OFFSET_VARIANCE, ROOT_5, GaussianProcess

# Below this share the slope of the square root, which grows without bound, is taken to stay as it is.
STEEPEST = 1e-4
# Added to every variance, so that mixtures that come twice can be sampled together.
NUGGET = 1e-7


class Belief:
    """One process at one of its levels, in the units of the values that it was fitted to.

    Args:
        level: which one to predict.
        widening: by how much its variances turned out to be too small.
    """

    def __init__(self, process: GaussianProcess, level: int, widening: float) -> None:
        hyper = process.hyperparameters
        self.level, self.widening = level, widening
        self.shift, self.unit = process.mean + process.sd * float(process.offset_L[level]), process.sd
        self.per_length_G = torch.as_tensor(np.exp(-hyper.log_length_G))
        self.between_LL = torch.as_tensor(hyper.between_LL)
        self.scale, self.trend = np.exp(2 * hyper.log_scale), np.exp(2 * hyper.log_trend)
        self.offset_variance = OFFSET_VARIANCE[process.levels > 1]
        self.noise_L = torch.as_tensor(hyper.noise_L)
        self.features_ND = torch.as_tensor(process.features_ND)
        self.level_N = torch.as_tensor(process.level_N)
        self.root_NN = torch.as_tensor(process.root_NN)
        self.weighted_K = torch.as_tensor(process.weighted_N)

    def believe(self, weights_PD: FloatArray, level_P: IntArray) -> None:
        """From now on these mixtures count as measured, with what is expected of them."""
        features_PD, levels_P = features(torch.as_tensor(weights_PD)), torch.as_tensor(level_P)
        explained_NP = self._explained(self._covariance(self.features_ND, self.level_N, features_PD, levels_P))
        own_PP = self._covariance(features_PD, levels_P, features_PD, levels_P) - explained_NP.T @ explained_NP
        own_PP.diagonal().add_(self.noise_L[levels_P] + JITTER)
        runs, more = explained_NP.shape
        root_NN = self.root_NN.new_zeros(runs + more, runs + more)
        root_NN[:runs, :runs], root_NN[runs:, :runs] = self.root_NN, explained_NP.T
        root_NN[runs:, runs:] = torch.linalg.cholesky(own_PP)
        self.root_NN = root_NN
        self.features_ND = torch.cat([self.features_ND, features_PD])
        self.level_N = torch.cat([self.level_N, levels_P])

    def moments(self, weights_QD: Tensor, observation_noise: bool = False) -> tuple[Tensor, Tensor]:
        """Mean [..., Q] and covariance [..., Q, Q] of mixtures [..., Q, D]."""
        features_QD = features(weights_QD)
        across_BN, explained_NB = self._across(features_QD)
        shape = features_QD.shape[:-1]
        mean_Q = (across_BN[:, : len(self.weighted_K)] @ self.weighted_K).reshape(shape)
        explained_QN = explained_NB.T.reshape(*shape, -1)
        level = torch.full(shape[-1:], self.level)
        covariance_QQ = self._covariance(features_QD, level, features_QD, level) - explained_QN @ explained_QN.mT
        extra = NUGGET + (float(self.noise_L[self.level]) if observation_noise else 0.0)
        covariance_QQ = covariance_QQ + extra * torch.eye(shape[-1], dtype=torch.float64)
        return self.shift + self.unit * mean_Q, self.widening * self.unit**2 * covariance_QQ

    def covariance(self, weights_BD: Tensor, other_QD: Tensor) -> Tensor:
        """Of each of mixtures [..., D] with each of [Q, D], [..., Q]."""
        features_BD, features_QD = features(weights_BD), features(other_QD)
        explained_NB, explained_NQ = self._across(features_BD)[1], self._across(features_QD)[1]
        flat_BD = features_BD.reshape(-1, features_BD.shape[-1])
        levels = (torch.full((len(rows),), self.level) for rows in (flat_BD, features_QD))
        prior_BQ = self._covariance(flat_BD, next(levels), features_QD, next(levels))
        covariance_BQ = self.widening * self.unit**2 * (prior_BQ - explained_NB.T @ explained_NQ)
        return covariance_BQ.reshape(*features_BD.shape[:-1], -1)

    def _across(self, features_QD: Tensor) -> tuple[Tensor, Tensor]:
        """Of all B rows of [..., D]: prior covariance with the runs [B, N], and the same through the root, [N, B]."""
        flat_BD = features_QD.reshape(-1, features_QD.shape[-1])
        level_B = torch.full((len(flat_BD),), self.level)
        across_BN = self._covariance(flat_BD, level_B, self.features_ND, self.level_N)
        return across_BN, self._explained(across_BN.T)

    def _explained(self, across_NB: Tensor) -> Tensor:
        explained_NB: Tensor = torch.linalg.solve_triangular(self.root_NN, across_NB, upper=False)
        return explained_NB

    def _covariance(self, one_QD: Tensor, one_Q: Tensor, other_BD: Tensor, other_B: Tensor) -> Tensor:
        """Prior covariance of features [..., Q, D] and [..., B, D] at their levels, [..., Q, B]."""
        trend_QB = self.trend * (one_QD @ other_BD.mT)
        one_QD, other_BD = one_QD * self.per_length_G, other_BD * self.per_length_G
        squared_QB = (one_QD**2).sum(-1)[..., None] + (other_BD**2).sum(-1)[..., None, :] - 2 * one_QD @ other_BD.mT
        # Above 0, where the root has no slope.
        distance_QB = ROOT_5 * squared_QB.clamp_min(1e-15).sqrt()
        local_QB = self.scale * (1 + distance_QB + distance_QB**2 / 3) * (-distance_QB).exp()
        offset_QB = self.offset_variance * (one_Q[:, None] == other_B)
        covariance_QB: Tensor = (local_QB + trend_QB) * self.between_LL[one_Q[:, None], other_B] + offset_QB
        return covariance_QB


class MetricsModel(Model):
    """A belief for each metric, whose errors are correlated.

    Args:
        correlation_MM: of the errors, positive definite.
    """

    def __init__(self, beliefs: Sequence[Belief], correlation_MM: FloatArray) -> None:
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
    """As of search.surrogates.gaussian_process, with a gradient that stays finite where a domain has nothing."""
    line = weights / (2 * weights.detach().clamp_min(STEEPEST).sqrt())
    return line + (weights.detach().clamp_min(0).sqrt() - line.detach())
