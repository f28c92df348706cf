"""Trials as Ray tasks, on this machine or on a cluster: trials in, results out.

A task trains a pack of trials, on a CPU a pack of one, and streams progress and outcomes; where a trial ends, the next
one that fits goes to its slot (ray_inboxes.py). Ray itself retries nothing. When a worker dies or falls silent, its
unfinished jobs are launched again here, resume from their checkpoints, and after `attempts` starts are failures. When
the cluster itself is gone (ray_link.py), that is no trial's failure: what ran begins again from its checkpoints once
there is one. How much room there is for trials, ray_room.py says.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mixopt.workers import ray_inboxes
from mixopt.workers.executor import Executor, Unwanted
from mixopt.workers.messages import Event, Notice, TrialEnd, TrialRestart
from mixopt.workers.ray_connection import WAIT_SECONDS
from mixopt.workers.ray_link import Gone, Link
from mixopt.workers.ray_room import Room, TaskSize
from mixopt.workers.training import Job, compile_ahead, run_trials
from proxies.allocator import keep_freed_memory
from proxies.recipe import Recipe
from search.errors import first_line
from search.trial import Failure, FailureKind

COMPILE_SECONDS = 900.0
# A worker that is ended because it is silent is believed dead after so long, whether Ray says so or not.
ENDED_WITHIN_SECONDS = 30.0


@dataclass(frozen=True)
class _Started:
    """The first word of a task, and where it runs: until then it waits for room, and is not silent but unborn."""

    node: str
    process: int


class _CompilerDied(Exception):
    """A worker died while it compiled."""


@dataclass
class _Running:
    """A task's jobs by trial id, those that are not closed.

    `inbox`: the name under which it takes more jobs like `first`, if it does; `started`: where it runs, once it does;
    `heard`: when it last said something; `ended`: when it was ended for its silence.
    """

    jobs: dict[str, Job]
    slots: int
    attempt: int
    first: Job
    inbox: str | None = None
    started: _Started | None = None
    heard: float = 0.0
    ended: float | None = None


class RayCluster(Executor[Job]):
    """
    Args:
        study: by this name the study takes its turn among others on the cluster.
        address: of a running cluster; None starts one on this machine, for this study alone.
        slots: trials at a time, at most; None is as many as there is room for.
        pack: trials of one proxy that share a task, and with it its CPUs and GPUs.
        patience: seconds after which a silent task is ended.

    Raises:
        ConfigError: this machine has no room for even one trial.
        ClusterLost: the cluster does not answer, or it starts no nodes by itself and none has room for a trial within
            two minutes.

    `events` and `compile` raise ClusterLost for a cluster that went away and is not back within an hour, or, one of
    this machine, dies again and again.
    """

    def __init__(
        self,
        study: str,
        address: str | None = None,
        slots: int | None = None,
        cpus_per_trial: float = 1.0,
        gpus_per_trial: float = 0.0,
        attempts: int = 3,
        pack: int = 1,
        patience: float = 600.0,
    ) -> None:
        self._attempts = attempts
        self._pack = min(pack, slots or pack)
        self._patience = patience
        self._launched: list[Job] = []  # until there is room for a task, which then takes all that it can
        self._running: dict[Any, _Running] = {}  # the task's generator -> its jobs
        self._died: list[tuple[_Running, BaseException]] = []  # tasks, of what is yet to be known
        self._again: list[_Running] = []  # of a cluster that was lost
        self._news: list[str] = []  # of the machines, that nobody was told yet
        self._resources: dict[str, Any] = {"num_cpus": cpus_per_trial, "num_gpus": gpus_per_trial, "max_retries": 0}
        self._task: Any = ray.remote(num_returns="streaming", **self._resources)(_run_in_worker)
        self._inboxes: Any = None  # of tasks that train packs
        size = TaskSize(cpus_per_trial, gpus_per_trial, self._pack)
        self._room = Room(study, size, most=slots, shared=address is not None)
        self._link = Link(address)
        try:
            self._news += self._room.find()
        except BaseException:
            self.close()
            raise

    @property
    def slots(self) -> int:
        return self._room.slots

    def compile(
        self,
        recipe: Recipe,
        remark: Callable[[str], object] = lambda text: None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> str | None:
        deaths = 0
        while True:
            try:
                return self._compile(recipe, remark, wanted)
            except _CompilerDied as death:
                deaths += 1
                if deaths >= self._attempts:
                    return str(death)
                remark(f"{death}; once more")
            except Gone as gone:
                self._lose(str(gone))
            while self._link.is_lost:
                self._tell(remark)
                if not wanted():
                    raise Unwanted
                self._find_again()

    def _compile(self, recipe: Recipe, remark: Callable[[str], object], wanted: Callable[[], bool]) -> str | None:
        """
        Raises:
            _CompilerDied: the worker that did it, for whatever reason.
            Gone: the cluster.
            Unwanted: it is not wanted any more.
        """
        compile_in_worker = ray.remote(num_returns="streaming", **self._resources)(_compile_in_worker)
        compiling: Any = compile_in_worker.remote(recipe, self._pack)
        deadline = None  # it may wait long for room, beside other studies
        while deadline is None or time.monotonic() < deadline:
            self._look(begins=True)
            self._tell(remark)
            if not wanted():
                ray.cancel(compiling, force=True)
                raise Unwanted
            if not _ready([compiling], WAIT_SECONDS):
                continue
            try:
                said: _Started | str | None = ray.get(next(compiling))
            except (RayError, StopIteration) as error:
                if not isinstance(error, RayTaskError):
                    self._link.require_local_raylet(error)
                    # Whether its worker died or the cluster did, is known only while the head answers.
                    self._link.await_head()
                reason = "it ended" if isinstance(error, StopIteration) else first_line(error)
                raise _CompilerDied(f"the worker that compiled died: {reason}") from error
            if not isinstance(said, _Started):
                return said
            self._see_room(begins=True)
            deadline = time.monotonic() + COMPILE_SECONDS
        ray.cancel(compiling, force=True)
        return f"it took longer than {COMPILE_SECONDS:.0f} s"

    def launch(self, job: Job) -> None:
        self._launched.append(job)

    def events(self) -> Iterator[Event]:
        if self._link.is_lost:
            self._find_again()
        else:
            try:
                yield from self._events()
            except Gone as gone:
                self._lose(str(gone))
        yield from self._told()

    def close(self) -> None:
        self._launched.clear()
        self._running.clear()
        self._died.clear()
        self._again.clear()
        if not self._link.is_lost:
            self._room.leave()
        self._link.close()

    def _events(self) -> Iterator[Event]:
        """
        Raises:
            Gone: the cluster.
        """
        self._look()
        self._start_launched()
        yield from self._silent()
        if not self._running:
            time.sleep(WAIT_SECONDS)
        yield from self._told()
        yield from self._heard_from(_ready(list(self._running), WAIT_SECONDS))
        # Whether its worker died or the cluster did, is known only while the head answers.
        if self._died and self._link.require_head():
            died, self._died = self._died, []
            for running, death in died:
                yield from self._started_again(running, death)

    def _look(self, begins: bool = False) -> None:
        """How much room there is now, where it is time to look.

        Args:
            begins: no trial was launched yet.

        Raises:
            Gone: the cluster.
        """
        if self._room.is_due():
            self._room.put_off()
            if self._link.require_head():
                self._news += self._room.look(self._busy, begins)

    def _see_room(self, begins: bool = False) -> None:
        """A task has begun: where no room was seen, there is some. It may end before it is time to look.

        Raises:
            Gone: the cluster.
        """
        if self._room.is_unseen:
            self._link.await_head()
            self._news += self._room.look(self._busy, begins)

    def _told(self) -> Iterator[Notice]:
        """The news, each told once."""
        while self._news:
            yield Notice(self._news.pop(0), waits=self._link.is_lost or self._room.is_unseen)

    def _tell(self, remark: Callable[[str], object]) -> None:
        for notice in self._told():
            remark(notice.text)

    @property
    def _busy(self) -> int:
        return sum(len(running.jobs) for running in self._running.values()) + len(self._launched)

    def _start_launched(self) -> None:
        """Jobs go to tasks that have a slot for them, and begin others where there is room.

        Raises:
            Gone: the cluster.
        """
        if self._launched and self._pack > 1 and self._inboxes is None and self._link.require_head():
            self._inboxes = ray_inboxes.start()
        tasks = -(-self.slots // self._pack)
        eligible = self._launched
        if len(self._running) >= tasks:
            # What fits no task that runs waits for one to end: jobs that came later do not keep it going.
            fits = [any(job.fits(each.first) for each in self._running.values()) for job in self._launched]
            eligible = self._launched[: fits.index(False)] if False in fits else self._launched
        for running in self._running.values():
            if running.inbox is not None and running.ended is None and (free := self._pack - len(running.jobs)):
                jobs = [job for job in eligible if job.fits(running.first) and job in self._launched][:free]
                if jobs and self._put(running, jobs):
                    self._take_launched(jobs)
                    running.jobs |= {job.trial.id: job for job in jobs}
        while self._launched and len(self._running) < tasks:
            jobs = [job for job in self._launched if job.fits(self._launched[0])][: self._pack]
            self._take_launched(jobs)
            self._start(jobs, self._pack, attempt=1)
        if self._launched:
            for running in self._running.values():
                if running.inbox is not None and not running.jobs:  # it waits for jobs, and these for its room
                    ray_inboxes.close(self._inboxes, running.inbox)
                    running.inbox = None

    def _put(self, running: _Running, jobs: Sequence[Job]) -> bool:
        """Whether these jobs are the task's from now on."""
        assert running.inbox is not None
        accepted = ray_inboxes.put(self._inboxes, running.inbox, jobs)
        if accepted is None:
            # They may be there. If not, they are begun again when the task ends; it is asked no more.
            self._inboxes, running.inbox = None, None
        return accepted is not False

    def _take_launched(self, jobs: Sequence[Job]) -> None:
        taken = {job.trial.id for job in jobs}
        self._launched = [job for job in self._launched if job.trial.id not in taken]

    def _start(self, jobs: Sequence[Job], slots: int, attempt: int) -> None:
        # What died is not asked to do more.
        inbox = uuid4().hex if slots > 1 and attempt == 1 and self._inboxes is not None else None
        running = _Running({job.trial.id: job for job in jobs}, slots, attempt, jobs[0], inbox)
        self._running[self._task.remote(jobs, slots, self._inboxes, inbox)] = running

    def _heard_from(self, generators: Sequence[Any]) -> Iterator[Event]:
        """What these tasks have to say.

        Raises:
            Gone: the cluster.
        """
        for generator in generators:
            running = self._running[generator]
            try:
                event: Event | _Started = ray.get(next(generator))
            except RayTaskError as error:
                # The task turns its own exceptions into outcomes: the worker could not even begin.
                del self._running[generator]
                cause = f"the worker cannot run trials: {type(error.cause).__name__}: {error.cause}"
                for job in running.jobs.values():
                    yield TrialEnd(job.trial, Failure(FailureKind.ERROR, cause, traceback=str(error)))
            except (RayError, StopIteration) as error:
                self._link.require_local_raylet(error)
                del self._running[generator]
                if running.jobs:
                    self._died.append((running, error))
            else:
                running.heard = time.monotonic()
                if isinstance(event, _Started):
                    running.started = event
                    self._see_room()
                    yield from self._told()
                    continue
                if isinstance(event, TrialEnd):
                    self._link.has_served()
                    if running.jobs.pop(event.trial.id, None) is None:
                        continue  # it was begun again elsewhere
                    if not running.jobs and running.inbox is None:
                        del self._running[generator]
                yield event

    def _silent(self) -> Iterator[Event]:
        """End tasks that have said nothing for too long; their deaths are then noticed as any other's."""
        now = time.monotonic()
        for generator, running in list(self._running.items()):
            if running.ended is not None:
                if now - running.ended > ENDED_WITHIN_SECONDS:
                    del self._running[generator]
                    yield from self._started_again(running, TimeoutError())
            elif running.started is not None and now - running.heard > self._patience:
                if _ready([generator], 0):
                    continue  # it has spoken, but the driver was busy, or stood still, and did not listen
                running.ended = now
                _end(running.started)

    def _started_again(self, running: _Running, error: BaseException) -> Iterator[Event]:
        """The process or node of these trials died."""
        reason = first_line(error)
        if isinstance(error, StopIteration):
            reason = "its task ended without an outcome"
        if running.ended is not None:
            reason = f"it said nothing for {self._patience:g} s"
        jobs = list(running.jobs.values())
        if running.attempt < self._attempts:
            # In halves: together they may have been too much.
            for half in filter(None, (jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :])):
                self._start(half, len(half), running.attempt + 1)
            yield from (TrialRestart(job.trial, running.attempt + 1, reason) for job in jobs)
            return
        kind = FailureKind.OUT_OF_MEMORY if isinstance(error, OutOfMemoryError) else FailureKind.LOST_WORKER
        failure = Failure(kind, f"{reason} (started {running.attempt} times)")
        yield from (TrialEnd(job.trial, failure) for job in jobs)

    def _lose(self, why: str) -> None:
        """The cluster is gone; what ran begins again, as often as it had, once there is one.

        Raises:
            ClusterLost: it was lost too often.
        """
        self._again += [each for each in (*self._running.values(), *(one for one, _ in self._died)) if each.jobs]
        self._inboxes = None
        self._running.clear()
        self._died.clear()
        self._link.lose(why, self._news.append)

    def _find_again(self) -> None:
        """
        Raises:
            ClusterLost: it is lost for too long.
        """
        news: list[str] = []
        if not self._link.find_again(lambda: news.extend(self._room.find_again())):
            return
        again, self._again = self._again, []
        for running in again:
            self._start(list(running.jobs.values()), running.slots, running.attempt)
        self._news += ["Ray is there again; the trials go on", *news]


