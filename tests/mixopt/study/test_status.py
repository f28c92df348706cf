"""What somebody in another terminal sees of a study that runs."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mixopt.base.files import locked
from mixopt.cli.tables.status import status_table
from mixopt.results.status import Status
from mixopt.settings.reading import load
from mixopt.study import now
from mixopt.study.loop import Loop
from mixopt.study.mlflow_page.tally import Tally
from mixopt.study.now import Now, Teller
from mixopt.study.objective import objective_in, objective_of
from mixopt.study.plan import Plan
from mixopt.study.progress import LineWatcher, Several
from mixopt.study.record import fetch_record, open_store
from mixopt.study.recording import begin
from mixopt.study.status import build_status, status_of
from mixopt.workers.messages import Event, Notice, TrialEnd, TrialProgress
from proxies.data.corpus import Progress
from proxies.device import SLOWER
from search.seeds import is_of_search
from search.trial import Failure, FailureKind, Measurement, Trial
from tests.e2e.study import STUDY, write_study
from tests.simulated import Simulated, measured, planned
from tests.waiting import until
from tracking.errors import TrackingError
from tracking.recorder import Recorder


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(now, "WRITE_SECONDS", 0.02)


class Halfway(Simulated):
    """Says how far each trial is before it ends, and then lets somebody look."""

    slots = 1

    def __init__(self, look: Callable[[Trial], None], becomes: Callable[[Trial], Measurement | Failure] = measured):
        super().__init__()
        self._look = look
        self._becomes = becomes

    def events(self) -> Iterator[Event]:  # type: ignore[override]
        while self._launched:
            trial = self._launched.pop(0).trial
            yield TrialProgress(trial, trial.fidelity.tokens // 2, 3.0, 1000.0, None)
            self._look(trial)
            yield TrialEnd(trial, self._becomes(trial))


def drive(plan: Plan, machines: Simulated, during: Callable[[Teller, Recorder], None] = lambda *_: None) -> None:
    folder = plan.file.work_directory
    teller = Teller(folder)
    with locked(folder, "study small"), teller, begin(plan, open_store(plan.file)) as recorder:
        during(teller, recorder)
        teller.expects(plan.confirmation_flops)
        study = Loop(plan, recorder, machines, Several(LineWatcher(Console(file=io.StringIO())), teller))
        study.run()
        study.finish()


def looks_of(plan: Plan, which: Callable[[int], bool], **becomes: Any) -> list[Status]:
    """What the status says while these of its trials are half trained."""
    seen: list[Status] = []
    number = 0

    def look(trial: Trial) -> None:
        nonlocal number
        number += 1
        if which(number):
            until(lambda: any(each.trained for each in status_of(plan.file).training), within=10)
            seen.append(status_of(plan.file))

    drive(plan, Halfway(look, **becomes))
    return seen


def text_of(status: Status, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    with console.capture() as capture:
        console.print(status_table(status, "my/study.yaml"), soft_wrap=True)
    return capture.get()


def test_while_it_searches_it_tells_how_far_each_trial_is_and_how_long_it_will_take(tmp_path: Path) -> None:
    plan = planned(tmp_path, STUDY)
    first, sixth = looks_of(plan, lambda number: number in (1, 6))
    assert (first.phase, sixth.phase) == ("search", "search")
    assert first.progress is not None and sixth.progress is not None
    assert (first.progress.ended, first.progress.expected) == (0, 15)
    assert (sixth.progress.ended, sixth.progress.expected) == (5, 15)
    [trial] = sixth.training
    assert trial.trained is not None and trial.trained / trial.tokens == pytest.approx(0.5, abs=0.01)
    assert trial.seconds_left == pytest.approx(trial.tokens / 2 / 1000, abs=0.2)
    left, in_all = sixth.progress.seconds_left, sixth.progress.seconds_left_in_all
    assert left is not None and in_all is not None and 0 < left < in_all, "the confirmation comes after it"
    record = fetch_record(plan.file)
    assert record is not None
    assert [each.trial for each in sixth.lately] == list(record.ended[1:5])
    assert all(each.ended and each.objective for each in sixth.lately)


def test_the_best_so_far_is_that_of_the_driver_and_stands_beside_the_best_baseline(tmp_path: Path) -> None:
    plan = planned(tmp_path, STUDY)
    seen = looks_of(plan, lambda number: number in (3, 16))
    assert [each.phase for each in seen] == ["search", "confirming"]
    record = fetch_record(plan.file)
    assert record is not None
    searched = record.history.only(lambda trial: is_of_search(trial.seed))
    driver = Tally(plan, searched).best
    assert driver is not None
    for best in (seen[1].best, build_status(record, "sqlite://").best):  # with the file, and without
        assert best is not None and best.baseline is not None and best.baseline_objective is not None
        assert (best.trial, best.objective) == (driver.trial.id, driver.standing.objective)
        assert best.difference == best.objective - best.baseline_objective
        steps = [each.objective for each in best.improvements]
        assert steps == sorted(steps, reverse=True) and steps[-1] == best.objective
    early = seen[0].best
    assert early is not None and early.origin == f"baseline:{early.baseline}"
    assert "none of 2 trials was lower than this baseline" in " ".join(text_of(seen[0]).split())


def test_what_another_driver_left_behind_is_not_believed(tmp_path: Path) -> None:
    plan = planned(tmp_path, STUDY)
    folder = plan.file.work_directory
    with begin(plan, open_store(plan.file)) as recorder:
        recorder.open(plan.problem.baseline_trials[0])
    left = Now(driver="process 1 on elsewhere", at=time.time(), phase="confirming", ended=3, expected=4)
    (folder / now.FILE).write_text(left.json_text())
    assert status_of(plan.file).phase == "search", "nobody runs it"
    with locked(folder, "study small"):
        found = status_of(plan.file)
        assert (found.phase, found.progress) == ("search", None)
        assert [each.trained for each in found.training] == [None]
        (folder / now.FILE).write_text("{half of a")
        assert status_of(plan.file).phase == "search"


def test_before_there_is_a_journal_it_tells_what_the_driver_is_at(tmp_path: Path) -> None:
    file = load(write_study(tmp_path, STUDY + "tracking: {uri: 'http://127.0.0.1:9'}\n"))  # where nobody answers
    folder = file.work_directory
    folder.mkdir(parents=True)
    with pytest.raises(TrackingError, match="no MLflow server answers"):
        status_of(file)
    with locked(folder, "study small"):
        with (teller := Teller(folder)):
            with teller.busy("opening the record"):
                teller.waits("waiting for MLflow: it does not answer")
                until(lambda: status_of(file).waits)
                assert "waits: waiting for MLflow: it does not answer" in text_of(status_of(file))
            teller.waits(None)
            teller.enters("preparing")
            teller.prepares(Progress("tokenise prose", 3, 4, "documents"))
            until(lambda: status_of(file).phase == "preparing")
            text = text_of(status_of(file))
        assert not (folder / now.FILE).exists(), "its end is the file's"
    assert "preparing the text\nat the moment: tokenise prose, 75%" in text


def test_a_study_that_waits_for_machines_says_so_until_there_are_some(tmp_path: Path) -> None:
    plan, seen = planned(tmp_path, STUDY), list[str | None]()

    class Away(Halfway):
        def events(self) -> Iterator[Event]:  # type: ignore[override]
            if len(seen) < 2:
                yield Notice("no node has room for a trial yet", waits=not seen)
                until(lambda: (status_of(plan.file).waits is None) == bool(seen), within=10)
                seen.append(status_of(plan.file).waits)
            yield from super().events()

    drive(plan, Away(lambda trial: None))
    assert seen == ["no node has room for a trial yet", None]


def test_who_does_not_see_the_folder_learns_from_mlflow_what_the_driver_is_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(now, "SHOW_SECONDS", 0.02)
    plan, found = planned(tmp_path, STUDY), list[Status]()

    def look(trial: Trial) -> None:
        def told() -> Status | None:
            record = fetch_record(plan.file)
            return None if record is None else build_status(record, "sqlite://", job_has_ended=False)

        if not found:
            until(lambda: (status := told()) and status.training and status.training[0].trained, within=20)
            found.append(told())  # type: ignore[arg-type]

    drive(plan, Halfway(look), lambda teller, recorder: teller.show_by(recorder.show_now))
    [status] = found
    assert (status.phase, status.driver) == ("search", None)
    assert status.progress is not None and status.progress.expected == 15
    after = fetch_record(plan.file)
    assert after is not None and after.now is None, "nobody runs it any more"


def test_a_driver_that_has_long_said_nothing_is_told_apart_from_one_that_has(tmp_path: Path) -> None:
    plan = planned(tmp_path, STUDY)
    [status] = looks_of(plan, lambda number: number == 2)
    assert "said nothing" not in text_of(status)
    old = status.model_copy(update={"known_at": "2026-01-01T00:00:00+00:00"})
    assert "its driver has said nothing for" in text_of(old)


def test_failures_come_with_the_command_that_shows_more_of_them(tmp_path: Path) -> None:
    plan = planned(tmp_path, STUDY)
    failed = Failure(FailureKind.ERROR, "something " * 30)

    def becomes(trial: Trial) -> Measurement | Failure:
        return failed if trial.origin == "design" and trial.fidelity.proxy == "dense" else measured(trial)

    [status] = looks_of(plan, lambda number: number == 13, becomes=becomes)
    assert len(status.failures) == 8
    text = text_of(status)
    assert f"mixopt logs my/study.yaml --trial {status.failures[-1].trial}" in " ".join(text.split())
    assert "3 more: mixopt trials my/study.yaml --failed" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert sum(line.startswith("failed: ") for line in text.splitlines()) == 5


KINDS = (
    "{weights: {prose: 2, code: 1}}",
    "{kind: worst_case, metrics: [prose, code]}",
    "{kind: no_worse, allowance: 0.1, baseline: uniform}",
    "{kind: hinge, times: 3}",
    "{kind: pareto, unit: bits_per_byte}",
    "{families: {a: {weight: 2, metrics: [prose, code]}}}",
)


@pytest.mark.parametrize("objective", KINDS)
def test_the_objective_is_that_of_the_file_where_only_the_record_is_at_hand(tmp_path: Path, objective: str) -> None:
    text = STUDY.replace("objective: {weights: {prose: 2, code: 1}}", f"objective: {objective}")
    file = load(write_study(tmp_path, text))
    assert objective_in(json.loads(json.dumps(file.deciding()))) == objective_of(file)


def test_settings_that_say_nothing_of_the_objective_give_none() -> None:
    assert objective_in(None) is None
    assert objective_in({}) is None


def test_trials_that_trained_slower_than_asked_are_told_with_the_reason(tmp_path: Path) -> None:
    def eager(trial: Trial) -> Measurement:
        return replace(measured(trial), environment={SLOWER: "not compiled: a C++ compiler (g++)"})

    plan = planned(tmp_path, STUDY)
    drive(plan, Halfway(lambda _: None, becomes=eager))
    status = status_of(plan.file)
    assert len(status.slower) == 2, "a line for each proxy"
    assert all("trained slower than asked: not compiled: a C++ compiler (g++)" in line for line in status.slower)
    console = Console(file=io.StringIO(), width=200)
    console.print(status_table(status))
    assert isinstance(console.file, io.StringIO)
    assert "note: " + status.slower[0] in console.file.getvalue()
