"""The store against real MLflow stores: a SQLite file, and a server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock
from mlflow import MlflowClient

from search.trial import Failure, FailureKind, Trial
from tests.processes import free_port
from tests.tracking.new_store import new_store
from tests.tracking.trials import SETTINGS, measurement, trial
from tracking import keys
from tracking.entries import Closed, Opened, Written
from tracking.errors import TrackingError
from tracking.journal import Journal
from tracking.local_server import local_server
from tracking.mlflow_store import PoolShown, Store, StudyRun
from tracking.record import Subject

SUBJECT = Subject("a study", SETTINGS, "corpus")


@pytest.fixture(scope="module")
def sqlite_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def server_uri(sqlite_uri: str) -> Iterator[str]:
    with local_server(sqlite_uri, free_port()) as server:
        yield server.address


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.create(tmp_path / "journal.jsonl", SUBJECT)
    yield journal
    journal.close()


def study(uri: str, name: str, artifacts: Path) -> StudyRun:
    return Store(uri, name, artifacts).find_or_create(name)  # an experiment keeps its artifacts where it began


def shown(run: StudyRun, which: Trial) -> dict[str, str]:
    """The tags of a trial's run, as the dashboard shows them."""
    [found] = [each for each in run.child_runs() if each.data.tags[keys.TRIAL_ID] == which.id]
    return dict(found.data.tags) | {"status": found.info.status}


def test_a_copy_of_the_journal_is_the_whole_record(sqlite_uri: str, tmp_path: Path, journal: Journal) -> None:
    run = study(sqlite_uri, "copied", tmp_path)
    assert run.record() is None
    answer = {"weights": {f"domain{index}": index / 7 for index in range(2_000)}}
    for entry in (Opened(trial(0.1)), Closed(trial(0.1), measurement(3.0)), Opened(trial(0.2))):
        journal.append(entry)
    assert run.keep(journal) == 3
    journal.append(Written(keys.ANSWER, answer, keys.ANSWER_FILE))
    assert run.keep(journal) == 4

    record = study(sqlite_uri, "copied", tmp_path).record()
    assert record is not None
    assert record.subject == SUBJECT
    assert record.history.completed[0].measurement == measurement(3.0)
    assert record.history.running == (trial(0.2),)
    assert record.written[keys.ANSWER] == answer


def test_a_death_while_the_copy_is_renewed_leaves_the_one_before(
    sqlite_uri: str, tmp_path: Path, journal: Journal
) -> None:
    run = study(sqlite_uri, "torn", tmp_path)
    journal.append(Opened(trial(0.1)))
    run.keep(journal)
    [before] = tmp_path.rglob("*-?.jsonl.zst")

    class Death(BaseException):
        pass

    class DyingClient(MlflowClient):  # the real client, whose process dies before it says which copy is the last
        def log_batch(self, *_: object, **__: object) -> None:
            raise Death

    journal.append(Opened(trial(0.2)))
    run.store.client = DyingClient(sqlite_uri)
    with pytest.raises(Death):
        run.keep(journal)
    for newer in {*tmp_path.rglob("*-?.jsonl.zst")} - {before}:
        newer.write_bytes(newer.read_bytes()[:-7])
    record = study(sqlite_uri, "torn", tmp_path).record()
    assert record is not None
    assert record.history.running == (trial(0.1),)


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_copy_is_one_clear_error(sqlite_uri: str, tmp_path: Path, journal: Journal, damage: str) -> None:
    run = study(sqlite_uri, f"damaged {damage}", tmp_path)
    run.keep(journal)
    [copy] = tmp_path.rglob("*-?.jsonl.zst")
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    match damage:
        case "cut":
            copy.write_bytes(copy.read_bytes()[:-1])
        case "flipped":
            copy.write_bytes(content)
        case "gone":
            copy.unlink()
    with pytest.raises(TrackingError, match="refused|did not give" if damage == "gone" else "is damaged"):
        study(sqlite_uri, f"damaged {damage}", tmp_path).record()


