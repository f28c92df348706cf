"""What can die, and how it comes back: each fault is injected with kill -9, where not said otherwise.

Names of processes are those that Ray and mixopt give them. A fault says whether it came: one that found nothing to
kill, or whose victims are still there, has not, and is tried again later.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.processes import family, kill
from tests.service.processes import Site

NODES = ("node1", "node2")
PARTS = ("postgres", "s3", "mlflow", "head", *NODES)
END_WITHIN_SECONDS = 180.0
AWAY_SECONDS = 5.0  # of a service that dies, until it is started again


@dataclass(frozen=True)
class Injected:
    """One fault: its study, when it came, and for a killed worker how long ago its trial was last safe on the disk."""

    kind: str
    study: str
    at: float
    seconds_lost: float | None = None


class Service:
    """The whole service, of which every part can be killed and started again."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._parts: dict[str, ExitStack] = {}
        self._processes: dict[str, Any] = {}

    def __enter__(self) -> Service:
        for name in PARTS:
            self.start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for stack in reversed(self._parts.values()):
            stack.close()

    def start(self, name: str) -> None:
        contexts: dict[str, Callable[[], AbstractContextManager[Any]]] = {
            "postgres": self.site.postgres,
            "s3": self.site.s3,
            "mlflow": self.site.mlflow,
            "head": self.site.ray_head,
        }
        begin = contexts.get(name) or (lambda: self.site.ray_worker(name))
        if name in self._parts:
            self._parts.pop(name).close()
        stack = ExitStack()
        self._processes[name] = stack.enter_context(begin())
        self._parts[name] = stack

    def family(self, name: str) -> list[psutil.Process]:
        """A part's process and all that it has started."""
        return family(self._processes[name])

    def kill(self, name: str) -> bool:
        """Whether the part was there, and nothing of it is now."""
        return killed(self.family(name))

    def await_end(self, names: Sequence[str]) -> None:
        """Until these have ended by themselves."""
        _, alive = psutil.wait_procs([self._processes[name] for name in names], timeout=END_WITHIN_SECONDS)
        assert not alive, f"{alive} did not end"


def killed(processes: Sequence[psutil.Process]) -> bool:
    """Kill these; whether there were any, and none is left."""
    kill(processes)
    return bool(processes) and not any(lives(each) for each in processes)


def lives(process: psutil.Process) -> bool:
    """A process that has ended and was not yet waited for does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def matching(processes: list[psutil.Process], words: str) -> Iterator[psutil.Process]:
    """Those whose command line holds these words."""
    for process in processes:
        try:
            if words in " ".join(process.cmdline()):
                yield process
        except psutil.Error:
            continue


def kill_worker(service: Service, chance: random.Random, checkpoints: Path) -> float | None:
    """A process that trains, on any node; returns for how long its trial had not been saved, at most.

    Which trial it was is not known, so the trial that was saved longest ago counts.
    """
    found = [each for node in NODES for each in matching(service.family(node), "ray::_run_in_worker")]
    if not found:
        return None
    victim = chance.choice(found)
    saved = [file.stat().st_mtime for file in checkpoints.glob("*.pt")]
    if len(saved) < len(found):
        saved.append(victim.create_time())  # one has not been saved yet
    lost = time.time() - max(min(saved), victim.create_time())
    return lost if killed([victim]) else None


def kill_raylet(service: Service, chance: random.Random) -> bool:
    """A node's scheduler alone; its workers notice, and end."""
    node = chance.choice(NODES)
    gone = killed(list(matching(service.family(node), "raylet/raylet")))
    time.sleep(AWAY_SECONDS)
    service.start(node)
    return gone


def kill_node(service: Service, chance: random.Random) -> bool:
    """A machine that loses its power, and is replaced."""
    node = chance.choice(NODES)
    gone = service.kill(node)
    time.sleep(AWAY_SECONDS)
    service.start(node)
    return gone


def kill_driver(service: Service) -> bool:
    """The process of `mixopt run`; its supervisor starts it again."""
    return killed(list(matching(service.family("head"), "-m mixopt run")))


def kill_server(service: Service, name: str) -> bool:
    """MLflow, or the database under it."""
    gone = service.kill(name)
    time.sleep(AWAY_SECONDS)
    service.start(name)
    return gone


def kill_head(service: Service, submit: Callable[[], object]) -> bool:
    """The cluster's head with its memory of jobs, and the driver on it.

    Nodes end by themselves when their head is gone for good; whatever keeps the service starts them again.
    """
    gone = service.kill("head")
    service.await_end(NODES)
    service.start("head")
    for node in NODES:
        service.start(node)
    submit()
    return gone


def kill_everything(service: Service, submit: Callable[[], object]) -> bool:
    """A power failure: the whole service at once."""
    gone = [service.kill(name) for name in PARTS]
    for name in PARTS:
        service.start(name)
    submit()
    return all(gone)
