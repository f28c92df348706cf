"""Studies on a real Ray cluster, through the program: submit, watch, kill, stop, and who may not."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.study import BASELINES, STUDY, answer_of, mixopt, write_study
from tests.processes import descendants, kill_tree, named

pytestmark = pytest.mark.slow

OWN_PASSWORD = "of-the-one-who-submits"

SUBMITTED = (
    STUDY.replace("trials: 3}", "trials: 1}")
    .replace("trials: 8}", "trials: 3}")
    .replace("candidates: 1", "candidates: 0")
    .replace("executor: {kind: in_process}\n", "")
)
TRIALS = (3 + BASELINES) + (1 + BASELINES)


@dataclass(frozen=True)
class Head:
    address: str
    process: int
    directory: Path

    def drivers(self, study_file: str) -> list[int]:
        """The processes that run a study here."""
        wanted = f"-m mixopt run {study_file}"
        return [process for process in descendants(self.process) if named(process).endswith(wanted)]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A cluster of one node that asks for a token, which this process has."""
    ports = free_ports(4)
    names = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port")
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=2"]
    command += ["--dashboard-host=127.0.0.1", *(f"--{name}={port}" for name, port in zip(names, ports, strict=True))]
    token = secrets.token_urlsafe(32)
    with ExitStack() as stack:
        # A short path: Ray makes sockets below it.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mixopt-", ignore_cleanup_errors=True)))
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "MIXOPT_DIRECTORY": str(folder / "studies"),
        }
        log = stack.enter_context((folder / "log").open("wb"))
        head = subprocess.Popen(
            [*command, f"--temp-dir={folder}"], env=environment, stdout=log, stderr=log, start_new_session=True
        )
        stack.callback(head.wait)
        stack.callback(kill_tree, head.pid)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.delenv("RAY_AUTH_MODE", raising=False)
        patch.setenv("RAY_AUTH_TOKEN", token)
        patch.setenv("RAY_API_SERVER_ADDRESS", f"http://127.0.0.1:{ports[1]}")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", OWN_PASSWORD)
        started = Head(f"http://127.0.0.1:{ports[1]}", head.pid, folder / "studies")
        wait_for_agent(started, ports[3])
        yield started


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def wait_for_agent(head: Head, port: int) -> None:
    """The last process of a node to come up is the one that starts jobs."""
    deadline = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/local_raylet_healthz", timeout=2):
                return
        except OSError:
            assert time.monotonic() < deadline, "the head does not come up"
            time.sleep(0.2)


def test_a_study_is_submitted_once_and_ends_although_its_driver_is_killed(head: Head, tmp_path: Path) -> None:
    study = write_study(tmp_path, SUBMITTED)
    (tmp_path / ".mixopt").rename(head.directory)  # the cluster's store, whose tables exist

    submitted = answer_of("submit", study)
    assert submitted["submitted"]
    assert submitted["job"] == "mixopt-small-1"
    again = answer_of("submit", study)
    assert (again["job"], again["submitted"]) == ("mixopt-small-1", False)
    study.write_text(study.read_text().replace("seed: 3", "seed: 4"))
    other = mixopt("submit", study)
    assert other.returncode == 2
    assert "with other settings than this file's; stop it first" in other.stderr

    log = followed_past_a_kill(head, "small", study.name)
    assert log.count("died by signal SIGKILL; it goes on") == 1
    assert "The answer of study small" in log
    assert not head.drivers(study.name)

    assert OWN_PASSWORD not in json.dumps(asked(head, "/api/jobs/"))
    assert asked(head, "/api/jobs/mixopt-small-1")["runtime_env"]["env_vars"] == {"MIXOPT_JOB": "mixopt-small-1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXOPT_DIRECTORY", str(head.directory))  # as if this machine had the shared volume
        status = answer_of("status", study)
    assert (status["state"], status["attempts"]) == ("SUCCEEDED", 1)
    assert status["trials"]["completed"]["total"] == TRIALS
    assert not status["failures"]
    assert answer_of("status", "small")["trials"] is None, "without its store there is only the job to be seen"
    assert [each["study"] for each in answer_of("list")["studies"]] == ["small"]


def followed_past_a_kill(head: Head, study: str, file: str) -> str:
    """The log of a study whose driver is killed after its first trial, followed to the study's end."""
    command = [sys.executable, "-c", "from mixopt.cli import main; main()", "logs", study, "-f"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        lines = []
        for line in follower.stdout:
            lines.append(line)
            if line.startswith("[1/") and "died by signal" not in "".join(lines):
                [driver] = head.drivers(file)
                os.kill(driver, signal.SIGKILL)
    assert follower.returncode == 0, "".join(lines)
    return "".join(lines)


def test_a_study_is_stopped_by_its_name_and_can_go_on(head: Head, tmp_path: Path) -> None:
    text = SUBMITTED.replace("study: small", "study: long").replace("tokens: 4k", "tokens: 40M")
    study = write_study(tmp_path, text).rename(tmp_path / "long.yaml")
    answer_of("submit", study)
    deadline = time.monotonic() + 60
    while not head.drivers(study.name):
        assert time.monotonic() < deadline
        time.sleep(0.2)

    assert answer_of("stop", "long")["state"] == "STOPPED"
    assert not head.drivers(study.name)
    assert "is not running: mixopt-long-1 is stopped" in mixopt("stop", "long").stdout
    assert mixopt("logs", "long", "-f").returncode == 1

    resumed = answer_of("submit", study)
    assert (resumed["job"], resumed["submitted"]) == ("mixopt-long-2", True)
    assert answer_of("stop", "long")["attempts"] == 2


@pytest.mark.parametrize("token", [None, "w" * 40])
def test_without_the_token_nothing_is_told_and_nothing_starts(
    head: Head, token: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    if token:
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    done = mixopt("list")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert ("does not accept the token in RAY_AUTH_TOKEN" if token else "no token for the Ray cluster") in done.stderr
    assert "w" * 40 not in done.stderr
    with pytest.raises(urllib.error.HTTPError, match="403" if token else "401"):
        asked(head, "/api/jobs/", token)


def asked(head: Head, path: str, token: str | None = "of this process") -> Any:
    shown = os.environ.get("RAY_AUTH_TOKEN") if token == "of this process" else token
    request = urllib.request.Request(head.address + path)
    if shown:
        request.add_header("Authorization", f"Bearer {shown}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
