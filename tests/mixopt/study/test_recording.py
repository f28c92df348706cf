"""Which journal goes on: the one that is here, one made anew from MLflow, or the one that fills a new MLflow."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mixopt.settings.reading import load
from mixopt.study.mlflow_page.views import LONGEST_TAG, views
from mixopt.study.plan import Plan
from mixopt.study.planning import make_plan
from mixopt.study.record import (
    await_store,
    check_begun,
    fetch_record,
    journal_path,
    mark_submitted,
    open_store,
    read_record,
)
from mixopt.study.recording import begin
from search.history import History
from search.trial import Trial
from tests.e2e.study import STUDY, recorded
from tests.processes import free_port
from tests.simulated import measured, planned
from tests.waiting import until
from tracking import keys
from tracking.entries import Closed, Opened
from tracking.errors import TrackingError
from tracking.journal import Journal


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
    record = fetch_record(plan.file)
    return record.history if record else History()


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
    other = make_plan(load(plan.file.file), plan.corpus)
    with pytest.raises(TrackingError, match="another file or corpus") as caught:
        run(other)
    assert "remove the folder" in caught.value.hint


def test_what_is_recorded_here_is_read_without_mlflow(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = trials(plan, 2)
    run(plan, one, two)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert set(read_record(plan.file).history.measurements) == {one.id, two.id}


def test_without_its_journal_a_study_is_read_from_mlflow(plan: Plan) -> None:
    one, two = trials(plan, 2)
    run(plan, one, two)
    here = read_record(plan.file)
    journal_path(plan.file).unlink()
    assert read_record(plan.file) == here


def test_a_study_that_was_submitted_since_is_read_where_it_goes_on(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = trials(plan, 2)
    run(plan, one)
    stale = journal_path(plan.file).read_bytes()
    run(plan, two)
    journal_path(plan.file).write_bytes(stale)
    mark_submitted(plan.file, "http://head:8265")
    assert set(read_record(plan.file).history.measurements) == {one.id, two.id}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert set(read_record(plan.file).history.measurements) == {one.id}
    assert "before it was submitted" in capsys.readouterr().err


def test_a_file_with_other_settings_is_not_answered_from_the_journal(plan: Plan) -> None:
    run(plan, *trials(plan, 1))
    plan.file.file.write_text(STUDY.replace("seed: 3", "seed: 4"))
    with pytest.raises(TrackingError, match="another study file; changed: seed"):
        read_record(load(plan.file.file))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats ten times as fast."""
    monkeypatch.setattr("tracking.heartbeat.HEARTBEAT_SECONDS", 0.3)
    monkeypatch.setattr("tracking.heartbeat.SILENT_SECONDS", 2.0)


def elsewhere(plan: Plan, folder: Path) -> Plan:
    """The same study, as on a machine that has a copy of its folder and shares its MLflow."""
    shutil.copytree(plan.file.file.parent, folder, ignore=shutil.ignore_patterns("mlflow.db*", "artifacts"))
    shared = f"tracking: {{uri: 'sqlite:///{plan.file.home / 'mlflow.db'}'}}\n"
    (folder / "study.yaml").write_text(plan.file.text + shared)
    return make_plan(load(folder / "study.yaml"), plan.corpus)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("has_journal", [True, False])
def test_a_second_driver_elsewhere_stops_before_it_spends(plan: Plan, tmp_path: Path, has_journal: bool) -> None:
    with begin(plan, open_store(plan.file)) as first:
        second = elsewhere(plan, tmp_path / "elsewhere")
        if not has_journal:
            journal_path(second.file).unlink()
        remarks: list[str] = []
        with pytest.raises(TrackingError, match=r"is being run by process \d+ on .*, in "):
            begin(second, open_store(second.file), remarks.append)
        assert "waiting whether its driver is alive" in remarks[0]
        first.open(trials(plan, 1)[0])
        assert first.drain(30)
    with begin(second, open_store(second.file), remarks.append) as later:
        assert set(later.begun.history.trial_ids) == {trials(plan, 1)[0].id}
    assert len(remarks) == 1, "who has ended is not waited for"


