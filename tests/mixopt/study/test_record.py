"""Which journal goes on: the one that is here, one made anew from MLflow, or the one that fills a new MLflow."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mixopt.settings.reading import load
from mixopt.study.plan import Plan
from mixopt.study.planning import assemble
from mixopt.study.record import begin, journal_path, known, open_store
from search.history import History
from search.trial import Trial
from tests.e2e.study import STUDY, recorded
from tests.simulated import measured, planned
from tracking import names
from tracking.errors import TrackingError
from tracking.journal import Closed, Journal, Opened, contents, read


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return planned(tmp_path, STUDY)


@pytest.fixture
def new_mlflow(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on studies are recorded in a store that knows nothing."""
    empty = shutil.copy(plan.file.home / "mlflow.db", tmp_path / "empty.db")
    return lambda: monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{empty}")


def trials(plan: Plan, count: int) -> list[Trial]:
    return plan.strategy.ask(History(), count)


def run(plan: Plan, *some: Trial) -> History:
    """A driver that measures these trials; returns the history that it began with."""
    with begin(plan, open_store(plan.file)) as recorder:
        for trial in some:
            recorder.open(trial)
            recorder.close_trial(trial, measured(trial), 1.0)
        assert recorder.drain(60)
        return recorder.begun.history


def in_mlflow(plan: Plan) -> History:
    record = open_store(plan.file).find(plan.file.study)
    assert record is not None
    return record.history()


def test_a_study_goes_on_from_its_journal(plan: Plan) -> None:
    one, two = trials(plan, 2)
    assert run(plan, one) == History()
    assert set(run(plan, two).measurements) == {one.id}
    assert set(run(plan).measurements) == {one.id, two.id}


def test_without_its_journal_it_goes_on_from_mlflow(plan: Plan) -> None:
    one, two = trials(plan, 2)
    run(plan, one)
    journal_path(plan.file).unlink()
    with begin(plan, open_store(plan.file)) as recorder:
        assert recorder.unsent == 0, "MLflow gets nothing again that came from it"
    with begin(plan, open_store(plan.file)) as recorder:
        assert recorder.unsent == 0
    assert set(run(plan, two).measurements) == {one.id}
    assert recorded(plan.file.file) == in_mlflow(plan)


def test_a_new_mlflow_gets_everything_from_the_journal(plan: Plan, new_mlflow: Callable[[], None]) -> None:
    one, two = trials(plan, 2)
    run(plan, one, two)
    before = in_mlflow(plan)
    new_mlflow()
    assert run(plan) == before
    assert in_mlflow(plan) == before


def test_mlflow_from_a_backup_gets_what_came_after_it(plan: Plan) -> None:
    one, two, three = trials(plan, 3)
    run(plan, one)
    database = plan.file.home / "mlflow.db"
    shutil.copy(database, database.with_suffix(".backup"))
    run(plan, two)
    before = in_mlflow(plan)
    shutil.copy(database.with_suffix(".backup"), database)
    assert set(run(plan, three).measurements) == {one.id, two.id}
    assert set(in_mlflow(plan).measurements) == {*before.measurements, three.id}


def test_a_journal_that_was_overtaken_elsewhere_adds_only_what_mlflow_lacks(plan: Plan) -> None:
    one, two, three = trials(plan, 3)
    run(plan, one)
    stale = journal_path(plan.file).read_bytes()
    journal_path(plan.file).unlink()
    run(plan, two)  # on another machine, with a journal of its own
    journal_path(plan.file).write_bytes(stale)
    late = Journal(journal_path(plan.file))
    for entry in (Opened(two), Opened(three), Closed(three, measured(three))):
        late.append(entry)
    late.close()

    history = run(plan)

    assert set(history.measurements) == {one.id, two.id, three.id}
    assert not history.running, "what is completed there is not running, whatever an old journal says"
    assert in_mlflow(plan) == history


def test_the_journal_of_another_study_does_not_fill_a_new_mlflow(plan: Plan, new_mlflow: Callable[[], None]) -> None:
    run(plan, *trials(plan, 1))
    new_mlflow()
    plan.file.file.write_text(STUDY.replace("seed: 3", "seed: 4"))
    other = assemble(load(plan.file.file), plan.corpus)
    with pytest.raises(TrackingError, match="another file or corpus") as caught:
        run(other)
    assert "remove the folder" in caught.value.hint


def test_what_is_known_is_what_the_journal_says_as_long_as_it_is_the_last_to_write(plan: Plan) -> None:
    one, two = trials(plan, 2)
    run(plan, one)
    stale = journal_path(plan.file).read_bytes()
    journal_path(plan.file).unlink()
    run(plan, two)
    record = open_store(plan.file).find(plan.file.study)
    assert record is not None
    assert record.tags[names.JOURNAL] == Journal(journal_path(plan.file)).id
    assert known(plan.file, record) == contents(read(journal_path(plan.file))).history
    journal_path(plan.file).write_bytes(stale)
    assert set(known(plan.file, record).measurements) == {one.id, two.id}
