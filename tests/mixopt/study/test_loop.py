"""What the plan, the progress and the answer of a study say of its trials; they are measured in no time."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mixopt.base.errors import ConfigError
from mixopt.study.answer import answer_so_far
from mixopt.study.estimate import estimate
from mixopt.study.record import journal_path, open_store, read_record
from mixopt.study.recording import begin
from search.randomness import generator
from search.seeds import SEARCH_SEED, is_of_search
from search.trial import Loss, Measurement, Trial
from tests.e2e.study import STUDY, recorded
from tests.processes import family, free_port
from tests.simulated import ROUNDS, ROUNDS_TRIALS, measured, planned, run
from tests.tracking.new_store import new_store
from tracking import journal, keys
from tracking.local_server import local_server

SETS = ("prose", "code", "sums")


def test_plan_progress_and_answer_count_the_trials_of_a_search_in_rounds(tmp_path: Path) -> None:
    plan = planned(tmp_path, ROUNDS)
    estimated = estimate(plan, probe=False)
    assert [proxy.search_trials for proxy in estimated.proxies] == [10, 5]
    assert estimated.trials == ROUNDS_TRIALS + plan.confirmation_size

    answer, lines = run(plan)
    assert lines[0] == f"search: at most {ROUNDS_TRIALS} trials"
    counts = [tuple(map(int, found.groups())) for line in lines if (found := re.match(r"\[(\d+)/(\d+)\]", line))]
    assert counts[:ROUNDS_TRIALS] == [(done, ROUNDS_TRIALS) for done in range(1, ROUNDS_TRIALS + 1)]
    assert not any("budget" in note for note in answer.notes)

    again, lines = run(plan)
    assert lines[0] == f"search: at most {ROUNDS_TRIALS} trials, {ROUNDS_TRIALS} of them already done"
    assert again == answer


def test_a_search_that_its_budget_ended_says_how_far_it_came(tmp_path: Path) -> None:
    whole = planned(tmp_path / "whole", ROUNDS)
    search_flops = sum(fidelity.flops * count for fidelity, count in whole.strategy.expected.items())
    # For all but the last trial.
    budget = whole.confirmation_flops + search_flops - whole.problem.target.flops
    plan = planned(tmp_path / "short", f"{ROUNDS}budget: {{flops: {budget}}}\n")
    answer, _ = run(plan)
    assert f"the budget ended the search after {ROUNDS_TRIALS - 1} of at most {ROUNDS_TRIALS} trials" in answer.notes
    trials = recorded(plan.file.file).trials
    assert sum(trial.seed == SEARCH_SEED for trial in trials) == ROUNDS_TRIALS - 1
    assert run(plan)[0] == answer


def test_a_search_with_nothing_left_to_gain_ends_early_says_so_and_gives_the_same_answer_again(tmp_path: Path) -> None:
    """Where every mixture is as good, but for noise."""

    def alike(trial: Trial) -> Measurement:
        losses = {name: Loss(3 + 0.01 * generator(trial.id, name).standard_normal(), 1.0) for name in SETS}
        return replace(measured(trial), losses=losses, curve=())

    text = STUDY.replace("trials: 8}", "trials: 0}").replace("trials: 3}", "trials: 30}")
    plan = planned(tmp_path, text + "search: {surrogate: linear}\n")
    answer, lines = run(plan, alike)
    [note] = [note for note in answer.notes if note.startswith("the search ended early: after ")]
    assert any(note.split(": ", 1)[1] in line for line in lines)
    searched = [trial for trial in recorded(plan.file.file).trials if is_of_search(trial.seed)]
    assert len(searched) < plan.strategy.expected.total()
    assert answer.confirmation is not None and answer.confirmation.beside is not None
    assert not answer.confirmation.beside.shown
    assert run(plan, alike)[0] == answer


def test_before_the_end_the_answer_so_far_says_how_far_the_search_is(tmp_path: Path) -> None:
    plan = planned(tmp_path, ROUNDS)
    store = open_store(plan.file)
    with begin(plan, store) as recorder:
        for trial in plan.problem.baseline_trials:
            recorder.open(trial)
            recorder.close_trial(trial, measured(trial), objective=None)
    record = read_record(plan.file)
    assert keys.ANSWER not in record.written
    assert (
        f"the search goes on: 4 of at most {ROUNDS_TRIALS} trials have ended" in answer_so_far(plan.file, record).notes
    )


def test_a_confirmation_that_was_interrupted_is_no_trial_of_the_search(tmp_path: Path) -> None:
    plan = planned(tmp_path, ROUNDS)
    run(plan)
    at_target = [trial for trial in recorded(plan.file.file).trials if trial.fidelity == plan.problem.target]
    confirmed = next(trial for trial in at_target if not is_of_search(trial.seed))
    searched = next(trial for trial in at_target if is_of_search(trial.seed))
    with begin(plan, open_store(plan.file)) as recorder:
        recorder.open(confirmed)
        recorder.open(searched)
        assert recorder.drain(30)
    _, lines = run(plan)
    assert lines[0] == f"search: at most {ROUNDS_TRIALS} trials, {ROUNDS_TRIALS - 1} of them already done"
    [of_search] = [line for line in lines if searched.id[:6] in line]
    assert of_search.startswith(f"[{ROUNDS_TRIALS}/{ROUNDS_TRIALS}]")
    [of_confirmation] = [line for line in lines if confirmed.id[:6] in line]
    assert of_confirmation.startswith("confirm:"), "it is none of those"


def test_an_answer_of_a_later_version_is_not_overwritten(tmp_path: Path) -> None:
    plan = planned(tmp_path, ROUNDS)
    answer, _ = run(plan)
    with begin(plan, open_store(plan.file)) as recorder:
        recorder.write(keys.ANSWER, answer.plain() | {"schema_version": 99}, keys.ANSWER_FILE)
        assert recorder.drain(30)
    before = read_record(plan.file).written[keys.ANSWER]
    with pytest.raises(ConfigError, match="99"):
        run(plan)
    assert read_record(plan.file).written[keys.ANSWER] == before


@pytest.mark.slow
def test_an_mlflow_that_hangs_stops_no_trial_and_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP: it takes every connection, and answers none."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
    monkeypatch.setattr("tracking.recorder.LONGEST_PAUSE", 0.5)
    trials: list[str] = []
    with local_server(new_store(tmp_path / "store"), port := free_port()) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        plan = planned(tmp_path / "study", ROUNDS)
        members = family(psutil.Process(server.process.pid))

        def while_it_hangs(trial: Trial) -> Measurement:
            trials.append(trial.id)
            if len(trials) == 3:
                for each in members:
                    each.suspend()
            if 3 < len(trials) < 12:
                time.sleep(0.7)
            if len(trials) == 12:
                there = journal.read_record(journal_path(plan.file)).history
                assert len(there.completed) >= 10, "they are recorded here meanwhile"
                for each in members:
                    each.resume()
            return measured(trial)

        _, lines = run(plan, while_it_hangs)
        assert len(trials) == len(set(trials)) == ROUNDS_TRIALS + plan.confirmation_size
        run_in_mlflow = open_store(plan.file).find(plan.file.study)
        assert run_in_mlflow is not None
        record = run_in_mlflow.record()
        assert record is not None and record.history == journal.read_record(journal_path(plan.file)).history
    (said,) = (line for line in lines if "MLflow store" in line)
    assert said.endswith(f":{port} does not work: timed out; the trials go on, their records wait for it")
