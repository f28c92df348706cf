"""`mixopt fit` on a made-up world in which the metrics of every mixture are known."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jaxtyping import Float
from rich.console import Console

from mixopt.base.errors import ConfigError
from mixopt.cli.main import main
from mixopt.cli.tables.fit import first_answer_line, fit_view
from mixopt.results.fit import FitResult
from mixopt.runs.domains import changes
from mixopt.runs.fit import COMPARED, FirstAnswer, fit, save
from mixopt.runs.problem import pose
from mixopt.runs.request import FitRequest
from mixopt.runs.surrogates import choose, fit_all, why
from mixopt.runs.table import read
from mixopt.settings.space import read as read_limits
from search.errors import SearchError
from search.mixture import Mixture
from search.surrogates import SURROGATES

DOMAINS = ("web", "code", "books")
# The loss is lowest at half web, a third code, a sixth books.
BEST = np.array([3, 2, 1]) / 6


def losses(weights: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    loss: Float[np.ndarray, " N"] = 3 + 4 * ((weights - BEST) ** 2).sum(axis=1)
    return loss


def table(path: Path, count: int, seed: int, fidelity: str = "small", noise: float = 0.01) -> Path:
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(3), size=count)
    scale = 0.5 if fidelity == "large" else 1.0
    loss = scale * (losses(weights) + noise * rng.standard_normal(count))
    frame = pd.DataFrame(weights, columns=[f"weight.{name}" for name in DOMAINS])
    frame.insert(0, "run", [f"{path.stem}-{place}" for place in range(count)])
    frame.insert(1, "fidelity", fidelity)
    frame.insert(2, "cost", {"small": 1.0, "large": 10.0, "huge": 1000.0}[fidelity])
    frame["metric.loss"] = loss
    frame["metric.mmlu"] = 1 - loss / 10
    frame.to_csv(path, index=False)
    return path


def joined(path: Path, *tables: Path) -> Path:
    pd.concat([pd.read_csv(each) for each in tables]).to_csv(path, index=False)
    return path


def fitted(runs: Path, **options: Any) -> FitResult:
    options.setdefault("surrogates", ("quadratic",))
    if "space" in options:
        options["limits"] = read_limits(options.pop("space"))
    return fit(FitRequest(runs=runs, **options), lambda *_: None)


def share(result: FitResult, domain: str) -> float:
    return result.recommendation.mixture[domain]


def test_a_learnable_world_is_trusted_and_its_best_mixture_found(tmp_path: Path) -> None:
    runs, holdout = table(tmp_path / "runs.csv", 80, 0), table(tmp_path / "later.csv", 40, 1)
    result = fitted(runs, metrics=("loss",), holdout=holdout)
    assert result.trusted
    assert (result.fitted["quadratic"].objective.spearman or 0) > 0.95
    assert [share(result, name) for name in DOMAINS] == pytest.approx(BEST, abs=0.08)
    predicted, natural = result.recommendation.predicted, result.natural.predicted
    assert predicted is not None and natural is not None
    assert predicted.lower < losses(BEST[None])[0] < predicted.upper
    assert predicted.mean < natural.mean

    scores = result.holdout["quadratic"]
    assert (scores.runs, scores.fidelity) == (40, "small")
    assert (scores.spearman or 0) > 0.95
    assert scores.spearman == scores.metrics["loss"].spearman == scores.mean_metric_spearman
    assert scores.calibrated_rmse is not None
    assert scores.calibrated_rmse <= scores.rmse < 0.05
    measured = pd.read_csv(holdout).set_index("run")["metric.loss"]
    pick = scores.pick
    assert pick.rank == (measured < measured[pick.run]).sum() + 1
    assert pick.regret == pytest.approx(measured[pick.run] - measured.min())
    assert pick.regret_sd == pytest.approx(pick.regret / measured.std(ddof=0))


@pytest.mark.parametrize("objective", ["mean", "standardized", "worst", "no-worse", "pareto"])
def test_every_objective_agrees_where_the_metrics_do(tmp_path: Path, objective: str) -> None:
    """A score that falls as the loss rises: both want the same mixture, once the score is maximised."""
    result = fitted(table(tmp_path / "runs.csv", 80, 0), objective=objective)
    assert result.objective.maximised == ("mmlu",)
    assert [share(result, name) for name in DOMAINS] == pytest.approx(BEST, abs=0.12)


def test_minimizing_a_score_turns_the_answer_around(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 80, 0)
    right, wrong = (fitted(runs, metrics=("mmlu",), minimize=names) for names in ((), ("mmlu",)))
    assert right.objective.name == "-mmlu"
    assert share(right, "web") > 0.4
    assert share(wrong, "web") < 0.2


def test_the_same_seed_gives_the_same_result(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 40, 0)
    assert fitted(runs, seed=3) == fitted(runs, seed=3)


def test_runs_at_random_are_not_trusted_and_the_best_run_is_the_answer(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 30, 0)
    frame = pd.read_csv(runs)
    frame["metric.loss"] = np.random.default_rng(5).standard_normal(len(frame))
    frame.to_csv(runs, index=False)
    result = fitted(runs, metrics=("loss",))
    assert not result.trusted
    assert "not trusted" in result.why
    assert result.recommendation.method == "best observed"
    assert share(result, "web") == pytest.approx(frame["weight.web"][frame["metric.loss"].argmin()])


def test_a_few_runs_give_the_best_of_them_and_the_reason(tmp_path: Path) -> None:
    result = fitted(table(tmp_path / "runs.csv", 6, 0), surrogates=("quadratic", "linear"))
    assert result.default is None
    assert result.skipped["linear"] == "6 mixtures are too few for a regression, 10 the least"
    assert result.recommendation.method == "best observed"
    with pytest.raises(ConfigError, match="objective worst needs predictions"):
        fitted(table(tmp_path / "runs.csv", 6, 0), objective="worst")


def test_a_holdout_of_another_fidelity_is_scored_and_said_to_be(tmp_path: Path) -> None:
    small, large = table(tmp_path / "small.csv", 60, 0), table(tmp_path / "large.csv", 30, 1, "large")
    result = fitted(small, metrics=("loss",), holdout=large)
    scores = result.holdout["quadratic"]
    assert scores.fidelity == "large"
    assert scores.calibrated_rmse is not None
    assert scores.rmse > 1 > 0.05 > scores.calibrated_rmse
    assert (result.target, result.predicted_at) == ("large", "small")
    for part in (
        "no run at large measured every metric: predictions are those of small",
        "the holdout was measured at large",
    ):
        assert any(part in note for note in result.notes)


def test_the_target_is_the_dearest_fidelity_that_the_holdout_has_too(tmp_path: Path) -> None:
    small, large = table(tmp_path / "small.csv", 40, 0), table(tmp_path / "large.csv", 15, 1, "large")
    both = joined(tmp_path / "both.csv", small, large)
    assert fitted(both).target == "large"
    assert fitted(both, target="small").target == "small"
    assert fitted(both, holdout=table(tmp_path / "later.csv", 20, 2)).target == "small"


def test_the_target_may_be_a_fidelity_that_only_the_holdout_has(tmp_path: Path) -> None:
    small, large = table(tmp_path / "small.csv", 40, 0), table(tmp_path / "large.csv", 15, 1, "large")
    both = joined(tmp_path / "both.csv", table(tmp_path / "later.csv", 20, 2), large)
    result = fitted(small, holdout=both, target="large")
    assert (result.target, result.predicted_at) == ("large", "small")
    assert result.holdout["quadratic"].fidelity == "large"
    assert fitted(small, holdout=both).target == "small"


@pytest.mark.parametrize(("fidelity", "default"), [("large", "blend"), ("huge", "far_blend")])
def test_a_far_target_has_its_own_default(tmp_path: Path, fidelity: str, default: str) -> None:
    small, other = table(tmp_path / "small.csv", 9, 0), table(tmp_path / "other.csv", 5, 1, fidelity)
    assert next(iter(fitted(small, holdout=other, surrogates=()).surrogates)) == default
    result = fitted(small, holdout=other, surrogates=(), every=True)
    assert next(iter(result.surrogates)) == default
    assert set(result.surrogates) == set(SURROGATES)
    skipped = result.skipped["far_blend"]
    assert ("not 100 times as large" in skipped) == (default == "blend")


def test_without_a_wish_the_default_is_compared_with_few(tmp_path: Path) -> None:
    firsts: list[FirstAnswer] = []
    request = FitRequest(runs=table(tmp_path / "runs.csv", 30, 0), metrics=("loss",))
    result = fit(request, lambda *_: None, firsts.append)
    assert list(result.surrogates) == ["blend", *COMPARED]
    [first] = firsts
    assert first.surrogate == "blend"
    # Before validation there is no law in the blend, which is near the answer all the same.
    assert first.mixture.total_variation(Mixture.of(result.recommendation.mixture)) < 0.05
    assert first_answer_line(first).startswith("first answer, by blend and before validation: ")
    with pytest.raises(ConfigError, match="--all and --surrogate do not go together"):
        FitRequest(runs=tmp_path / "runs.csv", surrogates=("blend",), every=True)


def test_another_surrogate_takes_over_only_where_many_runs_show_it(tmp_path: Path) -> None:
    """The world is a parabola: a line is worse than that, however many runs there are to show it."""
    for count, taken in ((30, "linear"), (80, "quadratic")):
        question = pose(FitRequest(runs=table(tmp_path / "runs.csv", count, 0), metrics=("loss",)))
        predictors, _ = fit_all(("linear", "quadratic"), question.problem, question.runs, lambda *_: None)
        chosen = choose(predictors)
        assert chosen.name == taken
        assert {"linear", "quadratic"} <= set(why(chosen, predictors).replace(",", "").replace(";", "").split())


def test_side_by_side_or_alone_the_numbers_are_the_same(tmp_path: Path) -> None:
    runs, names = table(tmp_path / "runs.csv", 30, 0), ("linear", "quadratic")
    together = fitted(runs, surrogates=names).surrogates
    assert list(together) == list(names)
    assert together == {name: fitted(runs, surrogates=(name,)).surrogates[name] for name in names}


def test_a_leak_is_told(tmp_path: Path) -> None:
    runs, holdout = table(tmp_path / "runs.csv", 40, 0), table(tmp_path / "later.csv", 20, 1)
    assert not [note for note in fitted(runs, holdout=holdout).notes if "leak" in note]
    frame = pd.concat([pd.read_csv(holdout), pd.read_csv(runs).head(3)])
    frame.to_csv(holdout, index=False)
    [leak] = [note for note in fitted(runs, holdout=holdout).notes if "leak" in note]
    assert "3 runs of the holdout" in leak


def test_a_name_that_two_tables_share_is_no_leak(tmp_path: Path) -> None:
    runs, holdout = table(tmp_path / "runs.csv", 40, 0), table(tmp_path / "later.csv", 20, 1)
    pd.read_csv(holdout).assign(run=[f"runs-{place}" for place in range(20)]).to_csv(holdout, index=False)
    assert not [note for note in fitted(runs, holdout=holdout).notes if "leak" in note]


def test_limits_hold_and_their_tokens_are_the_natural_mixture(tmp_path: Path) -> None:
    space = tmp_path / "study.yaml"
    space.write_text("domains: {web: {max: 30%, tokens: 6B}, code: {tokens: 3B}, books: {pin: 10%, tokens: 1B}}")
    result = fitted(table(tmp_path / "runs.csv", 80, 0), metrics=("loss",), space=space)
    assert share(result, "web") <= 0.3 + 1e-6
    assert share(result, "books") == pytest.approx(0.1, abs=1e-6)
    assert str(space) in result.natural.source


def test_runs_from_before_a_split_count_over_its_parts(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(
        "domains: {web: {tokens: 6B}, python: {tokens: 1B}, rest: {tokens: 3B}, books: {tokens: 1B}, law: {tokens: 1B}}"
    )
    runs = table(tmp_path / "runs.csv", 60, 0)
    frame = pd.read_csv(runs).rename(columns={"weight.books": "weight.novels"})
    frame.to_csv(runs, index=False)
    options = {"metrics": ("loss",), "space": space, "changes": changes(["novels=books"], ["code=python,rest"])}
    result = fitted(runs, holdout=runs, **options)
    assert result.trusted
    assert share(result, "web") == pytest.approx(BEST[0], abs=0.1)
    assert share(result, "python") + share(result, "rest") == pytest.approx(BEST[1], abs=0.1)
    assert share(result, "law") == 0
    assert any("domain code of the earlier runs is read as its parts" in note for note in result.notes)


def test_a_metric_called_like_a_split_domain_is_not_dropped_in_silence(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("domains: {web: {tokens: 6B}, python: {tokens: 1B}, rest: {tokens: 3B}, books: {tokens: 1B}}")
    runs = table(tmp_path / "runs.csv", 60, 0)
    frame = pd.read_csv(runs).rename(columns={"metric.mmlu": "metric.code"})
    frame.to_csv(runs, index=False)
    options = {"space": space, "changes": changes([], ["code=python,rest"])}
    assert any("split now are not used: code" in note for note in fitted(runs, **options).notes)
    frame.drop(columns="metric.loss").to_csv(runs, index=False)
    with pytest.raises(ConfigError, match="no metric is left: code"):
        fitted(runs, **options)


def test_a_change_that_changes_nothing_is_a_mistake(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("domains: {web: {tokens: 6B}, code: {tokens: 1B}, books: {tokens: 3B}}")
    with pytest.raises(ConfigError, match="none is to be renamed or split"):
        fitted(table(tmp_path / "runs.csv", 20, 0), space=space, changes=changes(["zz=web"], []))


@pytest.mark.parametrize(
    ("renamed", "split", "says"),
    [
        (["web"], [], "--renamed web does not give"),
        (["web=a,b"], [], "--renamed web=a,b does not give"),
        ([], ["web=a"], "--split web=a does not give"),
        ([], ["web=a,"], "--split web=a, does not give"),
        (["web=a"], ["web=b,c"], "domain web is both renamed and split"),
        (["web=site"], [], "need --space"),
    ],
)
def test_changes_that_cannot_be(tmp_path: Path, renamed: list[str], split: list[str], says: str) -> None:
    with pytest.raises(ValueError) as error:
        fitted(table(tmp_path / "runs.csv", 20, 0), changes=changes(renamed, split))
    assert isinstance(error.value, ConfigError | SearchError)
    assert says in error.value.message
    assert error.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("domains: {web: {}, code: {}}", "domain books is in the runs, but not in this file"),
        ("domains: {web: {maxx: 1}, code: {}, books: {}}", "space.yaml:1: domains.web.maxx: unknown key; did you mean"),
        ("domains:\n  web: {}\n  code: {}\n  web: {}\n  books: {}", "space.yaml:4: web stands here a second time"),
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
    assert error.value.hint or "; " in error.value.message


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ("{pin: 97%}", "keeps the pin 0.97 of domains.books"),
        ("{min: 97%}", "keeps the limits 0.97 to 1 of domains.books"),
    ],
)
@pytest.mark.parametrize("count", [6, 30])
def test_limits_that_no_run_keeps_are_named_where_only_a_run_could_be_the_answer(
    tmp_path: Path, count: int, limits: str, says: str
) -> None:
    """Too few runs for a regression, and runs at random."""
    space = tmp_path / "space.yaml"
    space.write_text(f"domains: {{web: {{}}, code: {{}}, books: {limits}}}")
    runs = table(tmp_path / "runs.csv", count, 0)
    pd.read_csv(runs).assign(**{"metric.loss": np.random.default_rng(5).standard_normal(count)}).to_csv(runs)
    with pytest.raises(ConfigError) as error:
        fitted(runs, metrics=("loss",), space=space)
    assert says in error.value.message
    assert str(space) in error.value.message
    assert "domains.books" in error.value.hint
    assert "metric" not in error.value.hint


def test_only_the_metrics_asked_for_matter(tmp_path: Path) -> None:
    """Of the others one is infinite in every run, and in every run of the holdout, and one has no value."""
    runs, holdout = table(tmp_path / "runs.csv", 40, 0), table(tmp_path / "later.csv", 20, 1)
    alone = fitted(runs, metrics=("loss",), holdout=holdout)
    for path in (runs, holdout):
        frame = pd.read_csv(path, float_precision="round_trip")
        frame.assign(**{"metric.mmlu": np.inf, "metric.lost": np.nan}).to_csv(path, index=False)
    result = fitted(runs, metrics=("loss",), holdout=holdout)
    assert result.recommendation == alone.recommendation
    assert result.holdout == alone.holdout
    assert any("runs.csv: runs with an infinite metric that is not used count" in note for note in result.notes)
    with pytest.raises(ConfigError, match="every run has an infinite metric") as error:
        fitted(runs)
    assert "other metrics" in error.value.hint


def test_a_domain_that_no_run_has_stays_out_of_the_mixture(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 40, 0)
    frame = pd.read_csv(runs)
    frame["weight.chat"] = 0.0
    frame.to_csv(runs, index=False)
    result = fitted(runs)
    assert share(result, "chat") == 0
    assert any("domain chat has no share in any run" in note for note in result.notes)


def test_metrics_that_no_run_measured_together(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 40, 0)
    frame = pd.read_csv(runs)
    frame.loc[::2, "metric.loss"], frame.loc[1::2, "metric.mmlu"] = np.nan, np.nan
    frame.to_csv(runs, index=False)
    with pytest.raises(ConfigError, match="no run measured all of loss, mmlu"):
        fitted(runs)
    assert fitted(runs, metrics=("loss",)).trusted


def test_the_target_is_a_fidelity_that_measured_every_metric(tmp_path: Path) -> None:
    large = table(tmp_path / "large.csv", 10, 1, "large")
    pd.read_csv(large).drop(columns="metric.loss").to_csv(large, index=False)
    both = joined(tmp_path / "both.csv", table(tmp_path / "small.csv", 40, 0), large)
    assert fitted(both).target == "small"
    assert fitted(both, metrics=("mmlu",)).target == "large"
    assert fitted(both, target="large").predicted_at == "small"


def test_one_mixture_leaves_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one mixture leaves nothing to compare"):
        fitted(table(tmp_path / "runs.csv", 1, 0))


def test_a_metric_that_never_changes_decides_nothing(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 40, 0)
    frame = pd.read_csv(runs)
    frame["metric.fixed"] = 0.1
    frame.to_csv(runs, index=False)
    result = fitted(runs)
    assert result.objective.metrics == ("loss", "mmlu")
    assert any("left out of the objective: fixed" in note for note in result.notes)
    with pytest.raises(ConfigError, match="metric fixed is the same in every run"):
        fitted(runs, metrics=("fixed",))


def test_metrics_of_unlike_spread_are_pointed_out(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 40, 0)
    frame = pd.read_csv(runs)
    frame["metric.mmlu"] *= 1000
    frame.to_csv(runs, index=False)
    assert any("metric mmlu varies 100 times as much as loss" in note for note in fitted(runs).notes)
    assert not any("varies" in note for note in fitted(runs, objective="standardized").notes)


def test_a_mean_of_losses_and_scores_is_doubted_once(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", 40, 0)

    def doubts(**options: Any) -> list[str]:
        return [note for note in fitted(runs, **options).notes if "--objective standardized" in note]

    [doubt] = doubts()
    assert "minimised, such as loss, and maximised, such as mmlu" in doubt
    assert not doubts(objective="standardized")
    assert not doubts(metrics=("loss",))
    assert not doubts(minimize=("mmlu",))


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


def program(monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str) -> int:
    """The exit status of `mixopt fit runs.csv`, started in a folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["mixopt", "fit", "runs.csv", *options])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_program_writes_its_files_and_prints_json_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table(tmp_path / "runs.csv", 40, 0)
    # As if standard error were a terminal.
    monkeypatch.setenv("FORCE_COLOR", "1")
    options = ("--metric", "loss", "--surrogate", "linear")
    assert program(monkeypatch, tmp_path, *options) == 0
    assert "━" in capsys.readouterr().err
    assert program(monkeypatch, tmp_path, *options, "--json") == 0
    printed = capsys.readouterr()
    assert printed.err == "fit surrogates (2 fits)\n"
    result = json.loads(printed.out)
    assert sorted(result["files"]) == sorted(str(path) for path in Path("runs-fit").glob("*"))
    assert json.loads(Path("runs-fit/mixture.json").read_text()) == result["recommendation"]["mixture"]
    for path in Path("runs-fit").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("json_wanted", [True, False])
