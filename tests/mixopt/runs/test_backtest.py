"""`mixopt backtest` as a user meets it: tables in, learning curves, controls and one surrogate out."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import mixopt as api
from mixopt.base.errors import ConfigError
from mixopt.cli.tables.backtest import backtest_view
from mixopt.results.backtest import BacktestResult, TableBacktest
from mixopt.runs.backtest import backtest
from mixopt.runs.request import BacktestRequest
from tests.mixopt.runs.two_fidelities import BEST, DOMAINS, table
from tests.program import mixopt


def alone(path: Path, count: int = 60, effect: float = 4.0, seed: int = 0, repeats: int = 0) -> Path:
    """Runs of one fidelity; the first mixture is the uniform one, and so often run again."""
    rng = np.random.default_rng(seed)
    weights = np.vstack([np.full((1 + repeats, 3), 1 / 3), rng.dirichlet(np.ones(3), count - 1)])
    loss = 3 + effect * ((weights - BEST) ** 2).sum(axis=1) + 0.02 * rng.standard_normal(len(weights))
    frame = pd.DataFrame(weights, columns=[f"weight.{name}" for name in DOMAINS])
    frame.assign(**{"metric.loss": loss}).to_csv(path, index=False)
    return path


def backtested(path: Path, **options: Any) -> TableBacktest:
    chosen: dict[str, Any] = {"surrogates": ("quadratic",), "seeds": 2, "known": (30,)} | options
    [found] = backtest([BacktestRequest(runs=path, **chosen)], lambda *_: None).tables
    return found


def test_the_command_prints_a_document_and_draws_the_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = alone(tmp_path / "runs.csv")
    done = mixopt("backtest", runs, "--surrogate", "quadratic", "--surrogate", "linear", "--seeds", 2, "--json")
    assert (done.status, done.stderr) == (0, "fit surrogates to subsets (10 fits)\n")
    document = json.loads(done.stdout)
    [found] = document["tables"]
    assert list(found["surrogates"]) == ["quadratic", "linear"]
    # Twenty of sixty are left out.
    assert [point["known"] for point in found["surrogates"]["linear"]["points"]] == [16, 32]
    assert (found["mixtures"], found["left_out"], found["noise"]) == (60, 28, None)
    for curve in found["surrogates"].values():
        for point in curve["points"]:
            assert len(point["spearman"]["by_subset"]) == document["subsets"] == 2
            assert point["spearman"]["q25"] <= point["spearman"]["median"] <= point["spearman"]["q75"]
            assert point["regret_in_noise"] is None
    assert document["files"] == ["runs-backtest/curves-1.png"]
    assert (tmp_path / "runs-backtest/curves-1.png").stat().st_size > 1000


def test_a_surrogate_that_is_right_about_the_world_is_recommended_with_the_evidence(tmp_path: Path) -> None:
    runs = alone(tmp_path / "runs.csv", count=120)
    found = backtested(runs, seeds=5, surrogates=("linear", "quadratic"), known=(30,))
    assert found.recommended.surrogate == "quadratic"
    assert found.recommended.shown
    assert "a difference of 0." in found.recommended.why
    right, wrong = (found.curves[name].points[-1] for name in ("quadratic", "linear"))
    assert right.spearman.mean > 0.9 > wrong.spearman.mean
    assert right.regret.mean <= wrong.regret.mean
    assert found.controls.scrambled.passed and found.controls.permuted.passed
    assert found.controls.scrambled.lower < 0 < found.controls.scrambled.upper


def test_without_a_difference_the_first_is_recommended(tmp_path: Path) -> None:
    found = backtested(alone(tmp_path / "runs.csv"), surrogates=("quadratic", "gp_isotropic"), known=(40,), seeds=3)
    assert found.recommended.surrogate == "quadratic"
    assert not found.recommended.shown
    assert "no difference shown" in found.recommended.why


def test_a_world_of_noise_recommends_none_and_passes_the_scramble(tmp_path: Path) -> None:
    found = backtested(alone(tmp_path / "runs.csv", effect=0.0))
    assert found.recommended.surrogate is None
    assert "better than chance" in found.recommended.why
    assert found.controls.scrambled.passed
    assert not found.controls.permuted.passed
    assert "not shown to matter" in found.controls.permuted.verdict


def test_runs_that_stand_twice_end_with_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = pd.read_csv(alone(tmp_path / "runs.csv"))
    moved = frame.copy()
    weights = [f"weight.{name}" for name in DOMAINS]
    moved[weights] = (moved[weights] + 2e-3) / (1 + 6e-3)
    pd.concat([frame, moved]).to_csv("twice.csv", index=False)
    done = mixopt("backtest", "twice.csv", "--surrogate", "lightgbm", "--runs", 80, "--seeds", 4)
    assert done.status == 1
    assert "FAILED: a leak" in done.stdout
    assert "twice" in done.stdout


def test_repeats_tell_the_noise_and_stay_on_one_side(tmp_path: Path) -> None:
    found = backtested(alone(tmp_path / "runs.csv", repeats=9))
    assert found.noise is not None
    assert found.noise.freedom == 9
    assert found.noise.sd == pytest.approx(0.02, rel=0.6)
    point = found.curves["quadratic"].points[-1]
    assert point.regret_in_noise == pytest.approx(point.regret.mean / found.noise.sd)
    # The repeated mixture is the nearest to the mean, and always known: the others are single runs.
    assert (found.mixtures, found.left_out) == (60, 30)


def test_the_tokens_of_a_study_say_which_run_is_proportional(tmp_path: Path) -> None:
    runs = alone(tmp_path / "runs.csv")
    (tmp_path / "space.yaml").write_text("domains: {web: {tokens: 10}, code: {tokens: 10}, books: {tokens: 10}}\n")
    assert not backtested(runs).reference.proportional
    result = api.backtest(runs, space=tmp_path / "space.yaml", surrogates="linear", known=[30], seeds=2)
    reference = result.result.tables[0].reference
    assert reference.proportional
    assert reference.run == "row 2 of runs.csv"


def test_cheap_runs_of_a_mixture_are_on_its_side(tmp_path: Path) -> None:
    """Were they not, the large run of a mixture would be told by its small one."""
    runs = table(tmp_path / "runs.csv", small=40, large=40)
    found = backtested(runs, metrics=("loss",))
    assert found.target == "large"
    assert found.runs == {"small": 40, "large": 40}
    assert found.mixtures == 40
    assert 20 <= found.left_out <= 28


@pytest.mark.parametrize("objective", ["standardized", "worst", "no-worse", "pareto"])
def test_every_objective_can_be_backtested(tmp_path: Path, objective: str) -> None:
    found = backtested(table(tmp_path / "runs.csv", small=0, large=50), objective=objective)
    assert found.curves["quadratic"].points[0].spearman.mean > 0.7


def test_the_same_seed_gives_the_same_result(tmp_path: Path) -> None:
    runs = alone(tmp_path / "runs.csv", count=40)
    assert backtested(runs, known=(20,), seed=1) == backtested(runs, known=(20,), seed=1)
    assert backtested(runs, known=(20,), seed=1) != backtested(runs, known=(20,), seed=2)


def test_strategies_are_replayed_in_the_same_report(tmp_path: Path) -> None:
    runs = alone(tmp_path / "runs.csv", count=40)
    told: list[tuple[str, int, int]] = []
    request = BacktestRequest(
        runs=runs, surrogates=("linear",), known=(20,), seeds=2, strategies=("random",), replays=3
    )
    result = backtest([request], lambda *step: told.append(step))
    replayed = result.tables[0].replay
    assert replayed is not None
    assert list(replayed.strategies) == ["random"]
    assert replayed.seeds == 3
    assert told[-1] == ("replay strategies on runs.csv", 3, 3)
    assert "Cost until the best mixture was trained" in shown(result)


def shown(result: BacktestResult) -> str:
    console = Console(width=80, record=True, file=StringIO())
    console.print(backtest_view(result))
    return console.export_text()


def test_several_tables_are_judged_one_by_one_in_80_columns(tmp_path: Path) -> None:
    paths = [alone(tmp_path / "signal.csv"), alone(tmp_path / "noise.csv", effect=0.0)]
    requests = [
        BacktestRequest(runs=path, surrogates=("quadratic", "effective_data"), known=(30,), seeds=2) for path in paths
    ]
    result = backtest(requests, lambda *_: None)
    assert [each.recommended.surrogate for each in result.tables] == ["quadratic", None]
    text = shown(result)
    assert max(map(len, text.splitlines())) <= 80
    assert "effective_data" in text
    assert text.index("signal.csv") < text.index("noise.csv")


def test_from_python_scores_are_a_data_frame(tmp_path: Path) -> None:
    frame = pd.read_csv(alone(tmp_path / "runs.csv"))
    found = api.backtest(frame, surrogates=["quadratic"], known=[20, 40], seeds=2)
    assert found.recommended == {"runs": "quadratic"}
    assert not found.leaked
    scores = found.scores
    assert list(scores.known) == [20, 20, 40, 40]
    assert list(scores.subset) == [0, 1, 0, 1]
    assert (scores.spearman > scores.permuted).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"known": (59,)}, "--runs 59: .* has 60 mixtures, and 10 with every metric at runs have to be left out"),
        ({"known": (5,)}, "--runs 5: too few for a regression"),
        ({"metrics": ("mmlu",)}, "metric 'mmlu' does not exist"),
        ({"surrogates": ("oracle",)}, "surrogate 'oracle' does not exist"),
        ({"strategies": ("greedy",)}, "strategy 'greedy' does not exist"),
        ({"seeds": 1}, "--seeds 1: so few subsets tell no spread"),
        ({"every": True}, "--all and --surrogate do not go together"),
        ({"target": "huge"}, "fidelity 'huge' does not exist"),
    ],
)
def test_mistakes_are_refused_with_a_remedy(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        backtested(alone(tmp_path / "runs.csv"), **options)
    assert getattr(caught.value, "hint", "")


def test_tables_that_say_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="15 mixtures are too few: 10 have to be known"):
        backtested(alone(tmp_path / "few.csv", count=15))
    frame = pd.read_csv(alone(tmp_path / "runs.csv"))
    frame.assign(**{"metric.loss": 3.0}).to_csv(tmp_path / "alike.csv", index=False)
    with pytest.raises(ConfigError, match="metric loss is the same in every run"):
        backtested(tmp_path / "alike.csv")
    frame.assign(**{"weight.web": 1.0})[["weight.web", "metric.loss"]].to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(ConfigError, match="one domain, web, leaves nothing to choose"):
        backtested(tmp_path / "one.csv")
    frame.iloc[[3] * 25].assign(**{"metric.loss": np.arange(25.0)}).to_csv(tmp_path / "same.csv", index=False)
    with pytest.raises(ConfigError, match="one mixture leaves nothing to compare"):
        backtested(tmp_path / "same.csv")
