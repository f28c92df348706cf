"""Whole studies, as a user runs them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from mixopt.report.kept import page_path
from mixopt.runs.table import read
from mixopt.settings.reading import load
from mixopt.study.corpus import find_corpus
from mixopt.study.record import journal_path, open_store
from search.history import History
from search.mixture import Mixture
from search.seeds import is_of_search
from tests.e2e.study import BASELINES, SEARCH_TRIALS, STUDY, answer_of, numbers, recorded, write_study
from tests.processes import family, kill, named
from tests.program import COMMAND, mixopt, started
from tracking import journal, keys

pytestmark = pytest.mark.slow

SEEDS = 2


def confirmed_trials(answer: dict[str, Any]) -> int:
    """A candidate may be a baseline, and then is trained once."""
    outcomes = [*answer["confirmation"]["candidates"], *answer["confirmation"]["baselines"]]
    return SEEDS * len({str(outcome["mixture"]) for outcome in outcomes})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The small study, run to its end in one go, by the program as a user starts it."""
    path = write_study(tmp_path_factory.mktemp("undisturbed"))
    return path, answer_of("run", path, by=started)


def test_the_answer_keeps_the_limits_and_says_what_it_is_worth(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    _, answer = undisturbed
    mixture = Mixture.of(answer["mixture"])
    assert mixture["code"] <= 0.7 + 1e-6
    assert mixture["sums"] >= 0.05 - 1e-6
    assert mixture["prose"] + mixture["sums"] >= 0.3 - 1e-6
    assert all(domain["epochs"] <= 4 + 1e-6 for domain in answer["domains"].values())
    assert answer["confirmed"]
    assert "proportional" in answer["verdict"]


def test_a_report_is_left_beside_the_study_and_in_mlflow(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    path, answer = undisturbed
    file = load(path)
    record = open_store(file).find(file.study)
    assert record is not None
    page = page_path(file).read_text()
    assert answer["verdict"][1:] in page
    kept = record.store.client.download_artifacts(record.run_id, keys.REPORT_FILE)
    assert Path(kept).read_text() == page


def test_every_planned_trial_is_recorded_once(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    path, answer = undisturbed
    history = recorded(path)
    assert len(history.completed) == SEARCH_TRIALS + confirmed_trials(answer)
    assert not history.running
    assert not history.failed
    assert answer["trials"]["completed"] == len(history.completed)
    for entry in history.completed:
        assert sum(entry.measurement.domain_tokens.values()) == entry.trial.fidelity.tokens
        assert set(entry.measurement.losses) == {"prose", "code", "sums"}


def test_confirmations_are_measured_on_documents_of_their_own(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    path, answer = undisturbed
    file = load(path)
    corpus = find_corpus(file)
    assert corpus is not None and corpus.confirmed_apart == ("prose", "code", "sums")
    kept = journal.read_record(journal_path(file)).history
    assert kept == recorded(path), "MLflow has a copy of the journal"
    for entry in kept.completed:
        documents = entry.measurement.documents
        if is_of_search(entry.trial.seed):
            assert not documents
            continue
        assert {name: groups.bytes for name, groups in documents.items()} == {
            name: corpus.confirmation(name).bytes_G for name in corpus.confirmed_apart
        }
        for name, loss in entry.measurement.losses.items():
            nats, tokens = sum(documents[name].nats), sum(documents[name].tokens)
            assert loss.nats_per_token == pytest.approx(nats / tokens, abs=1e-4)
    # The same mixture with the seeds of the search and of the confirmation: other documents, and so other losses.
    of_proportional = [each for each in kept.completed if each.trial.fidelity.proxy == "moe"]
    searched = next(each for each in of_proportional if each.trial.origin == "baseline:proportional")
    again = [each for each in of_proportional if each.trial.seed == 1]
    [same] = [each for each in again if each.trial.mixture.same_as(searched.trial.mixture)]
    for name, loss in searched.measurement.losses.items():
        assert loss.nats_per_token != pytest.approx(same.measurement.losses[name].nats_per_token, abs=1e-3)
    assert answer["confirmation"]["over"] == "seeds and documents"
    assert "over seeds and documents" in page_path(file).read_text()


def test_running_again_trains_nothing_and_gives_the_same_answer(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    path, answer = undisturbed
    before = recorded(path)
    again = answer_of("run", path)
    assert recorded(path) == before
    assert again == answer == answer_of("best", path)


def test_what_the_other_commands_say_of_it(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    path, answer = undisturbed
    status = answer_of("status", path)
    assert status["trials"]["completed"]["total"] == SEARCH_TRIALS + confirmed_trials(answer)
    assert status["answer"]["mixture"] == answer["mixture"]
    plan = answer_of("plan", path)
    assert plan["trials"] == SEARCH_TRIALS + SEEDS * (1 + BASELINES)
    assert all(proxy["tokens_per_second"] > 0 for proxy in plan["proxies"])
    table = answer_of("runs", path, "--output", path.with_name("runs.csv"))
    assert {row["run"] for row in table["runs"]} == set(recorded(path).measurements)
    runs, _ = read(path.with_name("runs.csv"))
    assert len(runs) == SEARCH_TRIALS, "those of the confirmation were measured on other documents"
    megatron = mixopt("export", path, "-f", "megatron", "--location", "/data/{domain}").stdout.split()
    assert sum(map(float, megatron[1::2])) == pytest.approx(1)


def test_more_trials_extend_the_study(undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    path, _ = undisturbed
    short = write_study(tmp_path, STUDY.replace("trials: 8", "trials: 4"))
    answer_of("run", short)
    few = numbers(recorded(short))
    short.write_text(STUDY + "search: {strategy: regmix, surrogate: linear}\n")
    answer_of("run", short)
    searched = {trial: facts for trial, facts in numbers(recorded(path)).items() if not facts[0].startswith("confirm")}
    extended = numbers(recorded(short))
    assert searched.items() <= extended.items()
    assert few.items() <= extended.items()


def test_the_name_of_another_study_is_refused(undisturbed: tuple[Path, dict[str, Any]]) -> None:
    path, _ = undisturbed
    other = path.with_name("other.yaml")
    other.write_text(STUDY.replace("seed: 3", "seed: 4"))
    done = mixopt("run", other)
    assert done.status == 2
    assert "study small exists with another study file; changed: seed" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("executor", "kills"), [("in_process", 2), ("ray", 1)])
def test_a_study_that_is_killed_again_and_again_ends_as_if_it_had_not(
    undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path, executor: str, kills: int
) -> None:
    """On Ray too, whose numbers are those of one process."""
    path, answer = undisturbed
    killed = write_study(tmp_path, STUDY.replace("kind: in_process", f"kind: {executor}"))
    moments = random.Random(7)
    before = History()
    for kill_number in range(kills + 4):
        _kill_after(killed, trials=moments.randrange(0, 3), seconds=moments.uniform(0, 1))
        before = journal.read_record(journal_path(load(killed))).history
        if before.running and kill_number + 1 >= kills:  # else the last fell between two trials
            break
    assert before.running, "some trial was cut off"
    disturbed = answer_of("run", killed)
    history = recorded(killed)
    assert numbers(history) == numbers(recorded(path))
    assert not history.running
    assert not history.failed
    assert disturbed["mixture"] == answer["mixture"]
    assert disturbed["verdict"] == answer["verdict"]


def _kill_after(study: Path, trials: int, seconds: float) -> None:
    """Run the study, and so long after its first trial and `trials` more kill -9 it and all that it started."""
    command = [*COMMAND, "run", str(study)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as driver:
        assert driver.stderr is not None
        for line in driver.stderr:
            if line.startswith(("search: ", "confirm: ", "[")):
                trials -= 1
            if trials < 0:
                break
        time.sleep(seconds)
        kill(family(psutil.Process(driver.pid)))


def test_a_killed_worker_costs_no_trial(undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    path, _ = undisturbed
    fewer = STUDY.replace("trials: 8", "trials: 4").replace("{candidates: 1, seeds: 2}", "{candidates: 0}")
    study = write_study(tmp_path, fewer.replace("kind: in_process", "kind: ray"))
    command = [*COMMAND, "run", str(study), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
        for _ in range(2):
            os.kill(_worker_of(driver), signal.SIGKILL)
            time.sleep(2)
        said, errors = driver.communicate(timeout=500)
    assert driver.returncode == 0, errors
    assert "start 2, from its checkpoint" in errors
    assert json.loads(said)["trials"]["completed"] == SEARCH_TRIALS - 4
    assert numbers(recorded(study)).items() <= numbers(recorded(path)).items()


def _worker_of(driver: subprocess.Popen[str]) -> int:
    """The process of one of its running trials."""
    while driver.poll() is None:
        for process in family(psutil.Process(driver.pid)):
            if "ray::_run_in_worker" in named(process.pid):
                return process.pid
        time.sleep(0.02)
    raise AssertionError("the study ended before a worker was seen")
