"""A study whose domains have parts, from its file to its answer: limits hold, and each level is told of."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from mixopt.cli.tables.study import answer_table, plan_table
from mixopt.comparison import compare
from mixopt.explore.layout import page
from mixopt.explore.subject import of_study
from mixopt.explore.what_if import WhatIfs
from mixopt.report.content import Effects
from mixopt.report.gather import summarise
from mixopt.report.page import render
from mixopt.results.answer import Answer
from mixopt.study.estimate import estimate
from mixopt.study.plan import Plan
from mixopt.study.record import read_record
from search.trial import Loss, Measurement, Trial
from tests.e2e.study import STUDY
from tests.simulated import measured, planned, run

LEVELS = (
    STUDY.replace(
        STUDY[STUDY.index("domains:") : STUDY.index("target:")],
        """\
domains:
  plain:
    min: 30%
    max: 60%
    parts:
      prose: {paths: data/prose.jsonl}
      sums:  {paths: data/sums.jsonl, min: 5%}
  code:  {paths: data/code.jsonl, max: 70%}
""",
    )
    .replace("{prose: 2, code: 1}", "{plain: 4, code: 1}")
    .replace("trials: 3}", "trials: 12}")
    + "search: {strategy: regmix, surrogate: linear}\n"
)
INSIDE = ("plain.prose", "plain.sums")


def noisy(trial: Trial) -> Measurement:
    """Each loss falls with the share of its own domain, but for a little that no surrogate explains."""
    found = measured(trial)
    chance = int(trial.id, 16) % 1000 / 1e5
    losses = {name: Loss(each.nats_per_token + chance, 1.0) for name, each in found.losses.items()}
    return replace(found, losses=losses)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return planned(tmp_path_factory.mktemp("study"), LEVELS)


@pytest.fixture(scope="module")
def answer(plan: Plan) -> Answer:
    return run(plan, noisy)[0]


def text_of(shown: object) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(shown, soft_wrap=True)
    return capture.get()


def test_every_trial_keeps_the_limits_of_the_levels(plan: Plan, answer: Answer) -> None:
    assert plan.problem.space.domains == (*INSIDE, "code")
    history = read_record(plan.file).history
    sums = [math.fsum(entry.trial.mixture[name] for name in INSIDE) for entry in history.completed]
    assert len(sums) > 15
    assert min(sums) >= 0.3 - 1e-6 and max(sums) <= 0.6 + 1e-6
    assert math.fsum(answer.mixture[name] for name in INSIDE) <= 0.6 + 1e-6


def test_a_levels_weight_is_shared_by_its_domains(plan: Plan) -> None:
    assert dict(zip(plan.problem.objective.metrics, plan.problem.objective.emphasis_M, strict=True)) == pytest.approx(
        {"plain.prose": 0.4, "plain.sums": 0.4, "code": 0.2}
    )


def test_the_answer_has_sums_of_its_levels(answer: Answer) -> None:
    plain = answer.levels["plain"]
    assert plain.domains == INSIDE
    assert plain.tokens == sum(answer.domains[name].tokens for name in INSIDE)
    assert plain.weight == pytest.approx(answer.mixture["plain.prose"] + answer.mixture["plain.sums"])
    assert Answer.read(answer.plain()) == answer

    lines = text_of(answer_table(answer)).splitlines()
    places = [next(place for place, line in enumerate(lines) if line.startswith(head)) for head in HEADS]
    assert places == sorted(places)
    assert f"{plain.weight:.1%}" in lines[places[0]] and f"{plain.proportional:.1%}" in lines[places[0]]


HEADS = ("plain  ", "  prose  ", "  sums  ", "code  ")


def test_what_is_known_of_a_domain_is_known_of_a_level(answer: Answer) -> None:
    found = answer.recommendation.levels["plain"]
    low, high = found.range
    assert low <= answer.levels["plain"].weight <= high or answer.mixture != answer.recommendation.mixture
    # The more of what the objective counts most, the lower it is; and the sum went from 30% to 60%.
    assert found.effect.shares[0] >= 0.3 - 1e-6 and found.effect.shares[-1] <= 0.6 + 1e-6
    assert found.effect.values[0] > found.effect.values[-1]


def test_the_plan_says_how_much_a_level_may_have(plan: Plan) -> None:
    cost = estimate(plan, probe=False)
    assert cost.levels["plain"].most == pytest.approx(0.6, abs=1e-6)
    assert cost.levels["plain"].proportional == pytest.approx(
        sum(cost.domains[name].proportional for name in INSIDE), abs=1e-9
    )
    assert "\n  sums " in text_of(plan_table(cost))


def test_the_report_tells_of_levels(plan: Plan, answer: Answer) -> None:
    content = summarise(plan, read_record(plan.file).history, answer)
    assert isinstance(content.effects, Effects)
    assert [*content.effects.domains] == [*INSIDE, "code", "plain.*"]
    assert content.effects.domains["plain.*"].share == pytest.approx(
        sum(answer.recommendation.mixture[name] for name in INSIDE)
    )
    shown = render(content)
    assert "plain.*" in shown and "\N{NO-BREAK SPACE}prose" in shown


def test_the_explorer_has_a_heading_for_each_level(plan: Plan, answer: Answer) -> None:
    what_ifs = WhatIfs(of_study(plan.file))
    text = str(page(what_ifs, 1.0))
    assert "'level': 0" in text and "plain.*" in text
    curve = what_ifs.curve(what_ifs.subject.proportional, "plain")
    assert curve.shares_S[0] >= 0.3 - 1e-6 and np.all(np.diff(curve.shares_S) > 0)


def test_two_mixtures_are_compared_by_level(plan: Plan, answer: Answer) -> None:
    found = compare(plan.file.file, "uniform", plan.file.file)
    plain = found.levels["plain"]
    assert (plain.a, plain.b) == pytest.approx((answer.levels["plain"].weight, 0.6), abs=1e-3)
