"""`mixopt ask` and `mixopt tell`: files for trainers, tables of runs, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml

from mixopt.base.shown import LONGEST_LINE
from mixopt.settings.reading import load
from mixopt.study.record import journal_path
from tests.e2e.study import recorded
from tests.foreign import STUDY, trained, write_foreign
from tests.program import mixopt as program

METRICS = ("web", "code", "books")


def asked(file: Path, count: int = 3, *options: object) -> list[dict[str, Any]]:
    done = program("ask", file, "-n", count, "--json", *options)
    assert done.status == 0, done.stderr
    trials: list[dict[str, Any]] = json.loads(done.stdout)["trials"]
    return trials


def told(file: Path, *options: object) -> dict[str, Any]:
    done = program("tell", file, *options, "--json")
    assert done.status == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_person_sees_what_to_train_and_how_to_tell(tmp_path: Path) -> None:
    done = program("ask", write_foreign(tmp_path), "-n", 2)
    assert "web 85.7%" in done.stdout
    assert "mixopt tell" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_files_for_a_trainer(tmp_path: Path) -> None:
    file = write_foreign(tmp_path)
    trials = asked(file, 2, "--output", tmp_path / "plain")
    for trial in trials:
        assert json.loads((tmp_path / "plain" / f"{trial['trial']}.json").read_text()) == trial
    asked(file, 2, "-f", "yaml", "-o", tmp_path / "yaml")
    for trial in trials:
        written = yaml.safe_load((tmp_path / "yaml" / f"{trial['trial']}.yaml").read_text())
        assert trial["weights"]["web"] in json.loads(json.dumps(list(_numbers(written))))


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        for each in value.values():
            yield from _numbers(each)
    elif isinstance(value, float):
        yield value


@pytest.mark.parametrize(
    "write",
    [
        lambda losses: json.dumps(losses),
        lambda losses: json.dumps({"losses": losses, "seconds": 12.5}),
        lambda losses: json.dumps({name: str(value) for name, value in losses.items()}),
    ],
    ids=["plain", "with seconds", "as text"],
)
def test_losses_in_a_file(write: Callable[[dict[str, float]], str], tmp_path: Path) -> None:
    file = write_foreign(tmp_path)
    (trial,) = asked(file, 1)
    (tmp_path / "losses.json").write_text(write(trained(trial["weights"])))
    assert told(file, trial["trial"], "--losses", tmp_path / "losses.json")["recorded"] == [trial["trial"]]


def test_losses_on_the_command_line(tmp_path: Path) -> None:
    file = write_foreign(tmp_path)
    (trial,) = asked(file, 1)
    options = [part for name, loss in trained(trial["weights"]).items() for part in ("--loss", f"{name}={loss}")]
    assert told(file, trial["trial"], *options, "--seconds", 5)["recorded"] == [trial["trial"]]


def test_a_trial_of_the_study_that_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_foreign(tmp_path)
    (trial,) = asked(file, 1)
    monkeypatch.chdir(file.parent)
    done = program("tell", trial["trial"], "--failed", "the node died")
    assert done.status == 0, done.stderr
    assert f"recorded as failed: {trial['trial']} (the node died)" in " ".join(done.stdout.split())


def test_an_export_of_runs_as_it_lies_there(tmp_path: Path) -> None:
    """Runs of other projects, runs that crashed, the id in a run's name, metrics under a prefix."""
    file = write_foreign(tmp_path)
    first, second, third = asked(file)
    rows = ["Name,State,Runtime,config.lr,eval/web,eval/code,eval/books"]
    for trial, state in ((first, "finished"), (second, "crashed"), (third, "finished")):
        losses = trained(trial["weights"])
        values = ",".join(str(losses[name]) for name in METRICS)
        rows.append(f"mix-{trial['trial']}-lr3e-4,{state},3600,3e-4,{values}")
    rows.append("something-else,finished,10,1e-3,1.0,1.0,1.0")
    (tmp_path / "wandb.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    result = told(file, "--table", tmp_path / "wandb.csv")
    assert result["recorded"] == [first["trial"], third["trial"]]
    assert result["still_open"] == 1
    assert any("crashed" in sentence for sentence in result["left_out"])
    assert any("1 runs of no trial" in sentence for sentence in result["left_out"])
    assert told(file, "--table", tmp_path / "wandb.csv")["recorded"] == []


def test_shares_and_losses_of_training_are_no_metrics_as_for_mixopt_fit(tmp_path: Path) -> None:
    file = write_foreign(tmp_path)
    [trial] = asked(file, 1)
    losses = trained(trial["weights"])
    row = {"Name": trial["trial"], "State": "finished"}
    row |= {f"config.mix.{name}": share for name, share in trial["weights"].items()}
    row |= {f"train/loss/{name}": 9.0 for name in METRICS}
    row |= {f"eval/loss/{name}": losses[name] for name in METRICS}
    row |= {f"eval/loss/{name}.min": 1.0 for name in METRICS}
    pd.DataFrame([row]).to_csv(tmp_path / "wandb.csv", index=False)
    assert told(file, "--table", tmp_path / "wandb.csv")["recorded"] == [trial["trial"]]
    history = recorded(file)
    assert {name: loss.nats_per_token for name, loss in history.completed[0].measurement.losses.items()} == losses


def test_an_unnamed_index_says_nothing_of_a_run(tmp_path: Path) -> None:
    file = write_foreign(tmp_path)
    first, second = asked(file, 2)
    rows = [{"trial": each["trial"], **trained(each["weights"])} for each in (first, second)]
    pd.DataFrame(rows).assign(state="finished").to_csv(tmp_path / "runs.csv")
    assert len(told(file, "--table", tmp_path / "runs.csv")["recorded"]) == 2
    assert answer_failures(file) == 0


def test_a_table_of_excel_is_read_as_its_hints_say(tmp_path: Path) -> None:
    file = write_foreign(tmp_path)
    (trial,) = (each["trial"] for each in asked(file, 1))
    (tmp_path / "runs.csv").write_text(
        f"trial;web;code;books;note\n{trial};2,125;2,250;1,500;fertig für heute\n", "cp1252"
    )
    _refused(program("tell", file, "--table", tmp_path / "runs.csv"), "--encoding cp1252")
    _refused(program("tell", file, "--table", tmp_path / "runs.csv", "--encoding", "cp1252"), "--decimal comma")
    result = told(file, "--table", tmp_path / "runs.csv", "--encoding", "cp1252", "--decimal", "comma")
    assert result["recorded"] == [trial]


def test_a_run_that_diverged_is_told_beside_one_with_a_gap(tmp_path: Path) -> None:
    file = write_foreign(tmp_path)
    good, diverged, gap = (trial["trial"] for trial in asked(file))
    lines = [f"{good},1,2,3,false", f"{diverged},1,NaN,3,false", f"{gap},1,,3,"]
    (tmp_path / "runs.csv").write_text("\n".join(["trial,web,code,books,failed", *lines]))
    result = told(file, "--table", tmp_path / "runs.csv")
    assert result["recorded"] == [good, diverged]
    assert result["failed"] == {diverged: "the loss of code is nan"}
    assert f"runs without a metric are left out: {gap} (code)" in result["left_out"]
    assert answer_failures(file) == 1


def answer_failures(file: Path) -> int:
    failed: int = json.loads(program("status", file, "--json").stdout)["trials"]["failed"]["total"]
    return failed


def test_a_flag_that_nothing_failed_is_no_failure(tmp_path: Path) -> None:
    file = write_foreign(tmp_path)
    (trial,) = asked(file, 1)
    whole = {"losses": {**trained(trial["weights"]), "run": "abc", "ok": True}, "failed": None, "seconds": 3}
    (tmp_path / "losses.json").write_text(json.dumps(whole))
    told(file, trial["trial"], "--losses", tmp_path / "losses.json")
    assert answer_failures(file) == 0


def test_runs_in_an_mlflow(tmp_path: Path) -> None:
    file = write_foreign(tmp_path)
    store = f"sqlite:///{tmp_path / '.mixopt' / 'mlflow.db'}"
    trials = asked(file, 2)
    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.create_experiment("training", artifact_location=str(tmp_path / "artifacts"))
    for trial in trials:
        run = client.create_run(experiment, tags={"mixture": trial["trial"]})
        for name, loss in trained(trial["weights"]).items():
            client.log_metric(run.info.run_id, f"eval/{name}", loss)
        client.set_terminated(run.info.run_id)
    result = told(file, "--from-mlflow", store, "--experiment", "training")
    assert sorted(result["recorded"]) == sorted(trial["trial"] for trial in trials)


ASK: list[tuple[str, tuple[object, ...], str]] = [
    ("another executor", (), "executor.kind is in_process: its trials are not asked for"),
    ("a format without a folder", ("-f", "megatron"), "say where: --output FOLDER"),
    ("a place without a format", ("-o", "out", "--location", "/x/{domain}"), "name it: --format"),
    ("no such format", ("-f", "megatorn", "-o", "out"), "megatorn"),
    ("documents", ("-f", "hf", "-o", "out"), "executor.kind: external does not know; --draws sequences"),
    ("documents alone", ("-f", "trl", "-o", "out"), "choose a format that draws something else"),
    ("no trial again", ("--again", "0123456789ab"), "no trial 0123456789ab was asked for"),
    ("several again", ("--again", "0123456789ab", "-n", "3"), "--again gives one trial"),
]
TELL: list[tuple[str, tuple[object, ...], str]] = [
    ("nothing", (), "nothing says what became of the trial"),
    ("two ways", ("T", "--loss", "web=1", "--failed", "x"), "--loss and --failed both say"),
    ("no trial", ("--loss", "web=1"), "which trial is it?"),
    ("one of many", ("T", "--table", "runs.csv"), "tells of many trials"),
    ("no pair", ("T", "--loss", "web"), "is no METRIC=NUMBER"),
    (
        "a loss that is none",
        ("T", "--loss", "web=3", "--loss", "code=nan"),
        "--loss code=nan is no loss; of a run that",
    ),
    ("an infinite loss", ("T", "--loss", "web=inf"), '--failed "diverged"'),
    ("a metric twice", ("T", "--loss", "web=1", "--loss", "web=2"), "--loss web is there twice"),
    ("a sign for no table", ("T", "--loss", "web=1", "--decimal", "comma"), "name it: --table runs.csv"),
    ("an unknown trial", ("T", "--loss", "web=1"), "no trial T was asked for"),
    ("no experiment", ("--from-mlflow", "sqlite:///x.db"), "--from-mlflow and --experiment go together"),
    ("no file", ("T", "--losses", "none.json"), "none.json: no such JSON file"),
    ("no table", ("--table", "none.csv"), "none.csv: no such table"),
]


@pytest.mark.parametrize(("_name", "options", "says"), ASK, ids=[name for name, *_ in ASK])
def test_what_cannot_be_asked(
    _name: str, options: tuple[object, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_foreign(tmp_path)
    if not options:
        file.write_text(
            STUDY.replace("kind: external", "kind: in_process")
            .replace("params: 60M, ", "")
            .replace("{tokens: 300B}", "{paths: x}")
            .replace("{tokens: 40B}", "{paths: x}")
            .replace("{tokens: 10B}", "{paths: x}")
        )
    _refused(program("ask", file, *options), says)
    assert "--again" in options or not journal_path(load(file)).exists(), "no trial is open"


@pytest.mark.parametrize(("_name", "options", "says"), TELL, ids=[name for name, *_ in TELL])
def test_what_cannot_be_told(
    _name: str, options: tuple[object, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _refused(program("tell", write_foreign(tmp_path), *options), says)


TABLES = [
    ("no metric", "trial,web,code\n{id},1,2\n", "no column of metric books"),
    ("a metric twice", "trial,web,code,a/books,b/books\n{id},1,2,3,3\n", "a/books and b/books may both be"),
    ("a trial twice", "trial,web,code,books\n{id},1,2,3\n{id},1,2,4\n", "is there twice"),
    ("an unknown trial", "trial,web,code,books\n0123456789ab,1,2,3\n", "no trial 0123456789ab was asked for"),
    ("no trial", "name,web,code,books\nrun 1,1,2,3\n", "no row names a trial"),
    ("no number", "trial,web,code,books\n{id},1,2,low\n", "'low' is not a number"),
    ("a gap", "trial,web,code,books\n{id},1,,3\n", "no run has every metric: {id} (code)"),
    ("no time", "trial,web,code,books,seconds\n{id},1,2,3,-5\n", "-5 is no time"),
    ("nothing", "", "runs.csv is empty"),
]


@pytest.mark.parametrize(("_name", "table", "says"), TABLES, ids=[name for name, *_ in TABLES])
def test_tables_that_cannot_be_told(_name: str, table: str, says: str, tmp_path: Path) -> None:
    file = write_foreign(tmp_path)
    (trial,) = asked(file, 1)
    (tmp_path / "runs.csv").write_text(table.format(id=trial["trial"]))
    _refused(program("tell", file, "--table", tmp_path / "runs.csv"), says.format(id=trial["trial"]))


def _refused(done: Any, says: str) -> None:
    assert done.status == 2, done.stdout
    assert says in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert len(lines[0]) <= LONGEST_LINE + len("error: ")


STUDIES = [
    ("no tokens", "{tokens: 300B}", "{paths: web.jsonl}", "domains.web.tokens: missing"),
    ("no params", "params: 60M, ", "", "proxies.small.params: missing"),
    ("a depth", "params: 60M", "params: 60M, depth: 4", "proxies.small.depth: depth is of a model that mixopt trains"),
    ("GPUs", "kind: external", "kind: external, gpus_per_trial: 1", "gpus_per_trial is for trials that mixopt trains"),
    ("a command", "kind: external", "kind: external, run: x", "run belongs to kind: command"),
    ("no command", "kind: external", "kind: command", "kind: command needs run"),
    ("a corpus", "target:", "corpus: {vocabulary: 300}\ntarget:", "corpus: executor.kind: external reads no text"),
    ("evaluation", "target:", "evaluation: {x: {paths: y}}\ntarget:", "name what your trainer measures in metrics"),
    ("a metric twice", "target:", "metrics: [a, a]\ntarget:", "metrics: a is named twice"),
    ("attempts", "kind: external", "kind: external, attempts: 2", "whoever trains starts a trial again"),
    ("the store", "target:", "reuse: {store: true}\ntarget:", "reuse.store: executor.kind: external reads no text"),
    ("near text", "[proportional, uniform]", "[transport]", "baselines: executor.kind: external reads no text"),
    ("a placeholder", "kind: external", "kind: command, run: 'x {oot}'", "no placeholder {oot}"),
]


@pytest.mark.parametrize(("_name", "was", "becomes", "says"), STUDIES, ids=[name for name, *_ in STUDIES])
def test_what_such_a_study_cannot_say(_name: str, was: str, becomes: str, says: str, tmp_path: Path) -> None:
    assert was in STUDY
    done = program("validate", write_foreign(tmp_path, STUDY.replace(was, becomes, 1)))
    assert done.status == 2, done.stdout
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
