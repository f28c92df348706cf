"""Studies that earlier versions began are read, resumed, reported and exported."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from mixopt.settings.reading import load
from mixopt.study.record import fetch_record, journal_path, read_record
from search.seeds import is_of_search
from tests.e2e.study import SEARCH_TRIALS, answer_of, numbers, recorded
from tests.processes import free_port
from tests.program import mixopt
from tracking import keys
from tracking.errors import TrackingError
from tracking.journal import SCHEMA, read_header

RECORDED = Path(__file__).parents[1] / "data" / "recorded-0.1.0"
WHERE_IT_RAN = "/tmp/mixopt-0.1.0"


def unpacked(folder: Path, which: str) -> Path:
    """The study file of a study that 0.1.0 left, as if it had run in this folder."""
    with (RECORDED / f"{which}.tar.zst").open("rb") as packed:
        content = zstandard.ZstdDecompressor().stream_reader(packed).read()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")
    database = sqlite3.connect(folder / which / ".mixopt" / "mlflow.db")
    for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
        database.execute(f"update {table} set {column} = replace({column}, ?, ?)", (WHERE_IT_RAN, str(folder)))
    database.commit()
    database.close()
    # MLflow's client remembers, for the whole process, where the artifacts of a run are: here each test has its own.
    _artifact_repos_cache.clear()
    study = folder / which / "study.yaml"
    # What was the default then, and is how such a study goes on as it began.
    study.write_text(study.read_text().replace("search: {", "search: {strategy: regmix, "))
    return study


@pytest.fixture(autouse=True)
def recorded_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were trained in bf16, which is part of the studies, and not every processor computes in it."""
    monkeypatch.setattr("proxies.recipe.native_precision", lambda device: "bf16")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return unpacked(tmp_path, "finished")


def answer_then(study: Path) -> dict[str, Any]:
    """The answer as 0.1.0 wrote it."""
    [file] = study.parent.rglob("answer.json")
    answer: dict[str, Any] = json.loads(file.read_text())
    return answer


def test_the_journal_and_the_tags_say_the_same(finished: Path) -> None:
    file = load(finished)
    from_journal, from_mlflow = read_record(file), fetch_record(file)
    assert from_mlflow is not None
    assert from_journal.history == from_mlflow.history
    assert from_journal.subject == from_mlflow.subject
    assert from_journal.written[keys.ANSWER] == from_mlflow.written[keys.ANSWER] == answer_then(finished)


def test_its_record_is_read_where_mlflow_is_away(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert read_record(load(finished)).written[keys.ANSWER] == answer_then(finished)


def test_another_file_than_it_began_with_is_noticed(finished: Path) -> None:
    finished.write_text(finished.read_text().replace("seed: 3", "seed: 4"))
    with pytest.raises(TrackingError, match="another study file; changed: seed"):
        read_record(load(finished))


def test_the_commands_know_its_answer(finished: Path) -> None:
    then = answer_then(finished)
    assert answer_of("best", finished)["mixture"] == then["mixture"]
    assert answer_of("status", finished)["trials"]["completed"]["total"] == then["trials"]["completed"]
    assert then["verdict"] in mixopt("export", finished, "-f", "nanotron").stdout
    assert len(answer_of("runs", finished)["runs"]) == then["trials"]["completed"]


@pytest.mark.slow
def test_running_it_again_trains_nothing_and_gives_the_same_answer(finished: Path) -> None:
    then, before = answer_then(finished), read_record(load(finished)).history
    assert answer_of("run", finished)["mixture"] == pytest.approx(then["mixture"], abs=1e-9)
    record = read_record(load(finished))
    assert record.history == before
    assert read_header(journal_path(load(finished))).schema == SCHEMA
    assert fetch_record(load(finished)) == record, "from now on MLflow has a copy of the journal"


@pytest.mark.slow
@pytest.mark.parametrize("journal", ["here", "lost"])
def test_one_that_was_killed_goes_on(finished: Path, tmp_path: Path, journal: str) -> None:
    half = unpacked(tmp_path, "half")
    before = read_record(load(half)).history
    assert 0 < len(before.completed) < SEARCH_TRIALS
    if journal == "lost":
        journal_path(load(half)).unlink()
        shutil.rmtree(load(half).work_directory / "checkpoints", ignore_errors=True)
    answer = answer_of("run", half)
    # What is trained now may have other last bits than on the machine of then.
    assert answer["mixture"] == pytest.approx(answer_then(finished)["mixture"], abs=0.01)
    now, then = recorded(half), read_record(load(finished)).history
    searched, searched_then = ({t.id for t in each.trials if is_of_search(t.seed)} for each in (now, then))
    assert searched == searched_then
    assert len(now.completed) == len(then.completed)
    assert numbers(before).items() <= numbers(now).items()
    # On the documents that it began with, and it says so.
    assert any("prepared by an earlier mixopt" in note for note in answer["notes"])
    assert not any(entry.measurement.documents for entry in now.completed)
    assert answer["confirmation"]["over"] == "seeds"
