"""The forecast: what the strategy would answer, computed beside the study and never in its way."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from mixopt.study.forecast import FEWEST_COMPLETED, Forecaster
from search.fidelity import Fidelity
from search.history import History
from search.recommendation.recommendation import Recommendation
from search.strategies.base import Strategy
from search.trial import Trial
from tests.e2e.study import STUDY
from tests.simulated import measured, planned


@pytest.fixture(scope="module")
def strategy(tmp_path_factory: pytest.TempPathFactory) -> Strategy:
    text = STUDY + "search: {strategy: regmix, surrogate: linear}\n"
    return planned(tmp_path_factory.mktemp("forecast"), text).strategy


FITTING = "MIXOPT_TEST_FITTING"  # names a file that appears once a fit has begun


class Endless(Strategy):
    """One whose fit does not come to an end."""

    @property
    def expected(self) -> Counter[Fidelity]:
        return Counter()

    def ask(self, history: History, slots: int) -> list[Trial]:
        return []

    def recommend(self, history: History) -> Recommendation:
        Path(os.environ[FITTING]).touch()
        time.sleep(3_600)
        raise AssertionError


def history(strategy: Strategy, count: int) -> History:
    """The first trials of the strategy, one of them stopped."""
    trials = strategy.ask(History(), count)
    return History.of(trials, {trial.id: measured(trial, stopped=index == 6) for index, trial in enumerate(trials)})


def under_way() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "forecast"]


def await_forecast() -> None:
    for thread in under_way():
        thread.join(timeout=120)
    assert not under_way()


def test_too_few_trials_are_not_fitted(strategy: Strategy) -> None:
    with Forecaster(strategy) as forecaster:
        forecaster.consider(history(strategy, FEWEST_COMPLETED))
        assert not under_way(), "one of them was stopped"
        assert forecaster.latest is None
        assert forecaster.remark == "the first comes after 8 completed trials"


def test_it_is_what_the_strategy_would_answer_and_is_renewed_when_there_is_half_more(strategy: Strategy) -> None:
    known = history(strategy, 11)
    with Forecaster(strategy) as forecaster:
        forecaster.consider(known)
        assert forecaster.remark == "the first is being computed, from 10 completed trials"
        await_forecast()
        assert forecaster.latest is not None, forecaster.remark
        assert forecaster.latest == strategy.recommend(known)
        forecaster.consider(history(strategy, 15))
        assert not under_way(), "14 are not half more than 10"
    assert not multiprocessing.active_children()


def test_why_there_is_none(strategy: Strategy) -> None:
    nothing_at_the_target = history(strategy, 15).only(lambda trial: trial.fidelity != strategy.problem.target)
    with Forecaster(strategy) as forecaster:
        forecaster.consider(nothing_at_the_target)
        await_forecast()
        assert forecaster.latest is None
        assert forecaster.remark == "no trial of proxy moe was completed, the one that the answer is for"


def test_it_ends_with_the_study_in_the_middle_of_a_fit(
    strategy: Strategy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FITTING, str(tmp_path / "fitting"))
    with Forecaster(Endless(strategy.problem)) as forecaster:
        forecaster.consider(history(strategy, 11))
        deadline = time.monotonic() + 60
        while not (tmp_path / "fitting").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert forecaster.latest is None and forecaster.remark == "the search ended before the first was computed"
    assert not under_way()
    assert not multiprocessing.active_children()