@pytest.mark.usefixtures("quick")
def test_a_driver_that_was_cut_off_and_taken_over_stops(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = trials(plan, 2)
    with begin(plan, open_store(plan.file)) as first:
        first.open(one)
        assert first.drain(30)
        monkeypatch.setattr("tracking.heartbeat.SILENT_SECONDS", 0.0)  # the second was patient enough
        second = elsewhere(plan, tmp_path / "elsewhere")
        with begin(second, open_store(second.file)) as taken:
            with pytest.raises(TrackingError, match="was taken over by another driver, on "):
                for _ in range(300):
                    first.progress(one, 10, {})
                    time.sleep(0.1)
            with pytest.raises(TrackingError, match="was taken over"):
                first.open(two)
            taken.open(two)
            assert taken.drain(30)
    assert set(recorded(second.file.file).trial_ids) == {one.id, two.id}


@pytest.mark.usefixtures("quick")
def test_the_heart_beats_while_the_artifacts_are_away(plan: Plan, tmp_path: Path) -> None:
    artifacts = plan.file.home / "artifacts"
    with begin(plan, open_store(plan.file)) as first:
        assert first.drain(30)
        aside = artifacts.rename(artifacts.with_name("aside"))
        artifacts.write_text("a file where a folder was")
        first.open(trials(plan, 1)[0])
        assert not first.drain(1)
        assert first.trouble is not None
        second = elsewhere(plan, tmp_path / "elsewhere")
        with pytest.raises(TrackingError, match="is being run by process"):
            begin(second, open_store(second.file))
        artifacts.unlink()
        aside.rename(artifacts)
        assert first.drain(60)
        # Everything is there a moment before that is told.
        until(lambda: first.trouble is None, within=30)


def test_a_journal_that_was_damaged_is_no_copy(plan: Plan) -> None:
    one, two = trials(plan, 2)
    path = journal_path(plan.file)
    with (
        pytest.raises(TrackingError, match=r"journal\.jsonl:\d+ is damaged"),
        begin(plan, open_store(plan.file)) as recorder,
    ):
        recorder.open(one)
        assert recorder.drain(30)
        content = bytearray(path.read_bytes())
        content[-40] ^= 1
        path.write_bytes(content)
        recorder.open(two)
        recorder.drain(30)
    assert set(recorded(plan.file.file).trial_ids) == {one.id}


@pytest.mark.usefixtures("quick")
def test_a_driver_that_died_is_followed_at_once_in_its_folder(plan: Plan) -> None:
    dead = begin(plan, open_store(plan.file))
    run = open_store(plan.file).find(plan.file.study)
    assert run is not None
    tag = run.tags[keys.DRIVER]
    dead.close()
    run.set_tags({keys.DRIVER: tag})  # it could say nothing of its end
    remarks: list[str] = []
    with begin(plan, open_store(plan.file), remarks.append) as next:
        assert next.begun.history == History()
    assert not remarks


def test_the_longest_names_of_domains_fit_into_what_mlflow_keeps(tmp_path: Path) -> None:
    names = [f"{number:02}{'n' * 98}" for number in range(20)]
    text = (
        STUDY[: STUDY.index("domains:")]
        + "domains:\n"
        + "".join(
            f"  {name}: {{paths: data/{kind}.jsonl}}\n"
            for name, kind in zip(names, ["prose", "code", "sums"] * 7, strict=False)
        )
        + STUDY[STUDY.index("target:") :].replace("objective: {weights: {prose: 2, code: 1}}\n", "")
    )
    plan = planned(tmp_path, text)
    assert all(len(tag) <= LONGEST_TAG for tag in views(plan).values())
    with begin(plan, open_store(plan.file)) as recorder:
        assert recorder.drain(30)


def test_a_damaged_database_is_said_at_once_with_the_way_out(plan: Plan) -> None:
    run(plan, *trials(plan, 1))
    (plan.file.home / "mlflow.db").write_bytes(b"no database" * 1000)
    remarks: list[str] = []
    with pytest.raises(TrackingError, match="is damaged: file is not a database") as caught:
        await_store(plan.file, remarks.append)
    assert "move it away" in caught.value.hint
    assert not remarks, "no waiting mends it"


def test_a_damaged_journal_is_found_before_any_work(plan: Plan) -> None:
    run(plan, *trials(plan, 2))
    path = journal_path(plan.file)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(TrackingError, match=r"journal\.jsonl(:\d+ is damaged \(its checksum| cannot be read)"):
        check_begun(plan.file, open_store(plan.file))


def test_mlflow_lists_the_pools_and_has_few_tags_beside_its_own(plan: Plan) -> None:
    run(plan, *trials(plan, 1))
    found = open_store(plan.file).find(plan.file.study)
    assert found is not None
    inputs = found.store.client.get_run(found.run_id).inputs
    assert inputs is not None
    profiles = {each.dataset.name: json.loads(each.dataset.profile or "") for each in inputs.dataset_inputs}
    counted = {name: (pool.counted, pool.documents) for name, pool in plan.pools.domains.items()}
    assert {name: (profile["tokens"], profile.get("documents")) for name, profile in profiles.items()} == counted
    tags = {name for name in found.current_tags() if not name.startswith("mlflow.")}
    assert len(tags) <= 12 and all(name.startswith("mixopt.") for name in tags), tags
    versions = found.store.client.download_artifacts(found.run_id, keys.VERSIONS_FILE)
    assert {"python", "torch"} <= set(json.loads(Path(versions).read_text()))


def test_the_answers_name_of_a_run_is_shown_until_the_study_goes_on(plan: Plan) -> None:
    def name() -> str:
        found = open_store(plan.file).find(plan.file.study)
        assert found is not None, "a study is found by its tag, whatever its run is called"
        return str(found.store.client.get_run(found.run_id).info.run_name)

    with begin(plan, open_store(plan.file)) as recorder:
        recorder.log_metrics({}, 1, {keys.RUN_NAME: "small: keep uniform (code 50%)"})
        recorder.tell(keys.ACTIVITY_ENDED)
        assert recorder.drain(60)
    assert name() == "small: keep uniform (code 50%)"
    run(plan)
    assert name() == "small"
