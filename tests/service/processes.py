"""The service of docker-compose.yml as plain processes of this machine, which need no engine and no image; MLflow's
files are in a bucket, as deploy/s3.yml has it. tests/containers has the containers, and the files on a volume.

Commands, environment, secrets and health checks are those of the file, with the containers' addresses, paths and
ports replaced by ones that are free here. Only what an image brings is done by hand: PostgreSQL's first start
(initdb), and rclone in place of the S3 server, which checks signatures as the real one does.

    with new_site() as site, site.postgres(), site.s3(), site.mlflow():
        MlflowClient(site.mlflow_uri)...

A service that was killed comes back when its context is entered again: its data are in the site's folder.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from ray.util import get_node_ip_address

from mixopt.cluster.secrets import write_secrets
from tests.processes import LOOPBACK, family, free_port, free_ports, kill
from tests.service.compose import ROOT, read, services

S3_FILE = ROOT / "deploy" / "s3.yml"
BUCKET = "mlflow"
START_WITHIN_SECONDS = 120.0
END_WITHIN_SECONDS = 1.0
OBJECT_STORE_BYTES = 200_000_000

# Debian keeps the programs of each version of PostgreSQL in a folder of their own, out of the PATH.
POSTGRES_PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/nowhere"))
PATH = os.pathsep.join(
    str(folder)
    for folder in (Path(sys.executable).parent, ROOT / "deploy" / "bin", POSTGRES_PROGRAMS, "/usr/bin", "/bin")
)
# PostgreSQL refuses to be root, as which CI may run; Debian's package makes this user for it.
POSTGRES_USER: dict[str, Any] = (
    {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
)


def has_postgres() -> bool:
    return shutil.which("initdb", path=PATH) is not None


@contextmanager
def new_site() -> Iterator[Site]:
    """A site in a folder of its own, with a path short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="mixopt-", ignore_cleanup_errors=True) as folder:
        yield Site(Path(folder))


