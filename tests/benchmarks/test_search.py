"""The benchmark's sections of searches in made-up worlds, at a tiny size."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import nine_pools, search
from benchmarks.nine_pools import TOKENS
from benchmarks.worlds import Laws


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """Two seeds, in this process."""
    monkeypatch.setattr(search, "parallel", lambda options, work, jobs: list(map(work, jobs)))
    return Namespace(seeds=2, domains=[5], judged=None, strategies=("random",), nine_pools=None)


def test_own_sets(options: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "OWN_SETS", {5: 10})
    monkeypatch.setattr(search, "WORTHS_OF_OTHERS", (0.01,))
    rows = search.own_sets(options)
    assert [row["judged"] for row in rows] == [5, 3, 1]
    for row in rows:
        assert (row["domains"], row["search"], row["runs"], row["used"], row["repeats"]) == (5, "random", 10, 10, 2)
        assert 0 <= row["wasted"] <= 10
        assert 0 <= row["regret"] <= row["worst"] <= 2 * row["regret"]
        assert row["best_baseline"] >= 0 and row["regret_se"] >= 0


def test_nine_pools(options: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    count = len(TOKENS)
    floor_M, height_M, power_M = (np.full(count, value) for value in (2.0, 1.0, 0.25))
    laws = Laws(floor_M, height_M, power_M, np.full((count, count), 0.02) + np.eye(count))
    monkeypatch.setattr(nine_pools, "fitted", lambda table: laws)
    monkeypatch.setattr(search, "POOLS_PLAYED", (("random", 14),))
    options.nine_pools = tmp_path / "runs.csv"
    rows = search.nine_pools(options)
    assert [(row["judged"], row["search"], row["used"]) for row in rows] == [
        (judged, "random", 14) for judged in ("all nine", "three", "one")
    ]
    assert all(0 <= row["regret"] <= row["worst"] for row in rows)
