"""`mixopt fit` for a run larger than all of the table's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jaxtyping import Float

from mixopt.results.fit import FitResult
from tests.program import mixopt

DOMAINS = ("web", "code", "books")
SMALL, MEDIUM, FINAL = (1e7, 2e8), (4e7, 8e8), (6.4e8, 1.28e10)


def losses(weights: Float[np.ndarray, "N D"], params: float, tokens: float) -> Float[np.ndarray, " N"]:
    """Books are worth the more, the more tokens there are."""
    growth = tokens / 2e8
    worth = np.array([1.0, 0.3, 0.3 * growth**0.45])
    loss: Float[np.ndarray, " N"] = 1.5 + 30 * params**-0.3 + (weights @ worth * (1 + weights[:, 1])) ** -0.35
    return loss


def table(
    path: Path, *counts: tuple[tuple[float, float], int], columns: tuple[str, ...] = ("params", "tokens")
) -> Path:
    rng, parts = np.random.default_rng(0), []
    for place, ((params, tokens), count) in enumerate(counts):
        weights = rng.dirichlet(np.full(3, 0.7), size=count)
        frame = pd.DataFrame(weights, columns=[f"weight.{name}" for name in DOMAINS])
        frame["fidelity"], frame["cost"] = f"size{place}", 4.0**place
        for name, value in (("params", params), ("tokens", tokens)):
            if name in columns:
                frame[name] = value
        frame["metric.loss"] = losses(weights, params, tokens) + 0.005 * rng.standard_normal(count)
        parts.append(frame)
    pd.concat(parts).to_csv(path, index=False)
    return path


def test_the_mixture_and_its_level_are_those_of_the_run_that_was_asked_for(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", (SMALL, 40), (MEDIUM, 24))
    options = ("--target-params", "640M", "--target-tokens", "12.8B", "--surrogate", "scaling_law")
    done = mixopt("fit", runs, *options, "--output", tmp_path / "out", "--json")
    assert done.status == 0, done.stderr
    result = FitResult.model_validate_json(done.stdout)
    assert result.default == "scaling_law" and result.trusted
    assert result.goal is not None and (result.goal.params, result.goal.tokens) == FINAL
    predicted, mixture = result.recommendation.predicted, result.recommendation.mixture
    reached = float(losses(np.array([[mixture[name] for name in DOMAINS]]), *FINAL)[0])
    assert predicted is not None and predicted.lower <= reached <= predicted.upper
    # Not the level of the largest runs.
    assert predicted.mean < float(losses(np.array([[mixture[name] for name in DOMAINS]]), *MEDIUM)[0])
    path = result.path
    assert path is not None and path.points[-1].params == pytest.approx(FINAL[0])
    books = [point.mixture["books"] for point in path.points]
    assert books[-1] > books[1] + 0.01
    assert (tmp_path / "out" / "scale.png").stat().st_size > 0
    assert any("bold" in note for note in result.notes)


def test_a_person_is_shown_the_path_in_a_table_and_the_law_predicts_without_being_named(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", (SMALL, 24), (MEDIUM, 16))
    done = mixopt("fit", runs, "--target-params", "160M", "--target-tokens", "3.2B", "-o", tmp_path / "out")
    assert done.status == 0, done.stderr
    assert "The best mixture as runs grow" in done.stdout
    assert "scaling_law is trusted" in done.stdout
    assert "160M" in done.stdout and "final" in done.stdout


def test_one_fidelity_is_predicted_as_it_is_and_a_note_says_why(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", (MEDIUM, 24))
    options = ("--target-params", "1B", "--target-tokens", "20B", "-o", tmp_path / "out", "--json")
    done = mixopt("fit", runs, *options)
    assert done.status == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["default"] != "scaling_law" and result["path"] is None
    assert any("scaling_law cannot predict it: the runs are of one scale" in note for note in result["notes"])


@pytest.mark.parametrize(
    ("options", "columns", "said"),
    [
        (("--target-params", "-7B"), ("params", "tokens"), "--target-params: '-7B' is not an amount"),
        (("--target-tokens", "0"), ("params", "tokens"), "--target-tokens: '0' is not a count"),
        (("--target-params", "7B"), ("tokens",), "does not say the params of its runs"),
        (("--target-tokens", "1T"), (), "does not say the tokens of its runs"),
        (
            ("--target-params", "7B", "--target-tokens", "900T", "--surrogate", "scaling_law"),
            ("params", "tokens"),
            "scaling_law cannot predict the target: the goal's tokens are",
        ),
    ],
    ids=["negative", "nothing", "no params known", "nothing known", "too far"],
)
def test_a_wrong_target_is_one_clear_line(
    tmp_path: Path, options: tuple[str, ...], columns: tuple[str, ...], said: str
) -> None:
    runs = table(tmp_path / "runs.csv", (SMALL, 12), (MEDIUM, 12), columns=columns)
    done = mixopt("fit", runs, *options, "-o", tmp_path / "out")
    assert done.status != 0
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_tokens_that_were_not_asked_for_are_told(tmp_path: Path) -> None:
    runs = table(tmp_path / "runs.csv", (SMALL, 12), (MEDIUM, 12))
    done = mixopt("fit", runs, "--target-params", "160M", "-o", tmp_path / "out", "--json")
    assert done.status == 0, done.stderr
    [note] = [note for note in json.loads(done.stdout)["notes"] if "--target-tokens" in note]
    assert note.startswith("the final run is taken to have the 800M tokens of the runs at ")