class Site:
    """The secrets, data and logs of one service, and the addresses that it has here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o711)  # PostgreSQL's user passes through
        self._migrated = False
        self.secrets = folder / "secrets"
        write_secrets(self.secrets)
        self.s3_key = (secrets.token_urlsafe(15), secrets.token_urlsafe(30))
        (self.secrets / "s3_credentials").write_text(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n".format(*self.s3_key)
        )
        names = ("postgres", "s3", "mlflow", "ray", "dashboard", "ray_client", "agent")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.mlflow_uri = f"http://localhost:{self.ports['mlflow']}"
        self.dashboard = f"http://{LOOPBACK}:{self.ports['dashboard']}"
        # Ray knows its nodes by an address that others can reach, and turns 127.0.0.1 into that.
        self.ray_address = f"{get_node_ip_address()}:{self.ports['ray']}"  # type: ignore[no-untyped-call]
        auth = folder / "mlflow_auth.ini"
        self._here = {
            "http://mlflow:5000": self.mlflow_uri,
            "@postgres:5432": f"@{LOOPBACK}:{self.ports['postgres']}",
            "ray-head:6379": self.ray_address,
            "127.0.0.1:8265": f"{LOOPBACK}:{self.ports['dashboard']}",
            "127.0.0.1:52365": f"{LOOPBACK}:{self.ports['agent']}",
            "host=0.0.0.0": f"host={LOOPBACK}",
            "--node-ip-address=172.28.77.250": f"--node-ip-address={LOOPBACK}",
            "port=5432": f"port={self.ports['postgres']}",
            "port=5000": f"port={self.ports['mlflow']}",
            "port=6379": f"port={self.ports['ray']}",
            "port=8265": f"port={self.ports['dashboard']}",
            "port=10001": f"port={self.ports['ray_client']}",
            "port=52365": f"port={self.ports['agent']}",
            "/run/secrets": str(self.secrets),
            "/shared": str(folder / "shared"),
            "/etc/mlflow/auth.ini": str(auth),
        }
        auth.write_text(self._translate((ROOT / "deploy" / "mlflow_auth.ini").read_text()))

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text()

    @contextmanager
    def postgres(self) -> Iterator[psutil.Popen]:
        data = self.folder / "postgres"
        if not data.exists():
            self._initialise_database(data)
        command = ["postgres", "-D", str(data), f"--port={self.ports['postgres']}"]
        command += [f"--listen-addresses={LOOPBACK}", "--unix-socket-directories="]
        with self._running("postgres", command, self.ports["postgres"], **POSTGRES_USER) as server:
            yield server

    @contextmanager
    def s3(self) -> Iterator[psutil.Popen]:
        data = self.folder / "s3"
        data.mkdir(exist_ok=True)
        command = ["rclone", "serve", "s3", str(data), f"--addr={LOOPBACK}:{self.ports['s3']}", "--config=/dev/null"]
        key = {"RCLONE_AUTH_KEY": f'"{",".join(self.s3_key)}"'}
        (data / BUCKET).mkdir(exist_ok=True)
        # rclone has no page that tells its health: it is well as soon as it listens.
        with self._running("s3", command, self.ports["s3"], check=["true"], variables=key) as server:
            yield server

    @contextmanager
    def mlflow(self, *options: str) -> Iterator[psutil.Popen]:
        """Options override those of the file. Before the first start its tables are made."""
        if not self._migrated:
            subprocess.run(self._command("migrate"), env=self._environment("migrate"), capture_output=True, check=True)
            self._migrated = True
        with self._running("mlflow", [*self._command("mlflow"), *options], self.ports["mlflow"]) as server:
            yield server

    @contextmanager
    def ray_head(self) -> Iterator[psutil.Popen]:
        command = [*self._command("ray-head"), *self._apart("head")]
        with self._running("ray-head", command, self.ports["dashboard"]) as server:
            yield server

    @contextmanager
    def ray_worker(
        self, name: str = "worker", cpus: int = 1, variables: Mapping[str, str] | None = None
    ) -> Iterator[psutil.Popen]:
        """One more node of the cluster; several need different names."""
        agent = free_port()
        command = [*self._command("ray-worker"), *self._apart(name), f"--num-cpus={cpus}"]
        command = [word.replace(str(self.ports["agent"]), str(agent)) for word in command]
        check = [word.replace(str(self.ports["agent"]), str(agent)) for word in self._health_check("ray-worker")]
        with self._running("ray-worker", command, agent, name=name, check=check, variables=variables) as server:
            yield server

    def _apart(self, node: str) -> list[str]:
        """What keeps nodes apart that share a machine: containers have ports, a /tmp and memory of their own."""
        return [
            f"--temp-dir={self.folder / node}",
            "--min-worker-port=0",
            "--max-worker-port=0",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
        ]

    def _initialise_database(self, data: Path) -> None:
        """What the image does at its first start."""
        settings = services()["postgres"]["environment"]
        password = self.folder / "password"
        password.write_text(self.secret("postgres_password"))
        data.mkdir(mode=0o700)
        if POSTGRES_USER:
            for path in (data, password):
                shutil.chown(path, "postgres", "postgres")
        options = [f"--username={settings['POSTGRES_USER']}", f"--pwfile={password}", "--no-sync", "--locale=C"]
        for command, text in (
            (["initdb", "-D", str(data), *settings["POSTGRES_INITDB_ARGS"].split(), *options], ""),
            (["postgres", "--single", "-D", str(data), "postgres"], f"CREATE DATABASE {settings['POSTGRES_DB']}\n"),
        ):
            where = {"env": {"PATH": PATH}, "cwd": data, **POSTGRES_USER}
            subprocess.run(command, input=text, text=True, capture_output=True, check=True, **where)
        password.unlink()

    def _translate(self, text: str) -> str:
        for there, here in self._here.items():
            text = text.replace(there, here)
        return text

    def _command(self, service: str) -> list[str]:
        settings = services()[service]
        return [self._translate(word) for word in [*settings.get("entrypoint", []), *settings["command"]]]

    def _environment(self, service: str) -> dict[str, str]:
        settings = dict(services().get(service, {}).get("environment", {}))  # S3 is nobody's service
        if service == "mlflow":
            settings |= {name: value or "" for name, value in read(S3_FILE)["services"][service]["environment"].items()}
            settings["MLFLOW_ARTIFACTS_DESTINATION"] = f"s3://{BUCKET}"
            settings["MLFLOW_S3_ENDPOINT_URL"] = f"http://{LOOPBACK}:{self.ports['s3']}"
            settings["AWS_DEFAULT_REGION"] = "us-east-1"
        # One thread for numerical libraries: these processes share few cores.
        base = {"PATH": PATH, "HOME": str(self.folder), "SECRETS_FOLDER": str(self.secrets), "OMP_NUM_THREADS": "1"}
        return base | {name: self._translate(value) for name, value in settings.items()}

    def _health_check(self, service: str) -> list[str]:
        command, *words = services()[service]["healthcheck"]["test"]
        assert command == "CMD", "others need a shell, and its quoting"
        return [self._translate(word) for word in words]

    def _passes(self, service: str, check: Sequence[str]) -> bool:
        return subprocess.run(check, env=self._environment(service), capture_output=True).returncode == 0

    @contextmanager
    def _running(
        self,
        service: str,
        command: Sequence[str],
        port: int,
        name: str = "",
        check: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        **user: Any,
    ) -> Iterator[psutil.Popen]:
        """A service's process, from when its health check passes until the end of the context."""
        name = name or service
        check = check or self._health_check(service)
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = psutil.Popen(
                command,
                env=self._environment(service) | dict(variables or {}),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **user,
            )
        try:
            deadline = time.monotonic() + START_WITHIN_SECONDS
            # A health check costs a process, which is not worth it before anything listens.
            while not (_accepts(port) and self._passes(service, check)):
                said = log.read_text(errors="replace")[-3000:]
                assert process.poll() is None, f"{name} ended:\n{said}"
                assert time.monotonic() < deadline, f"{name} is not healthy:\n{said}"
                time.sleep(0.1)
            yield process
        finally:
            end(process)


def end(process: psutil.Popen) -> None:
    """End a service and whatever it has started, politely first; it may have ended before."""
    members = family(process)
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    psutil.wait_procs([process], timeout=END_WITHIN_SECONDS)
    kill(members)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