def test_a_target_of_two_runs_leaves_out_the_picture_that_would_have_no_points(
    tmp_path: Path, json_wanted: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cheap, dear = table(tmp_path / "cheap.csv", 24, 0), table(tmp_path / "dear.csv", 2, 1, "large")
    joined(tmp_path / "runs.csv", cheap, dear)
    earlier = tmp_path / "runs-fit" / "predictions.png"
    earlier.parent.mkdir()
    earlier.write_bytes(b"of another table")
    options = ("--metric", "loss", "--surrogate", "linear", *(["--json"] if json_wanted else []))
    assert program(monkeypatch, tmp_path, *options) == 0
    said = capsys.readouterr().out
    # For a person as wide as the terminal.
    assert "no picture of predictions: no run at large was predicted unseen" in " ".join(said.split())
    assert {path.name for path in earlier.parent.glob("*.png")} == {"weights.png"}
    if json_wanted:
        result = json.loads(said)
        assert result["runs"] == {"small": 24, "large": 2} and result["target"] == "large"
        assert sum(result["recommendation"]["mixture"].values()) == pytest.approx(1)
        assert not any("predictions" in file for file in result["files"])


def test_a_folder_that_cannot_be_is_refused_before_the_table_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for output in ("notes.txt", "notes.txt/out", "notes.txt/deep/out"):
        assert program(monkeypatch, tmp_path, "--output", output) == 2
        said = capsys.readouterr().err
        assert f"--output {output}: {tmp_path / 'notes.txt'} is not a folder; choose another name" in said
    assert program(monkeypatch, tmp_path, "--output", "new/deep/out") == 2
    assert "runs.csv: no such table" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert program(monkeypatch, tmp_path, "--output", "locked/out") == 2
    assert f"--output locked/out: {locked} cannot be written to" in capsys.readouterr().err


@pytest.mark.parametrize("metrics", [2, 3])
def test_a_front_is_shown_drawn_and_written_as_a_table(tmp_path: Path, metrics: int) -> None:
    """Two losses that want different mixtures, and a score with the first."""
    runs = table(tmp_path / "runs.csv", 60, 0)
    frame = pd.read_csv(runs).drop(columns="metric.mmlu")
    frame["metric.prose_loss"] = 2 + (frame["weight.code"] - 0.1) ** 2
    if metrics == 3:
        frame["metric.mmlu"] = 1 - frame["metric.loss"] / 10
    frame.to_csv(runs, index=False)
    result = fitted(runs, objective="pareto")
    save(result, tmp_path / "out")
    front, _ = read(tmp_path / "out" / "front.csv")
    assert front.domains == DOMAINS
    losses_N2 = front.values_NM[:, :2]
    assert len(losses_N2) > 2
    for own in losses_N2 if metrics == 2 else ():
        assert not (losses_N2 < own).all(axis=1).any()
    assert (tmp_path / "out" / "front.png").read_bytes().startswith(b"\x89PNG")
    console = Console(width=100, record=True)
    console.print(fit_view(result))
    assert "The predicted Pareto front" in console.export_text()

    save(fitted(runs), tmp_path / "out")
    assert not list((tmp_path / "out").glob("front.*"))


def test_a_person_sees_the_scores_the_mixture_and_every_note(tmp_path: Path) -> None:
    runs, holdout = table(tmp_path / "runs.csv", 40, 0), table(tmp_path / "later.csv", 20, 1)
    result = fitted(runs, holdout=holdout, surrogates=("linear", "quadratic"))
    save(result, tmp_path / "out")
    console = Console(width=300, record=True)
    console.print(fit_view(result))
    shown = console.export_text()
    for part in (*DOMAINS, "linear", "quadratic", "Holdout, 20 runs at small", result.why, *result.notes):
        assert part in shown
    assert f"{share(result, 'web'):.1%}" in shown
