"""Trials as Ray tasks, on this machine or on a cluster: the one place that imports Ray for running.

A task trains a pack of trials, on a CPU a pack of one, and streams their progress and outcomes. Ray itself retries
nothing. When a worker dies, its unfinished jobs are launched again here, resume from their checkpoints, and after
`attempts` starts are failures.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from mixopt.cores import cores
from mixopt.errors import ConfigError
from mixopt.events import Closed, Event, Restarted
from mixopt.executors.base import Executor
from mixopt.worker import Job, compile_ahead, run_trials
from proxies.allocator import keep_freed_memory
from proxies.recipe import Recipe
from search.trial import Failure, FailureKind

WAIT_SECONDS = 0.5


@dataclass
class _Running:
    """A task's jobs by trial id, those that are not closed."""

    jobs: dict[str, Job]
    attempt: int


class RayCluster(Executor):
    """
    Args:
        slots: trials at a time; None is as many as there is room for.
        pack: trials of one proxy that share a task, and with it its CPUs and GPUs.

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
        pack: int = 1,
    ) -> None:
        self._attempts = attempts
        self._launched: list[Job] = []  # until there is room for a task, which then takes all that it can
        self._running: dict[Any, _Running] = {}  # the task's generator -> its jobs
        _connect(address)
        try:
            room = _room(cpus_per_trial, gpus_per_trial)
        except ConfigError:
            ray.shutdown()
            raise
        self.slots = room * pack if slots is None else min(room * pack, slots)
        self._pack = min(pack, self.slots)
        self._tasks = -(-self.slots // self._pack)
        self._resources: dict[str, Any] = {"num_cpus": cpus_per_trial, "num_gpus": gpus_per_trial, "max_retries": 0}
        self._task = ray.remote(num_returns="streaming", **self._resources)(_run_in_worker)

    def compile(self, recipe: Recipe) -> str | None:
        try:
            reason: str | None = ray.get(ray.remote(**self._resources)(compile_ahead).remote(recipe, self._pack))
        except RayError as error:
            return f"the worker that compiled died: {_first_line(error)}"
        return reason

    def launch(self, job: Job) -> None:
        self._launched.append(job)

    def _start_launched(self) -> None:
        while self._launched and len(self._running) < self._tasks:
            recipe = self._launched[0].recipe
            jobs = [job for job in self._launched if job.recipe == recipe][: self._pack]
            started = {job.trial.id for job in jobs}
            self._launched = [job for job in self._launched if job.trial.id not in started]
            self._start(jobs, attempt=1)

    def _start(self, jobs: Sequence[Job], attempt: int) -> None:
        running = _Running({job.trial.id: job for job in jobs}, attempt)
        self._running[self._task.remote(jobs)] = running

    def events(self) -> Iterator[Event]:
        self._start_launched()
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
                for job in running.jobs.values():
                    yield Closed(job.trial, Failure(FailureKind.ERROR, cause))
            except (RayError, StopIteration) as error:
                del self._running[generator]
                yield from self._started_again(running, error)
            else:
                if isinstance(event, Closed):
                    del running.jobs[event.trial.id]
                    if not running.jobs:
                        del self._running[generator]
                yield event

    def _started_again(self, running: _Running, error: BaseException) -> Iterator[Event]:
        """The process or node of these trials died."""
        reason = _first_line(error)
        jobs = list(running.jobs.values())
        if running.attempt < self._attempts:
            # In halves: together they may have been too much.
            for half in filter(None, (jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :])):
                self._start(half, running.attempt + 1)
            yield from (Restarted(job.trial, running.attempt + 1, reason) for job in jobs)
            return
        kind = FailureKind.OUT_OF_MEMORY if isinstance(error, OutOfMemoryError) else FailureKind.LOST_WORKER
        failure = Failure(kind, f"{reason} (started {running.attempt} times)")
        yield from (Closed(job.trial, failure) for job in jobs)

    def close(self) -> None:
        self._launched.clear()
        self._running.clear()
        ray.shutdown()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _run_in_worker(jobs: Sequence[Job]) -> Iterator[Event]:
    keep_freed_memory()
    yield from run_trials(jobs)


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


def _room(cpus: float, gpus: float) -> int:
    """How many tasks the cluster has room for at a time."""
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
    return room
