"""What somebody asks of a study while it runs, and what the study then does; its trials are measured in no time."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mixopt.base.files import locked
from mixopt.results.answer import Answer
from mixopt.results.status import Activity, Status
from mixopt.settings.environment import RESTARTED_VARIABLE
from mixopt.study.loop import Loop
from mixopt.study.plan import Plan
from mixopt.study.progress import LineWatcher
from mixopt.study.record import journal_path, open_store, read_record
from mixopt.study.recording import begin
from mixopt.study.status import build_status
from mixopt.study.wishes import FILE, Wish, Wishes, ask, asked, main
from mixopt.workers.executor import Unwanted
from mixopt.workers.messages import TrialEnd
from proxies.recipe import Recipe
from search.errors import SearchError
from search.seeds import is_of_search
from tests.e2e.study import STUDY, recorded
from tests.simulated import Simulated, measured, planned, run
from tracking import keys
from tracking.entries import StudyMetrics
from tracking.journal import read

Asks = Callable[["OneByOne"], Wish | None]


class OneByOne(Simulated):
    """Ends one trial at a time, so that others run meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = 0
        self.closed = False

    @property
    def running(self) -> int:
        return len(self._launched)

    def events(self) -> Iterator[TrialEnd]:
        if not self._launched:
            return
        trial = self._launched.pop(0).trial
        self.ended += 1
        yield TrialEnd(trial, measured(trial))

    def close(self) -> None:
        self.closed = True
        super().close()


