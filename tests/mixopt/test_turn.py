"""A study of another trainer, taken forward by whoever asks for trials and tells of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import mlflow
import pandas as pd
import pytest

import mixopt
from mixopt.base.errors import ConfigError
from mixopt.results.turns import AskedTrial
from mixopt.settings.reading import load
from mixopt.study.record import fetch_record, journal_path
from tests.foreign import STUDY, trained, write_foreign
from tests.processes import free_port
from tests.program import mixopt as program
from tracking.journal import count_unsent


def losses(trial: AskedTrial) -> dict[str, float]:
    return trained(trial.weights, trial.seed)


def train_all(study: mixopt.Study, count: int = 12) -> list[AskedTrial]:
    """Ask and tell until nothing is left; every trial that was asked for."""
    seen: list[AskedTrial] = []
    while not (asked := study.ask(count)).ended:
        assert asked.trials, "nothing is open, so something is asked for"
        seen += asked.trials
        for trial in asked.trials:
            study.tell(trial.trial, losses(trial), seconds=60)
    return seen


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[mixopt.Study, list[AskedTrial]]:
    study = mixopt.Study(write_foreign(tmp_path_factory.mktemp("ended")))
    return study, train_all(study)


def test_a_study_comes_to_its_confirmed_answer(ended: tuple[mixopt.Study, list[AskedTrial]]) -> None:
    study, seen = ended
    assert len({trial.trial for trial in seen}) == len(seen), "no training twice"
    answer = study.answer
    assert answer.ended
    assert answer.confirmed
    confirmed = [trial for trial in seen if trial.purpose.startswith("confirm")]
    searched = [trial for trial in seen if not trial.purpose.startswith("confirm")]
    assert len(searched) == 12
    assert len({trial.seed for trial in searched}) == 1, "the mixtures of a search differ in nothing else"
    assert {trial.seed for trial in confirmed}.isdisjoint(trial.seed for trial in searched)
    assert answer.mixture["code"] > 0.2, "the formula rewards it"


def test_what_a_trial_says_adds_up(ended: tuple[mixopt.Study, list[AskedTrial]]) -> None:
    _, seen = ended
    for trial in seen:
        assert sum(trial.domain_tokens.values()) == trial.tokens == 2_000_000_000
        assert sum(trial.weights.values()) == pytest.approx(1)
        assert trial.metrics == ("web", "code", "books")
        assert trial.seed < 2**31


@pytest.mark.parametrize(
    "command",
    [("status",), ("best",), ("runs",), ("plan",), ("validate",), ("export", "-f", "megatron"), ("calibration",)],
    ids=lambda command: command[0],
)
def test_the_other_commands_know_such_studies(
    command: tuple[str, ...], ended: tuple[mixopt.Study, list[AskedTrial]]
) -> None:
    name, *options = command
    done = program(name, ended[0].file.file, *options)
    assert done.status == 0, done.stderr
    assert done.stdout


def test_the_report_is_written(ended: tuple[mixopt.Study, list[AskedTrial]], tmp_path: Path) -> None:
    done = program("report", ended[0].file.file, "-o", tmp_path / "report.html")
    assert done.status == 0, done.stderr
    assert "proportional" in (tmp_path / "report.html").read_text()


def test_asked_twice_a_client_gets_what_it_owes_and_another_gets_others(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    first = study.ask(3, client="a")
    assert first.new == 3
    again = study.ask(3, client="a")
    assert again.new == 0
    assert again.trials == first.trials
    other = study.ask(2, client="b")
    assert other.others == 3
    assert not {trial.trial for trial in other.trials} & {trial.trial for trial in first.trials}
    study.tell(first.trials[1].trial, losses(first.trials[1]))
    third = study.ask(3, client="a")
    assert third.new == 1
    assert third.trials[:2] == (first.trials[0], first.trials[2])
    assert study.status.trials.running.total == 5
    assert study.status.activity == "waiting"


def test_turns_go_on_from_the_journal_while_mlflow_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    first = study.ask(1).trials[0]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    away = mixopt.Study(tmp_path / "study.yaml")
    away.tell(first.trial, losses(first))
    second = away.ask(1).trials[0]
    assert "wait for it" in (away.status.mlflow_away or "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    study.tell(second.trial, losses(second))
    record = fetch_record(load(tmp_path / "study.yaml"))
    assert record is not None and set(record.history.measurements) == {first.trial, second.trial}
    assert study.status.mlflow_away is None


def test_nothing_is_told_twice_or_otherwise(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    (trial,) = study.ask().trials
    assert study.tell(trial.trial, losses(trial)).recorded == (trial.trial,)
    again = study.tell(trial.trial, losses(trial))
    assert (again.recorded, again.known) == ((), (trial.trial,))
    with pytest.raises(ConfigError, match="recorded already, with another outcome"):
        study.tell(trial.trial, {**losses(trial), "web": 9.0})
    assert study.status.trials.completed.total == 1


def test_a_mistake_of_whoever_has_the_turn_leaves_the_study_waiting(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    (trial,) = study.ask().trials
    with pytest.raises(ConfigError, match="no trial nonsense was asked for"):
        study.tell("nonsense", losses(trial))
    with pytest.raises(ConfigError, match="the loss of books is missing"):
        study.tell(trial.trial, {"web": 1.0, "code": 1.0})
    status = study.status
    assert status.activity == "waiting"
    assert (status.trials.running.total, status.trials.interrupted.total) == (1, 0)


def test_mlflow_has_every_trial_after_its_turn(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    first = study.ask(2).trials[0]
    study.tell(first.trial, losses(first))
    client = mlflow.MlflowClient(tracking_uri=study.file.tracking_uri)
    experiment = client.get_experiment_by_name("mixopt")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    states = {run.info.run_name: run.info.status for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert sorted(states.values()) == ["FINISHED", "RUNNING"], states
    assert count_unsent(journal_path(study.file)) == 0


def test_an_ended_study_that_is_asked_again_records_nothing(ended: tuple[mixopt.Study, list[AskedTrial]]) -> None:
    study, _ = ended
    before = journal_path(study.file).read_bytes()
    assert study.ask().ended
    assert journal_path(study.file).read_bytes() == before


def test_what_failed_is_a_failure(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    lost, diverged = study.ask(2).trials
    study.tell(lost.trial, failed="the node died")
    study.tell(diverged.trial, {**losses(diverged), "code": float("nan")})
    failures = study.failures.set_index("trial")
    assert failures.loc[lost.trial, "message"] == "the node died"
    assert failures.loc[diverged.trial, "kind"] == "diverged"


def test_what_failed_can_be_asked_for_again(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    lost, other = study.ask(2, client="a").trials
    study.tell(lost.trial, failed="the node died")
    with pytest.raises(ConfigError, match="recorded already") as told:
        study.tell(lost.trial, losses(lost))
    assert told.value.hint is not None and f"mixopt ask --again {lost.trial}" in told.value.hint
    again = study.ask_again(lost.trial, client="b")
    assert (again.trials, again.new, again.others) == ((lost,), 1, 1)
    assert study.ask(1, client="b").trials == (lost,), "it owes it now"
    study.tell(lost.trial, losses(lost))
    assert study.failures.empty
    with pytest.raises(ConfigError, match=f"trial {lost.trial} is measured already"):
        study.ask_again(lost.trial)
    done = program("ask", study.file.file, "--again", other.trial, "--json")
    assert json.loads(done.stdout)["new"] == 0, "it is open, and given as it is"


def test_a_second_worker_hears_that_it_was_given_what_the_first_trains(tmp_path: Path) -> None:
    file = write_foreign(tmp_path)
    assert "--client" not in program("ask", file, "-n", "2").stdout
    shown = " ".join(program("ask", file, "-n", "2").stdout.split())
    assert "2 trials were given to" in shown
    assert "another worker" in shown and "--client NAME" in shown


def test_a_paused_study_gives_nothing_new_and_is_told_all_the_same(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    (first,) = study.ask().trials
    assert program("pause", study.file.file).status == 0
    assert study.status.activity == "pausing"
    asked = study.ask(3)
    assert (asked.trials, asked.new, asked.halted, asked.ended) == ((first,), 0, "paused", False)
    study.tell(first.trial, losses(first))
    assert mixopt.Study(study.file.file).status.activity == "paused"
    assert "study ours is paused" in program("ask", study.file.file).stdout
    assert "study ours goes on" in program("resume", study.file.file).stdout
    assert "was not paused" in program("resume", study.file.file).stdout
    assert study.ask().new == 1


def test_a_search_that_is_ended_early_is_confirmed(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    for trial in study.ask(6).trials:
        study.tell(trial.trial, losses(trial))
    assert program("stop", study.file.file, "--confirm").status == 0
    seen = train_all(study)
    assert seen
    assert all(trial.purpose.startswith("confirm") for trial in seen)
    assert study.answer.confirmed
    assert any("mixopt stop ended the search after 6 of" in note for note in study.answer.notes)
    assert study.ask().ended


def test_a_study_that_is_stopped_answers_at_once_and_goes_on_when_it_is_asked_to(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    for trial in study.ask(6).trials:
        study.tell(trial.trial, losses(trial))
    (late,) = study.ask().trials
    done = program("stop", study.file.file)
    assert done.status == 0, done.stderr
    assert not study.answer.confirmed
    asked = study.ask(3)
    assert (asked.trials, asked.ended, asked.halted) == ((), True, "stopped")
    assert study.status.activity == "ended"
    assert study.tell(late.trial, losses(late)).recorded == (late.trial,)
    assert study.status.activity == "ended"
    program("resume", study.file.file)
    assert study.ask(1, client="another").new == 1


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("cancel",), "nothing of study ours runs here"),
        (("pause",), "study ours has not begun here; begin it: mixopt ask"),
        (("stop",), "study ours has not begun here"),
    ],
    ids=lambda each: each[0],
)
def test_what_cannot_be_asked_of_such_a_study(command: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = program(*command, write_foreign(tmp_path))
    assert done.status == 2
    assert says in done.stderr


def test_metrics_are_the_trainers_own(tmp_path: Path) -> None:
    text = STUDY.replace("target:", "metrics: [mmlu_loss, humaneval_bpb]\ntarget:")
    study = mixopt.Study(write_foreign(tmp_path, text))
    (trial,) = study.ask().trials
    assert trial.metrics == ("mmlu_loss", "humaneval_bpb")
    study.tell(trial.trial, {"mmlu_loss": 2.0, "humaneval_bpb": 0.5, "gradient_norm": 7.0})
    row = study.trials.iloc[0]
    assert (row["metric.mmlu_loss"], row["metric.humaneval_bpb"]) == (2.0, 0.5)


def test_several_clients_confirm_side_by_side(tmp_path: Path) -> None:
    """What is open for one client does not keep another from what comes next."""
    study = mixopt.Study(write_foreign(tmp_path))
    while not (asked := study.ask(12)).trials[0].purpose.startswith("confirm"):
        for trial in asked.trials:
            study.tell(trial.trial, losses(trial))
    other = study.ask(1, client="b")
    assert other.others == len(asked.trials)
    study.tell(asked.trials[0].trial, losses(asked.trials[0]))
    assert study.ask(1, client="b").trials == other.trials


def table(study: mixopt.Study, shares: list[tuple[float, float, float]]) -> pd.DataFrame:
    rows = []
    for number, share in enumerate(shares):
        weights = dict(zip(("web", "code", "books"), share, strict=True))
        rows.append(
            {"run": f"run{number}"}
            | {f"weight.{name}": value for name, value in weights.items()}
            | {f"metric.{name}": loss for name, loss in trained(weights).items()}
        )
    return pd.DataFrame(rows)


def test_runs_of_before_are_trials_and_count(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    runs = table(study, [(0.5, 0.3, 0.2), (0.2, 0.5, 0.3), (0.5, 0.3, 0.2), (0.3, 0.3, 0.4)])
    attached = study.attach(runs)
    assert len(attached.attached) == 4, "the third is a repeat of the first"
    assert study.attach(runs).known == 4
    assert study.status.trials.completed.total == 4
    assert set(study.all_trials["origin"]) == {"attached"}
    (trial,) = study.ask().trials
    assert trial.trial not in attached.attached


def test_a_run_of_a_mixture_that_is_there_is_a_repeat_unless_it_is_that_run(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    runs = table(study, [(0.5, 0.3, 0.2), (0.2, 0.5, 0.3)])
    study.attach(runs)
    again = runs.assign(**{"metric.web": runs["metric.web"] + 0.01})
    attached = study.attach(again)
    assert (len(attached.attached), attached.known) == (2, 0)
    assert study.attach(again).known == 2
    assert study.status.trials.completed.total == 4


def test_metrics_of_runs_of_before_may_have_a_prefix(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    runs = table(study, [(0.5, 0.3, 0.2), (0.2, 0.5, 0.3)])
    runs = runs.rename(columns=lambda name: name.replace("metric.", "eval_loss/"))
    assert len(study.attach(runs).attached) == 2


def test_runs_outside_the_limits_are_left_out_and_named(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path, STUDY.replace("{tokens: 10B}", "{tokens: 10B, max: 30%}")))
    attached = study.attach(table(study, [(0.5, 0.3, 0.2), (0.2, 0.2, 0.6)]))
    assert len(attached.attached) == 1
    assert "1 runs outside the study's limits are left out: run1" in attached.left_out


def test_a_run_that_lacks_a_metric_is_no_trial_until_it_has_it(tmp_path: Path) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    whole = table(study, [(0.5, 0.3, 0.2), (0.2, 0.5, 0.3), (0.3, 0.3, 0.4), (0.4, 0.3, 0.3)])
    gaps = whole.copy()
    gaps.loc[1, "metric.code"] = None
    gaps.loc[2, "metric.books"] = math.inf
    said = "2 runs without a metric, or for which it is no finite number, are left out: run1 (code), run2 (books)"
    for attached in (2, 0):
        found = study.attach(gaps)
        assert (len(found.attached), found.known) == (attached, 2 - attached)
        assert said in found.left_out
    found = study.attach(whole)
    assert (len(found.attached), found.known) == (2, 2)
    assert study.status.trials.failed.total == 0


@pytest.mark.parametrize(
    ("renamed", "proxy", "says"),
    [
        ({"weight.web": "weight.net"}, None, "other domains"),
        ({"metric.web": "metric.net"}, None, "no metric web"),
        ({}, "large", "no proxy large"),
    ],
    ids=["domains", "metrics", "proxy"],
)
def test_runs_of_something_else_are_refused(
    renamed: dict[str, str], proxy: str | None, says: str, tmp_path: Path
) -> None:
    study = mixopt.Study(write_foreign(tmp_path))
    with pytest.raises(ConfigError, match=says):
        study.attach(table(study, [(0.5, 0.3, 0.2), (0.2, 0.5, 0.3)]).rename(columns=renamed), proxy)
