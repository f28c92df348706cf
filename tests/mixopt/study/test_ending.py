"""Searches that end by what their study file names as enough; their trials are measured in no time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mixopt.base.errors import ConfigError
from mixopt.settings.reading import load
from mixopt.study.estimate import estimate
from mixopt.study.plan import Plan
from search.problem import BASELINE
from search.seeds import SEARCH_SEED
from search.trial import Loss, Measurement, Trial
from tests.e2e.study import STUDY, recorded, write_study
from tests.simulated import measured, planned, run

# 2 baselines and 20 mixtures, all at the target.
ALL = 22
TEXT = STUDY.replace("trials: 8}", "trials: 0}").replace("trials: 3}", "trials: 20}")


def with_search(settings: str) -> str:
    return f"{TEXT}search: {{strategy: regmix, surrogate: linear, {settings}}}\n"


def searched(plan: Plan) -> int:
    """How many trials of the search were asked for at the target."""
    trials = recorded(plan.file.file).trials
    return sum(trial.fidelity == plan.problem.target and trial.seed == SEARCH_SEED for trial in trials)


def baselines_are_best(trial: Trial) -> Measurement:
    loss = 2.0 if trial.origin.startswith(BASELINE) else 3.0
    losses = {name: Loss(loss, 1.0) for name in trial.mixture.as_dict()}
    return replace(measured(trial), losses=losses, curve=())


def test_an_objective_that_is_reached_ends_the_search(tmp_path: Path) -> None:
    """The mean of the losses, prose twice, is 3 - (2 prose + code) / 3."""
    plan = planned(tmp_path, with_search("stop_at_objective: 2.5"))
    answer, lines = run(plan)
    [note] = [note for note in answer.notes if note.startswith("the search ended early: trial ")]
    assert note.endswith("2.5 was wanted (search.stop_at_objective)") and note in lines
    assert searched(plan) < ALL
    assert run(plan)[0] == answer


def test_trials_without_a_better_one_end_the_search_and_more_of_them_go_on_with_it(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_search("stop_without_improvement: 6"))
    answer, _ = run(plan, baselines_are_best)
    [note] = [note for note in answer.notes if "search.stop_without_improvement" in note]
    assert "brought nothing better" in note
    count = searched(plan)
    assert count < ALL
    assert run(plan, baselines_are_best)[0] == answer
    more = planned(tmp_path, with_search("stop_without_improvement: 12"))
    again, _ = run(more, baselines_are_best)
    assert searched(plan) > count
    assert any("search.stop_without_improvement" in note for note in again.notes)


def test_a_gain_that_is_known_well_enough_ends_the_search(tmp_path: Path) -> None:
    """The losses are linear in the shares, and so is what predicts them."""
    plan = planned(tmp_path, with_search("stop_at_gain_width: 0.05"))
    answer, _ = run(plan)
    [note] = [note for note in answer.notes if "search.stop_at_gain_width" in note]
    assert "the gain is known to lie between" in note
    assert 8 <= searched(plan) < ALL
    gain = answer.recommendation.gain
    assert gain is not None and gain.upper - gain.lower < 0.05
    assert run(plan)[0] == answer


def test_a_gain_that_is_not_known_so_well_does_not_end_it(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_search("stop_at_gain_width: 1e-300"))
    run(plan)
    assert searched(plan) == ALL


def test_the_plan_says_what_ends_the_search(tmp_path: Path) -> None:
    settings = "stop_at_objective: 2.5, stop_without_improvement: 6, stop_at_gain_width: 0.05"
    notes = estimate(planned(tmp_path, with_search(settings)), probe=False).notes
    assert "the search ends earlier at an objective of 2.5 nats per token (search.stop_at_objective)" in notes
    assert any("after 6 trials in a row" in note for note in notes)
    assert any("once the gain is known within 0.05" in note for note in notes)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("stop_without_improvement: 22", "22 never ends a search of 22 trials of moe; lower it or raise its trials"),
        ("stop_without_improvement: 0", "search.stop_without_improvement"),
        ("stop_at_gain_width: 0", "search.stop_at_gain_width: 0 is out of range"),
        ("stop_at_objective: -1", "search.stop_at_objective: -1 is not above 0, as a loss is"),
        ("stop_at_objective: soon", "search.stop_at_objective"),
        ("strategy: random, stop_at_gain_width: 1", "stop_at_gain_width means nothing to strategy: random"),
    ],
)
def test_what_can_never_end_a_search_is_refused_in_one_line(tmp_path: Path, settings: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write_study(tmp_path, f"{TEXT}search: {{{settings}}}\n"))
    assert says in caught.value.message
    assert "\n" not in caught.value.message and len(caught.value.message) < 300


def test_a_pareto_search_has_no_best_trial_to_end_at(tmp_path: Path) -> None:
    text = TEXT.replace("objective: {", "objective: {kind: pareto, ")
    with pytest.raises(ConfigError, match="a pareto objective has no single best mixture"):
        load(write_study(tmp_path, f"{text}search: {{stop_at_objective: 2}}\n"))
