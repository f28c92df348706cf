"""Jobs that reach a task which is already training, so that a slot of its pack goes from one trial to the next.

The driver puts a job into a task's inbox; the task takes it out when a slot is free. A task that has nothing left to do
closes its inbox with its last look, and whatever is put there later is refused: no job waits for nobody. A task that
ends otherwise has its jobs begun again by the driver, those in its inbox too.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:
    from mixopt.workers.training import Job

# A task with nothing to do waits so long for more: to begin another takes longer, and its steps are to be found again.
LINGER_SECONDS = 10.0
LOOK_SECONDS = 0.2
ANSWER_SECONDS = 10.0


class Inboxes:
    """The inboxes of a study's tasks, by their names. As an actor, it serves one call after the other.

    Jobs are bytes: who keeps them need not load what they are made of.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, list[bytes]] = {}
        self._closed: set[str] = set()

    def put(self, task: str, jobs: Sequence[bytes]) -> bool:
        """Whether the task will still take them."""
        if task in self._closed:
            return False
        self._jobs.setdefault(task, []).extend(jobs)
        return True

    def take(self, task: str, wanted: int, last: bool) -> list[bytes] | None:
        """So many jobs at most, None once it is closed; where there is none and this is the last look, it is closed."""
        if task in self._closed:
            return None
        jobs = self._jobs.get(task, [])
        taken, self._jobs[task] = jobs[:wanted], jobs[wanted:]
        if last and not taken:
            self.close(task)
        return taken

    def close(self, task: str) -> None:
        self._closed.add(task)
        self._jobs.pop(task, None)


def start() -> Any:
    """The actor's handle; it lives where the driver does, if it can."""
    here: Any = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Inboxes).remote()


def put(inboxes: Any, task: str, jobs: Sequence[Job]) -> bool | None:
    """Whether the task will still take them; None where the actor does not say, and they may be there or not."""
    try:
        accepted: bool = ray.get(inboxes.put.remote(task, [pickle.dumps(job) for job in jobs]), timeout=ANSWER_SECONDS)
    except RayError:
        return None
    return accepted


def taker(inboxes: Any, task: str) -> Callable[[int, bool], Sequence[Job]]:
    """What a task asks for more jobs; where it is idle, it waits a while for some."""

    def take(wanted: int, idle: bool) -> Sequence[Job]:
        until = time.monotonic() + LINGER_SECONDS
        while True:
            last = idle and time.monotonic() > until
            try:
                found: list[bytes] | None = ray.get(inboxes.take.remote(task, wanted, last), timeout=ANSWER_SECONDS)
            except RayError:
                return ()  # what the driver had put there, it begins again
            if found or found is None or last or not idle:
                return [pickle.loads(job) for job in found or ()]
            time.sleep(LOOK_SECONDS)

    return take


def close(inboxes: Any, task: str) -> None:
    """Nothing is put there any more: the task need not wait for more."""
    inboxes.close.remote(task)
