"""What is expected of the next run of a mixture, said before it is trained so that it can be compared afterwards.

Shapes: S draws, D domains, M metrics.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from numpy import ndarray

from search.acquisitions.outlook import Outlook

DRAWS = 512


def foresee(outlook: Outlook, weights_D: Float[ndarray, " D"]) -> tuple[float, float]:
    """Mean and standard deviation of the objective that a new run at the target will measure, its noise included."""
    draws = torch.Generator().manual_seed(outlook.seed)
    weights_1D = torch.as_tensor(weights_D)[None]
    with torch.no_grad():
        mixing_MM = torch.linalg.cholesky(torch.as_tensor(outlook.correlation_MM))
        normal_SM = torch.randn((DRAWS, len(outlook.beliefs)), generator=draws, dtype=torch.float64) @ mixing_MM.T
        moments = [belief.moments(weights_1D, observation_noise=True) for belief in outlook.beliefs]
        seen_SM = torch.stack(
            [
                mean_1[0] + covariance_11[0, 0].clamp_min(0).sqrt() * normal_SM[:, metric]
                for metric, (mean_1, covariance_11) in enumerate(moments)
            ],
            dim=-1,
        )
        objective_S = -outlook.worth(seen_SM[:, None])[:, 0]
    return float(objective_S.mean()), float(objective_S.std())
