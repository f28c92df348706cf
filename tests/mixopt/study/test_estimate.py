"""`mixopt plan` on a study whose tokens are prepared: what it says of the study before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mixopt
from mixopt.base.errors import ConfigError
from mixopt.settings.reading import load
from mixopt.study.corpus import prepare_corpus
from mixopt.study.estimate import estimate
from mixopt.study.plan import Plan
from mixopt.study.planning import make_plan
from proxies.compilation import missing
from tests.e2e.study import STUDY, write_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    prepare_corpus(load(write_study(folder)), lambda progress: None)
    return folder


def planned(folder: Path, dense: int, moe: int, more: str = "") -> Plan:
    """The plan with so many trials of the two proxies, each besides two baselines."""
    text = STUDY.replace("trials: 8}", f"trials: {dense}}}").replace("trials: 3}", f"trials: {moe}}}")
    (folder / "study.yaml").write_text(text + more)
    file = load(folder / "study.yaml")
    return make_plan(file, prepare_corpus(file, lambda progress: None))


def notes(plan: Plan, about: str) -> list[str]:
    return [note for note in estimate(plan, probe=False).notes if about in note]


def test_too_few_mixtures_for_a_regression_are_told(folder: Path) -> None:
    """Two proxies that train the same mixtures do not try more of them."""
    regmix = "search: {strategy: regmix}\n"
    assert notes(planned(folder, dense=8, moe=3, more=regmix), "regression") == []
    [note] = notes(planned(folder, dense=7, moe=6, more=regmix), "regression")
    assert "9 mixtures at most, too few for a regression, 10 the least" in note
    assert "raise the trials" in note


def test_bayes_chooses_mixtures_for_each_proxy(folder: Path) -> None:
    assert notes(planned(folder, dense=5, moe=3), "regression") == []
    [note] = notes(planned(folder, dense=3, moe=3), "regression")
    assert "8 mixtures at most, too few for a regression" in note


def test_earlier_runs_are_mixtures_too(folder: Path) -> None:
    rows = ["weight.prose,weight.code,weight.sums,metric.prose,metric.code", "0.5,0.3,0.2,3.1,3.0", "0.6,0.3,0.1,3,3"]
    (folder / "earlier.csv").write_text("\n".join(rows))
    assert not notes(planned(folder, dense=7, moe=3, more="reuse: {runs: earlier.csv}\n"), "regression")


def test_a_pack_of_more_slots_than_trials_is_told(folder: Path) -> None:
    assert notes(planned(folder, dense=8, moe=3), "slots of a pack") == []
    text = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(text.replace("{kind: in_process}", "{gpus_per_trial: 1, pack: 7}"))
    file = load(folder / "study.yaml")
    [note] = notes(make_plan(file, prepare_corpus(file, lambda progress: None)), "slots of a pack")
    assert note.startswith("proxy moe has 5 trials in the search, fewer than the 7 slots of a pack")


def test_what_the_settings_of_experts_come_to_is_told(folder: Path) -> None:
    [note] = notes(planned(folder, dense=8, moe=3), "experts")
    assert note.startswith("proxy moe: ") and "experts in each layer but the first, of which a token meets" in note


def test_a_study_for_a_gpu_is_refused_before_its_text_is_read(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    executor = "{gpus_per_trial: 1, pack: 3}"
    study = write_study(tmp_path, STUDY.replace("{kind: in_process}", executor))
    with pytest.raises(ConfigError, match=r"study.yaml:\d+: executor.gpus_per_trial asks for GPUs") as refused:
        mixopt.Study(study).plan()
    assert "--gpu h100" in str(refused.value.hint)
    assert not list(tmp_path.rglob("*.tokens"))


def test_much_evaluation_is_told(folder: Path) -> None:
    """Three sets of some 500 tokens, twice, beside 4,000 training tokens."""
    told = notes(planned(folder, dense=8, moe=3), "evaluation")
    assert [note.split()[1] for note in told] == ["dense", "moe"]
    # Of sets of a document or two nobody is asked to make smaller ones.
    assert all("evaluations" in note and "lower corpus.validation_tokens" not in note for note in told)


def test_stopping_that_can_stop_nothing_is_told(folder: Path) -> None:
    stopping = "search: {stop_hopeless: true}\n"
    assert notes(planned(folder, dense=8, moe=3, more=stopping), "stopped early") == []
    file = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(file.replace("evaluations: 2", "evaluations: 1"))
    once = load(folder / "study.yaml")
    told = notes(make_plan(once, prepare_corpus(once, lambda progress: None)), "never stopped early")
    assert [note.split()[1] for note in told] == ["dense", "moe"]


@pytest.mark.parametrize(("wish", "compiled"), [("auto", False), ("never", False), ("always", True)])
def test_proxies_are_compiled_where_it_is_wished_or_worth_it(folder: Path, wish: str, compiled: bool) -> None:
    study = planned(folder, dense=8, moe=3)
    text = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(text.replace("kind: in_process", f"kind: in_process, compile: {wish}"))
    file = load(folder / "study.yaml")
    plan = make_plan(file, prepare_corpus(file, lambda progress: None))

    if compiled and (lacking := missing(plan.recipes["dense"])) is not None:
        assert any(lacking in note for note in plan.notes)
    else:
        assert plan.recipes["dense"].compiled is compiled
    assert plan.digest == study.digest, "a study may go on compiled or not"


def test_what_the_search_keeps_its_trials_for_and_what_it_resolves_is_told(folder: Path) -> None:
    told = notes(planned(folder, dense=0, moe=30), "of the 30 trials of moe")
    assert told == ["of the 30 trials of moe, up to 4 repeat baselines and up to 3 are the local stage (search.refine)"]
    [resolution] = notes(planned(folder, dense=0, moe=30), "one run is off by")
    assert resolution.startswith("2 seeds show differences from about 2.6 times what one run is off by")
    regmix = planned(folder, dense=0, moe=30, more="search: {strategy: regmix}\n")
    assert not notes(regmix, "repeat baselines") and not notes(regmix, "nothing is left to gain")


def test_settings_that_come_to_nothing_are_told(folder: Path) -> None:
    study = planned(folder, dense=8, moe=3)
    assert not notes(study, "max_epochs") and not notes(study, "in no family")
    text = (folder / "study.yaml").read_text()
    weights = "objective: {weights: {prose: 2, code: 1}}"
    target = "target: {tokens: 40k, max_epochs: 4}\n"
    assert weights in text and "  code:  {" in text and target in text
    text = text.replace(weights, "objective: {families: {words: {metrics: [prose]}}}").replace(target, "")
    (folder / "study.yaml").write_text(text.replace("  code:  {", "  code:  {max_epochs: 3, "))
    file = load(folder / "study.yaml")
    plan = make_plan(file, prepare_corpus(file, lambda progress: None))
    assert [note for note in plan.notes if "max_epochs" in note or "in no family" in note] == [
        "domains.code.max_epochs limits nothing: epochs are those of the final run; give target.tokens",
        "in no family of the objective, and so without any weight: code, sums",
    ]
