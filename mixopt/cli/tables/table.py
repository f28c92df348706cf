"""Tables for a person to read in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from mixopt.base.shown import shortened
from mixopt.results.recommendation import Recommendation
from mixopt.settings.levels import Row, sum_over
from search.problem import BASELINE

LONGEST_ORIGIN = 24
# Cells between two columns. To how much a column of text, or the head of numbers, is narrowed before the table is
# parted.
GAP = 2
LEAST_TEXT, LONGEST_HEAD = 14, 14
# Of a bar that is a share of 1.
BAR_WIDTH = 16


def epochs_of(epochs: float, most: float | None) -> str:
    """How often a domain is repeated, of how often it may be."""
    return f"{epochs:.2f}" if most is None else f"{epochs:.2f} of {most:g}"


def share_of(row: Row, share: float) -> Text:
    """A domain's share; that of a level is the sum of those below it."""
    return Text(f"{share:.1%}", style="" if row.is_level else "bold")


def bar_of(row: Row, share: float) -> Text:
    """A share as a bar: what is mixed in full, a level's sum as its outline."""
    return Text(("░" if row.is_level else "█") * round(share * BAR_WIDTH) or "▏" * (share > 0), style="cyan")


def flat_shares(recommendation: Recommendation) -> tuple[str, ...]:
    """Domains, and levels as `web.*`, whose share hardly matters."""
    flat_levels = (sum_over(name) for name, level in recommendation.levels.items() if level.flat)
    return (*recommendation.flat, *flat_levels)


def asked_for_by(origin: str) -> str:
    """Who asked for a trial, short: of baselines that are trained again, their names are enough."""
    head, _, baseline = origin.partition(f":{BASELINE}")
    return shortened(f"{head}:{baseline}" if baseline else origin, LONGEST_ORIGIN)


class FittingTable(Table):
    """A table that loses nothing where the terminal is narrow.

    Heads are wrapped first, then text, names within a word if it must be; numbers and columns of `no_wrap` never.
    Where even so there is no room for all columns side by side, the table is shown in parts, each with the first
    column.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._natural(console, options, self.columns) <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        for number, places in enumerate(self._parts(console, options)):
            yield from self._part(places, number == 0)._fitted(console, options)

    def _fitted(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for column, least in zip(self.columns, self._least(console, options), strict=True):
            if column.justify == "right":
                column.width = least
                column.overflow = "fold"
        return super().__rich_console__(console, options)

    def _parts(self, console: Console, options: ConsoleOptions) -> list[list[int]]:
        """Places of the columns that stand side by side."""
        least = self._least(console, options)
        parts, width = [[0]], least[0]
        for place in range(1, len(least)):
            if width + GAP + least[place] > options.max_width and len(parts[-1]) > 1:
                parts.append([0])
                width = least[0]
            parts[-1].append(place)
            width += GAP + least[place]
        return parts

    def _part(self, places: Sequence[int], is_first: bool) -> FittingTable:
        part = FittingTable(
            title=self.title if is_first else None,
            caption=self.caption,
            title_justify=self.title_justify,
            title_style=self.title_style,
            caption_justify=self.caption_justify,
            header_style=self.header_style,
            box=None,
            pad_edge=False,
        )
        for place in places:
            column = self.columns[place]
            part.add_column(column.header, justify=column.justify, overflow="fold", no_wrap=column.no_wrap)
        cells = [list(self.columns[place].cells) for place in places]
        for row in zip(*cells, strict=True):
            part.add_row(*row)
        return part

    def _natural(self, console: Console, options: ConsoleOptions, columns: Sequence[Column]) -> int:
        unlimited = options.update(max_width=10_000)
        widths = [
            max((self._widest(console, unlimited, each) for each in self._texts(column)), default=0)
            for column in columns
        ]
        return sum(widths) + GAP * (len(widths) - 1)

    def _least(self, console: Console, options: ConsoleOptions) -> list[int]:
        """Of each column: numbers whole, heads at their longest word; text as narrow as can be read."""
        unlimited = options.update(max_width=10_000)
        widths = []
        for column in self.columns:
            head, *cells = self._texts(column)
            widest = max((self._widest(console, unlimited, each) for each in cells), default=0)
            words = Measurement.get(console, unlimited, _plain(head)).minimum
            if column.justify == "right":
                widths.append(max(widest, min(words, LONGEST_HEAD)))
            else:
                widths.append(max(widest, words) if column.no_wrap else min(max(widest, words), LEAST_TEXT))
        return widths

    def _widest(self, console: Console, options: ConsoleOptions, cell: object) -> int:
        return Measurement.get(console, options, _plain(cell)).maximum

    @staticmethod
    def _texts(column: Column) -> list[object]:
        return [column.header, *column.cells]


def _plain(cell: object) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A table without lines, whose columns named `>...` are aligned to the right."""
    table = FittingTable(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False
    )
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        table.add_column(column.removeprefix(">"), justify=justify, overflow="fold")
    return table
