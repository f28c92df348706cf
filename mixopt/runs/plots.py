"""The pictures of `mixopt fit`, drawn from its result: PNG files that can be read in black and white."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixopt.results.fit import FitResult, HeldOutRuns

DPI = 150
# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"


def draw(result: FitResult, directory: Path) -> list[Path]:
    """Write every picture that the result has the numbers for, into a folder that exists."""
    pictures = {
        "weights.png": _weights(result),
        "predictions.png": _predictions(result, result.predictions) if result.predictions else None,
        "effects.png": _effects(result) if result.recommendation.effects else None,
        "front.png": _front(result) if result.recommendation.front else None,
    }
    drawn = []
    for name, figure in pictures.items():
        if figure is None:
            # Not that of an earlier fit.
            (directory / name).unlink(missing_ok=True)
            continue
        drawn.append(save(figure, directory / name))
    return drawn


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG under a temporary name, then rename."""
    temporary = path.with_name(f".{path.name}.partial")
    figure.savefig(temporary, dpi=DPI, format="png")
    return temporary.replace(path)


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
        axes.hlines(rows, [low for low, _ in spans], [high for _, high in spans], color="black", label="range as good")
    axes.plot(
        [100 * natural[name] for name in domains], rows, "D", color=ORANGE, markeredgecolor="white", label="natural"
    )
    axes.set_yticks(rows, domains)
    axes.set_xlabel("share of the training tokens (%)")
    axes.set_xlim(left=0)
    _frame(axes)
    axes.legend(frameon=False, loc="lower right")
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
        axes.plot(ends, ends, color=GREY, linewidth=1, zorder=0, label="measured = predicted")
        axes.legend(frameon=False, loc="upper left")
    axes.set_xlabel(f"predicted {objective}, at {result.predicted_at}")
    axes.set_ylabel(f"measured {objective}, at {points.fidelity}")
    axes.set_title(f"{result.default}: {len(points.measured)} runs, {points.source}", fontsize="medium")
    _frame(axes)
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
        axes.axvline(100 * mixture[name], color=ORANGE, linestyle="--", linewidth=1)
        axes.set_title(name, fontsize="small")
        axes.tick_params(labelsize="small")
        _frame(axes)
    for axes in grid[len(effects) :]:
        axes.set_visible(False)
    figure.supxlabel("share of the domain (%), the others in proportion; dashed: recommended", fontsize="medium")
    figure.supylabel(f"predicted {result.objective.name}", fontsize="medium")
    return figure


def _front(result: FitResult) -> Figure:
    """The predicted Pareto front: of two metrics among the measured runs, of more as a line a mixture."""
    return _front_of_two(result) if len(result.objective.metrics) == 2 else _front_of_many(result)


def _front_of_two(result: FitResult) -> Figure:
    recommendation, (across, up) = result.recommendation, result.objective.metrics
    figure = Figure(figsize=(5.6, 4.6), layout="constrained")
    axes = figure.subplots()
    measured, target = result.measured, result.predicted_at
    axes.scatter(
        measured[across], measured[up], s=10, color=GREY, alpha=0.5, linewidths=0, label=f"runs at {target}, measured"
    )
    points = [point.predicted for point in recommendation.front]
    axes.plot(
        [point[across] for point in points],
        [point[up] for point in points],
        "o-",
        color=BLUE,
        markersize=5,
        linewidth=1,
        label="front, predicted",
    )
    predicted = recommendation.predicted_losses
    axes.plot(predicted[across].mean, predicted[up].mean, "*", color=ORANGE, markersize=13, label="recommended")
    axes.set_xlabel(_with_direction(across, result))
    axes.set_ylabel(_with_direction(up, result))
    _frame(axes)
    axes.legend(frameon=False)
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
    places = range(len(metrics))

    def heights(values: Mapping[str, float]) -> list[float]:
        return [(values[name] - ends[name][0]) / ((ends[name][1] - ends[name][0]) or 1) for name in metrics]

    for number, point in enumerate(front):
        axes.plot(
            places,
            heights(point.predicted),
            "o-",
            color=BLUE,
            alpha=0.4,
            markersize=3,
            linewidth=1,
            label="front, predicted" if number == 0 else None,
        )
    predicted = {name: estimate.mean for name, estimate in result.recommendation.predicted_losses.items()}
    axes.plot(places, heights(predicted), "*-", color=ORANGE, markersize=10, label="recommended")
    for place, name in zip(places, metrics, strict=True):
        worst, best = ends[name]
        axes.text(place, 1.12, f"{best:.3g}", ha="center", fontsize="small")
        axes.text(place, -0.16, f"{worst:.3g}", ha="center", fontsize="small")
    axes.set_ylim(-0.2, 1.2)
    axes.set_xticks(places, metrics, rotation=40, ha="right")
    axes.set_yticks([0, 1], ["worst", "best"])
    axes.set_ylabel("predicted, within the front")
    _frame(axes)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _with_direction(metric: str, result: FitResult) -> str:
    better = "more" if metric in result.objective.maximised else "less"
    return f"{metric} ({better} is better)"


def _frame(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
