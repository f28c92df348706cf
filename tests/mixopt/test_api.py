"""`import mixopt` in a notebook: the commands as functions, with DataFrames in and out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas as pd
import pytest

import mixopt
from mixopt.study.record import open_store
from mixopt.study.recording import begin
from search.errors import SearchError
from search.trial import Failure, FailureKind
from tests.e2e.study import write_study
from tests.simulated import ROUNDS, planned
from tests.simulated import run as run_simulated

DOMAINS = ("web", "code", "books")
# The loss is lowest there.
BEST = np.array([3, 2, 1]) / 6


def table(count: int = 40, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    weights_ND = rng.dirichlet(np.ones(3), count)
    frame = pd.DataFrame(weights_ND, columns=[f"weight.{name}" for name in DOMAINS])
    frame["metric.loss"] = 3 + 4 * ((weights_ND - BEST) ** 2).sum(axis=1) + 0.01 * rng.standard_normal(count)
    return frame


def fit(runs: Any, **options: Any) -> mixopt.Fit:
    return mixopt.fit(runs, surrogates=["quadratic"], **options)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> mixopt.Study:
    """One that has its answer; its trials were measured in no time."""
    plan = planned(tmp_path_factory.mktemp("study"), ROUNDS)
    run_simulated(plan)
    return mixopt.Study(plan.file.file)


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_loads_nothing_until_it_is_used() -> None:
    code = "import sys; before = set(sys.modules); import mixopt; print(*(set(sys.modules) - before))"
    loaded = set(python(code).split())
    assert not loaded & {"torch", "pandas", "numpy", "ray", "mlflow", "pydantic", "rich"}
    assert {name for name in loaded if name.startswith("mixopt")} == {"mixopt", "mixopt.base", "mixopt.base.version"}


def test_every_name_is_there_and_no_module_hides_one() -> None:
    """`import mixopt.name` would put the module in the function's place."""
    folder = Path(mixopt.__file__).parent
    for name in mixopt.__all__:
        assert callable(getattr(mixopt, name))
        assert not (folder / f"{name}.py").exists() and not (folder / name).exists()
    assert set(mixopt.__all__) <= set(dir(mixopt))
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        mixopt.fitt  # noqa: B018


def test_type_checkers_see_the_types(study: mixopt.Study) -> None:
    """It is `make check` that fails where they do not: names that are loaded when they are used have their types."""
    assert_type(study.trials, pd.DataFrame)
    assert_type(study.mixture, mixopt.Mixture)
    assert_type(fit(table()).mixture, mixopt.Mixture)
    with pytest.raises(TypeError):
        mixopt.replay(table(14), strategies=["random"], seeds="many")  # type: ignore[arg-type]  # mypy has to say so


def test_a_study_gives_what_its_commands_print(study: mixopt.Study) -> None:
    answer = study.answer
    assert study.name == answer.study == "small"
    assert study.mixture.as_dict() == answer.mixture
    trials = study.trials
    assert len(trials) == answer.trials.completed == study.status.trials.completed.total
    assert trials.columns[:5].tolist() == ["run", "fidelity", "params", "tokens", "cost"]
    assert trials["metric.prose"].dtype == float
    assert study.failures.empty
    assert study.plan(probe=False).trials >= len(trials)
    assert "study.yaml" in repr(study)


def test_a_study_reports_what_it_found(study: mixopt.Study) -> None:
    assert study.answer.verdict[1:] in study.report()


def test_a_study_that_has_its_answer_gives_it_again(study: mixopt.Study) -> None:
    before = study.answer
    assert study.run() == before == study.answer


def test_trials_are_a_table_of_runs(study: mixopt.Study) -> None:
    """Losses that fall with their domain's share: what prose alone is judged by wants all of it."""
    found = fit(study.trials, metrics=["prose"])
    assert found.mixture["prose"] > study.trials["weight.prose"].mean()
    assert set(found.result.runs) == {"dense", "moe"}


def test_failures_are_told_with_their_reason(tmp_path: Path) -> None:
    plan = planned(tmp_path, ROUNDS)
    trial = plan.problem.baseline_trials[0]
    with begin(plan, open_store(plan.file)) as recorder:
        recorder.open(trial)
        recorder.close_trial(trial, Failure(FailureKind.DIVERGED, "loss is nan"), objective=None)
    [failure] = mixopt.Study(plan.file.file).failures.to_dict("records")
    assert failure == {
        "trial": trial.id,
        "fidelity": trial.fidelity.proxy,
        "seed": 0,
        "origin": "baseline:proportional",
        "kind": "diverged",
        "message": "loss is nan",
    }


def test_an_answer_is_exported_as_the_command_does(study: mixopt.Study) -> None:
    text = study.export("megatron", location="/data/{domain}")
    weights = {place: float(weight) for weight, place in zip(*[iter(text.split()[1:])] * 2, strict=True)}
    assert sum(weights.values()) == pytest.approx(1)
    for place, weight in weights.items():
        assert weight == pytest.approx(study.mixture[place.removeprefix("/data/")])
    other = mixopt.Mixture.of({"prose": 1, "code": 1, "sums": 2})
    assert "sums: 0.5\n" in study.export(mixture=other, tokens="1k")
    with pytest.raises(mixopt.ConfigError, match="domain sums would be read"):
        study.export(mixture=other, tokens="1B")


def test_what_is_not_there_is_said_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(mixopt.ConfigError, match=r"none.csv: no such table"):
        mixopt.fit(tmp_path / "none.csv")
    with pytest.raises(mixopt.ConfigError, match="no such study file") as caught:
        mixopt.Study(tmp_path / "none.yaml")
    assert "mixopt init" in caught.value.hint
    fresh = mixopt.Study(write_study(tmp_path))
    for name in ("answer", "mixture", "trials", "failures", "status"):
        with pytest.raises(mixopt.ConfigError, match="study small has not run yet"):
            getattr(fresh, name)


