"""Log expected improvement of the objective at the target.

S. Ament et al., "Unexpected Improvements to Expected Improvement for Bayesian Optimization", NeurIPS 2023.

The incumbent is the lowest expected objective among the mixtures evaluated there, not the lowest measured one, which
noise makes look better than it is. What breaks a constraint improves nothing (BoTorch's `constraints`). Before the
first of them the expected objective itself is the worth.
"""

from __future__ import annotations

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.logei import qLogExpectedImprovement
from jaxtyping import Float

from search.acquisitions.base import Acquisition
from search.acquisitions.outlook import SMOOTH, Outlook


class LogEI(Acquisition):
    def function(self, outlook: Outlook, sampled_ND: Float[np.ndarray, "N D"]) -> AcquisitionFunction:
        if not len(outlook.evaluated_ED):
            return outlook.expected
        with torch.no_grad():
            incumbent = outlook.expected(outlook.evaluated_ED[:, None]).max()
        return qLogExpectedImprovement(
            outlook.model,
            incumbent,
            sampler=outlook.sampler(),
            objective=outlook.worth,
            constraints=outlook.constraints,
            eta=SMOOTH,
        )
