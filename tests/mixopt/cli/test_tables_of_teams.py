"""Runs as teams have them, on the command line: one command to a mixture, guesses with reasons, questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mixopt.results.table_guess import TableGuess
from tests.mixopt.runs.tables.teams import TEAMS, Finished, some_runs
from tests.program import mixopt

QUICK = ("--surrogate", "quadratic", "--objective", "standardized")


def exported(folder: Path, name: str, runs: list[Finished] | None = None) -> Path:
    path = folder / name
    TEAMS[name](path, runs or some_runs())
    return path


def test_one_command_from_an_export_of_wandb_to_a_mixture(tmp_path: Path) -> None:
    path = exported(tmp_path, "wandb-export.csv")
    done = mixopt("fit", path, *QUICK, "--output", tmp_path / "out")
    assert done.status == 0, done.stderr
    mixture = json.loads((tmp_path / "out" / "mixture.json").read_text())
    assert mixture["web"] == pytest.approx(0.5, abs=0.06)
    assert mixture["code"] == pytest.approx(0.33, abs=0.06)
    assert "3 rows are left out: 1 crashed (State)" in done.stdout


@pytest.mark.parametrize("command", ["replay", "backtest"])
def test_other_commands_read_what_fit_reads(tmp_path: Path, command: str) -> None:
    runs = some_runs(40)
    path = exported(tmp_path, "wandb-export.csv", runs)
    quick = {
        "replay": ["--strategy", "regmix", "--surrogate", "quadratic", "--seeds", "1"],
        "backtest": ["--surrogate", "quadratic", "--runs", "16", "--seeds", "2"],
    }[command]
    patterns = ["--weights", "config.data.mix.*", "--metrics", "eval/loss", "--output", tmp_path / "out"]
    done = mixopt(command, path, *quick, *patterns, "--json")
    assert done.status == 0, done.stderr
    said = json.loads(done.stdout)
    found = said if command == "replay" else said["tables"][0]
    assert found["runs"] == {"runs": 40}
    assert found["objective"]["metrics"] == ["eval/loss"]


def test_a_guess_says_what_is_what_and_why_and_fits_nothing(tmp_path: Path) -> None:
    path = exported(tmp_path, "wandb-export.csv")
    done = mixopt("fit", path, "--guess", "--json", "--output", tmp_path / "out")
    assert done.status == 0, done.stderr
    assert not (tmp_path / "out").exists()
    guess = TableGuess.model_validate_json(done.stdout)
    by_name = {each.column: each for each in guess.columns}
    assert len(guess.columns) > 40
    assert by_name["config.data.mix.web"].taken_for == "weight"
    assert by_name["config.data.mix.web"].called == "web"
    assert by_name["eval/loss"].taken_for == "metric"
    assert by_name["eval/runtime"].taken_for == by_name["train/loss"].taken_for == "nothing"
    assert all(each.why for each in guess.columns)
    assert {each.why: each.rows for each in guess.left_out} == {
        "crashed (State)": 1,
        "running (State)": 1,
        "ended before max_steps (_step)": 1,
    }
    assert guess.rows == 27 and guess.runs == {"runs": 24}
    shown = mixopt("fit", path, "--guess").stdout
    assert "config.data.mix.web" in shown and "by their name, and every row sums to 1" in shown


def test_a_guess_is_mended_in_the_mapping_file_that_it_writes(tmp_path: Path) -> None:
    path, mapping = exported(tmp_path, "mlflow.csv"), tmp_path / "mine.yaml"
    done = mixopt("fit", path, "--guess", "--mapping-out", mapping)
    assert done.status == 0, done.stderr
    text = mapping.read_text()
    assert '"Bücher": "params.mix_Bücher"  # by their name, and every row sums to 1' in text
    mapping.write_text(text.replace('"mmlu": "metrics.mmlu"', '"train": "metrics.train_loss"'))
    done = mixopt("fit", path, "--mapping", mapping, *QUICK, "--json", "--output", tmp_path / "out")
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout)["objective"]["metrics"] == ["val_loss", "train"]


def test_a_question_is_shown_with_all_that_is_known_and_ends_with_2(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("run,mix/a,mix/b,other_mix/a,other_mix/b,loss\nx,1,0,0,1,3\ny,0.5,0.5,1,0,2\n")
    done = mixopt("fit", path, "--guess")
    assert done.status == 2
    assert "loss    metric loss" in done.stdout
    assert f"error: {path}: the mixture may be mix/* or other_mix/*; say which: --weights 'mix/*'" in done.stderr
    done = mixopt("fit", path, "--weights", "mix/*", "--guess")
    assert done.status == 0, done.stderr


OBJECTIVE = """
objective:
  kind: no_worse
  allowance: 0.01
  families: {losses: {metrics: [loss], weight: 3}, scores: {metrics: [mm*]}}
proxies: {small: {what: ever}}
"""


def test_an_objective_may_have_families_as_that_of_a_study(tmp_path: Path) -> None:
    path = exported(tmp_path, "wandb-export.csv")
    (tmp_path / "study.yaml").write_text(OBJECTIVE)
    options = ("--surrogate", "quadratic", "--json", "--output", tmp_path / "out")
    done = mixopt("fit", path, *options, "--objective", tmp_path / "study.yaml")
    assert done.status == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["objective"]["kind"] == "no-worse"
    assert "weights in the objective: loss 0.75, mmlu 0.25" in said["notes"]
    (tmp_path / "study.yaml").write_text("objective: {weights: {loss: 1, piqa: 2}}\n")
    done = mixopt("fit", path, *options, "--objective", tmp_path / "study.yaml")
    assert done.status == 2
    assert "objective: no metric piqa; the table has loss, mmlu" in done.stderr


def test_an_objective_leaves_out_metrics_that_it_does_not_weigh(tmp_path: Path) -> None:
    path = exported(tmp_path, "wandb-export.csv")
    (tmp_path / "o.yaml").write_text("objective: {weights: {mmlu: 1}}\n")
    done = mixopt("replay", path, "--strategy", "regmix", "--surrogate", "quadratic", "--seeds", "1", "--json",
                  "--output", tmp_path / "out", "--objective", tmp_path / "o.yaml")  # fmt: skip
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout)["objective"]["metrics"] == ["mmlu"]