def test_pools_are_data_sets_of_the_study_once_however_often_it_begins(sqlite_uri: str, tmp_path: Path) -> None:
    run = study(sqlite_uri, "pools", tmp_path)
    web = PoolShown("web", "0123456789abcdef" * 4, "data/web/*.jsonl", {"tokens": 1_000, "documents": 12})
    code = PoolShown("code", "declared-40", "", {"tokens": 40})
    run.show_pools([web, code])
    run.show_pools([web, code])
    inputs = run.store.client.get_run(run.run_id).inputs
    assert inputs is not None and len(inputs.dataset_inputs) == 2
    shown = {each.dataset.name: each.dataset for each in inputs.dataset_inputs}
    assert json.loads(shown["web"].profile or "") == {"tokens": 1_000, "documents": 12}
    assert json.loads(shown["web"].source) == {"uri": "data/web/*.jsonl"}
    assert web.digest.startswith(shown["web"].digest)


def test_a_trial_opened_again_after_a_crash_is_one_run(sqlite_uri: str, tmp_path: Path) -> None:
    study(sqlite_uri, "reopened", tmp_path).open(trial(0.4))
    again = study(sqlite_uri, "reopened", tmp_path)
    again.open(trial(0.4))
    assert shown(again, trial(0.4))[keys.STATE] == keys.STATE_RUNNING
    again.close(trial(0.4), measurement(2.0))
    assert shown(again, trial(0.4))[keys.STATE] == keys.STATE_COMPLETED
    assert len(list(again.child_runs())) == 1


def test_a_death_between_the_writes_of_a_close_leaves_the_trial_running(sqlite_uri: str, tmp_path: Path) -> None:
    run = study(sqlite_uri, "half-closed", tmp_path)
    run.open(trial(0.4))

    class Death(BaseException):
        pass

    class DyingClient(MlflowClient):  # the real client, whose process dies at the write that closes the trial
        def set_tag(self, *_: object, **__: object) -> None:
            raise Death

    run.store.client = DyingClient(sqlite_uri)
    with pytest.raises(Death):
        run.close(trial(0.4), measurement(2.0))
    resumed = study(sqlite_uri, "half-closed", tmp_path)
    assert shown(resumed, trial(0.4))[keys.STATE] == keys.STATE_RUNNING
    resumed.open(trial(0.4))
    resumed.close(trial(0.4), measurement(2.0))
    assert shown(resumed, trial(0.4))[keys.STATE] == keys.STATE_COMPLETED
    [child] = resumed.child_runs()
    curve = resumed.store.client.get_metric_history(child.info.run_id, keys.nats("web"))
    assert [point.step for point in curve] == [32_768, 65_536], "a curve point written twice is one row"


def test_a_failed_trial_that_is_tried_again_shows_its_new_outcome(sqlite_uri: str, tmp_path: Path) -> None:
    run = study(sqlite_uri, "retried", tmp_path)
    run.open(trial(0.5))
    run.close(trial(0.5), Failure(FailureKind.ERROR, "x", traceback="of this\n" * 1000 + "in step"))
    assert shown(run, trial(0.5))["status"] == "FAILED"
    note = shown(run, trial(0.5))[keys.NOTE]
    assert note.startswith("error: x\n\n```\n")
    assert note.endswith("of this\nin step\n```"), "the end of its traceback, as a block of code"
    run.open(trial(0.5))
    run.close(trial(0.5), measurement(2.0))
    tags = shown(run, trial(0.5))
    assert (tags["status"], tags[keys.STATE], tags[keys.NOTE]) == ("FINISHED", keys.STATE_COMPLETED, "")


def test_no_failure_becomes_an_observation(sqlite_uri: str, tmp_path: Path) -> None:
    run = study(sqlite_uri, "diverged", tmp_path)
    run.open(trial(0.6))
    run.close(trial(0.6), Failure(FailureKind.DIVERGED, "loss is not finite at step 7"))
    [child] = run.child_runs()
    assert child.info.status == "FAILED"
    assert not child.data.metrics
    assert child.data.tags[keys.NOTE] == "diverged: loss is not finite at step 7"


@pytest.mark.parametrize(
    ("settings", "corpus", "says"),
    [
        ({**SETTINGS, "seed": 1}, "corpus", "another study file; changed: seed"),
        ({"seed": 0, "domains": {"web": {"max": 0.6}, "code": {}}}, "corpus", "changed: domains.web.max"),
        (SETTINGS, "other", "its data have changed since"),
    ],
)
def test_a_study_of_another_file_is_refused(settings: dict[str, object], corpus: str, says: str) -> None:
    with pytest.raises(TrackingError, match=says) as caught:
        SUBJECT.require(settings, corpus)
    assert "another name" in caught.value.hint


