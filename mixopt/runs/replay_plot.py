"""The picture of `mixopt replay`: regret at every cost, drawn from its document."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixopt.runs.plots import GREY, save
from search.replay import CONTROL

# Okabe and Ito's palette, which colour-blind readers can tell apart; the markers also tell strategies apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vP"


def draw(document: dict[str, Any], directory: Path) -> Path:
    """Write regret.png into a folder that exists."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    strategies = [name for name in document["strategies"] if name != CONTROL]
    _curve(axes, document, CONTROL, GREY, "x")
    for place, name in enumerate(strategies):
        _curve(axes, document, name, COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)])
    axes.set_xscale("log")
    costs = document["strategies"][CONTROL]["regret"]["costs"]
    axes.set_xticks(costs, [str(cost) for cost in costs], fontsize="small")
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"cost, in runs at {document['target']}, warm start included")
    axes.set_ylabel("objective above the best mixture's")
    axes.set_title(f"median and quartiles of {document['seeds']} seeds", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.legend(frameon=False)
    return save(figure, directory / "regret.png")


def _curve(axes: Axes, document: dict[str, Any], name: str, colour: str, marker: str) -> None:
    """From the first cost at which the median seed has trained something at the target."""
    regret = document["strategies"][name]["regret"]
    median, low, high = (
        [math.nan if number is None else number for number in regret[key]] for key in ("median", "q25", "q75")
    )
    axes.plot(regret["costs"], median, color=colour, marker=marker, markersize=4, label=name)
    axes.fill_between(regret["costs"], low, high, color=colour, alpha=0.15, linewidth=0)
