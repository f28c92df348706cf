"""`mixopt plan` on a study whose tokens are prepared: what it says of the study before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mixopt.assemble import assemble, prepare_corpus
from mixopt.config import load
from mixopt.estimate import estimate
from tests.e2e.study import STUDY, write_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    prepare_corpus(load(write_study(folder)), lambda progress: None)
    return folder


def planned(folder: Path, dense: int, moe: int, more: str = "") -> dict[str, Any]:
    """The plan with so many trials of the two proxies, each besides two baselines."""
    text = STUDY.replace("trials: 8}", f"trials: {dense}}}").replace("trials: 3}", f"trials: {moe}}}")
    (folder / "study.yaml").write_text(text + more)
    file = load(folder / "study.yaml")
    return estimate(assemble(file, prepare_corpus(file, lambda progress: None)), probe=False)


def test_too_few_mixtures_for_a_regression_are_told(folder: Path) -> None:
    """Two proxies that train the same mixtures do not try more of them."""
    assert planned(folder, dense=8, moe=3)["notes"] == []
    [note] = planned(folder, dense=7, moe=6)["notes"]
    assert "9 mixtures at most, too few for a regression, 10 the least" in note
    assert "raise the trials" in note


def test_bayes_chooses_mixtures_for_each_proxy(folder: Path) -> None:
    bayes = "search: {strategy: bayes}\n"
    assert planned(folder, dense=7, moe=6, more=bayes)["notes"] == []
    [note] = planned(folder, dense=7, moe=3, more=bayes)["notes"]
    assert "7 mixtures at most, too few for a regression" in note


def test_earlier_runs_are_mixtures_too(folder: Path) -> None:
    rows = ["weight.prose,weight.code,weight.sums,metric.prose,metric.code", "0.5,0.3,0.2,3.1,3.0", "0.6,0.3,0.1,3,3"]
    (folder / "earlier.csv").write_text("\n".join(rows))
    notes = planned(folder, dense=7, moe=3, more="reuse: {runs: earlier.csv}\n")["notes"]
    assert not [note for note in notes if "regression" in note]
