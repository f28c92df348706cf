"""What can die, and how it comes back: each fault is injected with kill -9, where not said otherwise.

Names of processes are those that Ray and mixopt give them. A fault says what became of it, a `Came`: one that found
nothing to kill did not come, and is tried again later. What hurts and does not kill is in tests/chaos/troubles.py.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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


# Of the disk that studies get for themselves: what one keeps is some MB.
DISK_BYTES = 64_000_000


@dataclass(frozen=True)
class Came:
    """What became of a fault that was injected.

    Attributes:
        seen: what shows that it met whom it was meant for, such as words of the driver; "" where nothing did.
        seconds_lost: of a worker that was killed, for how long its trial had not been saved, at most.
    """

    seen: str
    seconds_lost: float | None = None


@dataclass(frozen=True)
class Injected:
    """One fault, the study that it was for, and when it came, in seconds since that was submitted."""

    kind: str
    study: str
    at: float
    came: Came


class Service:
    """The whole service, of which every part can be killed and started again."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._parts: dict[str, ExitStack] = {}
        self._processes: dict[str, Any] = {}
        self.studies = site.folder / "shared" / "studies"
        self.has_own_disk = False  # for the studies, so that it can be filled

    def __enter__(self) -> Service:
        self.studies.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "studies", str(self.studies)]
        self.has_own_disk = subprocess.run(command, capture_output=True, check=False).returncode == 0
        try:
            for name in PARTS:
                self.start(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for stack in reversed(self._parts.values()):
            stack.close()
        if self.has_own_disk:
            subprocess.run(["umount", "--lazy", str(self.studies)], check=True)

    def start(self, name: str, variables: Mapping[str, str] | None = None) -> None:
        """`variables`: what a node gets in its environment."""
        contexts: dict[str, Callable[[], AbstractContextManager[Any]]] = {
            "postgres": self.site.postgres,
            "s3": self.site.s3,
            "mlflow": self.site.mlflow,
            "head": self.site.ray_head,
        }
        begin = contexts.get(name) or (lambda: self.site.ray_worker(name, variables=variables))
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


def drivers(service: Service) -> list[psutil.Process]:
    """The processes of `mixopt run` on the cluster."""
    return list(matching(service.family("head"), "-m mixopt run"))


def workers(service: Service) -> list[psutil.Process]:
    """The processes that train, on any node."""
    return [each for node in NODES for each in matching(service.family(node), "ray::_run_in_worker")]


def kill_worker(service: Service, chance: random.Random, checkpoints: Path) -> Came | None:
    """Which trial it trained is not known, so the one that was saved longest ago counts as lost."""
    found = workers(service)
    if not found:
        return None
    victim = chance.choice(found)
    saved = [file.stat().st_mtime for file in checkpoints.glob("*.pt")]
    if len(saved) < len(found):
        saved.append(victim.create_time())  # one has not been saved yet
    lost = time.time() - max(min(saved), victim.create_time())
    return Came(gone(killed([victim])), lost)


def kill_raylet(service: Service, chance: random.Random) -> Came | None:
    """A node's scheduler alone; its workers notice, and end."""
    node = chance.choice(NODES)
    found = list(matching(service.family(node), "raylet/raylet"))
    if not found:
        return None
    died = killed(found)
    time.sleep(AWAY_SECONDS)
    service.start(node)
    return Came(gone(died))


def kill_node(service: Service, chance: random.Random) -> Came:
    """A machine that loses its power, and is replaced."""
    return kill_part(service, chance.choice(NODES))


def kill_driver(service: Service) -> Came | None:
    """The process of `mixopt run`; its supervisor starts it again."""
    found = drivers(service)
    return Came(gone(killed(found))) if found else None


def kill_part(service: Service, name: str) -> Came:
    """A node, MLflow, or the database under it."""
    died = service.kill(name)
    time.sleep(AWAY_SECONDS)
    service.start(name)
    return Came(gone(died))


def kill_head(service: Service, submit: Callable[[], object]) -> Came:
    """The cluster's head with its memory of jobs, and the driver on it.

    Nodes end by themselves when their head is gone for good; whatever keeps the service starts them again.
    """
    died = service.kill("head")
    service.await_end(NODES)
    service.start("head")
    for node in NODES:
        service.start(node)
    submit()
    return Came(gone(died))


def kill_everything(service: Service, submit: Callable[[], object]) -> Came:
    """A power failure: the whole service at once."""
    died = [service.kill(name) for name in PARTS]
    for name in PARTS:
        service.start(name)
    submit()
    return Came(gone(all(died)))


def gone(died: bool) -> str:
    """What is seen of a death."""
    return "its process is gone" if died else ""
