"""What a study's page says while it works and after, and that it says so however the study came there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixopt.results.answer import Answer
from mixopt.study.clock import Seconds
from mixopt.study.mlflow_page.tally import Tally
from mixopt.study.mlflow_page.text import (
    MOST_ROWS,
    describe_answer,
    describe_study,
    forecast_metrics,
    progress_metrics,
    title_of,
)
from mixopt.study.plan import Plan
from search.history import History
from search.mixture import Mixture
from search.recommendation.recommendation import Estimate, Recommendation
from search.seeds import SEARCH_SEED
from search.trial import Failure, FailureKind, Measurement, Trial
from tests.e2e.study import STUDY
from tests.simulated import measured, planned
from tracking import keys

RECORDED = Path(__file__).parents[3] / "data" / "recorded-0.1.0" / "answer.json"
LINKS = {"trials": "#/experiments/1/runs?x", "charts of a_b": "#/experiments/1/runs?y"}
HOUR = Seconds(search=3600.0, in_all=5400.0)
DIED = Failure(FailureKind.OUT_OF_MEMORY, "no room")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    text = STUDY + "search: {strategy: regmix}\nbudget: {flops: 1e12, time: 2h}\n"
    return planned(tmp_path_factory.mktemp("weighted"), text)


@pytest.fixture(scope="module")
def relative_plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Of a study whose objective is known only once its baseline is."""
    text = STUDY.replace("{weights: {prose: 2, code: 1}}", "{kind: worst_case, baseline: uniform}")
    return planned(tmp_path_factory.mktemp("relative"), text)


def trials_of(plan: Plan) -> list[Trial]:
    searched = plan.strategy.ask(History(), 100)
    return [*searched, *(replace(trial, seed=1) for trial in plan.problem.baseline_trials[:2])]


