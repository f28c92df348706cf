"""A study that begins, or goes on, while its MLflow does not answer."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mixopt.settings.environment import JOB_VARIABLE
from mixopt.settings.reading import load
from mixopt.study.plan import Plan
from mixopt.study.record import (
    await_store,
    check_begun,
    fetch_record,
    goes_on_without_store,
    journal_path,
    mark_submitted,
    open_store,
)
from mixopt.study.recording import begin
from search.history import History
from search.trial import Trial
from tests.e2e.study import STUDY, answer_of, write_study
from tests.processes import free_port
from tests.program import COMMAND, mixopt
from tests.simulated import measured, planned
from tests.tracking.new_store import new_store
from tests.waiting import until
from tracking import keys
from tracking.entries import Finished, Opened
from tracking.errors import OtherSubject, TrackingAway, WentOnElsewhere
from tracking.journal import Journal, read_record
from tracking.local_server import local_server
from tracking.mlflow_store import StudyRun
from tracking.recorder import Away, Recorder


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracking.recorder.LONGEST_PAUSE", 0.5)
    monkeypatch.setattr("tracking.database.ANSWER_WITHIN_SECONDS", 2.5)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return planned(tmp_path, STUDY)


def trials(plan: Plan, count: int) -> list[Trial]:
    return plan.strategy.ask(History(), count)


def measure(recorder: Recorder, *some: Trial) -> None:
    for trial in some:
        recorder.open(trial)
        recorder.close_trial(trial, measured(trial), 1.0)


def ran(plan: Plan, *some: Trial) -> None:
    """A driver that measured these trials, MLflow at hand."""
    with begin(plan, open_store(plan.file)) as recorder:
        measure(recorder, *some)
        assert recorder.drain(60)


@contextmanager
def locked(plan: Plan) -> Iterator[None]:
    """Another program keeps the store's file to itself."""
    holder = sqlite3.connect(plan.file.home / "mlflow.db", isolation_level=None)
    holder.execute("begin exclusive")
    try:
        yield
    finally:
        holder.close()


def in_mlflow(plan: Plan) -> History:
    record = fetch_record(plan.file)
    assert record is not None
    return record.history


def test_a_study_goes_on_from_its_journal_and_mlflow_gets_it_later(plan: Plan) -> None:
    one, two, three = trials(plan, 3)
    ran(plan, one)
    with locked(plan):
        assert check_begun(plan.file, None) is not None
        recorder = begin(plan, None)
        assert set(recorder.begun.history.measurements) == {one.id}
        assert recorder.run_id and recorder.experiment_id, "remembered"
        measure(recorder, two)
        until(lambda: "locked" in str(recorder.trouble))
        with pytest.raises(TrackingAway):
            recorder.attach("a report", "report.html")
        assert not recorder.drain(1)
    with recorder:
        measure(recorder, three)
        assert recorder.drain(60)
        assert recorder.trouble is None
    assert in_mlflow(plan) == read_record(journal_path(plan.file)).history
    assert set(in_mlflow(plan).measurements) == {one.id, two.id, three.id}


def test_a_driver_that_ends_before_mlflow_is_back_leaves_it_to_the_next(plan: Plan) -> None:
    one, two = trials(plan, 2)
    ran(plan, one)
    with locked(plan), begin(plan, None) as recorder:
        measure(recorder, two)
    ran(plan)
    assert set(in_mlflow(plan).measurements) == {one.id, two.id}


def test_an_mlflow_that_comes_back_from_a_backup_gets_what_it_lost(plan: Plan) -> None:
    one, two, three = trials(plan, 3)
    database = plan.file.home / "mlflow.db"
    ran(plan, one)
    shutil.copy(database, database.with_suffix(".backup"))
    ran(plan, two)
    shutil.copy(database.with_suffix(".backup"), database)
    with begin(plan, None) as recorder:
        measure(recorder, three)
        assert recorder.drain(60)
    assert set(in_mlflow(plan).measurements) == {one.id, two.id, three.id}


