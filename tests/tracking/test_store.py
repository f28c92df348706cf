"""The store against real MLflow stores: a SQLite file, and a server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from search.history import History
from search.trial import Failure, FailureKind
from tests.processes import free_port
from tests.tracking.new_store import new_store
from tests.tracking.trials import SETTINGS, measurement, trial, trial_runs
from tracking import names
from tracking.errors import TrackingError
from tracking.server import local_server
from tracking.store import Store, StudyRecord


@pytest.fixture(scope="module")
def sqlite_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def server_uri(sqlite_uri: str) -> Iterator[str]:
    with local_server(sqlite_uri, free_port()) as server:
        yield server.address


def study(uri: str, name: str, artifacts: Path) -> StudyRecord:
    return Store(uri, "tests", artifacts).resume_or_create(name, SETTINGS, "corpus")


def test_everything_recorded_is_read_back_by_another_process(sqlite_uri: str, tmp_path: Path) -> None:
    record = study(sqlite_uri, "round-trip", tmp_path)
    done, dead, alive = trial(0.1), trial(0.2), trial(0.3)
    for each in (done, dead, alive):
        record.open(each)
    record.progress(done, 32_768, measurement(3.0).losses)
    record.close(done, measurement(3.0), objective=3.5)
    record.close(dead, Failure(FailureKind.DIVERGED, "loss 1e9 at step 3", 1.0))
    history = study(sqlite_uri, "round-trip", tmp_path).history()
    assert [entry.trial.id for entry in history.completed] == [done.id]
    assert history.completed[0].measurement == measurement(3.0)
    assert [(entry.trial.id, entry.failure.kind) for entry in history.failed] == [(dead.id, FailureKind.DIVERGED)]
    assert [each.id for each in history.running] == [alive.id]


def test_a_trial_opened_again_after_a_crash_is_one_run(sqlite_uri: str, tmp_path: Path) -> None:
    study(sqlite_uri, "reopened", tmp_path).open(trial(0.4))
    record = study(sqlite_uri, "reopened", tmp_path)
    assert len(record.history().running) == 1
    record.open(trial(0.4))
    record.close(trial(0.4), measurement(2.0))
    again = study(sqlite_uri, "reopened", tmp_path)
    assert len(again.history().completed) == 1
    assert list(trial_runs(again)) == [trial(0.4).id]


def test_a_death_between_the_writes_of_a_close_leaves_the_trial_running(sqlite_uri: str, tmp_path: Path) -> None:
    record = study(sqlite_uri, "half-closed", tmp_path)
    record.open(trial(0.4))

    class Death(BaseException):
        pass

    class DyingClient(MlflowClient):  # the real client, whose process dies at the write that closes the trial
        def set_tag(self, *_: object, **__: object) -> None:
            raise Death

    record.store.client = DyingClient(sqlite_uri)
    with pytest.raises(Death):
        record.close(trial(0.4), measurement(2.0))
    resumed = study(sqlite_uri, "half-closed", tmp_path)
    assert [each.id for each in resumed.history().running] == [trial(0.4).id]
    resumed.open(trial(0.4))
    resumed.close(trial(0.4), measurement(2.0))
    history = study(sqlite_uri, "half-closed", tmp_path).history()
    assert history.completed[0].measurement == measurement(2.0)
    run_id = trial_runs(resumed)[trial(0.4).id].info.run_id
    curve = resumed.store.client.get_metric_history(run_id, names.nats("web"))
    assert [point.step for point in curve] == [32_768, 65_536], "a curve point written twice is one row"


def test_a_failed_trial_that_is_tried_again_counts_by_its_new_outcome(sqlite_uri: str, tmp_path: Path) -> None:
    record = study(sqlite_uri, "retried", tmp_path)
    record.open(trial(0.5))
    record.close(trial(0.5), Failure(FailureKind.ERROR, "x"))
    record.open(trial(0.5))
    record.close(trial(0.5), measurement(2.0))
    history = study(sqlite_uri, "retried", tmp_path).history()
    assert (len(history.completed), len(history.failed)) == (1, 0)


def test_no_failure_becomes_an_observation(sqlite_uri: str, tmp_path: Path) -> None:
    record = study(sqlite_uri, "diverged", tmp_path)
    record.open(trial(0.6))
    record.close(trial(0.6), Failure(FailureKind.DIVERGED, "loss is not finite at step 7"))
    run = trial_runs(record)[trial(0.6).id]
    assert run.info.status == "FAILED"
    assert not run.data.metrics
    assert run.data.tags[names.NOTE] == "diverged: loss is not finite at step 7"


@pytest.mark.parametrize(
    ("settings", "corpus", "says"),
    [
        ({**SETTINGS, "seed": 1}, "corpus", "another study file; changed: seed"),
        ({"seed": 0, "domains": {"web": {"max": 0.6}, "code": {}}}, "corpus", "changed: domains.web.max"),
        (SETTINGS, "other", "its data have changed since"),
    ],
)
def test_a_study_of_another_file_is_refused(
    sqlite_uri: str, tmp_path: Path, settings: dict[str, object], corpus: str, says: str
) -> None:
    study(sqlite_uri, "taken", tmp_path)
    with pytest.raises(TrackingError, match=says):
        Store(sqlite_uri, "tests").resume_or_create("taken", settings, corpus)


def test_long_values_are_kept_whole(sqlite_uri: str, tmp_path: Path) -> None:
    record = study(sqlite_uri, "answer", tmp_path)
    answer = {"weights": {f"domain{index}": index / 7 for index in range(2_000)}}
    record.write(names.ANSWER, answer, names.ANSWER_FILE)
    assert study(sqlite_uri, "answer", tmp_path).read(names.ANSWER) == answer


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="no MLflow server answers") as caught:
        Store(f"http://127.0.0.1:{free_port()}", "tests")
    assert "tracking.uri" in caught.value.hint


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is not a database, and long enough to be taken for a damaged one" * 20)
    with pytest.raises(TrackingError, match=r"does not work: .*not a database"):
        Store(f"sqlite:///{tmp_path}/mlflow.db", "tests")


@pytest.mark.slow
def test_a_server_holds_the_same_record(server_uri: str, sqlite_uri: str, tmp_path: Path) -> None:
    record = study(server_uri, "served", tmp_path)
    record.open(trial(0.7))
    record.close(trial(0.7), measurement(1.5), objective=2.0)
    record.write(names.ANSWER, {"mixture": {"web": 1.0}}, names.ANSWER_FILE)
    record.finish()
    through_server = study(server_uri, "served", tmp_path).history()
    through_file = study(sqlite_uri, "served", tmp_path).history()
    assert through_server == through_file
    assert isinstance(through_server, History)
    assert through_server.completed[0].measurement == measurement(1.5)


@pytest.mark.slow
def test_a_taken_port_is_said_at_once(server_uri: str, sqlite_uri: str) -> None:
    port = int(server_uri.rpartition(":")[2])
    with pytest.raises(TrackingError, match="taken"), local_server(sqlite_uri, port):
        pass


def test_studies_that_begin_at_once_share_an_experiment(sqlite_uri: str, tmp_path: Path) -> None:
    def begin(number: int) -> str:
        return Store(sqlite_uri, "begun at once", tmp_path).experiment_id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(begin, range(8)))) == 1
