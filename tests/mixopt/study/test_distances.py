"""What is said of pools before any run: how far they are from what they are judged on, and which mixture is near."""

from __future__ import annotations

from pathlib import Path

import pytest

import mixopt as library
from mixopt.settings.reading import load
from mixopt.study.corpus import prepare_corpus
from mixopt.study.planning import make_plan
from search.problem import BASELINE
from tests.e2e.study import STUDY, answer_of, write_study
from tests.program import mixopt
from tests.simulated import planned
from tests.text import documents

EXAM = "evaluation: {exam: {paths: data/exam.jsonl}}\n"
OF_EXAM = STUDY.replace("objective: {weights: {prose: 2, code: 1}}", "objective: {weights: {exam: 1}}") + EXAM


def with_exam(folder: Path, text: str, of: str = "sums") -> Path:
    """A study with a further evaluation set, whose text is of one pool's kind."""
    path = write_study(folder, text)
    lines = [f'{{"text": "{each}"}}\n' for each in documents(of, 70)[40:]]
    (folder / "data/exam.jsonl").write_text("".join(lines))
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_exam(tmp_path_factory.mktemp("study"), OF_EXAM)


def test_the_nearest_pool_is_that_of_the_same_kind(path: Path) -> None:
    found = answer_of("distances", path)
    far = {name: each["distances"]["exam"] for name, each in found["domains"].items()}
    assert far["sums"] < 0.5 * min(far["prose"], far["code"])
    assert found["evaluation_sets"] == ["exam"]


def test_the_mixture_that_is_near_keeps_the_limits_and_is_nearer_than_the_baselines(path: Path) -> None:
    found = answer_of("distances", path)["mixtures"]
    space = make_plan(load(path), prepare_corpus(load(path), lambda progress: None)).problem.space
    mixture = found["transport"]["mixture"]
    assert space.violations(library.Mixture.of(mixture)) == []
    assert mixture["sums"] == max(mixture.values())
    assert found["transport"]["distance"] == min(each["distance"] for each in found.values())


def test_a_person_sees_it_and_python_has_it(path: Path) -> None:
    shown = mixopt("distances", path).stdout
    assert "How far pools are from" in shown and "transport" in shown
    assert library.Study(path).distances().plain() == answer_of("distances", path)


def test_as_a_baseline_it_is_trained(tmp_path: Path) -> None:
    text = OF_EXAM.replace("baselines: [proportional, uniform]", "baselines: [transport]")
    with_exam(tmp_path, text)
    plan = planned(tmp_path, text)
    assert set(plan.problem.baselines) == {"proportional", "transport"}
    trials = [trial for trial in plan.problem.baseline_trials if trial.origin == f"{BASELINE}transport"]
    assert len(trials) == len(plan.problem.rungs)
    again = make_plan(plan.file, plan.corpus)
    assert again.problem.baseline_trials == plan.problem.baseline_trials
