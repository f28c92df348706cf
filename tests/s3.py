"""An S3 server in a process of its own: it speaks the protocol over HTTP, and checks signatures as a real one does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import free_port

BUCKET = "mixopt"
RCLONE = Path(sys.executable).with_name("rclone")
START_WITHIN_SECONDS = 30.0


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Serve one bucket; yields the environment that a client needs."""
    port = free_port()
    with tempfile.TemporaryDirectory() as data:
        (Path(data) / BUCKET).mkdir()
        command = [str(RCLONE), "serve", "s3", data, f"--addr=127.0.0.1:{port}", "--config=/dev/null"]
        server = subprocess.Popen(
            command,
            env=os.environ | {"RCLONE_AUTH_KEY": '"test-key,test-secret-key"'},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _await(port)
            yield {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "test-key",
                "AWS_SECRET_ACCESS_KEY": "test-secret-key",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_MAX_ATTEMPTS": "1",
            }
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _await(port: int) -> None:
    deadline = time.monotonic() + START_WITHIN_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, "the S3 server does not come up"
        time.sleep(0.05)
