"""Who trains the trials, by the names of the study file; each is loaded only when it is used."""

from __future__ import annotations

from mixopt.config import ExecutorSettings
from mixopt.executors.base import Executor


def executor(settings: ExecutorSettings) -> Executor:
    if settings.kind == "in_process":
        from mixopt.executors.in_process import InProcess

        return InProcess()
    from mixopt.executors.ray_cluster import RayCluster

    return RayCluster(
        settings.address,
        settings.slots,
        settings.cpus_per_trial,
        settings.gpus_per_trial,
        settings.attempts,
        settings.pack,
    )
