"""Tables for a person to read in the terminal."""

from __future__ import annotations

from rich.table import Table

from mixopt.base.shown import shortened
from search.problem import BASELINE

LONGEST_ORIGIN = 24


def epochs_of(epochs: float, most: float | None) -> str:
    """How often a domain is repeated, of how often it may be."""
    return f"{epochs:.2f}" if most is None else f"{epochs:.2f} of {most:g}"


def asked_for_by(origin: str) -> str:
    """Who asked for a trial, short: of baselines that are trained again, their names are enough."""
    head, _, baseline = origin.partition(f":{BASELINE}")
    return shortened(f"{head}:{baseline}" if baseline else origin, LONGEST_ORIGIN)


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A table without lines, whose columns named `>...` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return table
