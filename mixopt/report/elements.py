"""What the page is made of: tiles, plots with the numbers behind them, sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

# More rows are not taken in at a glance; tables have them all.
MOST_ROWS = 20


@dataclass(frozen=True)
class Table:
    """Columns named `>...` are aligned to the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Plot:
    """
    Attributes:
        svgs: one, or small ones that wrap.
        caption: how to read it.
        is_open: whether the table is shown from the start.
    """

    title: str
    svgs: tuple[Markup, ...]
    caption: str
    table: Table
    is_open: bool = False


@dataclass(frozen=True)
class Section:
    """
    Attributes:
        lead: what there is to see, or why there is nothing.
        facts: a table that belongs to no plot.
        text: as it stands in a file.
    """

    name: str
    title: str
    lead: str
    plots: tuple[Plot, ...] = ()
    facts: Table | None = None
    text: str = ""

    @property
    def facts_are_open(self) -> bool:
        return self.facts is not None and len(self.facts.rows) <= MOST_ROWS


@dataclass(frozen=True)
class Tile:
    """One number of the decision."""

    title: str
    value: str
    unit: str
    remark: str


def embed(*svgs: str) -> tuple[Markup, ...]:
    """Plots as parts of the page: matplotlib has escaped the names in them."""
    return tuple(Markup(svg) for svg in svgs)


def correlation(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def count_of(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def percent(share: float) -> str:
    return f"{share:.1%}"


def shorten(shown: Sequence[str], known: Sequence[str], what: str) -> str:
    """A sentence where not all are shown."""
    left = len(known) - len(shown)
    return f" {left} more {what} are in the table." if left else ""
