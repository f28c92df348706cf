"""The pictures of `mixopt fit`, `mixopt replay` and `mixopt backtest`, drawn from their results, as PNG files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixopt.base.plot_style import ON_PAPER, draw_front_of_many, draw_front_of_two, draw_path, settings
from mixopt.results.backtest import BacktestResult, TableBacktest
from mixopt.results.fit import FitResult, HeldOutRuns
from mixopt.results.replay import ReplayResult
from mixopt.results.scale import ScalePath
from mixopt.runs.final_run import shares, stations
from proxies.storage import open_whole
from search.replay import CONTROL

DPI = 150
BLUE, VERMILION, MUTED = ON_PAPER.blue, ON_PAPER.vermilion, ON_PAPER.muted
# Of the strategies in a replay.
COLOURS = (BLUE, VERMILION, ON_PAPER.green, ON_PAPER.purple, ON_PAPER.amber, ON_PAPER.sky)
MARKERS = "osD^vP"


@mpl.rc_context(settings(ON_PAPER))
def draw_fit(result: FitResult, directory: Path) -> list[Path]:
    """Write every picture that the result has the numbers for, into a folder that exists."""
    pictures = {
        "weights.png": _weights(result),
        "predictions.png": _predictions(result, result.predictions)
        if result.predictions and result.predictions.measured
        else None,
        "effects.png": _effects(result) if result.recommendation.effects else None,
        "front.png": _front(result) if result.recommendation.front else None,
        "scale.png": _path(result.path) if result.path else None,
    }
    drawn = []
    for name, figure in pictures.items():
        if figure is None:
            # Not that of an earlier fit.
            (directory / name).unlink(missing_ok=True)
            continue
        drawn.append(_save(figure, directory / name))
    return drawn


@mpl.rc_context(settings(ON_PAPER))
def draw_replay(result: ReplayResult, directory: Path, file: str = "regret.png") -> Path:
    """Write the regret at every cost into a folder that exists."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    strategies = [name for name in result.strategies if name != CONTROL]
    _curve(axes, result, CONTROL, MUTED, "x")
    for place, name in enumerate(strategies):
        _curve(axes, result, name, COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)])
    axes.set_xscale("log")
    costs = result.strategies[CONTROL].regret.costs
    axes.set_xticks(costs, [str(cost) for cost in costs])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"cost, in runs at {result.target}, warm start included")
    axes.set_ylabel("objective above the best mixture's")
    axes.set_title(f"median and quartiles of {result.seeds} seeds")
    axes.legend()
    return _save(figure, directory / file)


@mpl.rc_context(settings(ON_PAPER))
def draw_backtest(result: BacktestResult, directory: Path) -> list[Path]:
    """Write each table's learning curves, and the regret of replayed strategies, into a folder that exists."""
    drawn = []
    for place, table in enumerate(result.tables, start=1):
        drawn.append(_save(_learning_curves(table), directory / f"curves-{place}.png"))
        if table.replay is not None:
            drawn.append(draw_replay(table.replay, directory, f"regret-{place}.png"))
    return drawn


def _save(figure: Figure, path: Path) -> Path:
    """Write a PNG, whole or not at all."""
    with open_whole(path) as file:
        figure.savefig(file, dpi=DPI, format="png")
    return path


