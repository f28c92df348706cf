"""Knowledge gradient: how much lower the lowest expected objective is likely to be after a run.

Over a fixed set of mixtures: P. Frazier, W. Powell and S. Dayanik, "The Knowledge-Gradient Policy for Correlated Normal
Beliefs", INFORMS Journal on Computing 21(4), 2009. BoTorch's one-shot form would optimise the best mixture of every
fantasy along with the run.

Shapes: S mixtures that may turn out best, Z quantiles of the normal distribution, D domains; `...` any number of
leading axes.
"""

from __future__ import annotations

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.utils.transforms import t_batch_mode_transform
from jaxtyping import Float
from torch import Tensor

from search.acquisitions.base import Acquisition
from search.acquisitions.outlook import Outlook

# The mixtures that may turn out best are so many of those with the lowest expected objective.
CONTENDERS = 200
QUANTILES = 32


class KnowledgeGradient(Acquisition):
    by_metric = False

    def function(self, outlook: Outlook, sampled_ND: Float[np.ndarray, "N D"]) -> AcquisitionFunction:
        return _DiscreteKnowledgeGradient(outlook, torch.as_tensor(sampled_ND))


class _DiscreteKnowledgeGradient(AcquisitionFunction):
    """In the units that the process sees, which grow with the objective."""

    def __init__(self, outlook: Outlook, sampled_ND: Tensor) -> None:
        super().__init__(outlook.model)
        [self.belief] = outlook.beliefs
        with torch.no_grad():
            mean_N = self.belief.moments(sampled_ND[:, None])[0].squeeze(-1)
            best_S = mean_N.argsort()[:CONTENDERS]
        self.contender_SD, self.mean_S = sampled_ND[best_S], mean_N[best_S]
        quantile_Z = (torch.arange(QUANTILES, dtype=torch.float64) + 0.5) / QUANTILES
        self.surprise_Z = torch.special.ndtri(quantile_Z)

    @t_batch_mode_transform(expected_q=1)  # type: ignore[arg-type]
    def forward(self, X: Tensor) -> Tensor:
        """From mixtures [..., 1, D] to [...]."""
        mean, variance = self.belief.moments(X, observation_noise=True)
        sd = variance.squeeze(-1).sqrt()
        step_S = self.belief.covariance(X, self.contender_SD).squeeze(-2) / sd
        own_step = self.belief.moments(X)[1].squeeze(-1) / sd
        # The mixture itself may turn out best, too.
        mean_S = torch.cat([self.mean_S.expand_as(step_S), mean], dim=-1)
        step_S = torch.cat([step_S, own_step], dim=-1)
        lowest_Z: Tensor = (mean_S[..., None] + step_S[..., None] * self.surprise_Z).amin(dim=-2)
        return mean_S.amin(dim=-1) - lowest_Z.mean(dim=-1)
