"""Tables for a person to read in the terminal."""

from __future__ import annotations

from rich.table import Table


def epochs_of(epochs: float, most: float | None) -> str:
    """How often a domain is repeated, of how often it may be."""
    return f"{epochs:.2f}" if most is None else f"{epochs:.2f} of {most:g}"


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A table without lines, whose columns named `>...` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return table
