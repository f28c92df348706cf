"""Jobs that reach a task which is already training, so that a slot of its pack goes from one trial to the next.

The driver puts a job into a task's inbox; the task takes it out when a slot is free. A task that has nothing left to do
closes its inbox with its last look, and whatever is put there later is refused: no job waits for nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from mixopt.workers.training import Job

# A task with nothing to do waits so long for more: to begin another takes longer, and its steps are to be found again.
LINGER_SECONDS = 10.0
LOOK_SECONDS = 0.2


class Inboxes:
    """The inboxes of a study's tasks, by their names. As an actor, it serves one call after the other."""

    def __init__(self) -> None:
        self._jobs: dict[str, list[Job]] = {}
        self._closed: set[str] = set()

    def put(self, task: str, jobs: Sequence[Job]) -> bool:
        """Whether the task will still take them."""
        if task in self._closed:
            return False
        self._jobs.setdefault(task, []).extend(jobs)
        return True

    def take(self, task: str, wanted: int, last: bool) -> list[Job]:
        """So many jobs at most; where there is none and this is the last look, the inbox is closed."""
        jobs = self._jobs.get(task, [])
        taken, self._jobs[task] = jobs[:wanted], jobs[wanted:]
        if last and not taken:
            self._closed.add(task)
            del self._jobs[task]
        return taken


def start() -> Any:
    """The actor's handle."""
    return ray.remote(num_cpus=0)(Inboxes).remote()


def put(inboxes: Any, task: str, jobs: Sequence[Job]) -> bool:
    """Whether the task will still take them; where the actor is gone, it will not."""
    try:
        accepted: bool = ray.get(inboxes.put.remote(task, list(jobs)))
    except RayError:
        return False
    return accepted


def taker(inboxes: Any, task: str) -> Callable[[int, bool], Sequence[Job]]:
    """What a task asks for more jobs; where it is idle, it waits a while for some."""

    def take(wanted: int, idle: bool) -> Sequence[Job]:
        until = time.monotonic() + LINGER_SECONDS
        while True:
            last = idle and time.monotonic() > until
            try:
                jobs: list[Job] = ray.get(inboxes.take.remote(task, wanted, last))
            except RayError:
                return ()  # the driver begins again what it had put there
            if jobs or last or not idle:
                return jobs
            time.sleep(LOOK_SECONDS)

    return take
