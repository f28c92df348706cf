"""What `mixopt run` shows in a terminal while it trains: bars that can be read at 80 columns, and that end."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from mixopt.study.progress import LiveWatcher
from mixopt.workers.messages import TrialProgress
from search.fidelity import Fidelity
from search.mixture import Mixture
from search.problem import Standing
from search.trial import Loss, Measurement, Trial

TARGET = Fidelity("dense", 400_000, 250_000, 6e11)


def last_frame(shown: str) -> list[str]:
    """As it stays in the terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.rsplit("\x1b[1A\x1b[2K", 1)[-1]).splitlines()


@pytest.mark.parametrize("width", [80, 160])
def test_a_search_that_has_ended_says_no_time_left_and_nothing_is_cut(width: int) -> None:
    search = Trial(Mixture(("web", "code"), (0.5, 0.5)), TARGET, 0, "baseline:proportional")
    confirm = replace(search, seed=2)
    console = Console(file=(out := io.StringIO()), width=width, force_terminal=True, color_system=None)
    with LiveWatcher(console) as watcher:
        watcher.begin("search", Counter({TARGET: 15}), Counter())
        watcher.launched(search)
        watcher.closed(search, Measurement({"web": Loss(3.0, 1.0)}, (), {}, {}, 6e11, 30.0), Standing(3.0, 3.0))
        watcher.over()
        watcher.begin("confirm", Counter({TARGET: 10}), Counter())
        watcher.launched(confirm)
        watcher.progressed(TrialProgress(confirm, 125_000, 4.123, 7077.0, None))
    ended, _, running = last_frame(out.getvalue())[-3:]
    assert "1 trial " in ended and "left" not in ended and "15" not in ended
    assert confirm.id[:6] in running and "seed 2" in running and "7.08k tokens/s" in running and "18 s left" in running
    assert "…" not in running.split("seed 2")[1] and len(running.rstrip()) <= width