class WithoutRoom(OneByOne):
    """Has room to compile only once something was asked of the study, and taken back; `waited` counts the waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0
        self.looks = 0

    def compile(
        self,
        recipe: Recipe,
        remark: Callable[[str], object] = lambda text: None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> str | None:
        if self.looks < 0:
            return None
        self.waited += 1
        while wanted():
            self.looks += 1
            assert self.looks < 100, "nobody is heard"
        self.looks = -1
        raise Unwanted


def driven(plan: Plan, asks: Asks, machines: OneByOne | None = None) -> tuple[Answer, list[str]]:
    """The answer of a study of which this is asked, whenever it looks, and the lines that were shown."""
    machines, shown = machines or OneByOne(), io.StringIO()
    watcher = LineWatcher(Console(file=shown, width=300))
    with begin(plan, open_store(plan.file)) as recorder:
        study = Loop(plan, recorder, machines, watcher, asked=lambda: asks(machines))
        answer = study.run()
        study.finish()
    return answer, shown.getvalue().splitlines()


def status(plan: Plan) -> Status:
    return build_status(read_record(plan.file), plan.file.tracking_uri, plan.file)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    return run(planned(tmp_path_factory.mktemp("undisturbed"), STUDY))[0]


def after(trials: int, wish: Wish) -> Asks:
    return lambda machines: wish if machines.ended >= trials else None


def same(one: Answer, other: Answer) -> None:
    """But for where they were found."""
    elsewhere = {"provenance", "notes"}
    assert one.model_dump(exclude=elsewhere) == other.model_dump(exclude=elsewhere)


def test_a_paused_study_ends_what_runs_begins_nothing_and_goes_on_as_if_nothing_had_been(
    tmp_path: Path, undisturbed: Answer
) -> None:
    plan = planned(tmp_path, STUDY)
    looks_while_paused: list[int] = []

    def asks(machines: OneByOne) -> Wish | None:
        if machines.ended < 5 or len(looks_while_paused) == 4:
            return None
        if not machines.running:
            looks_while_paused.append(machines.ended)
        return Wish.PAUSE

    answer, lines = driven(plan, asks)
    assert looks_while_paused == [6] * 4, "of the two that ran one ended, and nothing took its place"
    tags = [entry.tags for entry in read(journal_path(plan.file)) if isinstance(entry, StudyMetrics)]
    told = [each[keys.ACTIVITY] for each in tags if keys.ACTIVITY in each]
    assert told == ["running", "pausing", "paused", "running", "ended"]
    assert any(line.startswith("paused: ") and f"mixopt resume {plan.file.file}" in line for line in lines)
    same(answer, undisturbed)
    assert answer.notes == undisturbed.notes


def test_a_stopped_study_answers_from_what_is_there_and_goes_on_when_it_is_run_again(
    tmp_path: Path, undisturbed: Answer
) -> None:
    plan = planned(tmp_path, STUDY)
    answer, _ = driven(plan, after(12, Wish.STOP))
    assert (answer.ended, answer.confirmed, answer.trials.completed) == (True, False, 12)
    assert any(note.startswith("mixopt stop ended the search after 12 of at most 15 trials") for note in answer.notes)
    begun = recorded(plan.file.file).running
    assert len(begun) == 1
    found = status(plan)
    assert (found.activity, found.trials.running.total, found.trials.interrupted.total) == ("ended", 0, 1)
    again, _ = run(plan)
    same(again, undisturbed)
    assert not any("mixopt stop" in note for note in again.notes)


def test_a_study_that_is_stopped_before_it_has_confirmed_keeps_its_answer_as_it_is(tmp_path: Path) -> None:
    plan = planned(tmp_path, STUDY)
    answer, _ = driven(plan, after(17, Wish.STOP))
    assert (answer.ended, answer.confirmed) == (True, False)
    assert any("before its answer was confirmed" in note for note in answer.notes)
    assert any(not is_of_search(trial.seed) for trial in recorded(plan.file.file).trials)


def test_a_search_that_is_stopped_to_confirm_trains_what_runs_to_its_end_and_confirms(tmp_path: Path) -> None:
    plan = planned(tmp_path, STUDY)
    answer, _ = driven(plan, after(12, Wish.CONFIRM))
    assert (answer.ended, answer.confirmed) == (True, True)
    assert any(note.startswith("mixopt stop ended the search after 13 of at most 15 trials") for note in answer.notes)
    assert not recorded(plan.file.file).running


def compiled(plan: Plan) -> Plan:
    """A plan whose proxies are compiled, also where this machine would not."""
    return replace(plan, recipes={name: replace(recipe, compiled=True) for name, recipe in plan.recipes.items()})


def test_a_study_that_waits_for_room_to_compile_is_paused_all_the_same(tmp_path: Path, undisturbed: Answer) -> None:
    plan, machines = compiled(planned(tmp_path, STUDY)), WithoutRoom()
    looks_while_paused: list[int] = []

    def asks(_: OneByOne) -> Wish | None:
        if machines.looks >= 0:
            return Wish.PAUSE if machines.looks > 3 else None
        looks_while_paused.append(machines.running)
        return Wish.PAUSE if len(looks_while_paused) < 5 else None

    answer, _ = driven(plan, asks, machines)
    assert machines.waited == 1
    assert not any(looks_while_paused[:5]), "nothing is begun meanwhile"
    tags = [entry.tags for entry in read(journal_path(plan.file)) if isinstance(entry, StudyMetrics)]
    assert [each[keys.ACTIVITY] for each in tags if keys.ACTIVITY in each] == ["running", "paused", "running", "ended"]
    assert answer.trials.completed == undisturbed.trials.completed


@pytest.mark.parametrize("begun", [0, 1])
def test_a_study_that_waits_for_room_to_compile_is_stopped_all_the_same(tmp_path: Path, begun: int) -> None:
    plan, machines = compiled(planned(tmp_path, STUDY)), WithoutRoom()
    with begin(plan, open_store(plan.file)) as recorder:
        for trial in plan.problem.baseline_trials[:begun]:
            recorder.open(trial)
    with pytest.raises(SearchError):  # for an answer nothing is there
        driven(plan, lambda _: Wish.STOP if machines.looks > 3 or machines.looks < 0 else None, machines)
    assert (machines.waited, machines.ended, machines.closed) == (1, 0, True)
    assert len(recorded(plan.file.file).running) == begun


def test_a_search_that_waits_for_room_to_compile_and_is_to_confirm_begins_nothing_new(tmp_path: Path) -> None:
    plan = compiled(planned(tmp_path, STUDY))
    driven(plan, after(8, Wish.STOP))
    [begun] = recorded(plan.file.file).running
    machines = WithoutRoom()
    answer, _ = driven(plan, lambda _: Wish.CONFIRM if machines.looks > 3 or machines.looks < 0 else None, machines)
    assert (answer.ended, answer.confirmed) == (True, True)
    assert begun.id in {entry.trial.id for entry in recorded(plan.file.file).completed}, "it goes on"
    assert any(note.startswith("mixopt stop ended the search after 9 of at most") for note in answer.notes)


def test_a_cancelled_study_has_no_answer_loses_nothing_and_shows_nothing_as_running(
    tmp_path: Path, undisturbed: Answer
) -> None:
    plan = planned(tmp_path, STUDY)
    with pytest.raises(KeyboardInterrupt):
        driven(plan, after(5, Wish.CANCEL))
    found = status(plan)
    assert (found.activity, found.answer, found.trials.completed.total) == ("interrupted", None, 5)
    assert (found.trials.running.total, found.trials.interrupted.total) == (0, 1)
    same(run(plan)[0], undisturbed)


def test_the_dashboard_shows_no_trial_as_running_that_nobody_trains(tmp_path: Path) -> None:
    plan = planned(tmp_path, STUDY)
    store = open_store(plan.file)
    one, two = plan.problem.baseline_trials[:2]
    with suppress(KeyboardInterrupt), begin(plan, store) as recorder:
        recorder.open(one)
        recorder.open(two)
        recorder.close_trial(one, measured(one), 1.0)
        assert recorder.drain(60)
        raise KeyboardInterrupt
    shown = store.find("small")
    assert shown is not None
    states = {child.data.tags[keys.TRIAL_ID]: child.data.tags[keys.STATE] for child in shown.child_runs()}
    assert states == {one.id: "completed", two.id: "interrupted"}
    with begin(plan, store) as recorder:
        recorder.open(two)
        assert recorder.drain(60)
        [again] = [child for child in shown.child_runs() if child.data.tags[keys.TRIAL_ID] == two.id]
        assert (again.info.status, again.data.tags[keys.STATE]) == ("RUNNING", "running")


@pytest.mark.parametrize(
    ("wish", "activity"),
    [(None, "running"), (Wish.PAUSE, "pausing"), (Wish.STOP, "stopping"), (Wish.CANCEL, "stopping")],
)
def test_the_status_says_what_is_asked_of_a_driver_that_is_alive(
    tmp_path: Path, wish: Wish | None, activity: Activity
) -> None:
    plan = planned(tmp_path, STUDY)
    with begin(plan, open_store(plan.file)) as recorder:
        recorder.open(plan.problem.baseline_trials[0])
    assert status(plan).activity == "interrupted"
    with locked(plan.file.work_directory, "study small"):
        ask(plan.file.work_directory, wish)
        found = status(plan)
    assert (found.activity, found.trials.running.total) == (activity, 1)
    assert found.driver is not None and found.driver.startswith("process ")


def test_a_study_that_goes_on_while_it_is_paused_trains_nothing_and_says_so(tmp_path: Path) -> None:
    plan = planned(tmp_path, STUDY)
    with begin(plan, open_store(plan.file)) as recorder:
        recorder.open(plan.problem.baseline_trials[0])
    looks: list[Status] = []

    def asks(machines: OneByOne) -> Wish | None:
        looks.append(status(plan))
        return Wish.PAUSE if len(looks) < 3 else Wish.CANCEL

    with locked(plan.file.work_directory, "study small"), pytest.raises(KeyboardInterrupt):
        ask(plan.file.work_directory, Wish.PAUSE)
        driven(plan, asks)
    seen = [(each.activity, each.trials.running.total, each.trials.interrupted.total) for each in looks[:3]]
    assert seen == [("pausing", 1, 0), ("paused", 0, 1), ("paused", 0, 1)], "the first before the driver has looked"


# The file


def test_what_was_asked_of_an_earlier_driver_is_forgotten_unless_a_supervisor_starts_the_study_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(tmp_path, Wish.PAUSE)
    with pytest.raises(ValueError, match="as if it crashed"), Wishes(tmp_path) as wishes:
        assert wishes.latest is None
        ask(tmp_path, Wish.STOP)
        raise ValueError("as if it crashed")
    monkeypatch.setenv(RESTARTED_VARIABLE, "1")
    with Wishes(tmp_path) as wishes:
        assert wishes.latest is Wish.STOP
    assert asked(tmp_path) is None, "it came to its end"
    ask(tmp_path, Wish.CANCEL)
    with Wishes(tmp_path) as wishes:
        assert wishes.latest is Wish.CANCEL, "asked between two drivers, it is for the next"
    ask(tmp_path, Wish.CANCEL)
    monkeypatch.delenv(RESTARTED_VARIABLE)
    with Wishes(tmp_path) as wishes:
        assert wishes.latest is None, "who starts by hand wants it to go on"


def test_whoever_cancels_is_heard_whatever_the_driver_does(tmp_path: Path) -> None:
    heard = threading.Event()
    with Wishes(tmp_path, heard.set) as wishes:
        (tmp_path / FILE).write_text("a word of a later version")
        assert asked(tmp_path) is None
        ask(tmp_path, Wish.CANCEL)
        assert heard.wait(10)
        assert wishes.latest is Wish.CANCEL


def test_a_messenger_writes_where_a_driver_is_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIXOPT_DIRECTORY", raising=False)
    assert main(["pause", "small"]) == "MIXOPT_DIRECTORY is not set on the cluster's head"
    said = main(["pause", "small", str(tmp_path)])
    assert said is not None and "nobody runs study small" in said
    monkeypatch.setenv("MIXOPT_DIRECTORY", str(tmp_path))
    with locked(tmp_path / "small", "study small"):
        assert main(["pause", "small"]) is None
        assert asked(tmp_path / "small") is Wish.PAUSE
        assert main(["resume", "small", str(tmp_path)]) is None
        assert asked(tmp_path / "small") is None
