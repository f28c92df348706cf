"""`mixopt explore` until its page is there: the address that it prints, and what it refuses."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
import requests

from tests.e2e.study import write_study
from tests.mixopt.explore.world import table
from tests.program import COMMAND, mixopt

SECONDS = 300


def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path) -> None:
    with patch.dict(sys.modules, {"dash": None}):
        done = mixopt("explore", table(tmp_path / "runs.csv"))
    assert done.status == 2
    assert done.stderr.splitlines() == [
        "error: mixopt explore needs dash, which is not installed; pip install 'mixopt[explore]'"
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--metric", "prose"), "is a study, which says its own metrics, objective and limits"),
        (("--weights", "mix/*"), "is a study, which says its own metrics, objective and limits"),
        (("--objective", "worst"), "is a study, which says its own metrics, objective and limits"),
        ((), "study small has not run yet"),
    ],
)
def test_what_a_study_does_not_take_is_one_line(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = mixopt("explore", write_study(tmp_path), *options)
    assert done.status == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_too_few_runs_are_one_line(tmp_path: Path) -> None:
    done = mixopt("explore", table(tmp_path / "runs.csv", runs=3))
    assert done.status == 2
    assert "nothing can be predicted: 3 mixtures are too few" in done.stderr


def test_it_prints_an_address_that_opens_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    runs, objective = tmp_path / "runs.jsonl", tmp_path / "objective.yaml"
    columns = pd.read_csv(table(tmp_path / "made.csv"))
    columns.columns = columns.columns.str.replace("weight.", "mine ").str.replace("metric.", "eval/")
    columns.to_json(runs, orient="records", lines=True)
    objective.write_text("objective: {kind: weighted, weights: {prose: 2, programs: 1}}\n")
    # As mixopt fit reads and weighs them.
    how = ["--weights", "mine *", "--metrics", "eval/*", "--metrics", "!eval/quiz*", "--objective", str(objective)]
    arguments = [*COMMAND, "explore", str(runs), *how, "--surrogate", "quadratic", "--port", "0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        try:
            url = started.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            answer = requests.get(url, timeout=SECONDS)
            assert answer.status_code == 200
            assert "runs.jsonl" in answer.text
            assert requests.get(url.partition("?")[0], timeout=SECONDS).status_code == 403
        finally:
            started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=SECONDS)
    assert started.returncode == 0
    assert "Traceback" not in said
    # The token is in no log.
    assert "token=" not in said
