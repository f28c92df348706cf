"""What `mixopt fit` shows a person: its document as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

BAR_WIDTH = 16

# Key in the document -> heading and format.
Scores = Mapping[str, tuple[str, str]]
SCORES: Scores = {
    "spearman": ("Spearman", ".3f"),
    "rmse": ("rmse", ".4g"),
    "coverage_80": ("in 80%", ".0%"),
    "coverage_95": ("in 95%", ".0%"),
}
CALIBRATED_SCORES: Scores = {"spearman": ("Spearman", ".3f"), "calibrated_rmse": ("calibrated rmse", ".4g")}


def fit_view(document: dict[str, Any]) -> RenderableType:
    runs = ", ".join(f"{count} at {fidelity}" for fidelity, count in document["runs"].items())
    objective = document["objective"]
    metrics = ", ".join(
        f"{name} (more is better)" if name in objective["maximised"] else name for name in objective["metrics"]
    )
    parts: list[RenderableType] = [
        Text(f"runs: {runs}; predictions are for {document['target']}"),
        Text(f"objective, lower is better: {objective['kind']} of {metrics}\n"),
        _cross_validation(document),
    ]
    if document["holdout"]:
        parts.append(_holdout(document))
    parts += [
        Text(f"\n{document['why']}\n", style="bold"),
        _mixture(document),
        *(Text(f"note: {note}", style="yellow") for note in document["notes"]),
    ]
    if document["files"]:
        parts.append(Text("wrote " + ", ".join(document["files"])))
    return Group(*parts)


def _cross_validation(document: dict[str, Any]) -> Table:
    title = "Cross-validation (in 80%: runs inside their 80% interval)"
    table = _table("surrogate", *(f">{heading}" for heading, _ in SCORES.values()), "", title=title)
    for name, result in document["surrogates"].items():
        if "skipped" in result:
            table.add_row(name, *[""] * len(SCORES), f"skipped: {result['skipped']}")
        else:
            table.add_row(_name(name, document), *_scores(result["cross_validation"]["objective"], SCORES))
    return table


def _holdout(document: dict[str, Any]) -> Table:
    holdout = document["holdout"]
    first = next(iter(holdout.values()))
    # Measured at another fidelity than predicted: errors in its units and intervals mean nothing.
    shown = SCORES if first["fidelity"] == document["target"] else CALIBRATED_SCORES
    title = f"\nHoldout, {first['runs']} runs at {first['fidelity']}"
    table = _table("surrogate", *(f">{heading}" for heading, _ in shown.values()), ">rank of pick", title=title)
    for name, score in holdout.items():
        table.add_row(_name(name, document), *_scores(score, shown), str(score["pick"]["rank"]))
    return table


def _name(surrogate: str, document: dict[str, Any]) -> Text:
    """Bold where the mixture rests on it."""
    return Text(surrogate, style="bold" if surrogate == document["default"] else "")


def _scores(score: dict[str, Any], shown: Scores) -> list[str]:
    return ["-" if score[key] is None else format(score[key], form) for key, (_, form) in shown.items()]


def _mixture(document: dict[str, Any]) -> RenderableType:
    recommendation, natural = document["recommendation"], document["natural"]
    columns = ("domain", ">natural", ">recommended", "", ">among the best")
    table = _table(*columns, title=f"The mixture ({recommendation['method']})")
    for name, weight in recommendation["mixture"].items():
        span = recommendation["ranges"].get(name)
        table.add_row(
            name,
            f"{natural['mixture'][name]:.1%}",
            Text(f"{weight:.1%}", style="bold"),
            Text("█" * round(weight * BAR_WIDTH) or "▏" * (weight > 0), style="cyan"),
            f"{span[0]:.1%} to {span[1]:.1%}" if span else "",
        )
    lines = [f"natural is {natural['is']}"]
    if recommendation["predicted"]:
        lines += [
            f"predicted {document['objective']['name']} of one new run, with its 95% interval: "
            f"{_interval(recommendation['predicted'])}, of the natural mixture {_interval(natural['predicted'])}",
            f"it beats one of the natural mixture with probability {recommendation['beats']['proportional']:.0%}",
        ]
    return Group(table, Text("\n".join(lines)))


def _interval(estimate: dict[str, float]) -> str:
    return f"{estimate['mean']:.4g} ({estimate['lower']:.4g} to {estimate['upper']:.4g})"


def _table(*columns: str, title: str) -> Table:
    """A table whose columns named `>...` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return table
