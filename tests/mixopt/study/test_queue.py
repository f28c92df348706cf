"""Mixtures that somebody queues, and the study that trains them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mixopt.api import Study
from mixopt.base.errors import ConfigError
from mixopt.study.queue import FILE, LONGEST_NOTE, ORIGIN, enqueue, queued
from search.errors import SearchError
from search.mixture import Mixture
from search.seeds import SEARCH_SEED
from search.trial import Failure, FailureKind, Measurement, Trial
from tests.e2e.study import STUDY, recorded, write_study
from tests.program import mixopt
from tests.simulated import ROUNDS, measured, planned, run

MORE_CODE = Mixture.of({"prose": 0.3, "code": 0.6, "sums": 0.1})
LESS_CODE = Mixture.of({"prose": 0.6, "code": 0.2, "sums": 0.2})
REGMIX = STUDY + "search: {strategy: regmix, surrogate: linear}\n"
UNCONFIRMED = REGMIX.replace("confirm: {candidates: 1, seeds: 2}", "confirm: {candidates: 0}")


def trained(path: Path, mixture: Mixture) -> list[tuple[str, str, int]]:
    """Origin, proxy and seed of the search's trials of a mixture."""
    return [
        (trial.origin, trial.fidelity.proxy, trial.seed)
        for trial in recorded(path).trials
        if trial.mixture.same_as(mixture) and trial.seed == SEARCH_SEED
    ]


def failing(mixture: Mixture) -> Callable[[Trial], Measurement | Failure]:
    """Trials of this mixture die."""

    def measuring(trial: Trial) -> Measurement | Failure:
        if trial.mixture.same_as(mixture):
            return Failure(FailureKind.ERROR, "no room", 1.0)
        return measured(trial)

    return measuring


def test_what_is_queued_is_read_again_in_its_order(tmp_path: Path) -> None:
    assert queued(tmp_path) == ()
    assert enqueue(tmp_path, MORE_CODE, "Ünlike the others,\nas asked")
    assert enqueue(tmp_path, LESS_CODE)
    assert not enqueue(tmp_path, MORE_CODE, "again")
    first, second = queued(tmp_path)
    assert (first.mixture, first.note) == (MORE_CODE, "Ünlike the others,\nas asked")
    assert (second.mixture, second.note) == (LESS_CODE, "")
    assert len((tmp_path / FILE).read_text().splitlines()) == 2


def test_nothing_is_lost_where_several_queue_at_once(tmp_path: Path) -> None:
    mixtures = [Mixture.of({"a": number, "b": 1}) for number in range(1, 25)]
    threads = [threading.Thread(target=enqueue, args=(tmp_path, mixture, "")) for mixture in mixtures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.mixture for each in queued(tmp_path)} == set(mixtures)


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"weights": {"a": 2}, "note": "", "asked": ""}', '{"weights": {"a": 1}}', '{"weights": [1]}', "nan"],
)
def test_a_line_that_is_no_mixture_is_named_with_its_number(tmp_path: Path, line: str) -> None:
    enqueue(tmp_path, LESS_CODE)
    with (tmp_path / FILE).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ConfigError, match=r"queue\.jsonl:2: this is no queued mixture") as told:
        queued(tmp_path)
    assert told.value.hint == "remove the line"
    with pytest.raises(ConfigError):
        enqueue(tmp_path, MORE_CODE)
    assert (tmp_path / FILE).read_text().endswith(line + "\n"), "what is damaged is not written over"


def test_a_program_queues_before_the_study_has_begun(tmp_path: Path) -> None:
    study = Study(write_study(tmp_path))
    asked = study.enqueue(Mixture.of({"code": 0.6, "prose": 0.3, "sums": 0.1}), "from a notebook")
    assert (asked.state, asked.trial, asked.why) == ("waiting", None, None)
    assert study.enqueue(MORE_CODE) == asked
    [waiting] = queued(study.file.work_directory)
    assert (waiting.mixture, waiting.note) == (MORE_CODE, "from a notebook")
    with pytest.raises(SearchError, match="cannot be read as one over"):
        study.enqueue(Mixture.of({"web": 1}))


