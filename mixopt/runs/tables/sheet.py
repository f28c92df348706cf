"""A table's cells by column, before anybody knows what is what.

Shapes: N rows, C columns.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.base.shown import UNSEEN, shown
from mixopt.runs.tables.numbers import (
    DECIMALS,
    Decimal,
    UnclearDecimals,
    Ways,
    decimal_of,
    is_missing,
    number,
    ways_of,
)
from search.mixture import FloatArray

if TYPE_CHECKING:
    from pandas import DataFrame

# Of a column's name, in characters; and of columns.
LONGEST_NAME, MOST_COLUMNS = 300, 50_000

# Units that stand behind a name, "tokens (B)", or below it: what a cell is multiplied by.
FACTORS: Mapping[str, float] = {
    "%": 1.0,
    "percent": 1.0,
    "k": 1e3,
    "thousand": 1e3,
    "m": 1e6,
    "mio": 1e6,
    "mn": 1e6,
    "million": 1e6,
    "millions": 1e6,
    "b": 1e9,
    "g": 1e9,
    "bn": 1e9,
    "mrd": 1e9,
    "billion": 1e9,
    "billions": 1e9,
    "t": 1e12,
    "tn": 1e12,
    "trillion": 1e12,
}


@dataclass(frozen=True, eq=False)
class Frame:
    """A table in memory, under the name that messages call it by."""

    frame: DataFrame
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Experiment:
    """The runs of an MLflow experiment, by its name."""

    uri: str
    name: str

    def __str__(self) -> str:
        return f"MLflow experiment {self.name}"


# Where cells are.
Cells = Path | Frame | Experiment


@dataclass(frozen=True)
class Elsewhere:
    """Where the cells of a column stand that was joined: in another table, in these rows; None where it has no such."""

    source: Cells
    rows: Sequence[int | None]


@dataclass(frozen=True)
class Sheet:
    """The cells of a table.

    Attributes:
        source: where they are from, as messages call it.
        columns: cells by column name, N each; text, or what the source holds.
        rows: where each stands: in a file as a spreadsheet counts (a CSV's header is row 1), in a DataFrame as `iloc`.
        decimal: what parts decimals, where somebody said it.
        units: what stands behind a column's name in brackets, or below it, by column.
        titles: what a column is called in the source, where this is another name.
    """

    source: Cells
    columns: dict[str, list[Any]]
    rows: list[int]
    decimal: Decimal | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    # What parts decimals in each column, known before rows were left out.
    known_decimals: Mapping[str, Decimal] = field(default_factory=dict)
    # Of the columns that were joined.
    elsewhere: Mapping[str, Elsewhere] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, places: Sequence[int]) -> Sheet:
        """These rows alone, read as they were read among the others."""
        if len(places) == len(self.rows):
            return self
        columns = {name: [cells[place] for place in places] for name, cells in self.columns.items()}
        known = {name: way for name in self.columns if (way := self.sure_decimal(name)) is not None}
        elsewhere = {
            name: Elsewhere(each.source, [each.rows[place] for place in places])
            for name, each in self.elsewhere.items()
        }
        rows = [self.rows[place] for place in places]
        return replace(self, columns=columns, rows=rows, known_decimals=known, elsewhere=elsewhere)

    def texts(self, column: str) -> list[str]:
        """Cells as text, empty where there is none, N."""
        cells = self.columns.get(column, [""] * len(self.rows))
        return ["" if is_missing(cell) else str(cell).strip() for cell in cells]

    def numbers(self, columns: Sequence[str], amounts: bool = False, needed: bool = False) -> FloatArray:
        """Cells as numbers, NaN where there is none, one column each of `columns`.

        Args:
            amounts: whether they may be written 20M.
            needed: whether messages say that a cell may be empty.

        Raises:
            ConfigError: one is no number, or may be meant two ways.
        """
        ways = {column: self._decimal(column) for column in columns}
        return np.array(
            [
                [self._number(column, place, ways[column], amounts, needed) for column in columns]
                for place in range(len(self.rows))
            ],
            dtype=np.float64,
        ).reshape(len(self.rows), len(columns))

    def if_numbers(self, column: str) -> FloatArray | None:
        """A column's numbers, N, NaN where there is none; None where it has others than these, or none."""
        if column not in self._if_numbers:
            self._if_numbers[column] = self._numbers_or_none(column)
        return self._if_numbers[column]

    def share_of_numbers(self, column: str) -> float:
        """How many of the cells that are not empty are numbers, whatever parts their decimals; 0 to 1."""
        cells = [cell for cell in self.columns[column] if not is_missing(cell) and not isinstance(cell, bool)]
        good = sum(any(_all_numbers([cell], way) for way in DECIMALS) for cell in cells)
        return good / len(cells) if cells else 0.0

    def contradiction(self, column: str) -> ConfigError | None:
        """The mistake in a column whose cells are all numbers, but not all with one sign before the decimals."""
        cells, ways = self.columns[column], self._ways(column)
        if (
            self.decimal is not None
            or "comma" not in ways
            or len(ways) < 2
            or not all(is_missing(cell) or any(_all_numbers([cell], way) for way in DECIMALS) for cell in cells)
        ):
            return None
        try:
            self._decimal(column)
        except ConfigError as error:
            return error
        return None

    def title(self, column: str) -> str:
        """What a column is called in the source."""
        return self.titles.get(column, column)

    def source_of(self, column: str) -> Cells:
        return self.elsewhere[column].source if column in self.elsewhere else self.source

    def row(self, place: int, column: str) -> int:
        """Where a cell stands: in the table that it was joined from, if that has it."""
        there = self.elsewhere[column].rows[place] if column in self.elsewhere else None
        return self.rows[place] if there is None else there

    def where(self, place: int, column: str) -> str:
        """The table and the row of a cell."""
        source = self.source_of(column)
        if column in self.elsewhere and self.elsewhere[column].rows[place] is None:
            return f"{self.source}: row {self.rows[place]}, of which {source} has nothing"
        return f"{source}: row {self.row(place, column)}"

    def error(self, place: int, column: str, what: str, hint: str) -> ConfigError:
        return ConfigError(f"{self.where(place, column)}, column {self.title(column)}: {what}", hint)

    @cached_property
    def _if_numbers(self) -> dict[str, FloatArray | None]:
        return {}

    @cached_property
    def _decimals(self) -> set[Decimal]:
        """What parts decimals in the columns of numbers that can only be meant one way."""
        found = set[Decimal]()
        for name, cells in self.columns.items():
            sure = [way for way in DECIMALS if way in self._ways(name)]
            if len(sure) == 1 and sure[0] not in found and _all_numbers(cells, sure[0]):
                found.add(sure[0])
        return found

    @cached_property
    def _known_ways(self) -> dict[str, Ways]:
        return {}

    def _ways(self, column: str) -> Ways:
        if column not in self._known_ways:
            self._known_ways[column] = ways_of(self.columns[column])
        return self._known_ways[column]

    def sure_decimal(self, column: str) -> Decimal | None:
        try:
            return self._decimal(column)
        except ConfigError:
            return None

    def _decimal(self, column: str) -> Decimal:
        if self.decimal is not None:
            return self.decimal
        if column in self.known_decimals:
            return self.known_decimals[column]
        try:
            return decimal_of(self._ways(column), self._decimals)
        except UnclearDecimals as error:
            raise ConfigError(
                f"{self.source_of(column)}: column {self.title(column)}: {error} may be meant as decimals or as "
                "thousands",
                hint="say which sign parts decimals: --decimal comma or --decimal point",
            ) from error

    def _numbers_or_none(self, column: str) -> FloatArray | None:
        cells = self.columns[column]
        if any(isinstance(cell, bool) for cell in cells):
            return None
        way, factor = self.sure_decimal(column) or "point", self._factor(column)
        try:
            found = [math.nan if is_missing(cell) else number(cell, way, amount=True) * factor for cell in cells]
        except (TypeError, ValueError, OverflowError):
            return None
        array = np.array(found, dtype=np.float64)
        return None if np.isnan(array).all() else array

    def _factor(self, column: str) -> float:
        return FACTORS.get(self.units.get(column, "").lower(), 1.0)

    def _number(self, column: str, place: int, decimal: Decimal, amount: bool, needed: bool) -> float:
        cell = self.columns[column][place]
        if is_missing(cell):
            return math.nan
        try:
            return number(cell, decimal, amount) * self._factor(column)
        except (TypeError, ValueError, OverflowError):
            hint = "write one such as 0.25" + ("" if needed else ", or leave it empty")
            if isinstance(cell, str) and re.fullmatch(r"[-+]?[\d.]*,\d+", cell.strip()):
                hint = (
                    f"write a decimal point, {cell.strip().replace('.', '').replace(',', '.')}, or give --decimal comma"
                )
            raise self.error(place, column, f"{shown(cell)} is not a number", hint) from None


def sheet_of(
    source: Cells,
    header: Sequence[str],
    lines: Sequence[tuple[int, list[Any]]],
    decimal: Decimal | None,
    notes: list[str],
) -> Sheet:
    """The cells under a header: without empty columns and a row of units, and each name once.

    Raises:
        ConfigError: a name that is none, or stands there twice over different cells, or a row of another length.
    """
    if len(header) > MOST_COLUMNS:
        raise ConfigError(
            f"{source}: {len(header):,} columns", hint=f"give those that are needed, {MOST_COLUMNS:,} at most"
        )
    for place, name in enumerate(header, start=1):
        if len(name) > LONGEST_NAME or UNSEEN.search(name):
            raise ConfigError(
                f"{source}: the name of column {place}, {shown(name)}, is no name",
                hint=f"write at most {LONGEST_NAME} characters, on one line",
            )
    if not lines:
        raise ConfigError(f"{source}: a table without a run", hint="give one row per run below the header")
    for row, cells in lines:
        if len(cells) != len(header):
            raise ConfigError(
                f"{source}: row {row} has {len(cells)} cells, the header {len(header)}",
                hint="look for a missing or an additional delimiter, or a decimal comma",
            )
    columns: dict[str, list[Any]] = {}
    for place, name in enumerate(header):
        cells = [line[place] for _, line in lines]
        if not name and all(is_missing(cell) for cell in cells):
            continue
        if columns.setdefault(name, cells) != cells and name:
            raise ConfigError(f"{source}: column {name} stands there twice", hint="remove or rename one of the two")
    return _without_units(Sheet(source, columns, [row for row, _ in lines], decimal), notes)


def some(things: Iterable[object], most: int = 8) -> str:
    """The first of them, and how many there are beyond."""
    named = [str(thing) for thing in things]
    return ", ".join(named[:most]) + (f" and {len(named) - most} more" if len(named) > most else "")


def _all_numbers(cells: Iterable[Any], decimal: Decimal) -> bool:
    try:
        for cell in cells:
            if not is_missing(cell):
                number(cell, decimal, amount=True)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _without_units(sheet: Sheet, notes: list[str]) -> Sheet:
    """Units, in brackets behind names or in a row below these, taken out of the names and rows."""
    units: dict[str, str] = {}
    columns: dict[str, list[Any]] = {}
    titles: dict[str, str] = {}
    for name, cells in sheet.columns.items():
        found = re.fullmatch(r"(.*\S)\s*[(\[]\s*([^()\[\]]+?)\s*[)\]]", name)
        unit = found[2].split()[0] if found else ""
        if found and unit.lower() in FACTORS and found[1] not in sheet.columns and found[1] not in columns:
            units[found[1]], titles[found[1]] = unit, name
            columns[found[1]] = cells
        else:
            columns[name] = cells
    sheet = replace(sheet, columns=columns, units=units, titles=titles)
    if len(sheet) < 3:
        return sheet
    first = {name: cells[0] for name, cells in columns.items()}
    below = sheet.select(range(1, len(sheet)))
    # A row of words where all below it are numbers, in two columns or more, and a number nowhere.
    worded = [
        name
        for name, cell in first.items()
        if isinstance(cell, str)
        and not is_missing(cell)
        and not _all_numbers([cell], "point")
        and not _all_numbers([cell], "comma")
        and below.if_numbers(name) is not None
    ]
    if len(worded) < 2 or any(
        not is_missing(cell) and name not in worded and below.if_numbers(name) is not None
        for name, cell in first.items()
    ):
        return sheet
    said = {name: str(first[name]).strip(" ()[]") for name in worded}
    units |= {name: unit.split()[0] for name, unit in said.items() if unit and unit.split()[0].lower() in FACTORS}
    notes.append(f"row {sheet.rows[0]} has units and no run: {some(said.values())}")
    return replace(below, units=units, known_decimals={})


def repeated(names: Iterable[Hashable]) -> list[Hashable]:
    """Those that stand there more than once."""
    return [name for name, count in Counter(names).items() if count > 1]
