"""`mixopt schema`: what commands really print with --json is what their JSON Schema says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema
import pytest

from mixopt.cli.main import main
from tests.mixopt.runs.two_fidelities import table
from tests.simulated import ROUNDS, planned, run

# By the name of the schema: the command, in a folder with a study that has its answer and a table of runs.
COMMANDS = {
    "answer": "best",
    "calibration": "calibration",
    "comparison": "compare study.yaml uniform",
    "corpus": "prepare",
    "export": "export -f megatron --location /data/{domain} --tokens 1k",
    "fit": "fit runs.csv --metric loss --surrogate quadratic --surrogate linear --holdout runs.csv",
    "import": "import weights.json study.yaml -f json",
    "plan": "plan --no-probe",
    "replay": "replay runs.csv --metric loss --strategy regmix --surrogate linear --seeds 2",
    "report": "report --no-attach",
    "runs": "runs",
    "secrets": "secrets secrets",
    "status": "status",
    "table-guess": "fit runs.csv --guess",
    "validity": "validate",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    run(planned(folder, ROUNDS))
    table(folder / "runs.csv")
    (folder / "weights.json").write_text('{"prose": 0.5, "code": 0.3, "sums": 0.2}')
    return folder


def program(monkeypatch: pytest.MonkeyPatch, command: str) -> int:
    """The exit status of `mixopt COMMAND`."""
    monkeypatch.setattr(sys, "argv", ["mixopt", *command.split()])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_prints_is_what_its_schema_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(folder)
    assert program(monkeypatch, f"schema {name}") == 0
    schema = json.loads(capsys.readouterr().out)
    assert program(monkeypatch, f"{COMMANDS[name]} --json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema_version"] == 1
    jsonschema.validate(printed, schema)


def test_two_studies_side_by_side_are_what_the_schema_says(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = planned(tmp_path, ROUNDS.replace("min: 5%", "min: 15%"))
    run(other)
    monkeypatch.chdir(folder)
    assert program(monkeypatch, "schema comparison") == 0
    schema = json.loads(capsys.readouterr().out)
    assert program(monkeypatch, f"compare study.yaml {other.file.file} --json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert [each["setting"] for each in printed["studies"]["settings"]] == ["domains.sums.min"]
    jsonschema.validate(printed, schema)


def test_without_a_name_it_is_that_of_study_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program(monkeypatch, "schema") == 0
    said = capsys.readouterr().out
    assert json.loads(said)["title"] == "mixopt study file"
    assert program(monkeypatch, "schema study") == 0
    assert capsys.readouterr().out == said


def test_a_name_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert program(monkeypatch, "schema anwser") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no schema anwser; choose from study, answer, ask, asked, attach, audit,")
