"""What a search may still find: whether further trials are worth their price, and what a run's noise hides.

Joint draws of the objective over the mixtures that may be best, from what is believed of all metrics. The lowest of a
draw is what there would be to find if it were the truth; what is expected of the mixture that looks best now is above
that by the gain that is left. With all the trials in the world no more could be gained, as far as the model knows.

Shapes: Q mixtures, S draws, D domains, M metrics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from linear_operator.utils.cholesky import psd_safe_cholesky

from search.acquisitions.maximise import rank
from search.acquisitions.outlook import Outlook
from search.acquisitions.posterior_mean import PosteriorMean
from search.designs.choices import Choices

DRAWS = 512
# So many of the best are looked around of, for so many more; and so many of all are drawn jointly.
AROUND, NEARBY, CONTENDERS = 32, 600, 150


@dataclass(frozen=True)
class Prospect:
    """
    Attributes:
        gain: how much lower the objective of the best mixture is expected to be than that of the one that looks best.
        best: the objective that is expected of that one.
        run_sd: standard deviation of what one run measures of it, around its true objective.
        baselines: what is expected of each baseline.
    """

    gain: float
    best: float
    run_sd: float
    baselines: dict[str, float]

    @property
    def best_baseline(self) -> str:
        return min(self.baselines, key=lambda name: self.baselines[name])

    @property
    def beyond_baselines(self) -> float:
        """How much lower the lowest objective that there is is expected to be than that of the best baseline."""
        return self.baselines[self.best_baseline] - self.best + self.gain


def prospect(
    outlook: Outlook,
    at_hand: Choices,
    sampled_ND: Float[np.ndarray, "N D"],
    baselines: dict[str, Float[np.ndarray, " D"]],
) -> Prospect:
    """
    Args:
        sampled_ND: mixtures that stand for all that there are.
        baselines: at least one.
    """
    expected = PosteriorMean().function(outlook, sampled_ND)
    best_ND = rank(expected, sampled_ND)[:AROUND]
    near_ND = at_hand.near(best_ND, NEARBY, np.random.default_rng(outlook.seed))
    contender_ND = rank(expected, np.vstack([best_ND, near_ND, sampled_ND]))[:CONTENDERS]
    weights_QD = torch.as_tensor(np.vstack([*baselines.values(), contender_ND]))
    draws = torch.Generator().manual_seed(outlook.seed)
    with torch.no_grad():
        moments = [belief.moments(weights_QD) for belief in outlook.beliefs]
        mixing_MM = torch.linalg.cholesky(torch.as_tensor(outlook.correlation_MM))
        shape = (DRAWS, len(weights_QD), len(moments))
        normal_SQM = torch.randn(shape, generator=draws, dtype=torch.float64) @ mixing_MM.T
        seen_SQM = torch.stack(
            [
                mean_Q + normal_SQM[..., metric] @ psd_safe_cholesky(covariance_QQ).T
                for metric, (mean_Q, covariance_QQ) in enumerate(moments)
            ],
            dim=-1,
        )
        objective_SQ = -outlook.kept(seen_SQM)
        mean_Q = objective_SQ.mean(dim=0)
        best = int(mean_Q.argmin())
        noise_SM = torch.randn((DRAWS, len(moments)), generator=draws, dtype=torch.float64) @ mixing_MM.T
        noise_SM = noise_SM * torch.tensor([belief.noise_sd for belief in outlook.beliefs])
        measured_S = -outlook.worth((seen_SQM[:, best].mean(dim=0) + noise_SM)[:, None])[:, 0]
    return Prospect(
        gain=float(mean_Q[best] - objective_SQ.amin(dim=1).mean()),
        best=float(mean_Q[best]),
        run_sd=float(measured_S.std()),
        baselines=dict(zip(baselines, mean_Q.tolist(), strict=False)),
    )
