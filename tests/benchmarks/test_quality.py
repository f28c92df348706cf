"""Pools that a benchmark keeps are not taken for those of other options."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.small_study import begin_or_go_on


def test_a_folder_of_other_options_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "seed-0" / "options.json"
    for _ in range(2):
        begin_or_go_on(kept, {"levels": 3})
    with pytest.raises(SystemExit, match=r"was begun with .*3.*, not .*5.*; give another --directory"):
        begin_or_go_on(kept, {"levels": 5})
