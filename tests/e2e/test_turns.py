"""Clients of a study of another trainer that come at once, and are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ask_tell import race

pytestmark = pytest.mark.slow


def test_nothing_is_lost_and_nothing_twice_whoever_is_killed(tmp_path: Path) -> None:
    found = race(tmp_path, trials=30, clients=3, kills=6)
    assert found.is_clean, found
    assert found.trials == 30
    assert found.kills == 6
