"""The picture of `mixopt replay`: regret at every cost, drawn from its result."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixopt.results.replay import ReplayResult
from mixopt.runs.plots import GREY, save
from search.replay import CONTROL

# Okabe and Ito's palette, which colour-blind readers can tell apart; the markers also tell strategies apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vP"


def draw(result: ReplayResult, directory: Path) -> Path:
    """Write regret.png into a folder that exists."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    strategies = [name for name in result.strategies if name != CONTROL]
    _curve(axes, result, CONTROL, GREY, "x")
    for place, name in enumerate(strategies):
        _curve(axes, result, name, COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)])
    axes.set_xscale("log")
    costs = result.strategies[CONTROL].regret.costs
    axes.set_xticks(costs, [str(cost) for cost in costs], fontsize="small")
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"cost, in runs at {result.target}, warm start included")
    axes.set_ylabel("objective above the best mixture's")
    axes.set_title(f"median and quartiles of {result.seeds} seeds", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.legend(frameon=False)
    return save(figure, directory / "regret.png")


def _curve(axes: Axes, result: ReplayResult, name: str, colour: str, marker: str) -> None:
    """From the first cost at which the median seed has trained something at the target."""
    regret = result.strategies[name].regret
    median, low, high = (
        [math.nan if number is None else number for number in numbers]
        for numbers in (regret.median, regret.q25, regret.q75)
    )
    axes.plot(regret.costs, median, color=colour, marker=marker, markersize=4, label=name)
    axes.fill_between(regret.costs, low, high, color=colour, alpha=0.15, linewidth=0)