class Followed:
    """A study and its tally, told of every event."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.history = History()
        self.tally = Tally(plan, self.history)

    def open(self, trial: Trial) -> None:
        self.history = self.history.opened(trial)
        self.tally.opened(trial)

    def close(self, trial: Trial, outcome: Measurement | Failure) -> None:
        self.history = self.history.closed(trial, outcome)
        self.tally.closed(trial, outcome, self.plan.problem.standing(trial, self.history), self.history)

    def run(self, trial: Trial, outcome: Measurement | Failure) -> None:
        self.open(trial)
        self.close(trial, outcome)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("kind", ["plan", "relative_plan"])
def test_a_tally_kept_up_says_what_a_count_of_the_history_says(
    kind: str, request: pytest.FixtureRequest, data: st.DataObject
) -> None:
    plan: Plan = request.getfixturevalue(kind)
    study = Followed(plan)
    for trial in data.draw(st.permutations(trials_of(plan))):
        match data.draw(st.sampled_from(["running", "completed", "completed", "stopped", "failed", "retried"])):
            case "running":
                study.open(trial)
                study.open(trial)  # launched again after an interruption
            case "completed":
                study.run(trial, measured(trial))
            case "stopped":
                study.run(trial, measured(trial, stopped=True))
            case "failed":
                study.run(trial, DIED)
            case "retried":
                study.run(trial, DIED)
                study.run(trial, measured(trial))
    counted = Tally(plan, study.history)
    assert progress_metrics(plan, study.tally, None, HOUR) == pytest.approx(progress_metrics(plan, counted, None, HOUR))
    assert study.tally.best == counted.best
    assert study.tally.reference == counted.reference
    reached = [
        plan.problem.objective_of(entry.trial, study.history)
        for entry in study.history.at(plan.problem.target)
        if entry.trial.seed == SEARCH_SEED
    ]
    lowest = min((value for value in reached if value is not None), default=None)
    assert lowest == (None if counted.best is None else counted.best.standing.objective)


def test_the_page_of_a_study_that_has_just_begun(plan: Plan) -> None:
    text = describe_study(
        plan, Tally(plan, History()), Seconds(0, 0), None, "the first comes after 8 completed trials", LINKS
    )
    first = text.splitlines()
    assert first[0].strip() == "**Searching: 0 of at most 15 trials have ended**, 0 are running."
    assert first[1].strip() == r"See [trials](#/experiments/1/runs?x) · [charts of a\_b](#/experiments/1/runs?y)"
    assert "No trial of moe has completed yet" in text
    assert "no forecast yet: the first comes after 8 completed trials." in text
    assert "**Spent** 0 of 1e+12 FLOPs (0%) in 0 s; the search 0 s of its 2.0 h (0%)." in text


def test_the_page_of_a_study_at_work(plan: Plan) -> None:
    study = Followed(plan)
    searched = plan.strategy.ask(History(), 100)
    for trial in searched[:-2]:
        study.run(trial, measured(trial))
    study.run(searched[-2], DIED)
    study.open(searched[-1])
    study.tally.restarted()
    mixture = Mixture(("prose", "code", "sums"), (0.5, 0.4, 0.1))
    forecast = Recommendation(mixture, "blend", {}, (), (), 13, Estimate(1.25, 1.0, 1.5))
    text = describe_study(plan, study.tally, HOUR, forecast, "", LINKS)
    assert "**Searching: 14 of at most 15 trials have ended**, 1 is running." in text
    assert (
        "**Predicted optimum** 1.2500, a run of it between 1.0000 and 1.5000 (by blend, from 13 measurements)." in text
    )
    assert (
        "in 90 min; the search 60 min of its 2.0 h (50%). **Failed:** 1 out of memory. "
        "**Went on from a checkpoint:** 1." in text
    )
    assert "| domain | proportional | best so far | predicted optimum |" in text
    assert "| trials | dense | moe |\n| --- | --- | --- |\n| completed | 10 | 3 |\n| running | 0 | 1 |" in text
    metrics = progress_metrics(plan, study.tally, forecast, HOUR)
    assert metrics[keys.PREDICTED_OBJECTIVE] == 1.25
    assert metrics[keys.SHARE_OF_SECONDS] == 0.5
    assert metrics[keys.failures("out of memory")] == 1
    assert forecast_metrics(forecast)[keys.predicted_weight("code")] == 0.4
    confirming = Trial(mixture, plan.problem.target, seed=1)
    study.run(confirming, measured(confirming))
    assert "**Confirming with new seeds: 1 of at most 6 trials have ended**" in describe_study(
        plan, study.tally, HOUR, forecast, "", LINKS
    )


def answered(domains: int, notes: list[str]) -> Answer:
    weights = {f"domain-{index:04}": 2 * (index + 1) / (domains * (domains + 1)) for index in range(domains)}
    recorded = Answer.read(json.loads(RECORDED.read_text()))
    domain = next(iter(recorded.domains.values())).model_copy(update={"proportional": 1 / domains})
    return recorded.model_copy(
        update={
            "verdict": "the proposed mixture beats the proportional one by 0.02 ± 0.01",
            "mixture": weights,
            "domains": dict.fromkeys(weights, domain),
            "notes": tuple(notes),
        }
    )


def test_the_title_has_the_verdict_and_the_largest_shares() -> None:
    answer = answered(1000, [])
    verdict = "keep uniform: nothing that was tried is better. It beats proportional by 0.0499 (2 seeds)"
    title = title_of(replace_verdict(answer, verdict))
    assert title.startswith(f"{answer.study}: keep uniform (") and title.endswith(", ...)")
    beaten = "the proposed mixture beats proportional by 0.1726 ± 0.0215 nats per token (95%, 2 seeds)"
    assert "by 0.1726 ± 0.0215 nats per token (" in title_of(replace_verdict(answer, beaten))
    assert len(title_of(replace_verdict(answer, "long " * 100))) < 250, "what MLflow shows of a name"


def replace_verdict(answer: Answer, verdict: str) -> Answer:
    return answer.model_copy(update={"verdict": verdict})


def test_after_the_end_the_answer_comes_first() -> None:
    text = describe_answer(answered(3, ["a note | with a_bar and <b>"]), LINKS)
    assert text.startswith("**the proposed mixture beats the proportional one by 0.02 ± 0.01**")
    assert "| domain-0002 | 33.3% | 50.0% |" in text
    assert r"- a note \| with a\_bar and &lt;b>" in text


def test_a_page_of_a_thousand_domains_fits_into_what_mlflow_keeps() -> None:
    text = describe_answer(answered(1000, ["a long note " * 500] * 12), LINKS)
    assert len(text) < 8_000
    assert text.count("\n| domain-") == MOST_ROWS
    assert "and 980 domains with smaller shares" in text
