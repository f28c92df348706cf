"""Max-value entropy search: how much a run tells about the lowest objective that there is.

In the lower bound of H. B. Moss et al., "GIBBON: General-purpose Information-Based Bayesian OptimisatioN", JMLR 22,
2021, which needs no sampling at the mixture in question.
"""

from __future__ import annotations

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.max_value_entropy_search import qLowerBoundMaxValueEntropy
from botorch.utils.sampling import manual_seed
from jaxtyping import Float

from search.acquisitions.base import Acquisition
from search.acquisitions.outlook import Outlook

MAX_VALUES = 16


class MaxValueEntropy(Acquisition):
    by_metric = False

    def function(self, outlook: Outlook, sampled_ND: Float[np.ndarray, "N D"]) -> AcquisitionFunction:
        # What the process sees grows with the objective, so that its lowest value is at the same mixture.
        with manual_seed(outlook.seed):
            return qLowerBoundMaxValueEntropy(
                outlook.model, torch.as_tensor(sampled_ND), num_mv_samples=MAX_VALUES, maximize=False
            )
