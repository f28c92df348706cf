"""`mixopt fit` on a made-up world in which the metrics of every mixture are known."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from mixopt.cli import main
from mixopt.errors import ConfigError
from mixopt.fit import Wish, fit, save
from mixopt.fit_display import fit_view
from search.errors import SearchError
from search.mixture import FloatArray

DOMAINS = ("web", "code", "books")
# The loss is lowest at half web, a third code, a sixth books.
BEST = np.array([3, 2, 1]) / 6


def losses(weights: FloatArray) -> FloatArray:
    loss: FloatArray = 3 + 4 * ((weights - BEST) ** 2).sum(axis=1)
    return loss


def table(path: Path, count: int, seed: int, fidelity: str = "small", noise: float = 0.01) -> Path:
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(3), size=count)
    scale = 0.5 if fidelity == "large" else 1.0
    loss = scale * (losses(weights) + noise * rng.standard_normal(count))
    frame = pd.DataFrame(weights, columns=[f"weight.{name}" for name in DOMAINS])
    frame.insert(0, "run", [f"{path.stem}-{place}" for place in range(count)])
    frame.insert(1, "fidelity", fidelity)
    frame.insert(2, "cost", {"small": 1.0, "large": 10.0}[fidelity])
    frame["metric.loss"] = loss
    frame["metric.mmlu"] = 1 - loss / 10
    frame.to_csv(path, index=False)
    return path


def joined(path: Path, *tables: Path) -> Path:
    pd.concat([pd.read_csv(each) for each in tables]).to_csv(path, index=False)
    return path


def fitted(runs: Path, **options: Any) -> dict[str, Any]:
    options.setdefault("surrogates", ("quadratic",))
    document = fit(Wish(runs, **options), lambda *_: None)
    json.dumps(document, allow_nan=False)
    return document


def share(document: dict[str, Any], domain: str) -> float:
    return float(document["recommendation"]["mixture"][domain])


def test_a_learnable_world_is_trusted_and_its_best_mixture_found(tmp_path: Path) -> None:
    runs, holdout = table(tmp_path / "runs.csv", 80, 0), table(tmp_path / "later.csv", 40, 1)
    document = fitted(runs, metrics=("loss",), holdout=holdout)
    assert document["trusted"]
    assert document["surrogates"]["quadratic"]["cross_validation"]["objective"]["spearman"] > 0.95
    assert [share(document, name) for name in DOMAINS] == pytest.approx(BEST, abs=0.08)
    predicted, natural = document["recommendation"]["predicted"], document["natural"]["predicted"]
    assert predicted["lower"] < losses(BEST[None])[0] < predicted["upper"]
    assert predicted["mean"] < natural["mean"]

    scores = document["holdout"]["quadratic"]
    assert (scores["runs"], scores["fidelity"]) == (40, "small")
    assert scores["spearman"] > 0.95
    assert scores["spearman"] == scores["metrics"]["loss"]["spearman"] == scores["mean_metric_spearman"]
    assert scores["calibrated_rmse"] <= scores["rmse"] < 0.05
    measured = pd.read_csv(holdout).set_index("run")["metric.loss"]
    pick = scores["pick"]
    assert pick["rank"] == (measured < measured[pick["run"]]).sum() + 1
    assert pick["regret"] == pytest.approx(measured[pick["run"]] - measured.min())
    assert pick["regret_sd"] == pytest.approx(pick["regret"] / measured.std(ddof=0))


@pytest.mark.parametrize("objective", ["mean", "standardized", "worst", "no-worse", "pareto"])
def test_every_objective_agrees_where_the_metrics_do(tmp_path: Path, objective: str) -> None:
    """A score that falls as the loss rises: both want the same mixture, once the score is maximised."""
    document = fitted(table(tmp_path / "runs.csv", 80, 0), objective=objective)
    assert document["objective"]["maximised"] == ["mmlu"]
    assert [share(document, name) for name in DOMAINS] == pytest.approx(BEST, abs=0.12)


def test_minimizing_a_score_turns_the_answer_around(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 80, 0)
    right, wrong = (fitted(runs, metrics=("mmlu",), minimize=names) for names in ((), ("mmlu",)))
    assert right["objective"]["name"] == "-mmlu"
    assert share(right, "web") > 0.4
    assert share(wrong, "web") < 0.2


def test_the_same_seed_gives_the_same_document(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 40, 0)
    assert fitted(runs, seed=3) == fitted(runs, seed=3)


def test_runs_at_random_are_not_trusted_and_the_best_run_is_the_answer(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 30, 0)
    frame = pd.read_csv(runs)
    frame["metric.loss"] = np.random.default_rng(5).standard_normal(len(frame))
    frame.to_csv(runs, index=False)
    document = fitted(runs, metrics=("loss",))
    assert not document["trusted"]
    assert "not trusted" in document["why"]
    assert document["recommendation"]["method"] == "best observed"
    assert share(document, "web") == pytest.approx(frame["weight.web"][frame["metric.loss"].argmin()])


def test_a_few_runs_give_the_best_of_them_and_the_reason(tmp_path: Path) -> None:
    document = fitted(table(tmp_path / "runs.csv", 6, 0), surrogates=("quadratic", "linear"))
    assert document["default"] is None
    assert document["surrogates"]["linear"]["skipped"] == "6 mixtures are too few for a regression, 10 the least"
    assert document["recommendation"]["method"] == "best observed"
    with pytest.raises(ConfigError, match="objective worst needs predictions"):
        fitted(table(tmp_path / "runs.csv", 6, 0), objective="worst")


def test_a_holdout_of_another_fidelity_is_scored_and_said_to_be(tmp_path: Path) -> None:
    small, large = table(tmp_path / "small.csv", 60, 0), table(tmp_path / "large.csv", 30, 1, "large")
    document = fitted(small, metrics=("loss",), holdout=large)
    scores = document["holdout"]["quadratic"]
    assert scores["fidelity"] == "large"
    assert scores["rmse"] > 1 > 0.05 > scores["calibrated_rmse"]
    assert any("the holdout was measured at large" in note for note in document["notes"])


def test_the_target_is_the_dearest_fidelity_that_the_holdout_has_too(tmp_path: Path) -> None:
    small, large = table(tmp_path / "small.csv", 40, 0), table(tmp_path / "large.csv", 15, 1, "large")
    both = joined(tmp_path / "both.csv", small, large)
    assert fitted(both)["target"] == "large"
    assert fitted(both, target="small")["target"] == "small"
    assert fitted(both, holdout=table(tmp_path / "later.csv", 20, 2))["target"] == "small"


def test_a_leak_is_told(tmp_path: Path) -> None:
    runs, holdout = table(tmp_path / "runs.csv", 40, 0), table(tmp_path / "later.csv", 20, 1)
    assert not [note for note in fitted(runs, holdout=holdout)["notes"] if "leak" in note]
    frame = pd.concat([pd.read_csv(holdout), pd.read_csv(runs).head(3)])
    frame.to_csv(holdout, index=False)
    [leak] = [note for note in fitted(runs, holdout=holdout)["notes"] if "leak" in note]
    assert "3 runs of the holdout" in leak


def test_limits_hold_and_their_tokens_are_the_natural_mixture(tmp_path: Path) -> None:
    space = tmp_path / "study.yaml"
    space.write_text("domains: {web: {max: 30%, tokens: 6B}, code: {tokens: 3B}, books: {pin: 10%, tokens: 1B}}")
    document = fitted(table(tmp_path / "runs.csv", 80, 0), metrics=("loss",), space=space)
    assert share(document, "web") <= 0.3 + 1e-6
    assert share(document, "books") == pytest.approx(0.1, abs=1e-6)
    assert str(space) in document["natural"]["is"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("domains: {web: {}, code: {}}", "domain books is in the runs, but not in this file"),
        ("domains: {web: {maxx: 1}, code: {}, books: {}}", "domains.web.maxx"),
        ("domains: {web: {max: 10", "not YAML"),
        ("just text", "no settings"),
        ("domains: {web: {}, code: {}, books: {}}\ntarget: {tokens: 1B}", "domains.web.tokens is not given"),
    ],
)
def test_limits_that_cannot_be_read(tmp_path: Path, text: str, says: str) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(text)
    with pytest.raises(ConfigError) as error:
        fitted(table(tmp_path / "runs.csv", 20, 0), space=space)
    assert says in error.value.message
    assert str(space) in error.value.message
    assert error.value.hint


def test_a_domain_that_no_run_has_stays_out_of_the_mixture(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 40, 0)
    frame = pd.read_csv(runs)
    frame["weight.chat"] = 0.0
    frame.to_csv(runs, index=False)
    document = fitted(runs)
    assert share(document, "chat") == 0
    assert any("domain chat has no share in any run" in note for note in document["notes"])


def test_a_metric_that_never_changes_decides_nothing(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 40, 0)
    frame = pd.read_csv(runs)
    frame["metric.fixed"] = 0.1
    frame.to_csv(runs, index=False)
    document = fitted(runs)
    assert document["objective"]["metrics"] == ["loss", "mmlu"]
    assert any("left out of the objective: fixed" in note for note in document["notes"])
    with pytest.raises(ConfigError, match="metric fixed is the same in every run"):
        fitted(runs, metrics=("fixed",))


def test_metrics_of_unlike_spread_are_pointed_out(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 40, 0)
    frame = pd.read_csv(runs)
    frame["metric.mmlu"] *= 1000
    frame.to_csv(runs, index=False)
    assert any("metric mmlu varies 100 times as much as loss" in note for note in fitted(runs)["notes"])
    assert not any("varies" in note for note in fitted(runs, objective="standardized")["notes"])


@pytest.mark.parametrize(
    "options",
    [
        {"metrics": ("speed",)},
        {"target": "huge"},
        {"objective": "best"},
        {"surrogates": ("oracle",)},
        {"maximize": ("speed",)},
    ],
)
def test_options_that_name_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as error:
        fitted(table(tmp_path / "runs.csv", 20, 0), **options)
    assert isinstance(error.value, ConfigError | SearchError)
    assert "choose from" in error.value.hint


def test_the_program_writes_its_files_and_prints_json_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table(tmp_path / "runs.csv", 40, 0)
    monkeypatch.chdir(tmp_path)
    options = ["--metric", "loss", "--surrogate", "linear", "--json"]
    monkeypatch.setattr(sys, "argv", ["mixopt", "fit", "runs.csv", *options])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    document = json.loads(capsys.readouterr().out)
    assert sorted(document["files"]) == sorted(str(path) for path in Path("runs-fit").glob("*"))
    assert json.loads(Path("runs-fit/mixture.json").read_text()) == document["recommendation"]["mixture"]
    for path in Path("runs-fit").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_person_sees_the_scores_the_mixture_and_every_note(tmp_path: Path) -> None:
    runs, holdout = table(tmp_path / "runs.csv", 40, 0), table(tmp_path / "later.csv", 20, 1)
    document = fitted(runs, holdout=holdout, surrogates=("linear", "quadratic"))
    save(document, tmp_path / "out")
    console = Console(width=300, record=True)
    console.print(fit_view(document))
    shown = console.export_text()
    for part in (*DOMAINS, "linear", "quadratic", "Holdout, 20 runs at small", document["why"], *document["notes"]):
        assert part in shown
    assert f"{share(document, 'web'):.1%}" in shown
