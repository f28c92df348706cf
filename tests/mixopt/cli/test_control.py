"""The commands for a study that runs on this machine, as far as they need none that really runs."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import jsonschema
import pytest

from mixopt.base.files import locked
from mixopt.cli.schemas import json_schema
from mixopt.study import wishes
from mixopt.study.plan import Plan
from mixopt.study.record import journal_path
from mixopt.study.wishes import SUPERVISOR, Wish, ask, asked
from proxies.lock import locked as locked_file
from tests.contracts.test_results import RECORDED
from tests.program import mixopt
from tests.simulated import planned
from tests.waiting import until
from tracking import keys
from tracking.entries import Entry, Opened, Written
from tracking.journal import Journal
from tracking.record import Subject


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return planned(tmp_path_factory.mktemp("study"))


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)


@pytest.mark.parametrize(
    ("command", "wish"),
    [(["pause"], Wish.PAUSE), (["stop", "--confirm"], Wish.CONFIRM), (["resume"], None)],
)
def test_what_is_asked_lies_beside_the_journal_of_a_study_that_runs(
    plan: Plan, command: list[str], wish: Wish | None
) -> None:
    folder = plan.file.work_directory
    with locked(folder, "study small"):
        ask(folder, Wish.PAUSE if wish is None else None)
        done = mixopt(*command, plan.file.file, "--json")
        assert done.status == 0, done.stderr
        assert asked(folder) is wish
    answer = json.loads(done.stdout)
    jsonschema.validate(answer, json_schema("asked"))
    assert (answer["study"], answer["asked"], answer["ended"]) == ("small", command[0], False)


def test_resume_says_where_nothing_was_asked_before(plan: Plan) -> None:
    folder = plan.file.work_directory
    with locked(folder, "study small"):
        ask(folder, None)
        assert mixopt("resume", plan.file.file).stdout == "study small was not paused, and goes on as before\n"
        ask(folder, Wish.PAUSE)
        assert mixopt("resume", plan.file.file).stdout == "study small goes on\n"


@pytest.fixture(scope="module")
def answered() -> Written:
    """The answer in which a study ended."""
    answer = json.loads((RECORDED / "answer.json").read_text())
    return Written(keys.ANSWER, answer | {"ended": True}, keys.ANSWER_FILE)


@pytest.mark.parametrize(
    ("verb", "wish", "records", "status", "says"),
    [
        ("stop", Wish.STOP, ["trial", "answer"], 0, "has ended; mixopt best"),
        ("stop", Wish.STOP, ["trial"], 1, "has ended without an answer; mixopt logs"),
        ("stop", Wish.STOP, ["answer", "trial"], 1, "has ended without an answer"),
        ("stop", Wish.STOP, None, 1, "has ended without an answer"),
        ("cancel", Wish.CANCEL, ["trial"], 0, "was cancelled"),
    ],
)
def test_who_ends_a_study_waits_until_nobody_runs_it_and_learns_whether_it_has_an_answer(
    plan: Plan, answered: Written, verb: str, wish: Wish, records: list[str] | None, status: int, says: str
) -> None:
    folder = plan.file.work_directory
    heard: list[Wish | None] = []
    entries: dict[str, Entry] = {"trial": Opened(plan.problem.baseline_trials[0]), "answer": answered}
    path = journal_path(plan.file)
    path.unlink(missing_ok=True)

    def drive() -> None:
        with locked(folder, "study small"):
            begun.set()
            while asked(folder) is None:
                ended.wait(0.02)
            heard.append(asked(folder))
            if records is not None:
                subject = Subject(plan.file.study, plan.deciding(), plan.pools.fingerprint)
                Journal.create(path, subject, (), [entries[each] for each in records]).close()

    begun, ended = threading.Event(), threading.Event()
    ask(folder, None)
    driver = threading.Thread(target=drive)
    driver.start()
    assert begun.wait(10)
    done = mixopt(verb, plan.file.file)
    driver.join(10)
    path.unlink(missing_ok=True)
    assert (done.status, heard) == (status, [wish]), done.stderr
    assert f"study small {says}" in done.stdout


def test_who_stops_a_study_whose_driver_dies_waits_for_the_one_that_its_supervisor_starts(
    plan: Plan, answered: Written
) -> None:
    folder, path = plan.file.work_directory, journal_path(plan.file)
    path.unlink(missing_ok=True)
    ask(folder, None)
    begun = threading.Event()

    def supervise() -> None:
        with locked_file(folder / SUPERVISOR):
            with locked(folder, "study small"):
                begun.set()
                until(lambda: asked(folder) is Wish.STOP, every=0.02)
            time.sleep(1.0)  # it died, and is started again after a pause
            with locked(folder, "study small"):
                subject = Subject(plan.file.study, plan.deciding(), plan.pools.fingerprint)
                Journal.create(path, subject, (), [Opened(plan.problem.baseline_trials[0]), answered]).close()
            ask(folder, None)

    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    assert begun.wait(10)
    done = mixopt("stop", plan.file.file)
    supervisor.join(10)
    path.unlink(missing_ok=True)
    assert done.status == 0, done.stdout
    assert "study small has ended; mixopt best" in done.stdout


def test_between_two_drivers_a_study_can_be_paused(plan: Plan) -> None:
    folder = plan.file.work_directory
    with locked_file(folder / SUPERVISOR):
        done = mixopt("pause", plan.file.file, "--json")
        assert asked(folder) is Wish.PAUSE
    ask(folder, None)
    assert json.loads(done.stdout)["driver"].startswith("the supervisor (process ")


@pytest.mark.parametrize("verb", ["stop", "cancel"])
def test_a_study_that_does_not_end_is_an_error(plan: Plan, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("ANSWER_WITHIN_SECONDS", "CANCELLED_WITHIN_SECONDS"):
        monkeypatch.setattr(wishes, limit, 0.1)
    with locked(plan.file.work_directory, "study small"):
        done = mixopt(verb, plan.file.file)
    ask(plan.file.work_directory, None)
    assert done.status == 2
    assert "study small is still being run by process" in done.stderr


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_study_that_nobody_runs_can_be_neither_paused_nor_resumed(plan: Plan, verb: str) -> None:
    done = mixopt(verb, plan.file.file)
    assert done.status == 2
    assert done.stderr == (
        f"error: study small is not being run on this machine; go on with it: mixopt run {plan.file.file}\n"
    )


@pytest.mark.parametrize(("verb", "status"), [("stop", 1), ("cancel", 0)])
def test_a_study_that_nobody_runs_has_ended_already_and_this_one_without_an_answer(
    plan: Plan, verb: str, status: int
) -> None:
    done = mixopt(verb, plan.file.file)
    assert done.status == status
    assert "study small is not being run on this machine; mixopt best" in done.stdout


def test_a_name_alone_is_none_of_this_machine() -> None:
    done = mixopt("cancel", "small")
    assert done.status == 2
    assert "study small: one of this machine is known by its file" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_study_that_is_run_can_be_planned_and_prepared_meanwhile(plan: Plan) -> None:
    with locked(plan.file.work_directory, "study small"):
        done = mixopt("plan", plan.file.file, "--no-probe")
        assert done.status == 0, done.stderr
        assert mixopt("prepare", plan.file.file).status == 0
        (plan.file.file.parent / "data" / "more.jsonl").write_text('{"text": "more of it"}\n')
        text = plan.file.file.read_text()
        plan.file.file.write_text(text.replace("data/prose.jsonl", "[data/prose.jsonl, data/more.jsonl]"))
        refused = mixopt("plan", plan.file.file, "--no-probe")
        plan.file.file.write_text(text)
    assert refused.status == 2
    assert "study small is being run by process" in refused.stderr, "to prepare it anew would take its text away"


def test_the_status_of_a_study_that_has_not_begun_makes_nothing(tmp_path: Path) -> None:
    study = planned(tmp_path).file.file
    assert "has not run yet" in mixopt("status", study).stderr
