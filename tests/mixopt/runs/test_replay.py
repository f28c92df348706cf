"""`mixopt replay` as a user meets it: a table in, strategies side by side out."""

from __future__ import annotations

import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from mixopt.base.errors import ConfigError
from mixopt.cli.main import main
from mixopt.cli.tables.replay import replay_view
from mixopt.results.replay import ReplayResult
from mixopt.runs.replay import replay
from mixopt.runs.request import ReplayRequest
from search.errors import SearchError
from tests.mixopt.runs.two_fidelities import DOMAINS, table


def replayed(path: Path, **options: Any) -> ReplayResult:
    chosen: dict[str, Any] = {"strategies": ("regmix",), "seeds": 3, "surrogate": "quadratic"} | options
    return replay(ReplayRequest(runs=path, **chosen), lambda *_: None)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["mixopt", "replay", *arguments])
    main()


def test_the_command_prints_a_document_and_draws_the_regret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = table(tmp_path / "runs.csv")
    arguments = ("--strategy", "climb", "--seeds", "3", "--metric", "loss", "--surrogate", "quadratic", "--json")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        command(monkeypatch, str(runs), *arguments)
    printed = capsys.readouterr()
    assert printed.err == "replay strategies (6 replays)\n"
    document = json.loads(printed.out)
    assert list(document["strategies"]) == ["random", "climb"]
    assert document["target"] == "large"
    assert document["runs"] == {"small": 40, "large": 24}
    assert document["costs"] == {"small": 0.1, "large": 1.0}
    for result in document["strategies"].values():
        assert len(result["cost_to_best"]) == 3
        assert sorted(result["cost_to_best"])[1] == result["median"] <= result["q75"]
        regret = result["regret"]
        assert len(regret["costs"]) == len(regret["median"]) == len(regret["q25"]) == len(regret["q75"])
        assert regret["median"][-1] == 0
    assert document["files"] == ["runs-replay/regret.png"]
    assert (tmp_path / "runs-replay/regret.png").stat().st_size > 1000


def test_replays_are_counted_to_the_last(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    runs = table(tmp_path / "runs.csv")
    replay(
        ReplayRequest(runs=runs, strategies=("climb",), seeds=2, surrogate="quadratic"), lambda *step: told.append(step)
    )
    assert told == [(done, 4) for done in range(5)]


def test_a_metric_that_is_not_asked_for_may_be_infinite(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv")
    before = replayed(runs, metrics=("loss",))
    pd.read_csv(runs).assign(**{"metric.mmlu": np.inf}).to_csv(runs, index=False)
    assert replayed(runs, metrics=("loss",)).strategies == before.strategies


def test_a_file_is_no_folder_for_the_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = table(tmp_path / "runs.csv")
    with pytest.raises(SystemExit, match="2"):
        command(monkeypatch, str(runs), "--output", str(runs))
    assert f"{runs} is not a folder" in capsys.readouterr().err


def test_the_best_is_the_best_run_of_the_table(tmp_path: Path) -> None:
    path = table(tmp_path / "runs.csv")
    result = replayed(path, metrics=("loss",))
    frame = pd.read_csv(path)
    best = frame[frame.fidelity == "large"].sort_values("metric.loss").iloc[0]
    assert result.best.objective == best["metric.loss"]
    assert result.best.mixture == pytest.approx({name: best[f"weight.{name}"] for name in DOMAINS})
    assert result.objective.sd == pytest.approx(frame[frame.fidelity == "large"]["metric.loss"].std(ddof=0))


def test_a_score_is_maximised_by_its_name(tmp_path: Path) -> None:
    path = table(tmp_path / "runs.csv")
    by_score, by_loss = (replayed(path, metrics=(metric,)) for metric in ("mmlu", "loss"))
    assert by_score.best.mixture == by_loss.best.mixture
    assert by_score.strategies["random"].cost_to_best == by_loss.strategies["random"].cost_to_best


def test_the_view_sets_every_strategy_beside_random(tmp_path: Path) -> None:
    result = replayed(table(tmp_path / "runs.csv"), strategies=("regmix", "climb"), budget=1.0)
    console = Console(width=100, record=True, file=StringIO())
    console.print(replay_view(result))
    text = console.export_text()
    assert all(name in text for name in ("random", "regmix", "climb", "40 at small (cost 0.1)"))
    # The budget pays for one target run, and for none after a warm start.
    assert result.strategies["climb"].median is None
    assert "never" in text


@pytest.mark.parametrize("objective", ["standardized", "worst", "no-worse", "pareto"])
def test_every_objective_can_be_replayed(tmp_path: Path, objective: str) -> None:
    result = replayed(table(tmp_path / "runs.csv"), objective=objective, seeds=1)
    [cost] = result.strategies["regmix"].cost_to_best
    assert cost is not None and cost <= 24


def test_one_fidelity_costs_one_a_run(tmp_path: Path) -> None:
    frame = pd.read_csv(table(tmp_path / "runs.csv", small=0)).drop(columns=["fidelity", "cost"])
    frame.to_csv(tmp_path / "alone.csv", index=False)
    result = replayed(tmp_path / "alone.csv")
    assert result.costs == {"runs": 1.0}
    assert all(cost == round(cost or 0) for cost in result.strategies["regmix"].cost_to_best)


def test_mistakes_are_refused_with_a_remedy(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv")
    with pytest.raises(SearchError, match="strategy 'greedy' does not exist"):
        ReplayRequest(runs=tmp_path, strategies=("greedy",))
    with pytest.raises(SearchError, match="acquisition 'ucb' does not exist"):
        ReplayRequest(runs=tmp_path, strategies=("bayes",), acquisition="ucb")
    for objective, acquisition in (("mean", "hypervolume"), ("pareto", "log_ei")):
        with pytest.raises(ConfigError, match=f"acquisition {acquisition} and objective {objective} do not go"):
            replayed(runs, objective=objective, acquisition=acquisition)
    with pytest.raises(SearchError, match="fidelity 'huge' does not exist"):
        replayed(runs, target="huge")
    with pytest.raises(SearchError, match="4 mixtures measured every metric at large"):
        replayed(table(tmp_path / "few.csv", large=4))
    frame = pd.read_csv(runs).drop(columns="cost")
    frame.to_csv(tmp_path / "free.csv", index=False)
    with pytest.raises(ConfigError, match="fidelity small has no cost"):
        replayed(tmp_path / "free.csv")