def _run_in_worker(jobs: Sequence[Job], slots: int, inboxes: Any, inbox: str | None) -> Iterator[Event | _Started]:
    yield _Started(ray.get_runtime_context().get_node_id(), os.getpid())
    keep_freed_memory()
    if inbox is None:
        yield from run_trials(jobs, slots)
        return
    yield from run_trials(jobs, slots, ray_inboxes.taker(inboxes, inbox))
    ray_inboxes.close(inboxes, inbox)  # where the trials failed, its last look may be yet to come


def _compile_in_worker(recipe: Recipe, members: int) -> Iterator[_Started | str | None]:
    """The last word is why it could not be compiled; None where it was."""
    yield _Started(ray.get_runtime_context().get_node_id(), os.getpid())
    yield compile_ahead(recipe, members)


def _end(worker: _Started) -> None:
    """Kill a worker from beside it: one that stands still does not answer when Ray asks it to end."""
    beside: Any = NodeAffinitySchedulingStrategy(worker.node, soft=False)
    ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=beside)(_kill).remote(worker.process)


def _kill(process: int) -> None:
    with suppress(FileNotFoundError, ProcessLookupError):
        if Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::"):
            os.kill(process, signal.SIGKILL)


def _ready(generators: list[Any], seconds: float) -> list[Any]:
    """Those of the tasks that have something to say, within so many seconds.

    Raises:
        Gone: the cluster.
    """
    try:
        ready: list[Any] = ray.wait(generators, timeout=seconds, fetch_local=False)[0]
    except (RayError, ConnectionError) as error:
        raise Gone(first_line(error)) from error
    return ready