def test_a_note_has_an_end(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a note of 201 characters"):
        enqueue(tmp_path, LESS_CODE, "x" * (LONGEST_NOTE + 1))


@pytest.mark.parametrize("text", [REGMIX, ROUNDS], ids=["regmix", "climb"])
def test_a_study_trains_what_is_queued_before_what_its_strategy_asks_for(tmp_path: Path, text: str) -> None:
    plan = planned(tmp_path, text)
    enqueue(plan.file.work_directory, MORE_CODE, "why not")
    run(plan)
    assert trained(plan.file.file, MORE_CODE) == [(ORIGIN, "moe", SEARCH_SEED)]
    history = recorded(plan.file.file)
    searched = [trial for trial in history.trials if trial.seed == SEARCH_SEED and trial.origin != ORIGIN]
    assert len(searched) == plan.strategy.expected.total(), "the strategy had all its own trials"


def test_a_search_that_has_ended_trains_what_was_queued_since_when_it_is_run_again(tmp_path: Path) -> None:
    plan = planned(tmp_path, UNCONFIRMED)
    before, _ = run(plan)
    # Of the worst kind: the study knows better, and trains it all the same.
    enqueue(plan.file.work_directory, MORE_CODE)
    after, _ = run(plan)
    assert trained(plan.file.file, MORE_CODE) == [(ORIGIN, "moe", SEARCH_SEED)]
    assert after.trials.completed > before.trials.completed
    again, _ = run(plan)
    assert again == after, "it is trained once"


def test_nothing_is_queued_into_a_confirmation_unless_the_search_goes_on(tmp_path: Path) -> None:
    plan = planned(tmp_path, REGMIX)
    before, _ = run(plan)
    study = Study(plan.file.file)
    asked = study.enqueue(MORE_CODE, "too late")
    assert asked.state == "left_out"
    assert asked.why is not None
    assert "its confirmation begun before it was trained" in asked.why
    after, _ = run(plan)
    assert after.trials == before.trials
    assert any("the queued mixture 'too late' was not trained: the search had ended" in each for each in after.notes)
    assert study.status.queue == (asked,)
    assert "the queued mixture 'too late' is not trained" in mixopt("status", plan.file.file).stdout.replace("\n", " ")
    longer = planned(tmp_path, REGMIX.replace("trials: 3", "trials: 4"))
    run(longer)
    assert trained(plan.file.file, MORE_CODE) == [(ORIGIN, "moe", SEARCH_SEED)]
    [asked] = Study(longer.file.file).queue
    assert asked.state == "trained"


def test_an_answer_tells_what_the_budget_did_not_pay_for(tmp_path: Path) -> None:
    whole = planned(tmp_path, UNCONFIRMED)
    run(whole)
    spent = recorded(whole.file.file).flops
    plan = planned(tmp_path, f"{UNCONFIRMED}budget: {{flops: {spent}}}\n")
    enqueue(plan.file.work_directory, MORE_CODE, "one more")
    answer, _ = run(plan)
    assert trained(plan.file.file, MORE_CODE) == []
    assert "the queued mixture 'one more' was not trained: the budget did not pay for it" in answer.notes


def test_a_queued_mixture_whose_trial_failed_is_told_with_its_reason(tmp_path: Path) -> None:
    plan = planned(tmp_path, REGMIX)
    enqueue(plan.file.work_directory, MORE_CODE, "why not")
    answer, _ = run(plan, failing(MORE_CODE))
    study = Study(plan.file.file)
    asked = study.enqueue(MORE_CODE)
    assert (asked.state, asked.why) == ("failed", "error: no room")
    told = f"the queued mixture 'why not' failed, trial {asked.trial}: error: no room; --retry-failed trains it again"
    assert told in answer.notes


def test_what_cannot_be_trained_is_said_once_and_ends_no_study(tmp_path: Path) -> None:
    plan = planned(tmp_path, REGMIX)
    folder = plan.file.work_directory
    enqueue(folder, Mixture.of({"prose": 0.1, "code": 0.8, "sums": 0.1}), "much code")
    enqueue(folder, Mixture.of({"web": 0.5, "code": 0.5}))
    _, lines = run(plan)
    said = [line for line in lines if "is not trained" in line]
    assert len(said) == 2, said
    assert "the queued mixture 'much code' is not trained: domain code: 0.8 is above its maximum 0.7" in said[0]
    assert said[1].endswith("it is of other domains")
    assert not any(trial.origin == ORIGIN for trial in recorded(plan.file.file).trials)


def test_a_damaged_queue_ends_no_study(tmp_path: Path) -> None:
    plan = planned(tmp_path, REGMIX)
    (plan.file.work_directory / FILE).write_text(json.dumps({"weights": 3}) + "\n")
    _, lines = run(plan)
    assert sum("the queue is not read" in line for line in lines) == 1
