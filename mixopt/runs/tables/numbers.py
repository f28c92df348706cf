"""Numbers as people and spreadsheets write them: 0,25 and 1.234,5; 1,234.5; 12%; 20M; 1 000.

Whether a comma or a point parts the decimals is told column by column: by the cells that can only be meant one way.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from mixopt.settings.units import COUNT_SUFFIXES

Decimal = Literal["point", "comma"]
Way = Literal["point", "comma", "point or thousands", "comma or thousands"]
Ways = Mapping[Way, str]
DECIMALS: tuple[Decimal, ...] = ("point", "comma")

MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "<na>", "null", "none", "-", "--", "–", "—"})
LONGEST_MISSING = max(map(len, MISSING))

# What programs write, which is most of all that is read.
_PLAIN = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
# Spaces of all kinds and apostrophes between digits part thousands, whatever parts decimals.
_SPACED = re.compile(r"(?<=\d)[\u00a0\u202f\u2009 '’](?=\d{3}(?!\d))")
_ONE = re.compile(r"[-+]?(\d*)([.,])(\d+)([eE][-+]?\d+)?")
_COMMA_LAST = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})+(?:,\d+)?")
_POINT_LAST = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


def is_missing(cell: Any) -> bool:
    if isinstance(cell, str):
        text = cell.strip()
        return len(text) <= LONGEST_MISSING and text.lower() in MISSING
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def number(cell: Any, decimal: Decimal, amount: bool = False) -> float:
    """A cell as a number: 12% is 0.12.

    Args:
        amount: whether it may be written 20M.

    Raises:
        TypeError, ValueError, OverflowError: it is none.
    """
    if not isinstance(cell, str):
        return float(cell)
    if decimal == "point" and _PLAIN.fullmatch(cell):
        return float(cell)
    text, percent = _bare(cell)
    factor = 1.0
    if amount and text and text[-1].lower() in COUNT_SUFFIXES:
        text, factor = text[:-1].strip(), COUNT_SUFFIXES[text[-1].lower()]
    thousands, point = (",", ".") if decimal == "point" else (".", ",")
    if thousands in text:
        grouped = _POINT_LAST if decimal == "point" else _COMMA_LAST
        if not grouped.fullmatch(text):
            raise ValueError(f"{cell!r} is not a number")
        text = text.replace(thousands, "")
    found = float(text.replace(point, ".")) * factor
    return found / 100 if percent else found


def meant(cell: Any) -> Way | None:
    """What parts the decimals in a cell; None where nothing does, or it is no number."""
    if not isinstance(cell, str) or not ("." in cell or "," in cell):
        return None
    text, _ = _bare(cell)
    if text and text[-1].lower() in COUNT_SUFFIXES:
        text = text[:-1].strip()
    if one := _ONE.fullmatch(text):
        whole, sign, rest, power = one.groups()
        if len(rest) == 3 and not power and re.fullmatch(r"[1-9]\d{0,2}", whole):
            return "comma or thousands" if sign == "," else "point or thousands"
        return "comma" if sign == "," else "point"
    if _COMMA_LAST.fullmatch(text):
        return "comma"
    return "point" if _POINT_LAST.fullmatch(text) else None


class UnclearDecimals(ValueError):
    """Cells of a column, or of columns, that cannot all be meant one way.

    Attributes:
        cells: two of them, or one.
    """

    def __init__(self, *cells: str) -> None:
        super().__init__(" and ".join(cells))
        self.cells = cells


def ways_of(cells: Iterable[Any]) -> Ways:
    """The ways in which the cells of a column are meant, each with the first cell that is."""
    first: dict[Way, str] = {}
    for cell in cells:
        if (way := meant(cell)) is not None and way not in first:
            first[way] = cell.strip()
    return first


def decimal_of(first: Ways, table: Collection[Decimal]) -> Decimal:
    """What parts the decimals of a column.

    Args:
        first: the ways in which its cells are meant.
        table: what parts those of the table's columns, as far as they can only be meant one way.

    Raises:
        UnclearDecimals: the cells contradict each other, or may be meant either way.
    """
    if "point" in first and "comma" in first:
        raise UnclearDecimals(first["comma"], first["point"])
    for sure in DECIMALS:
        if sure in first:
            return sure
    # All that is left has three digits behind one sign. A point is what programs write, and counts as one unless the
    # table is of somebody who writes commas.
    if "comma or thousands" in first:
        if "point or thousands" in first or set(table) != {"comma"}:
            raise UnclearDecimals(*first.values())
        return "comma"
    if (odd := first.get("point or thousands")) is not None and set(table) == {"comma"}:
        raise UnclearDecimals(odd)
    return "point"


def _bare(cell: str) -> tuple[str, bool]:
    """A cell without spaces and what parts thousands, and whether it is per cent."""
    text = cell.strip()
    percent = text.endswith("%")
    if percent:
        text = text[:-1].strip()
    if " " in text or "'" in text or not text.isascii():
        text = _SPACED.sub("", text.replace("\u2212", "-"))
    return text, percent
