"""The recorder against real MLflow servers that go away, and come back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from search.history import History
from search.trial import Failure, FailureKind
from tests.processes import family, free_port, kill
from tests.tracking.new_store import new_store
from tests.tracking.trials import SETTINGS, measurement, trial, trial_runs
from tests.waiting import until
from tracking import keys
from tracking.entries import Opened
from tracking.errors import TrackingError
from tracking.journal import Journal, read_record
from tracking.local_server import local_server
from tracking.mlflow_store import Store, StudyRun
from tracking.record import Subject
from tracking.recorder import Recorder

pytestmark = pytest.mark.slow

SERVED = "served"


@pytest.fixture(scope="module")
def store_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


def record_of(uri: str, study: str) -> StudyRun:
    # A server keeps artifacts itself; an experiment that it made has none without it.
    experiment = "served" if study == SERVED else "direct"
    artifacts = Path(uri.removeprefix("sqlite:///")).parent
    return Store(uri, experiment, artifacts).find_or_create(study)


def recorded(uri: str, study: str) -> History:
    """As anybody reads it who has MLflow alone."""
    record = record_of(uri, study).record()
    assert record is not None
    return record.history


@contextmanager
def recorder_of(uri: str, study: str, journal: Path) -> Iterator[Recorder]:
    there = Journal(journal) if journal.exists() else Journal.create(journal, Subject(study, SETTINGS, "corpus"))
    with Recorder(record_of(uri, study), there) as recorder:
        yield recorder


def test_a_server_that_dies_and_comes_back_misses_nothing(
    store_uri: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking.recorder.LONGEST_PAUSE", 0.5)
    journal = tmp_path / "journal.jsonl"
    uri = f"http://127.0.0.1:{port}"
    with local_server(store_uri, port) as server, recorder_of(uri, SERVED, journal) as recording:
        recording.open(trial(0.1))
        recording.open(trial(0.2))
        assert recording.drain(30)
        kill(family(psutil.Process(server.process.pid)))
        server.process.wait()
        recording.close_trial(trial(0.1), measurement(2.0), 2.0)
        recording.open(trial(0.3))
        recording.restarted(trial(0.2), 2, "the worker died")
        recording.progress(trial(0.3), 10, measurement(4.0).losses)
        recording.close_trial(trial(0.2), Failure(FailureKind.DIVERGED, "loss 1e9"), None)
        until(lambda: recording.trouble is not None)
        assert not recording.drain(0.1)
        with local_server(store_uri, port):
            assert recording.drain(60)
            assert recording.trouble is None
            history = recorded(uri, SERVED)
    assert history == read_record(journal).history
    assert [entry.trial.id for entry in history.completed] == [trial(0.1).id]
    assert [entry.trial.id for entry in history.failed] == [trial(0.2).id]
    assert [running.id for running in history.running] == [trial(0.3).id]


def test_what_a_dead_driver_had_not_sent_is_sent_by_the_next(store_uri: str, port: int, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with recorder_of(store_uri, "left over", journal) as recording:
        recording.open(trial(0.1))
        assert recording.drain(30)
    dying = Journal(journal)
    dying.append(Opened(trial(0.2)))
    dying.close()
    with recorder_of(store_uri, "left over", journal) as recording:
        assert {each.id for each in recording.begun.history.running} == {trial(0.1).id, trial(0.2).id}
        assert recording.drain(30)
    assert recorded(store_uri, "left over") == read_record(journal).history


def test_entries_that_are_sent_twice_change_nothing(store_uri: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with recorder_of(store_uri, "twice", journal) as recording:
        recording.open(trial(0.1))
        recording.close_trial(trial(0.1), measurement(2.0), 2.0)
        recording.open(trial(0.2))
        recording.log_metrics({keys.COMPLETED_TRIALS: 1.0}, 1, {keys.SEARCH_SECONDS: "2.0"})
        recording.write(keys.ANSWER, {"mixture": {"web": 1.0}}, keys.ANSWER_FILE)
        assert recording.drain(30)
    again = Journal(journal)
    again.mark_sent(0)
    again.close()
    with recorder_of(store_uri, "twice", journal) as recording:
        assert recording.drain(30)
    record = record_of(store_uri, "twice")
    runs = trial_runs(record)
    assert set(runs) == {trial(0.1).id, trial(0.2).id}
    assert recorded(store_uri, "twice") == read_record(journal).history
    whole = record.record()
    assert whole is not None and whole.tags[keys.SEARCH_SECONDS] == "2.0"
    assert keys.SEARCH_SECONDS not in record.current_tags(), "no person reads it"
    curve = record.store.client.get_metric_history(runs[trial(0.1).id].info.run_id, keys.nats("web"))
    assert len(curve) == 2


def test_a_store_that_goes_on_refusing_ends_the_study(
    store_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking.recorder.REFUSED_FOR_SECONDS", 0.0)
    with recorder_of(store_uri, "deleted", tmp_path / "journal.jsonl") as recording:
        record_of(store_uri, "deleted").store.client.delete_run(recording.run_id)
        recording.log_metrics({keys.COMPLETED_TRIALS: 1.0}, 1, {})
        with pytest.raises(TrackingError, match="refused"):
            recording.drain(30)
        with pytest.raises(TrackingError, match="refused"):
            recording.open(trial(0.1))


def test_an_empty_history_is_one(store_uri: str, tmp_path: Path) -> None:
    with recorder_of(store_uri, "new", tmp_path / "journal.jsonl") as recording:
        assert recording.begun.history == History()
        assert recording.drain(30)