def test_what_mlflow_has_is_remembered_there_whatever_becomes_of_the_driver(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where none of what is recorded says so, and MLflow is away when the driver ends."""
    monkeypatch.setattr("tracking.recorder.COPY_SECONDS", 0.1)

    def sent() -> int:
        run = open_store(plan.file).find(plan.file.study)
        return 0 if run is None else int(run.tags[keys.SENT])

    with begin(plan, open_store(plan.file)) as recorder:
        measure(recorder, *trials(plan, 3))
        assert recorder.drain(60)
        until(lambda: sent() == recorder.entries)


def test_an_entry_of_which_an_interruption_told_nobody_is_sent(plan: Plan) -> None:
    one, two = trials(plan, 2)
    with begin(plan, open_store(plan.file)) as recorder:
        recorder._journal.append(Opened(one))  # and Ctrl-C comes before its thread is told
        measure(recorder, two)
        assert recorder.drain(60)
        assert recorder.unsent == 0
    assert [trial.id for trial in in_mlflow(plan).running] == [one.id]
    with begin(plan, open_store(plan.file)) as recorder:
        recorder.close_trial(one, measured(one), 1.0)
        recorder._journal.append(Finished())
        assert recorder.drain(60), "also the last of all"
    assert in_mlflow(plan) == read_record(journal_path(plan.file)).history


def test_a_recorder_that_was_closed_claims_nothing(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook its thread outlives it: MLflow answers after that."""
    monkeypatch.setattr("tracking.recorder.CLOSE_SECONDS", 0.1)
    ran(plan)
    run = open_store(plan.file).find_or_create(plan.file.study)
    asked, answers = threading.Event(), threading.Event()

    def claim(_: StudyRun) -> None:
        asked.set()
        answers.wait()

    journal = Journal(journal_path(plan.file))
    recorder = Recorder(Away(TrackingAway("away"), lambda: (run, journal.sent), claim), journal)
    asked.wait()
    recorder.close()
    answers.set()
    until(lambda: not recorder._thread.is_alive())
    assert not run.current_tags().get(keys.DRIVER)


def test_a_new_mlflow_gets_all_of_it(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = trials(plan, 2)
    ran(plan, one)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path / "other"))
    with begin(plan, None) as recorder:
        before = recorder.run_id
        measure(recorder, two)
        assert recorder.drain(60)
        assert recorder.run_id != before
    assert set(in_mlflow(plan).measurements) == {one.id, two.id}
    record = fetch_record(plan.file)
    assert record is not None and record.tags["mixopt.run"] == recorder.run_id


@pytest.mark.parametrize("how", ["with a journal of its own", "with the same journal, of which an old copy is here"])
def test_a_study_that_went_on_elsewhere_ends_safely_and_then_has_both(plan: Plan, how: str) -> None:
    one, two, three = trials(plan, 3)
    ran(plan, one)
    path = journal_path(plan.file)
    stale = path.read_bytes()
    if "own" in how:
        path.unlink()
    ran(plan, two)
    path.write_bytes(stale)
    with pytest.raises(WentOnElsewhere, match=r"MLflow, which is back, has 1 trials that .* lacks") as caught:
        with locked(plan):
            recorder = begin(plan, None)
            # Long enough to be taken for one that goes on where MLflow's copy of it ends.
            measure(recorder, three, three, three)
        with recorder:
            recorder.drain(60)
    assert "run it again" in caught.value.hint
    assert set(in_mlflow(plan).measurements) == {one.id, two.id}, "nothing there was written over"
    ran(plan)
    assert set(in_mlflow(plan).measurements) == {one.id, two.id, three.id}
    assert set(read_record(path).history.measurements) == {one.id, two.id, three.id}


def test_what_was_begun_elsewhere_and_measured_here_is_no_reason_to_end(plan: Plan) -> None:
    one, two = trials(plan, 2)
    ran(plan, one)
    path = journal_path(plan.file)
    stale = path.read_bytes()
    path.unlink()
    with begin(plan, open_store(plan.file)) as elsewhere:
        elsewhere.open(two)
        assert elsewhere.drain(60)
    path.write_bytes(stale)
    with begin(plan, None) as recorder:
        measure(recorder, two)
        assert recorder.drain(60)
    assert set(in_mlflow(plan).measurements) == {one.id, two.id}


