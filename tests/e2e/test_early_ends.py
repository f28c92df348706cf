"""Trials that share a Ray task, that are given up, that fall silent, and whose cluster dies."""

from __future__ import annotations

import json
import subprocess
from collections import deque
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mixopt.base.errors import ClusterLost
from mixopt.settings.reading import load
from mixopt.study.wishes import driver
from mixopt.workers import ray_link, ray_room
from mixopt.workers.messages import Event, Notice, TrialEnd, TrialProgress, TrialRestart
from mixopt.workers.ray_cluster import RayCluster
from search.history import History
from search.mixture import Mixture
from search.trial import Measurement, Trial
from tests.e2e.head import new_head
from tests.e2e.study import STUDY, answer_of, recorded, write_study
from tests.processes import family, kill, named
from tests.program import COMMAND
from tests.simulated import planned
from tests.waiting import until

pytestmark = pytest.mark.slow


def test_hopeless_trials_are_stopped_and_the_study_goes_on(tmp_path: Path) -> None:
    text = STUDY.replace("evaluations: 2, trials: 8", "evaluations: 4, trials: 14").replace("trials: 3", "trials: 1")
    text = text.replace("confirm: {candidates: 1, seeds: 2}", "confirm: {candidates: 0}")
    study = write_study(tmp_path, text + "search: {strategy: random, stop_hopeless: true}\n")

    answer = answer_of("run", study)

    history = recorded(study)
    assert history.stopped, "of fourteen mixtures some are bad"
    assert not history.failed and not history.running
    asked = {trial.id for trial in history.trials}
    assert len(asked) == (14 + 2) + (1 + 2)
    assert answer["trials"]["stopped"] == len(history.stopped)
    fidelities = {row["fidelity"] for row in answer_of("runs", study)["runs"]}
    assert any(fidelity.startswith("dense at ") for fidelity in fidelities)
    assert answer_of("run", study)["mixture"] == answer["mixture"], "nothing is left to train"
    assert {trial.id for trial in recorded(study).trials} == asked


def test_trials_of_one_proxy_share_a_task_and_each_is_closed_once(tmp_path: Path) -> None:
    plan = planned(tmp_path, STUDY)
    dense, moe = (rung.fidelity for rung in plan.problem.rungs)
    shares = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
    mixtures = [Mixture.of({"prose": share, "code": 0.3, "sums": 0.7 - share}) for share in shares]
    trials = [Trial(each, dense, seed=0) for each in mixtures]
    trials.insert(2, Trial(mixtures[0], moe, seed=0))

    ended: dict[str, Measurement] = {}
    waiting = deque(trials)
    with RayCluster("packs", slots=2, pack=2) as cluster:
        assert cluster.slots == 2
        in_flight = 0
        while waiting or in_flight:
            # As a study does: every slot that comes free is filled at once.
            while waiting and in_flight < cluster.slots:
                cluster.launch(replace(plan.job(waiting.popleft(), History()), checkpoint=None))
                in_flight += 1
            for event in cluster.events():
                if isinstance(event, TrialEnd):
                    assert isinstance(event.outcome, Measurement), event.outcome
                    assert event.trial.id not in ended
                    ended[event.trial.id] = event.outcome
                    in_flight -= 1

    packs = [ended[trial.id].environment["pack"] for trial in trials]
    assert packs == ["2"] * 8, "what is compiled once serves all trials of a proxy"
    assert list(ended).index(trials[2].id) < 5, "trials of the other proxy that came later do not keep it waiting"


def test_a_worker_that_falls_silent_is_ended_and_its_trial_goes_on(tmp_path: Path) -> None:
    plan = planned(tmp_path, STUDY.replace("tokens: 4k", "tokens: 60k"))
    trial = Trial(plan.problem.baselines["uniform"], plan.problem.rungs[0].fidelity, seed=0)
    seen: list[Event] = []
    with RayCluster("silent", attempts=10, patience=15.0) as cluster:
        job = plan.job(trial, History())
        # Nothing is heard of a worker that compiles, and in a study nobody waits for one.
        cluster.launch(replace(job, recipe=replace(job.recipe, compiled=False)))
        while not any(isinstance(event, TrialEnd) for event in seen):
            for event in cluster.events():
                if isinstance(event, TrialProgress) and not seen:
                    ours = family(psutil.Process())
                    (worker,) = (each for each in ours if "ray::_run_in_worker" in named(each.pid))
                    worker.suspend()
                seen.append(event)
    # On a busy machine a worker that only loads its libraries may seem silent as well.
    restarted, *_ = (event for event in seen if isinstance(event, TrialRestart))
    assert restarted.start == 2
    assert "said nothing for 15 s" in restarted.reason
    (closed,) = (event for event in seen if isinstance(event, TrialEnd))
    assert isinstance(closed.outcome, Measurement), closed.outcome


