"""What is worth training next: one file per measure of worth, maximised over the space through BoTorch."""

from __future__ import annotations

from search.acquisitions.base import Acquisition
from search.registry import Registry

ACQUISITIONS: Registry[Acquisition] = Registry(
    "acquisition",
    {
        "log_ei": "search.acquisitions.log_ei:LogEI",
        "posterior_mean": "search.acquisitions.posterior_mean:PosteriorMean",
        "max_value_entropy": "search.acquisitions.max_value_entropy:MaxValueEntropy",
        "knowledge_gradient": "search.acquisitions.knowledge_gradient:KnowledgeGradient",
        "hypervolume": "search.acquisitions.hypervolume:Hypervolume",
    },
)
