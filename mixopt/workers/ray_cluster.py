"""Trials as Ray tasks, on this machine or on a cluster: the one place that imports Ray for running.

A task trains a pack of trials, on a CPU a pack of one, and streams their progress and outcomes. Ray itself retries
nothing. When a worker dies or falls silent, its unfinished jobs are launched again here, resume from their checkpoints,
and after `attempts` starts are failures. When the cluster itself is gone, that is no trial's failure: that of this
machine is started anew, another one is waited for, and what ran begins again from its checkpoints.

    slots = what the nodes that are there now have room for, divided among the studies that work on them

A cluster that can grow is asked for more room by who keeps the roll of studies, for all of them.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, LocalRayletDiedError, OutOfMemoryError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mixopt.base.errors import ClusterLost, ConfigError
from mixopt.workers.demand import Demand, Demands, fitting, starts_nodes
from mixopt.workers.executor import Executor
from mixopt.workers.fair_share import Roll
from mixopt.workers.messages import Event, Notice, TrialEnd, TrialRestart
from mixopt.workers.ray_connection import answers, connect
from mixopt.workers.training import Job, compile_ahead, run_trials
from proxies.allocator import keep_freed_memory
from proxies.recipe import Recipe
from search.errors import first_line
from search.trial import Failure, FailureKind

WAIT_SECONDS = 0.5
# How often the nodes, and the other studies, are looked at.
LOOK_SECONDS = 5.0
# A study that is submitted or resumed may be there before the nodes are.
NODES_WITHIN_SECONDS = 120.0
COMPILE_SECONDS = 900.0
# A worker that is ended because it is silent is believed dead after so long, whether Ray says so or not.
ENDED_WITHIN_SECONDS = 30.0
# A cluster that is lost is tried again after the first of these, then after twice as long, up to the second.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
# Somebody else's is waited for so long; one of this machine that dies so often before a trial ends would go on dying.
LOST_FOR_SECONDS = 3600.0
MOST_LOSSES = 5
# Ray ends this process where its cluster's head does not answer for 60 s: it is to be let go of before that.
HEAD_AWAY_SECONDS = 20.0
NAMESPACE = "mixopt"
ROLL = "mixopt-studies"


@dataclass(frozen=True)
class _Started:
    """The first word of a task, and where it runs: until then it waits for room, and is not silent but unborn."""

    node: str
    process: int


class _Gone(Exception):
    """The cluster is gone, with all that ran on it."""


class _CompilerDied(Exception):
    """A worker died while it compiled."""


@dataclass
class _Lost:
    """A cluster that is gone: why, since when, when it is tried again, and after which pause once more."""

    why: str
    since: float
    due: float
    pause: float


@dataclass
class _Running:
    """A task's jobs by trial id, those that are not closed.

    `started`: where it runs, once it does; `heard`: when it last said something; `ended`: when it was ended for its
    silence.
    """

    jobs: dict[str, Job]
    attempt: int
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
        self._study = study
        self._address = address
        self._attempts = attempts
        self._patience = patience
        self._pack = pack
        self._most = slots
        self._cpus, self._gpus = cpus_per_trial, gpus_per_trial
        self._launched: list[Job] = []  # until there is room for a task, which then takes all that it can
        self._running: dict[Any, _Running] = {}  # the task's generator -> its jobs
        self._died: list[tuple[_Running, BaseException]] = []  # tasks, of what is yet to be known
        self._again: list[_Running] = []  # of a cluster that was lost
        self._lost: _Lost | None = None
        self._losses: list[float] = []  # when, since a trial last ended
        self._head_away: float | None = None  # since when it does not answer
        self._resources: dict[str, Any] = {"num_cpus": cpus_per_trial, "num_gpus": gpus_per_trial, "max_retries": 0}
        self._waits = False  # for a node that the cluster was asked for
        self._roll: _Attendance | None = None
        self._connected = connect(address)
        try:
            self._room = self._first_room(wait=address is not None)
            self._waits = not self._room
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self) -> None:
        """Begin to work on the cluster that this process is connected to."""
        self._looked = time.monotonic()
        self._head = ray.get_runtime_context().gcs_address
        self._raylet = _only_raylet() if self._address is None else None
        self._head_away = None
        self._roll = None if self._address is None else _Attendance(self._study)
        self._share = self._room
        if self._roll is not None:
            self._share = self._roll.first_share(self._room, self._demand(busy=0, hungry=True))
        self._task = ray.remote(num_returns="streaming", **self._resources)(_run_in_worker)

    @property
    def slots(self) -> int:
        return max(1, min(self._share, self._most or self._share))

    def compile(self, recipe: Recipe, remark: Callable[[str], object] = lambda text: None) -> str | None:
        deaths = 0
        while True:
            try:
                return self._compile(recipe)
            except _CompilerDied as death:
                deaths += 1
                if deaths >= self._attempts:
                    return str(death)
                remark(f"{death}; once more")
            except _Gone as gone:
                self._lose(str(gone), remark)
            while self._lost is not None:
                self._try_again(remark)

    def _compile(self, recipe: Recipe) -> str | None:
        """
        Raises:
            _CompilerDied: the worker that did it, for whatever reason.
            _Gone: the cluster.
        """
        pack = min(self._pack, self.slots)
        compiling: Any = ray.remote(num_returns="streaming", **self._resources)(_compile_in_worker).remote(recipe, pack)
        deadline = None  # it may wait long for room, beside other studies
        while deadline is None or time.monotonic() < deadline:
            if not _ready([compiling], LOOK_SECONDS):
                self._require_head()
                continue
            try:
                said: _Started | str | None = ray.get(next(compiling))
            except (RayError, StopIteration) as error:
                if not isinstance(error, RayTaskError):
                    self._require_local_raylet(error)
                    # Whether its worker died or the cluster did, is known only while the head answers.
                    while not self._require_head():
                        time.sleep(WAIT_SECONDS)
                reason = "it ended" if isinstance(error, StopIteration) else first_line(error)
                raise _CompilerDied(f"the worker that compiled died: {reason}") from error
            if not isinstance(said, _Started):
                return said
            deadline = time.monotonic() + COMPILE_SECONDS
        ray.cancel(compiling, force=True)
        return f"it took longer than {COMPILE_SECONDS:.0f} s"

    def launch(self, job: Job) -> None:
        self._launched.append(job)

    def events(self) -> Iterator[Event]:
        notices: list[str] = []
        if self._lost is not None:
            self._try_again(notices.append)
        else:
            try:
                yield from self._events()
            except _Gone as gone:
                self._lose(str(gone), notices.append)
        yield from (Notice(text, waits=self._lost is not None) for text in notices)

    def _events(self) -> Iterator[Event]:
        """
        Raises:
            _Gone: the cluster.
        """
        if self._waits:
            self._waits = False
            yield Notice("no node has room for a trial yet; the cluster was asked for one", waits=True)
        yield from self._look()
        self._start_launched()
        yield from self._silent()
        if not self._running:
            time.sleep(WAIT_SECONDS)
        yield from self._heard_from(_ready(list(self._running), WAIT_SECONDS))
        # Whether its worker died or the cluster did, is known only while the head answers.
        if self._died and self._require_head():
            died, self._died = self._died, []
            for running, death in died:
                yield from self._started_again(running, death)

    def _heard_from(self, generators: Sequence[Any]) -> Iterator[Event]:
        """What these tasks have to say.

        Raises:
            _Gone: the cluster.
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
                self._require_local_raylet(error)
                self._died.append((self._running.pop(generator), error))
            else:
                running.heard = time.monotonic()
                if isinstance(event, _Started):
                    running.started = event
                    continue
                if isinstance(event, TrialEnd):
                    self._losses.clear()
                    del running.jobs[event.trial.id]
                    if not running.jobs:
                        del self._running[generator]
                yield event

    def close(self) -> None:
        self._launched.clear()
        self._running.clear()
        self._died.clear()
        self._again.clear()
        if self._lost is None and self._roll is not None:
            self._roll.leave()
            self._roll = None
        self._connected.close()

    def _require_local_raylet(self, error: BaseException) -> None:
        """
        Raises:
            _Gone: this process's way to the cluster is what a task died of.
        """
        if isinstance(error, LocalRayletDiedError):
            raise _Gone("the raylet that this process works with died") from error

    def _require_head(self) -> bool:
        """Whether the head of the cluster answers.

        Whoever asks Ray for anything of the head while that is away waits, and is ended by Ray after a minute.

        Raises:
            _Gone: it has not answered for long; or it is this machine's, and is dead, or its raylet is, of which Ray
                itself knows only after some 15 s.
        """
        if self._raylet is not None and not answers(self._raylet):
            raise _Gone("its raylet is dead")
        if answers(self._head):
            self._head_away = None
            return True
        now = time.monotonic()
        self._head_away = self._head_away or now
        if self._raylet is not None or now - self._head_away > HEAD_AWAY_SECONDS:
            raise _Gone(f"its head at {self._head} does not answer")
        return False

    def _lose(self, why: str, remark: Callable[[str], object]) -> None:
        """Let go of a cluster that is gone; what ran begins again, as often as it had, once there is one.

        Raises:
            ClusterLost: it was lost too often.
        """
        now = time.monotonic()
        self._losses.append(now)
        if self._address is None and len(self._losses) > MOST_LOSSES:
            raise ClusterLost(
                f"Ray on this machine died {len(self._losses)} times and no trial ended between, the last time: {why}",
                hint="is there memory and room on the disk? Then run the same command again",
            )
        self._again += [*self._running.values(), *(running for running, _ in self._died)]
        self._running.clear()
        self._died.clear()
        self._roll = None
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (len(self._losses) - 1), LONGEST_PAUSE_SECONDS)
        self._lost = _Lost(why, now, now + pause, pause)
        self._connected.close()
        if self._address is None:
            remark(f"Ray on this machine died ({why}); it is started anew, and the trials go on from their checkpoints")
        else:
            remark(f"the Ray cluster at {self._address} went away ({why}); the study waits for it")

    def _try_again(self, remark: Callable[[str], object]) -> None:
        """Wait a moment, and connect where it is time to.

        Raises:
            ClusterLost: it is lost for too long.
        """
        lost = self._lost
        assert lost is not None
        now = time.monotonic()
        if now < lost.due:
            time.sleep(min(WAIT_SECONDS, lost.due - now))
            return
        try:
            self._connected = connect(self._address)
            self._room = self._room_now()
            self._join()
        except (ClusterLost, RayError, ConnectionError) as error:
            self._connected.close()
            if now - lost.since > LOST_FOR_SECONDS:
                raise ClusterLost(
                    f"the Ray cluster went away ({lost.why}) and is not back: {first_line(error)}",
                    hint="when it is back, run the same command again",
                ) from error
            pause = min(2 * lost.pause, LONGEST_PAUSE_SECONDS)
            self._lost = _Lost(lost.why, lost.since, time.monotonic() + pause, pause)
            return
        self._lost = None
        again, self._again = self._again, []
        for running in again:
            self._start(list(running.jobs.values()), running.attempt)
        remark("Ray is there again; the trials go on")

    def _start_launched(self) -> None:
        tasks = -(-self.slots // self._pack)
        while self._launched and len(self._running) < tasks:
            jobs = [job for job in self._launched if job.fits(self._launched[0])][: self._pack]
            started = {job.trial.id for job in jobs}
            self._launched = [job for job in self._launched if job.trial.id not in started]
            self._start(jobs, attempt=1)

    def _start(self, jobs: Sequence[Job], attempt: int) -> None:
        running = _Running({job.trial.id: job for job in jobs}, attempt)
        self._running[self._task.remote(jobs)] = running

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
                self._start(half, running.attempt + 1)
            yield from (TrialRestart(job.trial, running.attempt + 1, reason) for job in jobs)
            return
        kind = FailureKind.OUT_OF_MEMORY if isinstance(error, OutOfMemoryError) else FailureKind.LOST_WORKER
        failure = Failure(kind, f"{reason} (started {running.attempt} times)")
        yield from (TrialEnd(job.trial, failure) for job in jobs)

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

    def _look(self) -> Iterator[Event]:
        """How much room there is now, and how much of it is this study's.

        Raises:
            _Gone: the cluster.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if not self._require_head():
            return
        room = self._room_now()
        if room == 0 and self._room > 0:
            yield Notice("no node has room for a trial any more; the study waits for one", waits=True)
        elif room > 0 and self._room == 0:
            yield Notice(f"there is room for {room} trials now", waits=False)
        self._room = room
        if self._roll is None:
            self._share = room
        else:
            busy = sum(len(running.jobs) for running in self._running.values()) + len(self._launched)
            hungry = self.slots <= busy < (self._most or inf)
            self._share = self._roll.share(room, busy, hungry, self._demand(busy, hungry))

    def _demand(self, busy: int, hungry: bool) -> Demand:
        return Demand.of(busy, hungry, self.slots, self._most, self._pack, self._cpus, self._gpus)

    def _first_room(self, wait: bool) -> int:
        """Room for so many trials; 0 on a cluster that grows: it is asked for a node, and trials wait in its queue.

        Args:
            wait: a node that is large enough may still come.

        Raises:
            ConfigError: no node is large enough.
            ClusterLost: none was within NODES_WITHIN_SECONDS.
        """
        deadline = time.monotonic() + NODES_WITHIN_SECONDS
        while not (room := self._room_now()):
            # Asked again: an autoscaler says what it can start some seconds after its head was started.
            if wait and _can_grow():
                return 0
            nodes = _nodes()
            if not wait or time.monotonic() > deadline:
                kind = ClusterLost if wait else ConfigError
                raise kind(
                    f"a trial asks for {self._cpus:g} CPUs and {self._gpus:g} GPUs; {_described(nodes)}",
                    hint="lower executor.cpus_per_trial or executor.gpus_per_trial, or add a node",
                )
            time.sleep(WAIT_SECONDS)
        return room

    def _room_now(self) -> int:
        """How many trials the nodes that are alive have room for at a time."""
        return self._pack * sum(fitting(node, self._cpus, self._gpus) for node in _nodes())


class _ClusterRoll:
    """The one process of a cluster that all its studies tell what they do and what they could use."""

    def __init__(self) -> None:
        from ray.autoscaler.sdk import request_resources

        self._roll = Roll()
        self._demands = Demands(lambda bundles: request_resources(bundles=list(bundles)))
        self._demands.keep_looking()

    def share(self, study: str, room: int, busy: int, hungry: bool, demand: Demand) -> int:
        self._demands.put(study, demand)
        return self._roll.share(study, room, busy, hungry)

    def leave(self, study: str) -> None:
        self._demands.drop(study)
        self._roll.leave(study)


class _Attendance:
    """A study's place on the roll of its cluster. The roll may be away: then the last share is kept."""

    def __init__(self, study: str) -> None:
        self._study = study
        self._share: int | None = None
        self._asked: Any = None
        self._roll: Any = None

    def first_share(self, room: int, demand: Demand) -> int:
        """Waits a little for the answer: a study that took all to begin with would hold it for a round of trials."""
        self.share(room, 0, True, demand)
        with suppress(RayError):
            self._share = ray.get(self._asked, timeout=LOOK_SECONDS)
        return self._known(room)

    def share(self, room: int, busy: int, hungry: bool, demand: Demand) -> int:
        if self._asked is not None:
            try:
                self._share = ray.get(self._asked, timeout=0)
            except GetTimeoutError:
                return self._known(room)
            except RayError:
                self._roll = None  # it died with its node, and is made anew
        if self._roll is None:
            # With the head, which asks for nodes and goes last: elsewhere it would keep a node from going.
            roll = ray.remote(num_cpus=0, resources={"node:__internal_head__": 0.001})(_ClusterRoll)
            self._roll = roll.options(name=ROLL, namespace=NAMESPACE, lifetime="detached", get_if_exists=True).remote()
        self._asked = self._roll.share.remote(self._study, room, busy, hungry, demand)
        return self._known(room)

    def leave(self) -> None:
        if self._roll is not None:
            self._roll.leave.remote(self._study)

    def _known(self, room: int) -> int:
        return room if self._share is None else min(self._share, room)


def _run_in_worker(jobs: Sequence[Job]) -> Iterator[Event | _Started]:
    yield _Started(ray.get_runtime_context().get_node_id(), os.getpid())
    keep_freed_memory()
    yield from run_trials(jobs)


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
        _Gone: the cluster.
    """
    try:
        ready: list[Any] = ray.wait(generators, timeout=seconds, fetch_local=False)[0]
    except (RayError, ConnectionError) as error:
        raise _Gone(first_line(error)) from error
    return ready


def _nodes() -> list[dict[str, float]]:
    """The resources of each node that is alive."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def _only_raylet() -> str:
    """Where the raylet of a cluster of one node listens, HOST:PORT."""
    (node,) = ray.nodes()  # type: ignore[no-untyped-call]
    return f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"


def _can_grow() -> bool:
    """Whether the cluster starts nodes by itself; Ray has two autoscalers, which report differently."""
    from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
    from ray._private.state import state
    from ray.experimental.internal_kv import _internal_kv_get

    if state.get_max_resources_from_cluster_config():
        return True
    status = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}")
    return starts_nodes((status.get("autoscaler_report") or {}).get("node_type_mapping"))


def _described(nodes: Sequence[dict[str, float]]) -> str:
    have = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
    return f"no node of the cluster has that much (it has {have})" if nodes else "the cluster has no node"
