"""The plots of a report: SVG to be put into its page, with text as text and the page's own colours.

matplotlib is told colours that nobody else uses; in the SVG they become the CSS variables of
mixopt/base/colours.css, which differ between light and dark. The same values give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mixopt.base.plot_style import Colours, draw_front_of_many, draw_front_of_two, draw_path, settings
from mixopt.report.content import Agreement, Course, Decision, Effects, Front, Gain, HeldOut, Kept, Rival, Tried
from mixopt.results.answer import MetricDifference
from search.problem import PROPORTIONAL

COLOURS = Colours(
    ink="#01f001",
    muted="#02f002",
    grid="#03f003",
    ground="#04f004",
    blue="#11f011",
    vermilion="#12f012",
    green="#13f013",
    purple="#14f014",
    amber="#15f015",
)
INK, MUTED, GROUND = COLOURS.ink, COLOURS.muted, COLOURS.ground
BLUE, VERMILION, GREEN, PURPLE, AMBER = (
    COLOURS.blue,
    COLOURS.vermilion,
    COLOURS.green,
    COLOURS.purple,
    COLOURS.amber,
)
VARIABLES = {
    getattr(COLOURS, name): f"--{name}"
    for name in ("ink", "muted", "grid", "ground", "blue", "vermilion", "green", "purple", "amber")
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
# Of groups, which every plot has; those of shapes that are used again carry a hash.
GROUP_ID = re.compile(r' id="[\w.]+_\d+"')

# Inches, of most plots.
WIDTH = 5.2
# Of a page's plots, rem an inch.
SMALLEST, LARGEST = 3.6, 7.0
# Colour, marker and line of the baselines; the same in every plot.
MARKS: Mapping[str, tuple[str, str, Any]] = {
    PROPORTIONAL: (VERMILION, "D", "--"),
    "uniform": (GREEN, "s", ":"),
    "unimax": (PURPLE, "^", "-."),
    "temperature": (AMBER, "v", (0, (7, 2))),
}
OTHER_MARK = (INK, "P", "--")
LONGEST_NAME = 24


def shares(decision: Decision, domains: Sequence[str]) -> str:
    """The shares of the answer as bars, those of the others as marks; the first domain on top."""

    def percent(mixture: Mapping[str, float]) -> list[float]:
        return [100 * mixture[domain] for domain in domains]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = range(len(domains))
        answer = decision.rival(decision.answer)
        axes.barh(places, percent(answer.mixture), color=BLUE, height=0.62, label=f"answer ({answer.label})")
        if decision.ranges:
            lows, highs = zip(*(decision.ranges[domain] for domain in domains), strict=True)
            ends = np.multiply(100, lows), np.multiply(100, highs)
            axes.hlines(places, *ends, color=INK, lw=1.4, label="range as good")
        shown = [each for each in decision.rivals if each.is_baseline or each is decision.rivals[0]]
        others = [each for each in shown if each is not answer]
        for rival, offset in zip(others, np.linspace(-0.22, 0.22, len(others)), strict=True):
            colour, marker, _ = MARKS.get(rival.label, OTHER_MARK)
            marks = axes.plot(percent(rival.mixture), np.add(places, offset), marker, color=colour, label=rival.label)
            marks[0].set(markersize=5, markeredgecolor=GROUND, markeredgewidth=0.6)
        _name_rows(axes, domains)
        axes.set_xlabel("share of the training tokens (%)")
        axes.set_xlim(left=0)
        _legend_above(figure)

    return svg("shares", (WIDTH, 1.3 + 0.24 * len(domains)), draw)


def gains(rivals: Sequence[Rival], answer: str, unit: str) -> str:
    """Predicted and confirmed gains over the proportional mixture, with their intervals, one row a rival."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for colour, marker, what, offset in ((VERMILION, "s", "predicted", -0.16), (BLUE, "o", "confirmed", 0.16)):
            found = [(place, each) for place, rival in enumerate(rivals) if (each := _gain(rival, what)) is not None]
            for place, gain in found:
                if gain.lower is not None and gain.upper is not None:
                    axes.hlines(place + offset, gain.lower, gain.upper, color=colour, lw=2)
            if found:
                places = [place + offset for place, _ in found]
                means, label = [gain.mean for _, gain in found], f"{what}, 95% interval"
                marks = axes.plot(means, places, marker, color=colour, markersize=6, label=label)
                if what == "predicted":
                    marks[0].set_markerfacecolor(GROUND)
        axes.axvline(0, color=INK, lw=1)
        _name_rows(axes, [f"{each.label} (answer)" if each.label == answer else each.label for each in rivals])
        axes.set_xlabel(f"gain over {PROPORTIONAL} ({unit})")
        _legend_above(figure)

    return svg("gains", (WIDTH, 1.2 + 0.42 * len(rivals)), draw)


