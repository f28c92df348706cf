"""Log noisy expected hypervolume improvement, for Pareto search.

S. Daulton, M. Balandat and E. Bakshy, "Parallel Bayesian Optimization of Multiple Noisy Objectives with Expected
Hypervolume Improvement", NeurIPS 2021; its logarithm as in log_ei.py.

What a mixture adds to the volume that the evaluated ones dominate. Volumes of many metrics take too long: with more
than MOST_METRICS, each trial is chosen by another random Chebyshev scalarisation of them, and so towards another part
of the front: J. Knowles, "ParEGO", IEEE Transactions on Evolutionary Computation 10(1), 2006.

Shapes: E evaluated mixtures, F of these on the front, D domains, M metrics; `...` any number of leading axes.
"""

from __future__ import annotations

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
from botorch.acquisition.multi_objective.parego import qLogNParEGO
from botorch.utils.multi_objective.hypervolume import infer_reference_point
from botorch.utils.multi_objective.pareto import is_non_dominated
from botorch.utils.sampling import sample_simplex
from jaxtyping import Float
from torch import Tensor

from search.acquisitions.base import Acquisition
from search.acquisitions.outlook import Outlook

MOST_METRICS = 4
SAMPLES = 32


class Hypervolume(Acquisition):
    def function(self, outlook: Outlook, sampled_ND: Float[np.ndarray, "N D"]) -> AcquisitionFunction:
        if not len(outlook.evaluated_ED):
            return outlook.expected
        sign_M = torch.as_tensor(outlook.objective.sign_M)

        def gains(seen: Tensor, X: Tensor | None = None) -> Tensor:
            return -sign_M * outlook.metrics(seen)

        with torch.no_grad():
            gain_EM = gains(outlook.model.posterior(outlook.evaluated_ED[:, None]).mean.squeeze(-2))
        front_E = is_non_dominated(gain_EM)
        front_FD, gain_FM = outlook.evaluated_ED[front_E], gain_EM[front_E]
        sampler, objective = outlook.sampler(SAMPLES), GenericMCMultiOutputObjective(gains)
        if len(sign_M) > MOST_METRICS:
            # Running trials count as evaluated, so that no two of a batch have the same seed.
            seed = outlook.seed + len(outlook.evaluated_ED)
            weights_M = sample_simplex(len(sign_M), seed=seed, dtype=torch.float64).squeeze(0)
            return qLogNParEGO(
                outlook.model, front_FD, weights_M, sampler=sampler, objective=objective, cache_root=False
            )
        return qLogNoisyExpectedHypervolumeImprovement(
            outlook.model,
            infer_reference_point(gain_FM),
            front_FD,
            sampler=sampler,
            objective=objective,
            cache_root=False,
        )
