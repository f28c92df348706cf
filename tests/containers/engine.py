"""podman and podman-compose, with a store of images and settings of their own: nothing of the machine's is touched.

What Docker's Compose does by itself, podman 4 does not where there is no systemd: look after health, and wait for it.
So `Stack.up` starts services one after the other, and asks each health check itself.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixopt.cluster.secrets import write_secrets
from tests.processes import LOOPBACK, free_ports
from tests.service.compose import FILE, ROOT, services

# `make containers` sets it: the image alone takes minutes.
ASKED_VARIABLE = "MIXOPT_CONTAINERS"
# Options for each `podman build`, where pip and apt need something of this machine: a network, a volume, a certificate.
BUILD_VARIABLE = "MIXOPT_CONTAINER_BUILD_ARGS"
# Where images are kept from one time to the next.
STORAGE_VARIABLE = "MIXOPT_CONTAINER_STORAGE"
STORAGE = "/var/tmp/mixopt-containers"

STAND_INS = Path(__file__).parent / "stand_ins"
DEBIAN = "localhost/mixopt-test/bookworm"
USER = 1000  # of the containers; root, whom PostgreSQL refuses, runs this test
BUILD_SECONDS, START_SECONDS = 3600, 240.0

PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def why_not() -> str | None:
    """Why no container can be run here; None if it can be tried."""
    if not os.environ.get(ASKED_VARIABLE):
        return "takes minutes and gigabytes: `make containers` runs it"
    if os.getuid() != 0:
        return "needs root, for networks and limits"
    for program in ("podman", "podman-compose"):
        if shutil.which(program, path=PATH) is None:
            return f"needs {program}"
    return None


@dataclass(frozen=True)
class Podman:
    """podman as this test runs it.

    Attributes:
        folder: of its settings.
    """

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> Podman:
        # Without systemd, without more rights on limits than this process has, and with the driver named: podman 4
        # forgets one that it has chosen itself, and then starts no container again.
        (folder / "containers.conf").write_text(
            f'[containers]\ndefault_ulimits = ["nofile={_limit("nofile")}", "nproc={_limit("nproc")}"]\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            '[network]\nnetwork_backend = "netavark"\n'
        )
        kept = os.environ.get(STORAGE_VARIABLE, STORAGE)
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{kept}"\nrunroot = "/run/mixopt-containers"\n'
        )
        return cls(folder)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": PATH,
            "HOME": os.environ.get("HOME", "/root"),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
        }

    def __call__(self, *words: object, seconds: float = 120.0, **options: Any) -> str:
        """What podman prints.

        Raises:
            AssertionError: it failed.
        """
        return self.run(["podman", *map(str, words)], seconds=seconds, **options)

    def run(self, command: Sequence[str], seconds: float = 120.0, **options: Any) -> str:
        done = subprocess.run(
            ["nice", "-n", "10", *command],
            env=self.environment | options.pop("variables", {}),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            **options,
        )
        assert done.returncode == 0, f"{shlex.join(command)}:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        said: str = done.stdout
        return said

    def has(self, image: str) -> bool:
        found = subprocess.run(["podman", "image", "exists", image], env=self.environment, check=False)
        return found.returncode == 0

    def build(self, image: str, folder: Path, file: Path) -> None:
        options = shlex.split(os.environ.get(BUILD_VARIABLE, ""))
        # Docker's format: the other knows no health checks and no STOPSIGNAL.
        words = ["build", "--format=docker", *options, f"--tag={image}", f"--file={file}", folder]
        self(*words, seconds=BUILD_SECONDS)

    def fetch_bases(self) -> str | None:
        """Have the images that ours are built from; returns why they cannot be had."""
        for image in (_base(), services()["postgres"]["image"]):
            if self.has(image):
                continue
            with suppress(AssertionError):
                self("pull", f"docker.io/library/{image}", seconds=600)
                continue
            if shutil.which("mmdebstrap", path=PATH) is None:
                return f"needs the image {image}, or mmdebstrap to make one that stands for it"
            if not self.has(DEBIAN):
                archive = self.folder / "debian.tar"
                self.run(["mmdebstrap", "--variant=minbase", "bookworm", str(archive)], seconds=900)
                self("import", archive, DEBIAN)
                archive.unlink()
            self.build(f"docker.io/library/{image}", STAND_INS, STAND_INS / f"{image.partition(':')[0]}.Dockerfile")
        return None


class Stack:
    """docker-compose.yml with two workers, as it stands but for its ports and sizes."""

    def __init__(self, podman: Podman, folder: Path) -> None:
        self.podman = podman
        self.secrets, self.data = folder / "secrets", folder / "data"
        for path in write_secrets(self.secrets):
            os.chown(path, USER, USER)
        os.chown(self.secrets, USER, USER)
        self.data.mkdir()
        ray, mlflow = free_ports(2)
        self.head, self.tracking = f"http://{LOOPBACK}:{ray}", f"http://{LOOPBACK}:{mlflow}"
        self._settings = {
            "COMPOSE_PROJECT_NAME": "mixopt-test",
            "PIP_EXTRA_INDEX_URL": "",
            "MIXOPT_USER": f"{USER}:{USER}",
            "MIXOPT_SECRETS": str(self.secrets),
            "MIXOPT_DATA": str(self.data),
            "RAY_PORT": str(ray),
            "MLFLOW_PORT": str(mlflow),
            "MIXOPT_CPUS": "1",
            "MIXOPT_HEAD_CPUS": "1",
            "MIXOPT_MEMORY": "3gb",
            "MIXOPT_HEAD_MEMORY": "4gb",
            "MIXOPT_OBJECT_STORE": "200000000",
            "MIXOPT_SHM": "512mb",
        }

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text()

    def compose(self, *words: str, seconds: float = 300.0) -> str:
        files = [f"--file={FILE}", f"--file={ROOT / 'deploy' / 'podman.yml'}"]
        # Without a pod: Compose knows none.
        command = ["podman-compose", "--in-pod=false", *files, "--profile=cpu", *words]
        return self.podman.run(command, seconds=seconds, cwd=ROOT, variables=self._settings)

    def up(self, *names: str) -> None:
        """Start these services, or all of the profile, each once what it depends on is well."""
        for name in names or _in_order():
            scale = ["--scale=ray-worker=2"] if name == "ray-worker" else []
            self.compose("up", "--detach", "--no-deps", *scale, name)
            for container in self.containers(name):
                self.wait(container)

    def down(self) -> None:
        """As docs/service.md says: first the containers with their nameless volumes, then the networks."""
        if found := self.containers():
            self.podman("rm", "--force", "--volumes", *found)
        self.compose("down")

    def containers(self, service: str | None = None) -> list[str]:
        """The names of a service's containers, or of all."""
        labels = ["--filter=label=com.docker.compose.project=mixopt-test"]
        if service is not None:
            labels.append(f"--filter=label=com.docker.compose.service={service}")
        return self.podman("ps", "--all", *labels, "--format={{.Names}}").split()

    def state(self, container: str) -> dict[str, Any]:
        [found] = json.loads(self.podman("inspect", container))
        return dict(found)

    def wait(self, container: str) -> None:
        """Until the container is healthy, or one that ends by itself has ended well.

        Raises:
            AssertionError: it does not come to that.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            found = self.state(container)
            state, ends = found["State"], found["HostConfig"]["RestartPolicy"]["Name"] == "no"
            if ends and state["Status"] in ("exited", "stopped"):
                assert state["ExitCode"] == 0, self.said(container)
                return
            if not ends and state["Status"] == "running" and self._is_healthy(container):
                return
            assert time.monotonic() < deadline, f"{container} is {state['Status']}:\n{self.said(container)}"
            time.sleep(1.0)

    def _is_healthy(self, container: str) -> bool:
        check = ["podman", "healthcheck", "run", container]
        done = subprocess.run(check, env=self.podman.environment, capture_output=True, timeout=60, check=False)
        return done.returncode == 0

    def said(self, container: str) -> str:
        """The end of a container's log."""
        command = ["podman", "logs", "--tail=60", container]
        done = subprocess.run(command, env=self.podman.environment, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def kill(self, container: str) -> None:
        """As the kernel does when memory is out: podman is not asked."""
        os.kill(self.state(container)["State"]["Pid"], 9)

    def destroy(self) -> None:
        """Containers, networks and data; the images stay."""
        with suppress(AssertionError):
            self.down()
            self.compose("down", "--volumes")


@contextmanager
def new_stack(podman: Podman, folder: Path) -> Iterator[Stack]:
    stack = Stack(podman, folder)
    stack.destroy()  # what a test that was killed has left
    try:
        yield stack
    finally:
        stack.destroy()


def _in_order() -> list[str]:
    """The services of the profile cpu, each after those that it depends on."""
    wanted = [name for name, each in services().items() if each.get("profiles", ["cpu"]) == ["cpu"]]
    ordered: list[str] = []
    while len(ordered) < len(wanted):
        ordered += [
            name
            for name in wanted
            if name not in ordered and set(services()[name].get("depends_on", {})) <= set(ordered)
        ]
    return ordered


def _base() -> str:
    """What the image is built from."""
    [line] = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("FROM ")]
    return line.removeprefix("FROM ")


def _limit(name: str) -> str:
    """No more than this process may have, and less than what engines ask for by themselves."""
    most = resource.getrlimit({"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}[name])[1]
    limit = 16384 if most == resource.RLIM_INFINITY else min(most, 16384)
    return f"{limit}:{limit}"
