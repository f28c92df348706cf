"""From a slider of `mixopt explore` to the new prediction on the screen: 128 runs, 17 domains, 13 losses.

    python -m benchmarks.explore
    python -m benchmarks.explore --json benchmarks/results/explore.json

The fit is the default one of `mixopt explore`, of a made-up world as large as RegMix's table. A browser without a
window (Debian's chromium) moves one slider after the other. The clock of the page starts where the slider is moved and
ends in the frame after what is predicted has changed in the document; the time of the request within it stands beside
it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from mixopt.explore.subject import of_runs
from mixopt.explore.what_if import WhatIfs
from mixopt.runs.request import FitRequest
from search.mixture import FloatArray
from tests.mixopt.explore.visitor import Visitor, browser, visiting
from tests.mixopt.explore.world import table

RUNS, DOMAINS, METRICS = 128, 17, 13
MOVES = 60
# Moves until everything is loaded, in page and server.
WARM = 6
ASKED = 50.0  # milliseconds

# Milliseconds from the input event to the frame after the new prediction is in the document, and of the request.
MOVE = """
const [slider, place, done] = arguments;
const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
performance.clearResourceTimings();
const began = performance.now();
const summary = document.getElementById('summary');
const before = summary.textContent;
const watch = new MutationObserver(() => {
    if (summary.textContent === before) return;
    watch.disconnect();
    requestAnimationFrame(() => {
        const ended = performance.now();
        const asked = performance.getEntriesByType('resource').filter(each => each.name.includes('_dash-update'));
        done([ended - began, asked.length ? asked[0].duration : null]);
    });
});
watch.observe(summary, {childList: true, subtree: true, characterData: true});
set.call(slider, place);
slider.dispatchEvent(new Event('input', {bubbles: true}));
"""

# Until the pictures are drawn that follow where the hand rests: no answer has come for so many milliseconds.
REST = """
const done = arguments[0];
let answers = -1;
const look = () => {
    const now = performance.getEntriesByType('resource').length;
    if (now === answers) return done();
    answers = now;
    setTimeout(look, 700);
};
setTimeout(look, 300);
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", type=Path)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        domains = tuple(f"pool{number}" for number in range(DOMAINS))
        runs = table(Path(folder) / "runs.csv", domains, RUNS, METRICS)
        what_ifs = WhatIfs(of_runs(FitRequest(runs=runs), lambda *_: None))
        with browser() as driver, visiting(what_ifs, driver) as visitor:
            moves = _moves(visitor)
    shown, requested = (np.array(each) for each in zip(*moves, strict=True))
    found = {
        "runs": RUNS,
        "domains": DOMAINS,
        "metrics": METRICS,
        "moves": len(moves),
        "shown_ms": _summary(shown),
        "request_ms": _summary(requested),
        "asked_ms": ASKED,
        "measured": date.today().isoformat(),
    }
    rows = Table(title=f"{len(moves)} moves of sliders, milliseconds")
    for column in ("", "median", "90% below", "95% below"):
        rows.add_column(column, justify="left" if not column else "right")
    for name, key in (("until the new prediction is shown", "shown_ms"), ("of which the request", "request_ms")):
        times = found[key]
        assert isinstance(times, dict)
        rows.add_row(name, *(f"{each:.0f}" for each in times.values()))
    Console().print(rows)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


def _summary(times_N: FloatArray) -> dict[str, float]:
    return {"median": median(times_N), **{f"p{part}": float(np.quantile(times_N, part / 100)) for part in (90, 95)}}


def _moves(visitor: Visitor) -> list[tuple[float, float]]:
    """Of each move, the milliseconds until its prediction is shown, and of its request."""
    rng = np.random.default_rng(0)
    times: list[tuple[float, float]] = []
    for number in range(WARM + MOVES):
        slider = visitor.find("share", number % DOMAINS)
        now = int(slider.get_attribute("value") or 0)
        # A hand's step, far enough to be seen in the prediction.
        place = now + int(rng.integers(60, 160)) * (1 if now < 400 else -1)
        shown, request = visitor.driver.execute_async_script(MOVE, slider, place)
        if number >= WARM:
            times.append((float(shown), float(request or np.nan)))
        visitor.driver.execute_async_script(REST)
    return times


if __name__ == "__main__":
    main()
