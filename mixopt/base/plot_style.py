"""How pictures look, as files and in a report's page; and what both draw alike.

Colours are after Okabe and Ito, "Color Universal Design" (2008), which colour-blind readers can tell apart; markers and
lines tell apart as well, also in black and white.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

Point = tuple[float, float]


@dataclass(frozen=True)
class Colours:
    """The colours of a picture, as matplotlib writes them.

    Attributes:
        ink, muted, grid, ground: of text, of what is said aside, of lines that guide the eye, of what is drawn on.
    """

    ink: str = "#000000"
    muted: str = "#777777"
    grid: str = "#dddddd"
    ground: str = "#ffffff"
    blue: str = "#0072b2"
    vermilion: str = "#d55e00"
    green: str = "#009e73"
    purple: str = "#cc79a7"
    amber: str = "#e69f00"
    sky: str = "#56b4e9"


ON_PAPER = Colours()
# Of pages, by day and by night.
PAGE_COLOURS = Path(__file__).parent / "colours.css"


def settings(colours: Colours) -> dict[Any, Any]:
    """For `matplotlib.rc_context`, around all that draws."""
    return {
        "text.parse_math": False,  # a name may hold a dollar
        "font.size": 9,
        "axes.titlesize": 9,
        "figure.labelsize": 9,
        "axes.titlelocation": "left",
        "legend.fontsize": 8,
        "legend.frameon": False,
        "text.color": colours.ink,
        "axes.labelcolor": colours.muted,
        "axes.edgecolor": colours.grid,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.formatter.useoffset": False,
        "grid.color": colours.grid,
        "grid.linewidth": 0.6,
        "xtick.color": colours.grid,
        "ytick.color": colours.grid,
        "xtick.labelcolor": colours.muted,
        "ytick.labelcolor": colours.muted,
    }


def draw_front_of_two(
    axes: Axes,
    measured: tuple[str, Sequence[Point]],
    front: Sequence[Point],
    answer: tuple[str, Point],
    colours: Colours,
) -> None:
    """A Pareto front of two metrics among the runs; `measured` and `answer` with what the legend calls them."""
    label, points = measured
    across, up = zip(*points, strict=True) if points else ((), ())
    axes.plot(across, up, "o", color=colours.muted, markersize=4, alpha=0.6, mew=0, label=label)
    across, up = zip(*front, strict=True)
    axes.plot(across, up, "s-", color=colours.blue, markersize=5, lw=1.2, label="front, predicted")
    label, (right, high) = answer
    axes.plot(right, high, "*", color=colours.vermilion, markersize=12, label=label)


def draw_front_of_many(
    axes: Axes,
    metrics: Sequence[str],
    front: Sequence[Sequence[float]],
    answer: tuple[str, Sequence[float]],
    colours: Colours,
) -> None:
    """Parallel coordinates: a line per mixture of a Pareto front over the metrics, whose scales the caller chose."""
    places = range(len(metrics))
    for number, heights in enumerate(front):
        label = "front, predicted" if number == 0 else None
        axes.plot(places, heights, "o-", color=colours.blue, alpha=0.5, markersize=3, lw=1, label=label)
    label, heights = answer
    axes.plot(places, heights, "*-", color=colours.vermilion, markersize=10, label=label)
    axes.set_xticks(places, metrics, rotation=35, ha="right")


def draw_path(
    axes: Axes,
    stations: Sequence[tuple[str, float, bool]],
    shares: Mapping[str, Sequence[float]],
    colours: Colours,
) -> None:
    """How a mixture moves over scale: its shares, stacked; those beyond what was trained paler.

    Args:
        stations: by rising scale: what it is called, how large it is, and whether it was trained.
        shares: of each domain there; of many, the largest have a colour of their own.
    """
    palette = (colours.blue, colours.vermilion, colours.green, colours.amber, colours.purple)
    by_size = sorted(shares, key=lambda name: -max(shares[name]))
    shown, rest = by_size[: len(palette)], by_size[len(palette) :]
    layers = [[100 * share for share in shares[name]] for name in shown]
    if rest:
        layers.append([100 * sum(each) for each in zip(*(shares[name] for name in rest), strict=True)])
    labels = [*shown, f"{len(rest)} others"]
    _, places, trained = zip(*stations, strict=True)
    last = max((number for number, there in enumerate(trained) if there), default=0)
    for part, opacity in ((slice(0, last + 1), 0.9), (slice(last, None), 0.5)):
        if len(places[part]) > 1:
            named = labels if part.start == 0 or last == 0 else [f"_{label}" for label in labels]
            axes.stackplot(
                places[part],
                [layer[part] for layer in layers],
                labels=named[: len(layers)],
                colors=[*palette[: len(shown)], colours.muted][: len(layers)],
                alpha=opacity,
                linewidth=0,
            )
    axes.axvline(places[last], color=colours.ink, linestyle="--", linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks(places, [name.replace(", ", "\n") for name, *_ in stations], rotation=30, ha="right")
    axes.minorticks_off()
    axes.set_xlim(places[0], places[-1])
    axes.set_ylim(0, 100)
    axes.set_ylabel("share of the training tokens (%)")
    axes.set_title("the best mixture as runs grow; dashed: the largest that was trained")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
