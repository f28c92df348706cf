"""The expected objective at the target: greedy, and hard to beat where the cheap runs are good."""

from __future__ import annotations

import numpy as np
from botorch.acquisition.acquisition import AcquisitionFunction
from jaxtyping import Float

from search.acquisitions.base import Acquisition
from search.acquisitions.outlook import Outlook


class PosteriorMean(Acquisition):
    def function(self, outlook: Outlook, sampled_ND: Float[np.ndarray, "N D"]) -> AcquisitionFunction:
        return outlook.expected
