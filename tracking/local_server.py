"""A local MLflow server: the dashboard over a store that is a file."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import requests

from tracking.address import sqlite_file, with_driver
from tracking.errors import TrackingError

START_WITHIN_SECONDS = 90.0


@dataclass(frozen=True)
class LocalServer:
    address: str
    process: subprocess.Popen[bytes]


@contextmanager
def local_server(store_uri: str, port: int) -> Iterator[LocalServer]:
    """Serve a store on this machine's loopback address; the server ends with the context.

    Raises:
        TrackingError: the port is taken, or the server does not come up.
    """
    with socket.socket() as probe:
        # As the server will: a port whose last connections are still winding down is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise TrackingError(f"port {port} is taken", hint=f"choose another: --port {port + 1}") from error
    address = f"http://127.0.0.1:{port}"
    # Without its job runners and further workers MLflow takes a fraction of the memory, and starts in half of the time.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # Not among the arguments, which every user of the machine can read: it may hold a password.
    environment["MLFLOW_BACKEND_STORE_URI"] = with_driver(store_uri)
    # Without folders of data on the path: a file in them that is called as a module would be run in its place.
    environment["PYTHONSAFEPATH"] = "1"
    command = [sys.executable, "-P", "-m", "mlflow", "server"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # Else MLflow would put what is sent through the server into the folder in which it is started.
    artifacts = Path.cwd() / "mlartifacts"
    if (file := sqlite_file(store_uri)) is not None:
        artifacts = file.absolute().parent / "artifacts"
    command += ["--artifacts-destination", artifacts.as_uri()]
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory(prefix="mixopt-") as empty:
        # uvicorn puts the folder that it is started in on the path, whatever Python is told.
        server = subprocess.Popen(command, cwd=empty, env=environment, stdout=log, stderr=log)
        try:
            _wait_until_up(server, address, log)
            yield LocalServer(address, server)
        finally:
            server.terminate()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_until_up(server: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines()
            raise TrackingError(f"the MLflow server ended at once: {said[-1] if said else 'without a word'}")
        try:
            requests.get(f"{address}/health", timeout=1).raise_for_status()
            return
        except requests.RequestException:
            time.sleep(0.2)
    raise TrackingError(f"the MLflow server did not answer within {START_WITHIN_SECONDS:.0f} s")