@pytest.mark.slow
def test_an_mlflow_that_goes_away_while_the_text_is_prepared_stops_no_study_that_has_begun(plan: Plan) -> None:
    one, two = trials(plan, 2)
    ran(plan, one)
    store = open_store(plan.file)
    with locked(plan):
        recorder = begin(plan, store)
        assert recorder.trouble is not None
        measure(recorder, two)
    with recorder:
        assert recorder.drain(60)
    assert set(in_mlflow(plan).measurements) == {one.id, two.id}


def test_a_journal_of_another_corpus_begins_nothing(plan: Plan) -> None:
    ran(plan, *trials(plan, 1))
    other = replace(plan, pools=replace(plan.pools, fingerprint="another"))
    with pytest.raises(OtherSubject, match="begun on other text"):
        begin(other, None)


def test_without_a_journal_the_study_does_not_begin(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    done = mixopt("run", plan.file.file)
    assert done.status == 2 and time.monotonic() - began < 20
    assert "no MLflow server answers at http://127.0.0.1:" in done.stderr and "start it" in done.stderr
    assert "goes on" not in done.stderr


def test_a_study_that_was_submitted_since_does_not_go_on_from_what_was_here_before(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(plan, *trials(plan, 1))
    assert goes_on_without_store(plan.file)
    mark_submitted(plan.file, "http://head:8265")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert mixopt("run", plan.file.file).status == 2


def test_a_job_without_a_journal_waits_and_says_so(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixopt.study.record.STORE_AWAY_SECONDS", 1.0)
    monkeypatch.setattr("mixopt.study.record.LOOK_AGAIN_SECONDS", 0.2)
    monkeypatch.setenv(JOB_VARIABLE, "job")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    remarks: list[str] = []
    with pytest.raises(TrackingAway):
        await_store(plan.file, remarks.append)
    assert remarks and remarks[0].startswith("waiting for MLflow: no MLflow server answers at http://127.0.0.1:")
    ran_before = journal_path(plan.file)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    ran(plan)
    assert ran_before.exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    remarks.clear()
    with pytest.raises(TrackingAway):
        await_store(plan.file, remarks.append)
    assert not remarks, "it goes on from its journal"


def test_a_redirect_in_the_place_of_mlflow_ends_the_start_at_once(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", "http://elsewhere.invalid/health")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    ran(plan, *trials(plan, 1))
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        done = mixopt("run", plan.file.file)
        server.shutdown()
    assert done.status == 2
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert "redirects to http://elsewhere.invalid/health" in line


@pytest.mark.slow
def test_a_run_goes_on_without_its_server_says_so_and_says_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole program against a real server: begun, both ended, begun again before the server."""
    port = free_port()
    uri, store = f"http://127.0.0.1:{port}", new_store(tmp_path / "store")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    path = write_study(tmp_path / "study", STUDY.replace("tokens: 4k", "tokens: 8k"))
    file = load(path)

    def driver(log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as said:
            return subprocess.Popen([*COMMAND, "run", str(path)], stdout=said, stderr=said, env=dict(os.environ))

    def measured_here() -> int:
        there = journal_path(file)
        return len(read_record(there).history.completed) if there.exists() else 0

    with local_server(store, port):
        first = driver(tmp_path / "first")
        until(lambda: measured_here() >= 1 or first.poll() is not None)
        first.kill()
        first.wait()
    before = measured_here()
    second = driver(tmp_path / "second")
    try:
        until(lambda: measured_here() > before or second.poll() is not None, otherwise=(tmp_path / "second").read_text)
        says = f"no MLflow server answers at {uri} ([Errno 111] Connection refused); the study goes on from its journal"
        assert says in (tmp_path / "second").read_text()
        assert says in (file.work_directory / "mixopt.log").read_text()
        status = answer_of("status", path)
        assert status["activity"] == "running" and f"process {second.pid}" in status["driver"]
        assert status["trials"]["completed"]["total"] > before
        assert re.fullmatch(
            rf"no MLflow server answers at {uri} \(.*\); \d+ records wait for it", status["mlflow_away"]
        )
        with local_server(store, port):
            assert second.wait(timeout=300) == 0, (tmp_path / "second").read_text()
            record = fetch_record(file)
    finally:
        second.kill()
        second.wait()
    assert "MLflow is back, and has every record" in (tmp_path / "second").read_text()
    assert record is not None and record.history == read_record(journal_path(file)).history
    assert answer_of("status", path)["mlflow_away"] is None