def trades(
    tests: Mapping[str, Mapping[str, MetricDifference]], metrics: Sequence[str], baseline: str, unit: str
) -> str:
    """Each candidate's metrics beside the baseline's, with their intervals; the first metric on top."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        offsets = np.linspace(-0.22, 0.22, len(tests)) if len(tests) > 1 else [0.0]
        for (label, found), offset, (colour, marker, _) in zip(tests.items(), offsets, _marks(len(tests)), strict=True):
            places = [place + offset for place in range(len(metrics))]
            means = [found[metric].difference for metric in metrics]
            margins = [found[metric].margin or 0.0 for metric in metrics]
            axes.hlines(places, np.subtract(means, margins), np.add(means, margins), color=colour, lw=1.6)
            axes.plot(means, places, marker, color=colour, markersize=5, label=label)
        axes.axvline(0, color=INK, lw=1)
        _name_rows(axes, list(metrics))
        axes.set_xlabel(f"difference from {baseline} ({unit}), lower is better")
        _legend_above(figure)

    return svg("trades", (WIDTH, 1.2 + 0.3 * len(metrics)), draw)


def _marks(count: int) -> list[tuple[str, str, object]]:
    """A colour and a mark for each of so many."""
    known = [(BLUE, "o", "-"), *MARKS.values()]
    return [known[place % len(known)] for place in range(count)]


def _gain(rival: Rival, what: str) -> Gain | None:
    return rival.predicted if what == "predicted" else rival.confirmed


def held_out(found: HeldOut, unit: str, target: str) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _diagonal(axes, [*found.predicted, *found.measured], "measured = predicted")
        axes.plot(found.predicted, found.measured, "o", color=BLUE, markersize=5, alpha=0.75, markeredgewidth=0)
        axes.set_xlabel(f"predicted objective ({unit})")
        axes.set_ylabel(f"measured at {target} ({unit})")

    return svg("held-out", (WIDTH, WIDTH * 0.75), draw)


def kept(found: Kept, unit: str) -> str:
    """Predicted against confirmed gains, with their intervals: this study's, and those of others."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        ends = [gain.mean for each in found.predictions for gain in (each.predicted, each.confirmed)]
        for own, is_baseline, colour, marker, label in (
            (False, True, MUTED, "s", "baseline, other studies"),
            (False, False, MUTED, "o", "proposed, other studies"),
            (True, True, VERMILION, "s", "baseline"),
            (True, False, BLUE, "o", "proposed"),
        ):
            points = [each for each in found.predictions if (each.own, each.is_baseline) == (own, is_baseline)]
            for each in points:
                across, up = each.predicted, each.confirmed
                if across.lower is not None and across.upper is not None:
                    axes.hlines(up.mean, across.lower, across.upper, color=colour, lw=1, alpha=0.6)
                if up.lower is not None and up.upper is not None:
                    axes.vlines(across.mean, up.lower, up.upper, color=colour, lw=1, alpha=0.6)
            if points:
                axes.plot(
                    [each.predicted.mean for each in points],
                    [each.confirmed.mean for each in points],
                    marker,
                    color=colour,
                    markersize=6,
                    mew=0,
                    label=label,
                )
        axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color=INK, lw=1, ls="--", label="as predicted")
        axes.set_xlabel(f"predicted gain ({unit})")
        axes.set_ylabel(f"confirmed gain ({unit})")
        _legend_above(figure)

    return svg("kept", (WIDTH, WIDTH * 0.75), draw)


def slopes(effects: Effects, domains: Sequence[str], columns: Sequence[str]) -> str:
    """A heat map: what a percentage point more of a domain does to the objective and each metric."""
    largest = max(abs(effects.domains[row].slopes[column] or 0) for row in domains for column in columns) or 1.0

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for across, column in enumerate(columns):
            for down, row in enumerate(domains):
                slope = effects.domains[row].slopes[column]
                if slope is None:
                    axes.text(across, down, "–", ha="center", va="center", color=MUTED)
                    continue
                colour = BLUE if slope < 0 else VERMILION
                cell = Rectangle(
                    (across - 0.48, down - 0.46), 0.96, 0.92, color=colour, alpha=0.6 * abs(slope) / largest, lw=0
                )
                axes.add_patch(cell)
                axes.text(across, down, f"{1000 * slope:+.1f}", ha="center", va="center", fontsize=8)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_xticks(range(len(columns)), [_short(name) for name in columns], rotation=35, ha="left")
        axes.xaxis.tick_top()
        _name_rows(axes, domains)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.axvline(0.5, color=GROUND, lw=4)  # sets the objective apart from the metrics

    return svg("slopes", (max(WIDTH, 2 + 0.55 * len(columns)), 1.2 + 0.26 * len(domains)), draw)


