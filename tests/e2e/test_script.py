"""A script of a few lines, as a newcomer writes it: nothing in it but what is to be done."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.e2e.study import write_study

SCRIPT = """
import mixopt

print("begun", flush=True)
study = mixopt.Study("study.yaml")
study.plan(probe=False)
study.run()
"""


@pytest.mark.slow
def test_an_unguarded_script_with_much_text_runs_once(tmp_path: Path) -> None:
    """So much that it is tokenised by several processes; and while trials run, another one forecasts."""
    write_study(tmp_path)
    sentence = "evening light fell on quiet water and nobody spoke of number "
    with (tmp_path / "data" / "prose.jsonl").open("a") as file:
        for document in range(1_000):
            text = " ".join(f"{sentence}{document}.{place}" for place in range(40))
            file.write(json.dumps({"text": text}) + "\n")
    (tmp_path / "script.py").write_text(SCRIPT)

    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("begun") == 1, done.stdout
    assert "Traceback" not in done.stderr


def test_an_unguarded_script_fits_several_surrogates(tmp_path: Path) -> None:
    """Side by side, in several processes."""
    rng = np.random.default_rng(0)
    web_N = rng.uniform(size=40)
    runs = pd.DataFrame({"weight.web": web_N, "weight.code": 1 - web_N, "metric.loss": 3 + (web_N - 0.4) ** 2})
    runs.to_csv(tmp_path / "runs.csv", index=False)
    (tmp_path / "script.py").write_text(
        'import mixopt\nprint("begun")\nmixopt.fit("runs.csv", surrogates=["linear", "quadratic"])\n'
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "begun\n"
