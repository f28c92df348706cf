"""A study that runs in one process, steered from another."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.study import SEARCH_TRIALS, STUDY, answer_of, write_study
from tests.program import COMMAND, mixopt
from tests.waiting import until

pytestmark = pytest.mark.slow


def test_a_study_is_paused_cancelled_run_again_and_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    study = write_study(tmp_path, STUDY.replace("tokens: 4k", "tokens: 16k"))

    with driving(study) as driver:
        until(lambda: completed(study) > 0)
        answer_of("pause", study)
        until(lambda: status(study)["activity"] == "paused")
        paused_after = completed(study)
        assert 0 < paused_after < SEARCH_TRIALS
        assert answer_of("cancel", study)["ended"]
        _, errors = driver.communicate(timeout=60)
    assert (driver.returncode, "interrupted; what was recorded is kept" in errors) == (130, True)
    found = status(study)
    assert (found["activity"], found["answer"]) == ("interrupted", None)
    assert completed(study) == paused_after

    with driving(study) as driver:
        until(lambda: completed(study) > paused_after)
        assert answer_of("stop", study)["ended"]
        said, errors = driver.communicate(timeout=60)
    assert driver.returncode == 0, errors
    answer = json.loads(said)
    assert (answer["ended"], answer["confirmed"]) == (True, False)
    assert any("mixopt stop ended the search" in note for note in answer["notes"])
    assert "has ended" in mixopt("status", study).stdout


def driving(study: Path) -> subprocess.Popen[str]:
    command = [*COMMAND, "run", str(study), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def status(study: Path) -> dict[str, Any]:
    return answer_of("status", study)


def completed(study: Path) -> int:
    """How many trials are, none before the study has begun."""
    done = mixopt("status", study, "--json")
    return 0 if done.status else int(json.loads(done.stdout)["trials"]["completed"]["total"])