def sizes(effects: Effects, domains: Sequence[str], unit: str) -> str:
    """How much the predicted objective changes over all shares that were trained."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for flat, colour, label in ((False, BLUE, "matters"), (True, MUTED, "flat: not told from no effect")):
            rows = [(place, row) for place, row in enumerate(domains) if effects.domains[row].flat == flat]
            widths = [effects.domains[row].curve.size for _, row in rows]
            axes.barh([place for place, _ in rows], widths, color=colour, height=0.6, label=label if rows else None)
        axes.axvline(effects.doubt, color=INK, lw=1, ls="--", label="how far a prediction may be off (1 sd)")
        _name_rows(axes, domains)
        axes.set_xlabel(f"change of the predicted objective ({unit})")
        _legend_above(figure)

    return svg("sizes", (WIDTH, 1.2 + 0.24 * len(domains)), draw)


def curves(effects: Effects, domains: Sequence[str]) -> list[str]:
    """The predicted objective over the share of each domain, one plot a domain on the same scale."""
    values = [value for domain in domains for value in effects.domains[domain].curve.values]
    margin = 0.06 * (max(values) - min(values))
    ends = min(values) - margin, max(values) + margin

    def curve(domain: str) -> str:
        effect = effects.domains[domain]

        def draw(figure: Figure) -> None:
            axes = figure.subplots()
            axes.plot([100 * share for share in effect.curve.shares], effect.curve.values, color=BLUE, lw=2)
            axes.axvline(100 * effect.share, color=VERMILION, lw=1.2, ls="--")
            axes.set_ylim(*ends)
            axes.set_title(_short(domain, 17), fontsize=8, color=MUTED if effect.flat else INK)
            axes.tick_params(labelsize=8)
            axes.locator_params(nbins=4)

        return svg(f"curve-{domain}", (1.75, 1.45), draw)

    return [curve(domain) for domain in domains]


def course(found: Course, unit: str) -> str:
    """Objectives of the search's trials over the FLOPs spent by then, a panel a proxy, and the best so far."""
    with_points = {step.proxy for step in found.steps if step.objective is not None}
    proxies = [proxy for proxy in found.baselines if proxy in with_points]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(proxies), 1, sharex=True, squeeze=False)[:, 0]
        for axes, proxy in zip(panels, proxies, strict=True):
            measured = [(step.flops, step.objective) for step in found.steps if step.proxy == proxy]
            points = [(flops, value) for flops, value in measured if value is not None]
            axes.plot(*zip(*points, strict=True), "o", color=BLUE, markersize=4, alpha=0.6, mew=0, label="trial")
            best = list(accumulate((value for _, value in points), min))
            axes.step([flops for flops, _ in points], best, where="post", color=INK, lw=1.5, label="best so far")
            for name, value in found.baselines[proxy].items():
                colour, _, line = MARKS.get(name, OTHER_MARK)
                axes.axhline(value, color=colour, lw=1.2, ls=line, label=name)
            axes.set_title(f"proxy {_short(proxy)}")
            axes.set_ylabel(f"objective\n({unit})")
        panels[-1].set_xlabel("FLOPs spent by then, all proxies together")
        panels[-1].set_xlim(left=0)
        _legend_above(figure)

    return svg("course", (WIDTH, 1 + 1.8 * len(proxies)), draw)


def tried(found: Tried, answer: Rival, domains: Sequence[str]) -> str:
    """Parallel coordinates: a line a trial over its shares, each from 0 to the largest; the better the darker."""
    mixtures = [each.mixture for each in found.trials]
    most = {name: max(*(each[name] for each in [*mixtures, answer.mixture]), 1e-9) for name in domains}

    def heights(mixture: Mapping[str, float]) -> list[float]:
        return [mixture[name] / most[name] for name in domains]

    def draw(figure: Figure) -> None:
        axes, places = figure.subplots(), range(len(domains))
        # The best come last, and so on top.
        for rank in reversed(range(len(mixtures))):
            worse = rank / max(len(mixtures) - 1, 1)
            colour, label = (MUTED, "trials of the worse half") if worse > 0.5 else (BLUE, "trials of the better half")
            axes.plot(places, heights(mixtures[rank]), color=colour, alpha=0.75 - 0.6 * worse, lw=1, label=label)
        axes.plot(places, heights(answer.mixture), "o-", color=VERMILION, markersize=5, lw=2, label="answer")
        axes.set_xticks(places, [f"{_short(name, 16)}\n{most[name]:.0%}" for name in domains], rotation=50, ha="right")
        axes.set_yticks([])
        axes.set_ylim(-0.03, 1.05)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=True, axis="x")
        _legend_above(figure)

    return svg("tried", (max(WIDTH, 1.5 + 0.45 * len(domains)), WIDTH * 0.75), draw)


