"""Nodes that share nothing but a URL: they train on the same tokens, and go on with each other's trials."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from mixopt.base.errors import ConfigError
from mixopt.settings.reading import load
from mixopt.study.estimate import estimate
from mixopt.study.exchange import check_reachable
from mixopt.study.plan import Plan
from mixopt.workers.messages import Event, TrialEnd
from mixopt.workers.training import Job, run_trials
from proxies import storage
from proxies.data.node_cache import CACHE_VARIABLE
from search.history import History
from search.trial import Failure, Measurement, Trial
from tests.e2e.study import STUDY
from tests.s3 import BUCKET, s3_server
from tests.simulated import planned

IN_PROCESS = "executor: {kind: in_process}"


def study_text(shared: str) -> str:
    assert IN_PROCESS in STUDY
    return STUDY.replace(IN_PROCESS, f"executor: {{kind: in_process, shared: '{shared}'}}")


def a_trial(plan: Plan) -> Trial:
    return Trial(plan.problem.baselines["proportional"], plan.problem.rungs[0].fidelity, seed=0)


def measured(job: Job) -> Measurement:
    *_, closed = run_trials([job])
    assert isinstance(closed, TrialEnd) and isinstance(closed.outcome, Measurement), closed
    return closed.outcome


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "node"))


@pytest.fixture(params=["memory://{}/bucket/", "{}/a folder", "../next to it"])
def plan(request: pytest.FixtureRequest, tmp_path: Path) -> Plan:
    (tmp_path / "study").mkdir()
    plan = planned(tmp_path / "study", study_text(request.param.format(tmp_path)))
    check_reachable(plan.file)
    plan.exchange.publish(plan.corpus)
    return plan


def test_a_trial_measures_the_same_and_ends_on_another_node(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    job = plan.job(a_trial(plan), History())
    assert plan.corpus is not None
    at_home = measured(replace(job, corpus=str(plan.corpus.directory), checkpoint=None))
    shutil.rmtree(plan.file.work_directory)

    first = measured(job)
    monkeypatch.setenv(CACHE_VARIABLE, os.environ[CACHE_VARIABLE] + " of another one")
    again = measured(job)

    assert first.losses == at_home.losses
    assert again == first, "to the second: it was read from the checkpoint"


def test_checkpoints_go_when_their_trial_is_closed(plan: Plan) -> None:
    trial, other = a_trial(plan), replace(a_trial(plan), seed=1)
    history = History().opened(trial).opened(other)
    outcome = measured(plan.job(trial, history))
    storage.write(plan.exchange.checkpoint(other), b"half a training")

    def kept() -> set[str]:
        return {name.removesuffix(".pt") for name in storage.sizes(plan.exchange.checkpoints)}

    plan.exchange.sweep(history)
    assert kept() == {trial.id, other.id}
    plan.exchange.sweep(history.closed(trial, outcome))
    assert kept() == {other.id}
    for _ in range(2):
        plan.exchange.discard(other)
    assert kept() == set()


def test_a_trial_that_does_not_reach_the_tokens_fails_and_says_where(tmp_path: Path) -> None:
    plan = planned(tmp_path, study_text(f"memory://{tmp_path}/empty"))

    *_, closed = run_trials([plan.job(a_trial(plan), History())])

    assert isinstance(closed, TrialEnd) and isinstance(closed.outcome, Failure)
    assert f"no finished corpus at memory://{tmp_path}/empty/corpora/" in closed.outcome.message


@pytest.mark.parametrize("shared", ["nonsense://bucket", "study.yaml"])
def test_a_place_that_cannot_be_written_is_told_before_the_first_trial(shared: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(study_text(shared))

    with pytest.raises(ConfigError, match=rf"executor\.shared: .*{shared}") as told:
        check_reachable(load(path))
    assert "is the address right" in told.value.hint


def test_a_url_whose_package_is_missing_names_the_package(tmp_path: Path) -> None:
    fsspec.register_implementation("lacking", "no_such_package.FileSystem", errtxt="Install no_such_package")
    path = tmp_path / "study.yaml"
    path.write_text(study_text("lacking://bucket"))

    with pytest.raises(ConfigError, match="Install no_such_package") as told:
        check_reachable(load(path))
    assert "pip install s3fs" in told.value.hint


def test_speed_is_measured_before_anything_is_handed_over(tmp_path: Path) -> None:
    plan = planned(tmp_path, study_text(f"memory://{tmp_path}/empty"))
    assert (estimate(plan, probe=True).wall_seconds or 0) > 0
    assert storage.sizes(f"memory://{tmp_path}/empty") == {}


# What a node is: a process with an empty cache, that has the job and the credentials.
NODE = """
import pickle, sys
from mixopt.workers.training import run_trials
job = pickle.load(sys.stdin.buffer)
events = list(run_trials([job]))
sys.stdout.buffer.write(pickle.dumps(events))
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    pytest.importorskip("s3fs", reason="pip install s3fs")
    with s3_server() as environment:
        yield environment


@pytest.mark.slow
def test_two_nodes_share_a_trial_over_s3(s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    plan = planned(tmp_path, study_text(f"s3://{BUCKET}/team"))
    job = plan.job(a_trial(plan), History())
    assert plan.corpus is not None
    at_home = measured(replace(job, corpus=str(plan.corpus.directory), checkpoint=None))

    check_reachable(plan.file)
    plan.exchange.publish(plan.corpus)
    shutil.rmtree(plan.file.work_directory)
    first, again = (on_a_node(job, tmp_path / name) for name in ("one", "two"))

    assert first.losses == at_home.losses
    assert again == first
    assert set(storage.sizes(f"s3://{BUCKET}/team/checkpoints")) == {f"mixopt/small/{job.trial.id}.pt"}
    plan.exchange.discard(job.trial)
    assert storage.sizes(f"s3://{BUCKET}/team/checkpoints") == {}

    path = tmp_path / "study.yaml"
    path.write_text(study_text("s3://another/team"))
    with pytest.raises(ConfigError, match=r"executor\.shared: s3://another/team.*bucket does not exist"):
        check_reachable(load(path))


def on_a_node(job: Job, cache: Path) -> Measurement:
    environment = os.environ | {CACHE_VARIABLE: str(cache)}
    process = subprocess.run(
        [sys.executable, "-c", NODE], input=pickle.dumps(job), env=environment, stdout=subprocess.PIPE, check=True
    )
    events: list[Event] = pickle.loads(process.stdout)
    closed = events[-1]
    assert isinstance(closed, TrialEnd) and isinstance(closed.outcome, Measurement), closed
    return closed.outcome
