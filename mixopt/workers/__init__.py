"""Who trains the trials, by the names of the study file; each is loaded only when it is used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mixopt.base.interrupt import held_back
from mixopt.settings.environment import JOB_VARIABLE
from mixopt.settings.schema import ExecutorSettings
from mixopt.workers.executor import Executor

# Ray reads these when it is imported. The cluster of one study stays on this machine, and to itself: no port is open to
# others (where Ray takes the system for one without clusters it keeps to loopback), and metrics, which ask for no
# token, are not served.
TO_ITSELF = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_enable_metrics_collection": "0",
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
}


def executor(settings: ExecutorSettings, study: str, home: Path) -> Executor[Any]:
    """
    Args:
        study: whose trials they are.
        home: folder of the study file.
    """
    if settings.kind == "command":
        from mixopt.workers.command import Command

        assert settings.run is not None, "checked with the file"
        return Command(settings.run, home.absolute(), settings.slots or 1, settings.attempts, settings.patience)
    if settings.kind == "in_process":
        from mixopt.workers.in_process import InProcess

        return InProcess()
    # A submitted study works on the cluster that it was submitted to.
    address = settings.address or ("auto" if JOB_VARIABLE in os.environ else None)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        os.environ.update(TO_ITSELF)
    # Ray is loaded whole or not at all: an interruption in the middle of it would be swallowed.
    with held_back():
        from mixopt.workers.ray_cluster import RayCluster

    return RayCluster(
        study,
        address,
        settings.slots,
        settings.cpus_per_trial,
        settings.gpus_per_trial,
        settings.attempts,
        settings.pack,
        settings.patience,
    )
