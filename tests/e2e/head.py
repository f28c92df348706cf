"""The head of a Ray cluster on this machine, which asks for a token that this process has."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from ray.util import get_node_ip_address

from tests.processes import family, free_ports, kill, named


@dataclass
class Head:
    """
    Attributes:
        address: of its HTTP interface.
        gcs: where nodes join it.
        directory: MIXOPT_DIRECTORY on the cluster.
    """

    address: str
    gcs: str
    process: int
    directory: Path
    _start: Callable[[], int]

    def kill(self) -> None:
        """With all that runs on it."""
        kill(family(psutil.Process(self.process)))

    def start_again(self) -> None:
        """At the same address; it has forgotten everything."""
        self.process = self._start()

    def drivers(self, study_file: str) -> list[int]:
        """The processes that run a study here."""
        programs = {each.pid: named(each.pid) for each in family(psutil.Process(self.process))}
        return [pid for pid, line in programs.items() if "-m mixopt run " in line and line.endswith(f"/{study_file}")]


@contextmanager
def new_head(cpus: int, autoscaling: str = "", variables: Mapping[str, str] | None = None) -> Iterator[Head]:
    """
    Args:
        cpus: that trials may use.
        autoscaling: configuration of its autoscaler; GCS in it stands for where nodes join.
    """
    ports = free_ports(4)
    names = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port")
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--num-cpus={cpus}"]
    command += ["--dashboard-host=127.0.0.1", *(f"--{name}={port}" for name, port in zip(names, ports, strict=True))]
    token = secrets.token_urlsafe(32)
    # Ray knows its nodes by an address that others can reach.
    gcs = f"{get_node_ip_address()}:{ports[0]}"  # type: ignore[no-untyped-call]
    with ExitStack() as stack:
        # A short path: Ray makes sockets below it.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mixopt-", ignore_cleanup_errors=True)))
        if autoscaling:
            (folder / "autoscaling.yaml").write_text(autoscaling.replace("GCS", gcs))
            command.append(f"--autoscaling-config={folder / 'autoscaling.yaml'}")
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "MIXOPT_DIRECTORY": str(folder / "studies"),
            **(variables or {}),
        }
        log = stack.enter_context((folder / "log").open("wb"))

        def start() -> int:
            head = subprocess.Popen(
                [*command, f"--temp-dir={folder}"], env=environment, stdout=log, stderr=log, start_new_session=True
            )
            stack.callback(head.wait)
            stack.callback(lambda: kill(family(psutil.Process(head.pid))) if head.poll() is None else None)
            _wait_for_agent(ports[3])
            return head.pid

        process = start()
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", token)
        started = Head(f"http://127.0.0.1:{ports[1]}", gcs, process, folder / "studies", start)
        patch.setenv("RAY_API_SERVER_ADDRESS", started.address)
        yield started


def _wait_for_agent(port: int) -> None:
    """The last process of a node to come up is the one that starts jobs."""
    deadline = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/local_raylet_healthz", timeout=2):
                return
        except OSError:
            assert time.monotonic() < deadline, "the head does not come up"
            time.sleep(0.2)