def _learning_curves(table: TableBacktest) -> Figure:
    """Four scores over the number of known mixtures: the mean over subsets, and quartiles as a band."""
    panels = {
        "spearman": "rank correlation",
        "pairwise": "pairs of the best quarter in order",
        "regret": f"regret of the pick ({table.objective.name})",
        "optimism": "predicted minus measured gain",
    }
    figure = Figure(figsize=(8, 6), layout="constrained")
    for axes, (score, label) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        for place, (name, curve) in enumerate(table.curves.items()):
            points = [(point.known, getattr(point, score)) for point in curve.points if getattr(point, score)]
            known = [each for each, _ in points]
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            axes.plot(known, [spread.mean for _, spread in points], color=colour, marker=marker, label=name)
            low, high = ([getattr(spread, end) for _, spread in points] for end in ("q25", "q75"))
            axes.fill_between(known, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set_xscale("log")
        sizes = sorted({point.known for curve in table.curves.values() for point in curve.points})
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_title(label)
        if score == "optimism":
            axes.axhline(0, color=MUTED, linewidth=1, zorder=0)
    figure.axes[0].legend()
    figure.supxlabel(f"{table.table}: known mixtures, by which {table.left_out} others are predicted")
    return figure


def _weights(result: FitResult) -> Figure:
    """Recommended shares beside the natural ones, largest first."""
    mixture, natural = result.recommendation.mixture, result.natural.mixture
    ranges = result.recommendation.ranges
    domains = sorted(mixture, key=mixture.__getitem__)
    figure = Figure(figsize=(6.5, 1.3 + 0.3 * len(domains)), layout="constrained")
    axes = figure.subplots()
    rows = range(len(domains))
    axes.barh(rows, [100 * mixture[name] for name in domains], color=BLUE, height=0.6, label="recommended")
    if ranges:
        spans = [[100 * end for end in ranges[name]] for name in domains]
        axes.hlines(
            rows, [low for low, _ in spans], [high for _, high in spans], color=ON_PAPER.ink, label="range as good"
        )
    axes.plot(
        [100 * natural[name] for name in domains],
        rows,
        "D",
        color=VERMILION,
        markeredgecolor=ON_PAPER.ground,
        label="natural",
    )
    axes.set_yticks(rows, domains)
    axes.set_xlabel("share of the training tokens (%)")
    axes.set_xlim(left=0)
    axes.legend(loc="lower right")
    return figure


def _predictions(result: FitResult, points: HeldOutRuns) -> Figure:
    """Measured against predicted objective of runs that were not fitted to."""
    objective = result.objective.name
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.scatter(points.predicted, points.measured, s=12, color=BLUE, alpha=0.6, linewidths=0)
    same_scale = points.fidelity == result.predicted_at
    if same_scale:
        ends = [min(points.predicted + points.measured), max(points.predicted + points.measured)]
        axes.plot(ends, ends, color=MUTED, linewidth=1, zorder=0, label="measured = predicted")
        axes.legend(loc="upper left")
    axes.set_xlabel(f"predicted {objective}, at {result.predicted_at}")
    axes.set_ylabel(f"measured {objective}, at {points.fidelity}")
    axes.set_title(f"{result.default}: {len(points.measured)} runs, {points.source}")
    return figure


def _effects(result: FitResult) -> Figure:
    """Predicted objective as each domain's share changes, the others in proportion."""
    effects, mixture = result.recommendation.effects, result.recommendation.mixture
    columns = min(4, len(effects))
    rows = -(-len(effects) // columns)
    figure = Figure(figsize=(2.3 * columns, 0.5 + 1.8 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    by_size = sorted(effects, key=lambda name: min(effects[name].values) - max(effects[name].values))
    for axes, name in zip(grid, by_size, strict=False):
        axes.plot([100 * share for share in effects[name].shares], effects[name].values, color=BLUE)
        axes.axvline(100 * mixture[name], color=VERMILION, linestyle="--", linewidth=1)
        axes.set_title(name)
    for axes in grid[len(effects) :]:
        axes.set_visible(False)
    figure.supxlabel("share of the domain (%), the others in proportion; dashed: recommended")
    figure.supylabel(f"predicted {result.objective.name}")
    return figure


def _path(path: ScalePath) -> Figure:
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    draw_path(figure.subplots(), stations(path), shares(path), ON_PAPER)
    return figure


def _front(result: FitResult) -> Figure:
    """The predicted Pareto front: of two metrics among the measured runs, of more as a line per mixture."""
    return _front_of_two(result) if len(result.objective.metrics) == 2 else _front_of_many(result)


def _front_of_two(result: FitResult) -> Figure:
    recommendation, (across, up) = result.recommendation, result.objective.metrics
    figure = Figure(figsize=(5.6, 4.6), layout="constrained")
    axes = figure.subplots()
    measured, target = result.measured, result.predicted_at
    points = [(point.predicted[across], point.predicted[up]) for point in recommendation.front]
    predicted = recommendation.predicted_losses
    draw_front_of_two(
        axes,
        (f"runs at {target}, measured", list(zip(measured[across], measured[up], strict=True))),
        points,
        ("recommended", (predicted[across].mean, predicted[up].mean)),
        ON_PAPER,
    )
    axes.set_xlabel(_with_direction(across, result))
    axes.set_ylabel(_with_direction(up, result))
    axes.legend()
    return figure


def _front_of_many(result: FitResult) -> Figure:
    """Parallel coordinates: each metric from the worst of the front, below, to the best of it."""
    front, metrics = result.recommendation.front, result.objective.metrics
    maximised = result.objective.maximised
    figure = Figure(figsize=(1.5 + 0.9 * len(metrics), 4.6), layout="constrained")
    axes = figure.subplots()
    columns = {name: [point.predicted[name] for point in front] for name in metrics}
    ends = {
        name: (min(values), max(values)) if name in maximised else (max(values), min(values))
        for name, values in columns.items()
    }

    def heights(values: Mapping[str, float]) -> list[float]:
        return [(values[name] - ends[name][0]) / ((ends[name][1] - ends[name][0]) or 1) for name in metrics]

    predicted = {name: estimate.mean for name, estimate in result.recommendation.predicted_losses.items()}
    lines = [heights(point.predicted) for point in front]
    draw_front_of_many(axes, metrics, lines, ("recommended", heights(predicted)), ON_PAPER)
    for place, name in enumerate(metrics):
        worst, best = ends[name]
        axes.text(place, 1.12, f"{best:.3g}", ha="center", fontsize="small")
        axes.text(place, -0.16, f"{worst:.3g}", ha="center", fontsize="small")
    axes.set_ylim(-0.2, 1.2)
    axes.set_yticks([0, 1], ["worst", "best"])
    axes.set_ylabel("predicted, within the front")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _with_direction(metric: str, result: FitResult) -> str:
    better = "more" if metric in result.objective.maximised else "less"
    return f"{metric} ({better} is better)"


def _curve(axes: Axes, result: ReplayResult, name: str, colour: str, marker: str) -> None:
    """From the first cost at which the median seed has trained something at the target."""
    regret = result.strategies[name].regret
    median, low, high = (
        [math.nan if number is None else number for number in numbers]
        for numbers in (regret.median, regret.q25, regret.q75)
    )
    axes.plot(regret.costs, median, color=colour, marker=marker, markersize=4, label=name)
    axes.fill_between(regret.costs, low, high, color=colour, alpha=0.15, linewidth=0)
