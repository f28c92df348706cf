"""Studies on a real Ray cluster: submit, watch, kill, stop, and who may not."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from mixopt.base.errors import ConfigError
from mixopt.cluster.jobs import Cluster
from mixopt.settings.reading import load
from tests.e2e.study import BASELINES, STUDY, answer_of, write_study
from tests.processes import family, free_ports, kill, named
from tests.program import COMMAND
from tests.traps import set_traps

pytestmark = pytest.mark.slow

STOPPED_WITHIN_SECONDS = 15
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
        programs = {each.pid: named(each.pid) for each in family(psutil.Process(self.process))}
        return [pid for pid, line in programs.items() if "-m mixopt run " in line and line.endswith(f"/{study_file}")]


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
        stack.callback(lambda: kill(family(psutil.Process(head.pid))))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", token)
        patch.setenv("RAY_API_SERVER_ADDRESS", f"http://127.0.0.1:{ports[1]}")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", OWN_PASSWORD)
        started = Head(f"http://127.0.0.1:{ports[1]}", head.pid, folder / "studies")
        wait_for_agent(started, ports[3])
        yield started


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


def test_a_study_is_submitted_once_and_ends_although_it_is_stopped_and_killed(head: Head, tmp_path: Path) -> None:
    # Text that is called as modules are travels with it, and is never run.
    traps, ran = set_traps(tmp_path, tmp_path / "ran")
    study = write_study(tmp_path, SUBMITTED.replace("data/prose.jsonl", f"[data/prose.jsonl, {', '.join(traps)}]"))
    (tmp_path / ".mixopt").rename(head.directory)  # the cluster's store, whose tables exist
    cluster = Cluster(head.address)

    submitted = answer_of("submit", study)
    assert (submitted["job"], submitted["submitted"]) == ("mixopt-small-1", True)
    job, new = cluster.submit(load(study))
    assert (job.id, new) == ("mixopt-small-1", False)
    study.write_text(study.read_text().replace("seed: 3", "seed: 4"))
    with pytest.raises(ConfigError, match="with other settings than this file's"):
        cluster.submit(load(study))
    study.write_text(study.read_text().replace("seed: 4", "seed: 3"))

    until(lambda: measured(head))
    began = time.monotonic()
    job = cluster.stop(job)
    assert time.monotonic() - began < STOPPED_WITHIN_SECONDS
    assert job.state == "STOPPED"
    assert not head.drivers(study.name)
    assert measured(head) < TRIALS

    job, new = cluster.submit(load(study))
    assert (job.id, new) == ("mixopt-small-2", True)
    with following("small") as follower:
        until(lambda: head.drivers(study.name))
        [driver] = head.drivers(study.name)
        os.kill(driver, signal.SIGKILL)
        log, said = follower.communicate(timeout=120)
    assert follower.returncode == 0, said
    assert log.count("died by signal SIGKILL; it goes on") == 1
    assert "The answer of study small" in log
    assert not head.drivers(study.name)
    assert measured(head) == TRIALS, "what was measured is not trained again"

    assert not ran.exists()
    assert OWN_PASSWORD not in json.dumps(asked(head, "/api/jobs/"))
    assert asked(head, "/api/jobs/mixopt-small-2")["runtime_env"]["env_vars"] == {"MIXOPT_JOB": "mixopt-small-2"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXOPT_DIRECTORY", str(head.directory))  # as if this machine had the shared volume
        status = answer_of("status", study)
    assert (status["state"], status["attempts"]) == ("SUCCEEDED", 2)
    assert status["trials"]["completed"]["total"] == TRIALS
    assert not status["failures"]
    assert [(each.study, each.state) for each in cluster.jobs()] == [("small", "SUCCEEDED")]


def measured(head: Head) -> int:
    """How many trials the study's journal has the measurements of."""
    return sum(journal.read_text().count('"measurement":') for journal in head.directory.glob("**/journal.jsonl"))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def following(study: str) -> Iterator[subprocess.Popen[str]]:
    """`mixopt logs -f` of a study."""
    with subprocess.Popen(
        [*COMMAND, "logs", study, "-f"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as follower:
        try:
            yield follower
        finally:
            follower.kill()


@pytest.mark.parametrize("token", [None, "w" * 40])
def test_without_the_token_nothing_is_told_and_nothing_starts(
    head: Head, token: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    if token:
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    says = "does not accept the token in RAY_AUTH_TOKEN" if token else "no token for the Ray cluster"
    with pytest.raises(ConfigError, match=says):
        Cluster(head.address).jobs()
    with pytest.raises(urllib.error.HTTPError, match="403" if token else "401"):
        asked(head, "/api/jobs/", token)


def asked(head: Head, path: str, token: str | None = "of this process") -> Any:
    shown = os.environ.get("RAY_AUTH_TOKEN") if token == "of this process" else token
    request = urllib.request.Request(head.address + path)
    if shown:
        request.add_header("Authorization", f"Bearer {shown}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
