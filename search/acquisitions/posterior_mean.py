"""The expected objective at the target: greedy, and hard to beat where the cheap runs are good."""

from __future__ import annotations

from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.monte_carlo import qSimpleRegret

from search.acquisitions.base import Acquisition
from search.acquisitions.outlook import Outlook
from search.mixture import FloatArray


class PosteriorMean(Acquisition):
    def function(self, outlook: Outlook, candidates_ND: FloatArray) -> AcquisitionFunction:
        return qSimpleRegret(outlook.model, sampler=outlook.sampler(), objective=outlook.worth)
