"""`mixopt compare`: studies and mixtures side by side, over studies whose losses are known by a formula."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mixopt
from mixopt.cli.compare import app
from mixopt.results.comparison import ComparedMixture, ComparedStudies, Comparison, Judgement, Predictions, Side
from tests.e2e.study import write_study
from tests.simulated import ROUNDS, planned, run

TWO_DOMAINS = (
    ROUNDS.replace("  sums:  {paths: data/sums.jsonl, min: 5%}\n", "")
    .replace("[prose, sums]", "[prose]")
    .replace("study: small", "study: two")
)


def studied(folder: Path, text: str) -> Path:
    """A study that has its answer; its trials were measured in no time."""
    plan = planned(folder, text)
    run(plan)
    return plan.file.file


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return studied(tmp_path_factory.mktemp("small"), ROUNDS)


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study with another seed and more of a domain."""
    return studied(
        tmp_path_factory.mktemp("longer"), ROUNDS.replace("seed: 3", "seed: 4").replace("min: 5%", "min: 15%")
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return studied(tmp_path_factory.mktemp("two"), TWO_DOMAINS)


def shares(comparison: Comparison, side: Side) -> dict[str, float]:
    """Of the domains that it has."""
    sides = {name: share.a if side == "a" else share.b for name, share in comparison.shares.items()}
    return {name: share for name, share in sides.items() if share is not None}


def predicted_of(judged: Judgement) -> Predictions:
    assert judged.predicted is not None
    return judged.predicted


def studies_of(comparison: Comparison) -> ComparedStudies:
    assert comparison.studies is not None
    return comparison.studies


def objective(weights: dict[str, float]) -> float:
    """Of the simulated trials, without what the seed adds."""
    return 3 - (2 * weights["prose"] + weights["code"]) / 3


def test_an_answer_beside_a_baseline(study: Path) -> None:
    comparison = mixopt.compare(study, "proportional")
    assert comparison.a == ComparedMixture(name=str(study), what="the answer of study small")
    answer, proportional = shares(comparison, "a"), shares(comparison, "b")
    assert answer == mixopt.Study(study).mixture.as_dict()
    assert sum(share.difference for share in comparison.shares.values()) == pytest.approx(0)
    assert comparison.total_variation == pytest.approx(
        sum(abs(proportional[name] - answer[name]) for name in answer) / 2
    )

    [judged] = comparison.judged
    predicted = predicted_of(judged)
    assert set(predicted.losses) == {"prose", "code"}
    for estimates in (predicted.objective, *predicted.losses.values()):
        assert estimates["difference"].mean == pytest.approx(estimates["b"].mean - estimates["a"].mean)
        widths = {name: each.upper - each.lower for name, each in estimates.items()}
        assert widths["difference"] == pytest.approx((widths["a"] ** 2 + widths["b"] ** 2) ** 0.5)
    assert predicted.objective["a"].mean == pytest.approx(objective(answer), abs=0.05)
    assert any("the two errors as independent" in note for note in judged.notes)

    # Paired by seed, what a seed adds to both cancels.
    measured, *_ = judged.measured_difference
    assert (measured.proxy, measured.seeds) == ("moe", (1, 2))
    assert measured.difference == pytest.approx(objective(proportional) - objective(answer))
    assert measured.margin == pytest.approx(0, abs=1e-9)


def test_the_trials_behind_it_are_named_nearest_first(study: Path) -> None:
    [judged] = mixopt.compare(study, "uniform").judged
    trials = mixopt.Study(study).trials.set_index("run")
    for rows in judged.measured.values():
        own = [row for row in rows if row.total_variation < 1e-6]
        others = rows[len(own) :]
        assert own and own[0].proxy == "moe"
        assert {row.proxy for row in others} == {"moe"}
        distances = [row.total_variation for row in others]
        assert distances == sorted(distances) and distances[0] > 1e-6
        for row in rows:
            assert set(row.trials) <= set(trials.index)
            for run_id, value in zip(row.trials, row.objectives.values(), strict=True):
                losses = trials.loc[run_id]
                assert value == pytest.approx((2 * losses["metric.prose"] + losses["metric.code"]) / 3)
    [baseline] = [row for row in judged.measured["b"] if row.total_variation < 1e-6 and row.proxy == "moe"]
    assert baseline.origin == "baseline:uniform"
    assert list(baseline.objectives) == ["0", "1", "2"]


def test_two_mixtures_judged_by_a_study(study: Path, tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("weights: {prose: 0.2, code: 0.2, sums: 0.6}\n")
    (tmp_path / "new.json").write_text(mixopt.Study(study).export("json"))
    comparison = mixopt.compare(tmp_path / "old.yaml", tmp_path / "new.json", study)
    assert comparison.b.what == "a file"
    assert shares(comparison, "b") == pytest.approx(mixopt.Study(study).mixture.as_dict())
    assert comparison.studies is None
    [judged] = comparison.judged
    assert predicted_of(judged).objective["difference"].mean < 0
    assert judged.measured_difference == ()

    given = mixopt.compare(mixopt.Mixture.of({"code": 1, "prose": 1, "sums": 3}), "uniform", study)
    assert given.a.what == "a mixture"
    assert shares(given, "a") == pytest.approx({"code": 0.2, "prose": 0.2, "sums": 0.6})
    [same] = given.judged
    assert predicted_of(same).objective["a"].mean == pytest.approx(predicted_of(judged).objective["a"].mean)


def test_a_mixture_outside_the_limits_and_the_evidence_is_called_so(study: Path) -> None:
    comparison = mixopt.compare(study, mixopt.Mixture.of({"prose": 0, "code": 1, "sums": 0}))
    [judged] = comparison.judged
    assert any(note.startswith("B is outside the limits: domain code: 1 is above its maximum") for note in judged.notes)
    assert any(note.startswith("B lies outside the evidence") for note in judged.notes)
    assert not any(note.startswith("A ") for note in judged.notes)


def test_a_trial_is_named_by_the_head_of_its_id(study: Path) -> None:
    trial = mixopt.Study(study).trials.iloc[0]
    comparison = mixopt.compare(trial["run"][:6], study)
    with pytest.raises(mixopt.ConfigError, match="is no file, and no baseline or trial"):
        mixopt.compare(trial["run"][:3], study)
    assert comparison.a.what.startswith(f"trial {trial['run']} of study small")
    assert shares(comparison, "a")["prose"] == pytest.approx(trial["weight.prose"])
    [own, *_] = comparison.judged[0].measured["a"]
    assert trial["run"] in own.trials


def test_a_mixture_beside_itself_does_not_differ(study: Path) -> None:
    comparison = mixopt.compare("proportional", mixopt.compare("proportional", study).a.name, study)
    assert comparison.notes == ("A and B are the same mixture: there is no difference to predict or to measure",)
    [judged] = comparison.judged
    assert set(predicted_of(judged).objective) == {"a", "b"}
    assert judged.measured_difference == ()


def test_settings_are_shown_as_they_stand_in_the_file(study: Path, tmp_path: Path) -> None:
    other = studied(tmp_path, ROUNDS.replace("data/prose.jsonl", "'data/pros[a-z].jsonl'"))
    shown = CliRunner().invoke(app, [str(study), str(other)])
    assert "data/pros[a-z].jsonl" in shown.stdout


def test_two_studies_with_what_else_differs(study: Path, longer: Path) -> None:
    comparison = mixopt.compare(study, longer)
    assert {each.setting: (each.a, each.b) for each in studies_of(comparison).settings} == {
        "seed": (3, 4),
        "domains.sums.min": (0.05, 0.15),
    }
    for side, path in (("a", study), ("b", longer)):
        told, answer = getattr(studies_of(comparison), side), mixopt.Study(path).answer
        assert told.verdict == answer.verdict
        assert told.flops == pytest.approx(answer.trials.flops)
        assert told.trials == {"completed": answer.trials.completed, "stopped": 0, "running": 0, "failed": 0}
    assert [judged.file for judged in comparison.judged] == [str(study), str(longer)]
    for judged in comparison.judged:
        assert set(predicted_of(judged).objective) == {"a", "b", "difference"}
    assert len(mixopt.compare(study, longer, study).judged) == 1


def test_studies_with_other_domains_are_compared_in_what_they_share(study: Path, two: Path) -> None:
    comparison = mixopt.compare(study, two)
    assert comparison.notes == ("B has no domain sums: it counts as a share of 0",)
    assert comparison.shares["sums"].b is None
    assert comparison.shares["sums"].difference == -shares(comparison, "a")["sums"]
    small, of_two = comparison.judged
    assert set(small.measured) == {"a", "b"}
    assert of_two.notes[0] == "A is not judged by study two, which has no domain sums"
    assert set(predicted_of(of_two).objective) == set(of_two.measured) == {"b"}
    assert {"domains.sums", "groups.plain.domains"} <= {each.setting for each in studies_of(comparison).settings}


def test_a_search_that_has_hardly_begun_predicts_nothing_and_says_why(tmp_path: Path) -> None:
    few = ROUNDS.replace("trials: 8}", "trials: 3}")
    [judged] = mixopt.compare(studied(tmp_path, few), "uniform").judged
    assert (judged.surrogate, judged.predicted) == (None, None)
    assert any("too few for a regression, 10 the least" in note for note in judged.notes)
    assert judged.measured_difference


@pytest.mark.parametrize(
    ("given", "mistake", "hint"),
    [
        ("unifrom", "unifrom is no file, and no baseline or trial of study small", "proportional, uniform"),
        ("none.yaml", "none.yaml: no such study file", "mixopt init"),
        ("none.json", "none.json: no such file of a mixture", "mixopt export"),
        ("table.csv", "this is no csv file", ""),
        ("plain.yaml", "plain.yaml: no domain books", "prose, code, sums"),
        ("other.yaml", "other.yaml: no domain books", "prose, code, sums"),
        ("list.json", "this is no json file", ""),
        ("broken.yaml", "broken.yaml:2: not YAML", ""),
    ],
)
def test_what_is_neither_is_refused(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, mistake: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("name,share\nprose,1.0\n")
    Path("plain.yaml").write_text("prose: 0.5\nbooks: 0.5\n")
    Path("other.yaml").write_text("weights: {prose: 0.5, books: 0.5}\n")
    Path("list.json").write_text("[1, 2]")
    Path("broken.yaml").write_text("weights: {prose: 0.5\n")
    with pytest.raises(mixopt.ConfigError) as caught:
        mixopt.compare(study, given)
    assert mistake in caught.value.message
    assert hint in caught.value.hint


def test_a_study_that_has_not_run_is_no_side(study: Path, tmp_path: Path) -> None:
    with pytest.raises(mixopt.ConfigError, match="study small has not run yet"):
        mixopt.compare(study, write_study(tmp_path))


def test_the_command_shows_tables_or_json(study: Path, longer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    shown = CliRunner().invoke(app, [str(study), str(longer)])
    assert shown.exit_code == 0, shown.output
    for words in ("Shares of training tokens", "Predicted of one new run at moe", "Measured:", "domains.sums.min"):
        assert words in shown.stdout
    comparison = json.loads(CliRunner().invoke(app, [str(study), "uniform", "--json"]).stdout)
    assert comparison == mixopt.compare(str(study), "uniform").plain()