def test_a_table_in_memory_is_fitted_as_its_file_is(tmp_path: Path) -> None:
    runs, later = table(), table(20, seed=1)
    runs.to_csv(tmp_path / "runs.csv", index=False)
    later.to_parquet(tmp_path / "holdout.parquet")
    in_memory = fit(runs, holdout=later)
    from_files = fit(tmp_path / "runs.csv", holdout=str(tmp_path / "holdout.parquet"))
    assert in_memory.mixture == from_files.mixture
    scores = [each.result.holdout["quadratic"].rmse for each in (in_memory, from_files)]
    assert scores[0] == scores[1] < 0.05
    assert [note.replace("runs.csv:", "runs:") for note in from_files.notes] == in_memory.notes


def test_a_fit_as_frames() -> None:
    found = fit(table())
    assert found.trusted and "quadratic is trusted" in found.why
    assert found.scores["spearman"]["quadratic"] > 0.9
    assert found.shares["recommended"].tolist() == list(found.mixture.weights)
    assert found.shares.sum()[["natural", "recommended"]].tolist() == pytest.approx([1, 1])
    assert (found.shares["lowest"] <= found.shares["highest"]).all()
    assert found.predicted is not None
    assert found.predicted.lower < 3.05 and found.predicted.upper > 3
    assert found.front.empty
    few = mixopt.fit(table(6))
    assert few.predicted is None
    assert few.scores["skipped"].str.contains("too few for a regression").any()


def test_a_front_is_a_table_of_runs_again() -> None:
    runs = table()
    runs["metric.other_loss"] = 1 + runs["weight.web"]
    front = fit(runs, objective="pareto").front
    assert len(front) > 1
    assert front.columns.tolist() == runs.columns.tolist()
    again = fit(pd.concat([runs, front]))
    assert again.result.runs == {"runs": len(runs) + len(front)}


def test_mistakes_in_a_frame_are_placed_by_its_rows() -> None:
    runs = table().astype("Float64")
    runs.loc[3, "weight.web"] = pd.NA
    with pytest.raises(mixopt.ConfigError, match=r"runs: row 3, column weight\.web: no weight"):
        fit(runs)
    with pytest.raises(mixopt.ConfigError, match="runs: no column weight"):
        fit(pd.DataFrame({"loss": [1.0]}))
    with pytest.raises(SearchError, match="metric 'acc' does not exist"):
        fit(table(), metrics=["acc"])


def test_a_space_of_plain_numbers_limits_the_answer(tmp_path: Path) -> None:
    space = mixopt.space({"web": "6B", "code": 1e9, "books": "1B"}, {"web": (0, 0.3), ("code", "books"): (0.5, 1)})
    assert space.natural["web"] == pytest.approx(0.75)
    assert fit(table(), space=space).mixture["web"] == pytest.approx(0.3, abs=0.01)

    (tmp_path / "space.yaml").write_text(
        "domains: {web: {tokens: 6B, max: 30%}, code: {tokens: 1B}, books: {tokens: 1B}}\n"
        "groups: {both: {domains: [code, books], min: 50%}}\n"
    )
    read = mixopt.read_space(tmp_path / "space.yaml")
    assert (read.limits, read.group_lower_G.tolist()) == (space.limits, space.group_lower_G.tolist())
    assert fit(table(), space=tmp_path / "space.yaml").mixture == fit(table(), space=read).mixture


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        (({"web": "6B", "code": "1B"}, {"cod": (0, 1)}), "bounds on cod: no such domain"),
        (({"web": "6B", "code": "much"},), "code: 'much' is not"),
        (({"web": "6B", "code": "1B"}, {"web": (0, 0.1), "code": (0, 0.1)}), "maximums of the domains sum to 0.2"),
        (({"web": "6B", "code": "1B"}, {("web", "books"): (0, 0.1)}), "no domain is called books"),
    ],
)
def test_a_space_that_cannot_be_is_refused(arguments: Any, mistake: str) -> None:
    with pytest.raises(ValueError, match=mistake):
        mixopt.space(*arguments)


def test_the_limits_name_the_domains_of_the_runs() -> None:
    with pytest.raises(mixopt.ConfigError, match="space: domain chat is in this file, but not in the runs"):
        fit(table(), space=mixopt.space({"web": 1, "code": 1, "books": 1, "chat": 1}))


def test_strategies_are_replayed_into_a_frame() -> None:
    runs = table(14)
    played = mixopt.replay(runs, strategies=["regmix"], seeds=3, surrogate="quadratic")
    assert played.index.tolist() == ["random", "regmix"]
    assert (played["found"] == 3).all() and (played["median"] <= 14).all()
    assert played["regret@1"].notna().any()
    assert played.attrs["result"]["seeds"] == 3
    never = mixopt.replay(runs, strategies=["random"], seeds=2, budget=1)
    assert never["found"]["random"] < 2


def test_any_mixture_is_exported() -> None:
    assert "code: 0.25\n" in mixopt.export({"web": 3, "code": 1})
    mixture = mixopt.Mixture.of({"web": 3, "code": 1})
    text = mixopt.export(mixture, "hf", mean_document_tokens={"web": 300, "code": 100})
    assert "0.5" in text
    with pytest.raises(mixopt.ConfigError, match="mean length of those of code is not known"):
        mixopt.export(mixture, "hf", mean_document_tokens={"web": 300})
    with pytest.raises(mixopt.ConfigError, match="no export format mgt"):
        mixopt.export(mixture, "mgt")
    with pytest.raises(SearchError, match="domain web: weight -1"):
        mixopt.export({"web": -1, "code": 2})
