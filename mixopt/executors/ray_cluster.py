"""Trials as Ray tasks, on this machine or on a cluster: the one place that imports Ray for running.

A trial is a streaming task: it yields progress, and its outcome last. Ray itself retries nothing. When a worker
dies, the job is launched again here, resumes from its checkpoint, and after `attempts` starts is a failure.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from mixopt.cores import cores
from mixopt.errors import ConfigError
from mixopt.events import Closed, Event, Restarted
from mixopt.executors.base import Executor
from mixopt.worker import Job, run_trial
from proxies.allocator import keep_freed_memory
from search.trial import Failure, FailureKind

WAIT_SECONDS = 0.5


@dataclass
class _Running:
    job: Job
    attempt: int


class RayCluster(Executor):
    """
    Raises:
        ConfigError: the cluster does not answer, or has no room for even one trial.
    """

    def __init__(
        self,
        address: str | None = None,
        slots: int | None = None,
        cpus_per_trial: float = 1.0,
        gpus_per_trial: float = 0.0,
        attempts: int = 3,
    ) -> None:
        self._attempts = attempts
        self._running: dict[Any, _Running] = {}  # the task's generator -> its job
        _connect(address)
        try:
            self.slots = _room(cpus_per_trial, gpus_per_trial, slots)
        except ConfigError:
            ray.shutdown()
            raise
        self._task = ray.remote(
            num_cpus=cpus_per_trial, num_gpus=gpus_per_trial, max_retries=0, num_returns="streaming"
        )(_run_in_worker)

    def launch(self, job: Job) -> None:
        self._start(job, attempt=1)

    def _start(self, job: Job, attempt: int) -> None:
        self._running[self._task.remote(job)] = _Running(job, attempt)

    def events(self) -> Iterator[Event]:
        ready: list[Any]
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=WAIT_SECONDS, fetch_local=False)
        for generator in ready:
            running = self._running[generator]
            try:
                event: Event = ray.get(next(generator))
            except RayTaskError as error:
                # The task turns its own exceptions into outcomes: the worker could not even begin.
                del self._running[generator]
                cause = f"the worker cannot run trials: {type(error.cause).__name__}: {error.cause}"
                yield Closed(running.job.trial, Failure(FailureKind.ERROR, cause))
            except (RayError, StopIteration) as error:
                del self._running[generator]
                yield self._started_again(running, error)
            else:
                if isinstance(event, Closed):
                    del self._running[generator]
                yield event

    def _started_again(self, running: _Running, error: BaseException) -> Event:
        """The process or node of a trial died."""
        trial = running.job.trial
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if running.attempt < self._attempts:
            self._start(running.job, running.attempt + 1)
            return Restarted(trial, running.attempt + 1, reason)
        kind = FailureKind.OUT_OF_MEMORY if isinstance(error, OutOfMemoryError) else FailureKind.LOST_WORKER
        return Closed(trial, Failure(kind, f"{reason} (started {running.attempt} times)"))

    def close(self) -> None:
        self._running.clear()
        ray.shutdown()


def _run_in_worker(job: Job) -> Iterator[Event]:
    keep_freed_memory()
    yield from run_trial(job)


def _connect(address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray warns of a future change of this default, on every start; without GPUs asked for, a task sees none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init(address="local", num_cpus=cores(), include_dashboard=False, **quiet)
        return
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RayError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster answers at executor.address {address}: {error}",
            hint="start it with `ray start --head`, or remove executor.address for a local one",
        ) from error


def _room(cpus: float, gpus: float, wanted: int | None) -> int:
    have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    room = int(have.get("CPU", 0) / cpus)
    if gpus > 0:
        room = min(room, int(have.get("GPU", 0) / gpus))
    if room < 1:
        raise ConfigError(
            f"a trial asks for {cpus:g} CPUs and {gpus:g} GPUs; "
            f"the cluster has {have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs",
            hint="lower executor.cpus_per_trial or executor.gpus_per_trial, or add a node",
        )
    return room if wanted is None else min(room, wanted)