def _kill_ours(program: str, children: bool = False) -> None:
    """Kill -9 a process of the Ray that this process has started, and all that it has started itself."""
    (process,) = (each for each in family(psutil.Process()) if each.name() == program)
    kill(family(process) if children else [process])


def test_trials_outlive_the_ray_that_this_machine_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, STUDY.replace("tokens: 4k", "tokens: 60k"))
    mixtures = [plan.problem.baselines[name] for name in ("uniform", "proportional")]
    trials = [Trial(mixture, plan.problem.rungs[0].fidelity, seed=0) for mixture in mixtures]
    jobs = [plan.job(trial, History()) for trial in trials]
    seen: list[Event] = []
    with RayCluster("outlived", attempts=1, pack=2) as cluster:
        for job in jobs:
            cluster.launch(replace(job, recipe=replace(job.recipe, compiled=False)))
        while sum(isinstance(event, TrialEnd) for event in seen) < len(jobs):
            for event in cluster.events():
                if isinstance(event, TrialProgress) and not any(isinstance(each, TrialProgress) for each in seen):
                    _kill_ours("raylet", children=True)
                seen.append(event)
        died, back = (event.text for event in seen if isinstance(event, Notice))
        assert "Ray on this machine died" in died
        assert "there again" in back
        for event in seen:
            assert not isinstance(event, TrialRestart), "that its cluster died is no death of a trial"
            if isinstance(event, TrialEnd):
                assert isinstance(event.outcome, Measurement), event.outcome

        # One that goes on dying ends the study, and no trial of it.
        monkeypatch.setattr(ray_link, "MOST_LOSSES", 0)
        monkeypatch.setattr(ray_room, "LOOK_SECONDS", 0.5)
        cluster.launch(replace(jobs[0], checkpoint=None))
        _kill_ours("gcs_server")
        with pytest.raises(ClusterLost, match=r"died 1 times .* does not answer"):
            while True:
                assert not any(isinstance(event, TrialEnd) for event in cluster.events())


def test_trials_outlive_the_head_at_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path, STUDY.replace("tokens: 4k", "tokens: 120k"))
    trial = Trial(plan.problem.baselines["uniform"], plan.problem.rungs[0].fidelity, seed=0)
    job = plan.job(trial, History())
    monkeypatch.setattr(ray_link, "HEAD_AWAY_SECONDS", 1.0)
    monkeypatch.setattr(ray_room, "LOOK_SECONDS", 0.5)
    seen: list[Event] = []
    with new_head(cpus=1) as head, RayCluster("outlived", head.gcs, attempts=1) as cluster:
        cluster.launch(replace(job, recipe=replace(job.recipe, compiled=False)))
        while not any(isinstance(event, TrialEnd) for event in seen):
            for event in cluster.events():
                if isinstance(event, TrialProgress) and not any(isinstance(each, TrialProgress) for each in seen):
                    head.kill()
                if isinstance(event, Notice) and "went away" in event.text:
                    head.start_again()
                seen.append(event)
    went, back = (event.text for event in seen if isinstance(event, Notice))
    assert went.startswith(f"the Ray cluster at {head.gcs} went away") and went.endswith("the study waits for it")
    assert "there again" in back
    assert not any(isinstance(event, TrialRestart) for event in seen), "that its cluster died is no death of a trial"
    (closed,) = (event for event in seen if isinstance(event, TrialEnd))
    assert isinstance(closed.outcome, Measurement), closed.outcome


REPLACED = """\
study: small
domains:
  prose: {paths: data/prose.jsonl}
  code:  {paths: data/code.jsonl}
corpus: {vocabulary: 300, validation_tokens: 1k, sequence_length: 32}
proxies: {dense: {depth: 1, width: 32, heads: 2, tokens: 120k, batch_rows: 8, evaluations: 2, trials: 2}}
baselines: [proportional]
confirm: {candidates: 0}
executor: {address: 'HEAD', compile: never}
"""


def test_a_study_outlives_a_head_that_is_replaced_before_anybody_looks(tmp_path: Path) -> None:
    with new_head(cpus=1) as head:
        study = write_study(tmp_path, REPLACED.replace("HEAD", head.gcs))
        command = [*COMMAND, "run", str(study), "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
            try:
                until(lambda: driver(load(study).work_directory))
                until(lambda: recorded(study).running)
                [of_the_study] = psutil.Process(program.pid).children()
                of_the_study.suspend()  # so that it notices only once another head is there
                head.kill()
                head.start_again()
                of_the_study.resume()
                said, errors = program.communicate(timeout=200)
            finally:
                program.kill()  # and with it the study
    assert program.returncode == 0, errors
    assert json.loads(said)["trials"]["completed"] == 3
    assert "another head answers" in errors or "Ray ended the study's process" in errors
    assert "StackTrace" not in errors, "that is in the log"
