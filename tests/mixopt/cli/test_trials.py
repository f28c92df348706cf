"""The list of a study's trials: `mixopt trials`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import mixopt as library
from mixopt.cli.schemas import json_schema
from mixopt.study.plan import Plan
from mixopt.study.record import open_store
from mixopt.study.recording import begin
from search.trial import Failure, FailureKind
from tests.e2e.study import SEARCH_TRIALS, answer_of
from tests.program import mixopt
from tests.simulated import measured, planned, run


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    plan = planned(tmp_path_factory.mktemp("ended"))
    run(plan)
    return plan


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A study of which one trial was measured, one was stopped, one failed, and one was left running."""
    plan = planned(tmp_path_factory.mktemp("torn"))
    trials = plan.problem.baseline_trials
    failure = Failure(FailureKind.ERROR, "a message that is longer than there is room for: " + "x" * 100, seconds=2.0)
    with begin(plan, open_store(plan.file)) as recorder:
        for trial in trials:
            recorder.open(trial)
        recorder.close_trial(trials[0], measured(trials[0]), 3.0)
        recorder.close_trial(trials[1], measured(trials[1], stopped=True), None)
        recorder.restarted(trials[2], 2, "its node died")
        recorder.close_trial(trials[2], failure, None)
    return plan


def listed(plan: Plan, *options: str) -> list[dict[str, Any]]:
    answer = answer_of("trials", plan.file.file, *options)
    jsonschema.validate(answer, json_schema("trials"))
    trials: list[dict[str, Any]] = answer["trials"]
    return trials


def test_every_trial_is_listed_with_what_it_is_for(ended: Plan) -> None:
    trials = listed(ended)
    purposes = [each["purpose"] for each in trials]
    assert purposes[:4] == ["baseline"] * 4
    assert (purposes.count("design"), purposes.count("search")) == (SEARCH_TRIALS - 4, 0)
    assert set(purposes[SEARCH_TRIALS:]) == {"confirm"}
    assert all(each["began"] <= each["ended"] and each["objective"] and each["allowed"] for each in trials)
    assert [each["began"] for each in trials] == sorted(each["began"] for each in trials)


def test_by_objective_the_search_of_the_target_comes_first_and_the_confirmation_apart(ended: Plan) -> None:
    trials = listed(ended, "--sort", "objective")
    kinds = [(each["proxy"], each["purpose"] == "confirm") for each in trials]
    assert list(dict.fromkeys(kinds)) == [("moe", False), ("moe", True), ("dense", False)]
    searched = [each["objective"] for each, kind in zip(trials, kinds, strict=True) if kind == ("moe", False)]
    assert searched == sorted(searched)
    assert listed(ended, "--sort", "objective", "--limit", "2") == trials[:2]
    assert listed(ended, "--limit", "2") == listed(ended)[-2:], "of those in time the latest"


def test_what_became_of_each_is_told(torn: Plan) -> None:
    trials = listed(torn)
    assert [each["state"] for each in trials] == ["completed", "stopped", "failed", "interrupted"]
    assert [each["starts"] for each in trials] == [1, 1, 2, 1]
    assert [each["seconds"] for each in trials] == [1.0, 1.0, 2.0, None]
    assert [each["kind"] for each in trials] == [None, None, "error", None]
    [failed] = listed(torn, "--failed")
    assert failed == trials[2]


def test_the_table_fits_into_80_columns_and_says_more_where_there_is_room(
    torn: Plan, ended: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plan, options in ((ended, []), (torn, []), (torn, ["--failed"])):
        monkeypatch.setenv("COLUMNS", "80")
        lines = mixopt("trials", plan.file.file, *options).stdout.splitlines()
        assert max(map(len, lines)) <= 80, lines
        assert "seed" not in lines[0].split()
    assert "error: a message that is" in "\n".join(lines)
    assert not any("..." in line or "…" in line for line in mixopt("trials", ended.file.file).stdout.splitlines())


def test_as_csv_every_share_has_a_column_and_every_number_its_bits(ended: Plan, tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    done = mixopt("trials", ended.file.file, "--csv", path)
    assert (done.status, done.stdout.split(":")[0]) == (0, f"wrote {path}")
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    trials = listed(ended)
    assert [row["trial"] for row in rows] == [each["trial"] for each in trials]
    assert [float(row["objective"]) for row in rows] == [each["objective"] for each in trials]
    assert [float(row["weight.code"]) for row in rows] == [each["mixture"]["code"] for each in trials]
    frame = library.Study(ended.file.file).all_trials
    assert list(frame["weight.code"]) == [each["mixture"]["code"] for each in trials]
    assert list(frame.columns) == list(rows[0])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--csv", "trials.txt"], "trials.txt: the trials are written as CSV; choose a name that ends in .csv"),
        (["--sort", "luck"], "luck"),
    ],
)
def test_mistakes_are_told(ended: Plan, arguments: list[str], says: str) -> None:
    done = mixopt("trials", ended.file.file, *arguments)
    assert done.status == 2
    assert says in done.stderr


def test_a_study_that_is_known_by_its_name_alone_is_read_from_mlflow(
    ended: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "set MLFLOW_TRACKING_URI" in mixopt("trials", "small").stderr
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ended.file.tracking_uri)
    by_name = json.loads(mixopt("trials", "small", "--json").stdout)["trials"]
    assert by_name == listed(ended)
    assert "nothing is recorded of study other" in mixopt("trials", "other").stderr