def agreement(found: Agreement, unit: str, target: str) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(found.cheap, found.target, "o", color=BLUE, markersize=5, alpha=0.75, mew=0)
        axes.set_xlabel(f"objective at {_short(found.proxy)} ({unit})")
        axes.set_ylabel(f"objective at {_short(target)} ({unit})")

    return svg(f"agreement-{found.proxy}", (WIDTH, WIDTH * 0.66), draw)


def growth(stations: Sequence[tuple[str, float, bool]], shares: Mapping[str, Sequence[float]]) -> str:
    """How the best mixture moves over scale; the arguments as of `draw_path`."""

    def draw(figure: Figure) -> None:
        draw_path(figure.subplots(), stations, shares, COLOURS)

    return svg("growth", (WIDTH + 1, WIDTH * 0.75), draw)


def front(found: Front, unit: str) -> str:
    return _front_of_two(found, unit) if len(found.metrics) == 2 else _front_of_many(found, unit)


def _front_of_two(found: Front, unit: str) -> str:
    across, up = found.metrics

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        points = [(point.predicted[across], point.predicted[up]) for point in found.points]
        proposed = found.proposed[across], found.proposed[up]
        measured = [(right, high) for right, high in found.measured]
        draw_front_of_two(axes, ("measured", measured), points, ("proposed", proposed), COLOURS)
        axes.set_xlabel(f"loss on {_short(across)} ({unit})")
        axes.set_ylabel(f"loss on {_short(up)} ({unit})")
        _legend_above(figure)

    return svg("front", (WIDTH, WIDTH * 0.75), draw)


def _front_of_many(found: Front, unit: str) -> str:
    """Parallel coordinates: each loss above the lowest of the front."""
    lowest = {name: min(point.predicted[name] for point in found.points) for name in found.metrics}

    def above(losses: Mapping[str, float]) -> list[float]:
        return [losses[name] - lowest[name] for name in found.metrics]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        lines = [above(point.predicted) for point in found.points]
        names = [_short(name) for name in found.metrics]
        draw_front_of_many(axes, names, lines, ("proposed", above(found.proposed)), COLOURS)
        axes.set_ylabel(f"loss above the front's lowest ({unit})")
        _legend_above(figure)

    return svg("front", (max(WIDTH, 1.5 + 0.5 * len(found.metrics)), WIDTH * 0.68), draw)


def _diagonal(axes: Axes, values: Sequence[float], label: str) -> None:
    ends = [min(values), max(values)]
    axes.plot(ends, ends, color=MUTED, lw=1, ls="--", label=label)
    axes.legend(loc="upper left")


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """The first name on top."""
    axes.set_yticks(np.arange(len(names)), [_short(name) for name in names], color=INK)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _legend_above(figure: Figure) -> None:
    """Of all plots as one; bars, which are what a plot is about, come first."""
    found = dict(pair[::-1] for axes in figure.axes for pair in zip(*axes.get_legend_handles_labels(), strict=True))
    labels = sorted(found, key=lambda label: not isinstance(found[label], BarContainer))
    figure.legend([found[label] for label in labels], labels, loc="outside upper left", ncols=3)


def _short(name: str, longest: int = LONGEST_NAME) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def svg(name: str, size: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    """What `draw` draws, as an SVG element; `name` keeps its ids apart from those of other plots."""
    text = io.StringIO()
    with mpl.rc_context(settings(COLOURS) | {"svg.fonttype": "none", "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(text, format="svg", transparent=True, metadata=NO_METADATA)
    svg = text.getvalue()
    svg = GROUP_ID.sub("", svg[svg.index("<svg") :])
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    # All plots in one scale, in which a point is about a pixel of a phone, and more of a wide window's.
    limits = f"min-width: {SMALLEST * size[0]:.1f}rem; max-width: {LARGEST * size[0]:.1f}rem"
    return svg.replace("<svg ", f'<svg style="{limits}" ', 1)
