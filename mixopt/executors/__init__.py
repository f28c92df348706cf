"""Who trains the trials, by the names of the study file; each is loaded only when it is used."""

from __future__ import annotations

import os

from mixopt.config import JOB_VARIABLE, ExecutorSettings
from mixopt.executors.base import Executor


def executor(settings: ExecutorSettings, study: str) -> Executor:
    """
    Args:
        study: whose trials they are.
    """
    if settings.kind == "in_process":
        from mixopt.executors.in_process import InProcess

        return InProcess()
    from mixopt.executors.ray_cluster import RayCluster

    # A submitted study works on the cluster that it was submitted to.
    here = "auto" if JOB_VARIABLE in os.environ else None
    return RayCluster(
        study,
        settings.address or here,
        settings.slots,
        settings.cpus_per_trial,
        settings.gpus_per_trial,
        settings.attempts,
        settings.pack,
        settings.patience,
    )