def test_a_record_of_a_later_version_is_refused(sqlite_uri: str, tmp_path: Path) -> None:
    run = study(sqlite_uri, "of the future", tmp_path)
    run.set_tags({keys.SCHEMA_VERSION: "99"})
    with pytest.raises(TrackingError, match="schema 99") as caught:
        run.record()
    assert "that version" in caught.value.hint


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"no MLflow server answers at .* \(.*Connection refused\)") as caught:
        Store(f"http://127.0.0.1:{free_port()}", "tests")
    assert "tracking.uri" in caught.value.hint


@pytest.mark.parametrize(
    ("answer", "says", "hint"),
    [
        (b"HTTP/1.0 401 Unauthorized\r\n\r\n", "asks who you are", "MLFLOW_TRACKING_PASSWORD"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "status 404", "tracking.uri"),
        (b"this is no HTTP\r\n", "no MLflow server answers", "tracking.uri"),
    ],
)
def test_a_port_of_something_else(answer: bytes, says: str, hint: str) -> None:
    class Other(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.rfile.readline()
            self.wfile.write(answer)
            self.close_connection = True

    server = HTTPServer(("127.0.0.1", 0), Other)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(TrackingError, match=says) as caught:
            Store(f"http://127.0.0.1:{server.server_port}", "tests")
        assert hint in caught.value.hint
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("login", ["MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD"])
@pytest.mark.parametrize("redirected", ["/health", "/api/"])
def test_no_login_follows_a_redirect(monkeypatch: pytest.MonkeyPatch, login: str, redirected: str) -> None:
    """As to a company's login page, from the first request on or later."""
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers}")
            self.send_response(200)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            return None

    class Named(Elsewhere):
        def do_GET(self) -> None:
            self.send_response(307 if self.path.startswith(redirected) else 200)
            self.send_header("Location", f"http://127.0.0.1:{elsewhere.server_port}{self.path}")
            self.end_headers()

        do_POST = do_GET

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv(login, "hunter2")
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere, HTTPServer(("127.0.0.1", 0), Named) as server:
        for each in (elsewhere, server):
            Thread(target=each.serve_forever, args=(0.02,), daemon=True).start()
        with pytest.raises(TrackingError) as caught:
            Store(f"http://127.0.0.1:{server.server_port}", "tests")
        for each in (elsewhere, server):
            each.shutdown()
    assert not asked
    if redirected == "/health":
        assert f"redirects to http://127.0.0.1:{elsewhere.server_port}/health" in caught.value.message


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is not a database, and long enough to be taken for a damaged one" * 20)
    with pytest.raises(TrackingError, match="is damaged: file is not a database"):
        Store(f"sqlite:///{tmp_path}/mlflow.db", "tests")


def test_a_new_store_that_another_process_goes_on_making_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking.mlflow_store.MADE_WITHIN_SECONDS", 0.1)
    with (
        FileLock(tmp_path / ".mlflow.db.lock"),
        pytest.raises(TrackingError, match="another process has been making the MLflow store") as caught,
    ):
        Store(f"sqlite:///{tmp_path}/mlflow.db", "waits")
    assert "end it" in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.1, 0.4])
def test_a_death_while_a_new_store_is_made_leaves_nothing_half_made(tmp_path: Path, moment: float) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    code = f"from tracking.mlflow_store import Store; print('begun', flush=True); Store({uri!r}, 'first')"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        time.sleep(moment)
        first.send_signal(signal.SIGKILL)
    assert Store(uri, "second").find("a study") is None


@pytest.mark.slow
def test_a_server_holds_the_same_record(server_uri: str, sqlite_uri: str, tmp_path: Path, journal: Journal) -> None:
    run = study(server_uri, "served", tmp_path)
    run.open(trial(0.7))
    run.close(trial(0.7), measurement(1.5), objective=2.0)
    through_file = study(sqlite_uri, "served", tmp_path)
    assert shown(through_file, trial(0.7)) == shown(run, trial(0.7))


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
