"""What is said of a mixture, without a page."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from mixopt.api import Study
from mixopt.base.errors import ConfigError
from mixopt.explore.exporting import exported
from mixopt.explore.layout import page
from mixopt.explore.pictures import front_mixture, run_at, shown_runs, trade_picture, trials_picture
from mixopt.explore.subject import ANSWER, of_runs, of_study
from mixopt.explore.views import comparison, signed, summary
from mixopt.explore.what_if import WhatIfs, trade
from mixopt.runs.fit import fit
from mixopt.runs.request import FitRequest
from mixopt.settings.space import read
from search.mixture import Mixture
from tests.e2e.study import STUDY
from tests.mixopt.explore.world import DOMAINS, LIMITS, table, what_ifs
from tests.simulated import planned, run


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> WhatIfs:
    return what_ifs(tmp_path_factory.mktemp("world"))


@pytest.fixture
def answer(asked: WhatIfs) -> Mixture:
    return asked.subject.mixtures[ANSWER]


def test_the_answer_is_expected_to_do_what_fit_says_of_it(tmp_path: Path) -> None:
    (tmp_path / "limits.yaml").write_text(LIMITS)
    request = FitRequest(
        runs=table(tmp_path / "runs.csv"), limits=read(tmp_path / "limits.yaml"), surrogates=("quadratic",)
    )
    said = fit(request, lambda *_: None).recommendation
    subject = of_runs(request, lambda *_: None)
    found = WhatIfs(subject).of(subject.mixtures[ANSWER])
    assert found.mixture.as_dict() == said.mixture
    assert said.predicted is not None and said.gain is not None and found.expected.gain is not None
    for one, other in ((found.expected.objective, said.predicted), (found.expected.gain, said.gain)):
        assert (one.mean, one.lower, one.upper) == pytest.approx((other.mean, other.lower, other.upper))
    assert {name: each.mean for name, each in found.expected.losses.items()} == pytest.approx(
        {name: each.mean for name, each in said.predicted_losses.items()}
    )


def test_begins_with_the_answer_and_knows_the_baselines(asked: WhatIfs) -> None:
    assert next(iter(asked.subject.mixtures)) == ANSWER
    assert {"proportional", "uniform"} <= asked.subject.mixtures.keys()


def test_a_share_is_moved_within_the_limits_and_beyond_them_where_that_is_asked_for(
    asked: WhatIfs, answer: Mixture
) -> None:
    within = asked.moved(answer, "code", 0.9)
    assert within["code"] == pytest.approx(0.6, abs=1e-5)
    assert asked.of(within).broken == ()
    beyond = asked.moved(answer, "code", 0.9, limited=False)
    assert beyond["code"] == pytest.approx(0.9)
    assert "domain code: 0.9 is above its maximum 0.6" in asked.of(beyond).broken
    assert asked.of(asked.inside(beyond)).broken == ()
    held = asked.moved(answer, "code", 0.5, held=["web", "law"])
    assert (held["web"], held["law"]) == pytest.approx((answer["web"], answer["law"]), abs=1e-5)


def test_epochs_are_those_of_the_run_that_the_mixture_is_for(asked: WhatIfs) -> None:
    found = asked.of(Mixture.of(dict(zip(DOMAINS, (0.5, 0.2, 0.1, 0.1, 0.1), strict=True))))
    assert found.domains["books"].epochs == pytest.approx(0.1 * 20 / 4)
    assert found.domains["books"].max_epochs == 4


def test_what_is_far_from_the_evidence_is_said_to_be(asked: WhatIfs, answer: Mixture) -> None:
    assert asked.of(answer).outside == ()
    corner = asked.of(Mixture.of({name: float(name == "law") for name in DOMAINS}))
    assert any("the nearest trained mixture differs in" in reason for reason in corner.outside)
    assert any(reason.startswith("domain law: 1 is beyond") for reason in corner.outside)
    assert corner.nearest > corner.usual


def test_a_mixture_gains_nothing_over_itself(asked: WhatIfs, answer: Mixture) -> None:
    assert asked.gain_over(answer, answer).mean == 0
    assert asked.of(answer).verdict == "better than"
    worst = Mixture.of({name: float(name == "law") for name in DOMAINS})
    assert asked.of(worst).verdict == "worse than"
    assert asked.gain_over(worst, answer).mean == pytest.approx(-asked.gain_over(answer, worst).mean)


def test_a_table_without_tokens_is_compared_with_the_mean_of_its_runs_by_name(tmp_path: Path) -> None:
    request = FitRequest(runs=table(tmp_path / "runs.csv"), surrogates=("quadratic",))
    what_ifs = WhatIfs(of_runs(request, lambda *_: None))
    shown = str(page(what_ifs, 1.0))
    assert "Gain over the mean of the runs" in shown and "than the mean of the runs" in shown
    assert "the mean of the runs" in what_ifs.subject.mixtures
    assert "roportional" not in shown


def test_a_mixture_beside_itself_is_the_same(asked: WhatIfs, answer: Mixture) -> None:
    shown = str(comparison(asked, answer, {"A": answer, "uniform": asked.subject.mixtures["uniform"]}))
    assert shown.count("the same mixture") == 1


def test_the_page_of_a_study_opens_with_what_it_found(tmp_path: Path) -> None:
    """The verdict was measured; what is predicted of one new run may be less sure."""
    text = STUDY.replace("trials: 3}", "trials: 9}") + "search: {strategy: regmix, surrogate: linear}\n"
    plan = planned(tmp_path, text)
    run(plan)
    subject = of_study(plan.file)
    answer = Study(plan.file.file).answer
    assert answer.confirmation is not None and answer.confirmed
    shown = str(page(WhatIfs(subject), 1.0))
    assert f"The study's answer: {answer.verdict}" in shown
    best = min(answer.confirmation.candidates, key=lambda each: each.mean or 0.0)
    assert best.difference is not None
    confirmed = Mixture.of(best.mixture).reordered(subject.domains)
    assert f"confirmed: {signed(-best.difference)}" in str(summary(WhatIfs(subject).of(confirmed), subject, 1.0))


def test_a_constrained_objective_says_which_metrics_are_at_risk(tmp_path: Path) -> None:
    asked = what_ifs(tmp_path, objective="no-worse")
    only_code = Mixture.of({name: float(name == "code") for name in DOMAINS})
    assert any(risk.startswith("metric prose is worse than proportional") for risk in asked.of(only_code).risks)


def test_no_point_of_the_front_is_beaten_and_more_of_an_accuracy_is_better(asked: WhatIfs) -> None:
    subject = asked.subject
    for across, up, sign in (("prose", "programs", 1), ("programs", "quiz_accuracy", -1)):
        weights_ND, values_N2 = trade(subject, across, up)
        assert len(weights_ND) > 1
        all_N2 = subject.possible_NM[:, [subject.metrics.index(across), subject.metrics.index(up)]] * (1, sign)
        for point in values_N2 * (1, sign):
            beats = (all_N2 <= point).all(axis=1) & (all_N2 < point).any(axis=1)
            assert not beats.any()


def test_a_click_on_the_front_takes_the_mixture_that_is_shown_there(asked: WhatIfs, answer: Mixture) -> None:
    subject = asked.subject
    picture = trade_picture(subject, "prose", "programs", asked.of(answer), {})
    front = picture["data"][1]
    expected = asked.of(front_mixture(subject, "prose", "programs", 3)).expected.losses
    assert front["x"][3] == pytest.approx(expected["prose"].mean)
    assert front["y"][3] == pytest.approx(expected["programs"].mean)


def test_a_click_on_a_line_finds_its_run(asked: WhatIfs, answer: Mixture) -> None:
    subject = asked.subject
    runs = subject.predictor.evidence.runs
    picture = trials_picture(subject, answer, {"A": answer})
    found = set()
    for trace in range(5):
        line = picture["data"][trace]
        for point, text in enumerate(line["text"]):
            run = run_at(subject, trace, point)
            if text is not None:
                assert run is not None
                assert text.startswith(f"{runs.names[run]}: ")
                found.add(run)
    assert found == set(shown_runs(subject)) == set(range(48))
    assert run_at(subject, 5, 0) is None, "a pinned mixture is no run"


def test_the_worst_of_the_runs_that_are_drawn_are_not_called_the_worst(
    asked: WhatIfs, answer: Mixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [trace["name"] for trace in trials_picture(asked.subject, answer, {})["data"]]
    assert {"best fifth", "worst fifth"} < set(labels)
    monkeypatch.setattr("mixopt.explore.pictures.MOST_LINES", 20)
    labels = [trace["name"] for trace in trials_picture(asked.subject, answer, {})["data"]]
    assert {"best fifth of the best 20", "worst fifth of the best 20"} < set(labels)


def test_an_effect_is_that_of_the_mixture_as_it_is(asked: WhatIfs, answer: Mixture) -> None:
    curve = asked.curve(answer, "code")
    effect = asked.effects(answer)["code"]
    assert curve.shares_S == pytest.approx(effect.shares)
    assert curve.objective_S == pytest.approx(effect.values)
    assert curve.values.keys() == set(asked.subject.metrics)
    # Code is what programs need.
    assert curve.values["programs"][0] > np.min(curve.values["programs"])


def test_a_mixture_is_exported_in_any_format_that_a_table_suffices_for(asked: WhatIfs, answer: Mixture) -> None:
    text, _ = exported(asked.subject, answer, "megatron", "/data/{domain}", "10B")
    assert "/data/web" in text
    with pytest.raises(ConfigError, match="draws documents"):
        exported(asked.subject, answer, "hf", None, None)
    with pytest.raises(ConfigError, match="tokens"):
        exported(asked.subject, answer, "megatron", None, "many")


def test_an_export_from_a_table_knows_what_its_limits_say_of_each_domain(asked: WhatIfs) -> None:
    mixture = Mixture.of({"web": 0.2, "code": 0.2, "books": 0.4, "chat": 0.1, "law": 0.1})
    text, _ = exported(asked.subject, mixture, "olmo-core", None, "20B")
    ratios = {each["source_name"]: each["max_repetition_ratio"] for each in yaml.safe_load(text)["sources"]}
    assert ratios == dict.fromkeys(DOMAINS, 4), "the most that the limits allow"
    text, _ = exported(asked.subject, mixture, "passes", None, "20B")
    assert yaml.safe_load(text)["books"] == pytest.approx(2)
    for format in ("olmo-core", "passes", "megatron"):
        with pytest.raises(
            ConfigError, match=r"domain books would be read 10 times in 100B tokens: it has 4B"
        ) as error:
            exported(asked.subject, mixture, format, None, "100B")
        assert "max_epochs" in error.value.hint


@pytest.mark.slow
def test_a_moved_share_is_answered_at_once(tmp_path: Path) -> None:
    """128 runs, 17 domains, 13 metrics, by the default surrogate: what the server computes of a move."""
    domains = tuple(f"d{number}" for number in range(17))
    runs = table(tmp_path / "runs.csv", domains, runs=128, metrics=13)
    asked = WhatIfs(of_runs(FitRequest(runs=runs, surrogates=("blend",)), lambda *_: None))
    mixture = asked.subject.mixtures[ANSWER]
    asked.of(mixture)
    taken = []
    for step in range(30):
        # CPU time: others may use this machine.
        began = time.process_time()
        asked.of(asked.moved(mixture, domains[step % 17], step / 60, held=domains[3:5]))
        taken.append(time.process_time() - began)
    assert np.median(taken) < 0.05
