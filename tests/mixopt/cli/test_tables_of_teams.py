"""Runs as teams have them, on the command line: one command to a mixture, guesses with reasons, questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mixopt.base.shown import LONGEST_LINE, UNSEEN
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


ROWS = "".join(f"r{place},{place / 8},{1 - place / 8},{3 + place / 9}\n" for place in range(1, 8))
PLAIN = "run,mix/a,mix/b,eval/loss\n" + ROWS

MISTAKES: dict[str, tuple[str, str | bytes, list[str], str]] = {
    "weights that sum to 2.387": (
        "r.csv",
        "mix/a,mix/b,eval/loss\n1.387,1,3\n1.2,1.187,3\n",
        [],
        "row 2: the weights sum to 2.387, not 1",
    ),
    "a missing domain": ("r.csv", "mix/a,mix/b,eval/loss\n0.3,0.4,3\n0.2,0.4,3\n", [], "row 2: the weights sum to 0.7"),
    "shares and percentages": ("r.csv", "mix/a,mix/b,eval/loss\n0.3,0.7,3\n20,80,3\n", [], "two units"),
    "two mixtures": ("r.csv", "mix/a,mix/b,my_mix/a,my_mix/b,loss\n1,0,0,1,3\n0,1,1,0,2\n", [], "--weights 'mix/*'"),
    "no mixture": ("r.csv", "run,lr,eval/loss\na,1,2\nb,2,3\n", [], "--weights"),
    "no metric": ("r.csv", "mix/a,mix/b,speed\n1,0,2\n0,1,3\n", [], "--metrics speed"),
    "a mixture for a pattern that fits nothing": (
        "r.csv",
        PLAIN,
        ["--weights", "mx/*"],
        "--weights mx/* fits no column",
    ),
    "metrics for a pattern that fits nothing": ("r.csv", PLAIN, ["--metrics", "val*"], "--metrics val* fits no column"),
    "one domain": ("r.csv", PLAIN, ["--weights", "mix/a"], "one domain, mix/a"),
    "a role that there is not": ("r.csv", PLAIN, ["--column", "colour=run"], "--column colour=run"),
    "a role's column that there is not": ("r.csv", PLAIN, ["--column", "run=who"], "no column who"),
    "units that there are not": ("r.csv", PLAIN, ["--units", "grams"], "--units grams"),
    "a decimal that there is not": ("r.csv", PLAIN, ["--decimal", "dot"], "--decimal dot"),
    "an encoding that there is not": ("r.csv", PLAIN, ["--encoding", "morse"], "--encoding morse"),
    "a join that there is not": ("r.csv", PLAIN, ["--join", "none.csv"], "none.csv"),
    "an objective that there is not": ("r.csv", PLAIN, ["--objective", "none.yaml"], "none.yaml"),
    "an experiment without a store": ("r.csv", PLAIN, ["--experiment", "x"], "--from-mlflow"),
    "a store that there is not": ("", "", ["--from-mlflow", "sqlite:///none.db", "--experiment", "x"], "none.db"),
    "a table and a store": ("r.csv", PLAIN, ["--from-mlflow", "x", "--experiment", "x"], "two tables"),
    "nothing": ("", "", [], "no table of runs"),
    "a workbook": ("r.xlsx", b"PK\x03\x04", [], "save the sheet as CSV"),
    "Windows' own encoding": ("r.csv", PLAIN.replace("eval", "prüf").encode("cp1252"), [], "--encoding cp1252"),
    "commas of two meanings": ("r.csv", "mix/a;mix/b;loss\n1;0;2,387\n0;1;3,120\n", [], "--decimal comma"),
    "decimals of two kinds": ("r.csv", "mix/a;mix/b;loss\n1;0;2,38\n0;1;3.12\n", [], "column loss"),
    "every run crashed": ("r.csv", "state,mix/a,mix/b,loss\ncrashed,1,0,2\nfailed,0,1,3\n", [], "no run is left"),
    "half of the runs too short": (
        "r.csv",
        "_step,mix/a,mix/b,loss\n10,1,0,2\n10,0,1,3\n5,0.5,0.5,1\n5,0.4,0.6,1\n",
        [],
        "2 of 4 runs end before the last of them",
    ),
    "a chart's export": ("r.csv", "Step,a - loss,a - loss__MIN,a - loss__MAX\n1,2,2,2\n", [], "a chart"),
    "counts of documents": (
        "r.csv",
        "docs/a,docs/b,loss\n3000000,1000000,2\n1000000,3000000,3\n",
        [],
        "counts of documents",
    ),
    "broken JSON lines": ("r.jsonl", '{"mix": {"a": 1, "b": 0}, "loss": 2}\n{"mix":\n', [], "line 2 is not JSON"),
    "JSON that is no list": ("r.json", "7", [], "no list of runs"),
    "JSON lines of numbers": ("r.jsonl", "7\n8\n", [], "row 1, 7, is no run"),
    "deep JSON": ("r.json", "[" * 100_000, [], "is not JSON"),
    "an escape in a run's settings": (
        "r.json",
        json.dumps([{"mix\x1b[31m": {"a": 1, "b": 0}, "loss": 2}]),
        [],
        r"\x1b[31m",
    ),
    "a mapping file with a mistake": ("r.mapping.yaml", "wieghts: mix/*\n", ["--mapping", "r.mapping.yaml"], "wieghts"),
}


@pytest.mark.parametrize(("name", "content", "options", "says"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | bytes, options: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    table = []
    if name:
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
        table = [name if not name.endswith(".yaml") else "runs.csv"]
    done = mixopt("fit", *table, *options)
    errors = [line for line in done.stderr.split("\n") if line.startswith("error: ")]
    assert done.status == 2, done.stderr[:1000]
    assert len(errors) == 1, done.stderr[:1000]
    assert says in errors[0]
    assert "; " in errors[0], "a remedy follows"
    assert len(errors[0]) <= len("error: ") + LONGEST_LINE
    assert not UNSEEN.search(errors[0])
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*-fit")), "nothing was fitted"


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
