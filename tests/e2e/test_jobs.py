"""Studies on a real Ray cluster: submit, watch, kill, stop, and who may not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mixopt.base.errors import ConfigError
from mixopt.cluster.jobs import Cluster
from mixopt.settings.reading import load
from mixopt.study.wishes import driver
from tests.e2e.head import Head, new_head
from tests.e2e.study import BASELINES, STUDY, answer_of, write_study
from tests.program import COMMAND
from tests.traps import set_traps
from tests.waiting import until

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


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A cluster of one node."""
    with new_head(cpus=2) as started, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_PASSWORD", OWN_PASSWORD)
        yield started


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

    # As soon as somebody hears it: the trials are short.
    until(lambda: driver(head.directory / "small"))
    assert answer_of("pause", "small")["job"] == "mixopt-small-1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXOPT_DIRECTORY", str(head.directory))
        until(lambda: answer_of("status", study).get("activity") == "paused")
    began = time.monotonic()
    job = cluster.cancel(job)
    assert time.monotonic() - began < STOPPED_WITHIN_SECONDS
    assert job.state == "STOPPED"
    assert not head.drivers(study.name)
    assert measured(head) < TRIALS

    job, new = cluster.submit(load(study))
    assert (job.id, new) == ("mixopt-small-2", True)
    with following("small") as follower:
        until(lambda: head.drivers(study.name))
        [process] = head.drivers(study.name)
        os.kill(process, signal.SIGKILL)
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
