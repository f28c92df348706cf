"""From the bytes of a text file to its rows of cells: in what encoding, parted by what, and where its header stands."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixopt.base.errors import ConfigError
from mixopt.base.files import bytes_in
from mixopt.base.shown import shown, shown_name

# In bytes.
LARGEST_TABLE = 1_000_000_000
TABLE_HINT = "give a table of runs, .csv, .jsonl or .parquet: docs/run-tables.md"

SEPARATORS = ",;\t|"
# Lines that are looked at to tell what parts the cells.
SAMPLE_LINES = 50
# A cell may hold all settings of a run as JSON.
LONGEST_CELL = 10_000_000

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins as that of UTF-16 does, so looked for before it
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Grid:
    """Cells as they stand in a file.

    Attributes:
        header: names of columns, C.
        rows: with the number that a spreadsheet gives each, whatever lines a cell has; C cells each.
        notes: what was decided.
    """

    header: list[str]
    rows: list[tuple[int, list[Any]]]
    notes: tuple[str, ...] = ()


def read_text(path: Path, encoding: str | None) -> str:
    """The text of a file.

    Args:
        encoding: None: as its first bytes say, or else UTF-8.

    Raises:
        ConfigError: there is no such file or encoding, or it is in another.
    """
    content = bytes_in(path, "table", TABLE_HINT, LARGEST_TABLE)
    chosen = encoding or _encoding_of(content)
    try:
        return content.decode(chosen).removeprefix("\ufeff")
    except LookupError as error:
        raise ConfigError(
            f"--encoding {shown_name(chosen)} does not exist", hint="give one such as cp1252 or utf-16"
        ) from error
    except (UnicodeError, ValueError) as error:
        place = getattr(error, "start", 0)
        hint = "save the table as UTF-8, or say what it is in: --encoding cp1252 is what Windows writes in the West"
        raise ConfigError(f"{path}: byte {place} is not {'UTF-8' if chosen == 'utf-8' else chosen}", hint) from error


def _encoding_of(content: bytes) -> str:
    for mark, name in MARKS.items():
        if content.startswith(mark):
            return name
    # UTF-16 without a mark: every other byte of letters and digits is 0.
    start = content[:1000]
    for name, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if len(start) > 8 and zeros.count(0) > 0.9 * len(zeros):
            return name
    return "utf-8"


def read_grid(path: Path, encoding: str | None) -> Grid:
    """The rows of a file of delimited text.

    Raises:
        ConfigError: it is none.
    """
    text = read_text(path, encoding)
    separator, lines, row = None, [], 0
    if text[:4].lower() == "sep=":  # of Excel, which does not show this line
        first, _, text = text.partition("\n")
        separator = first[4:5] or None
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator or _separator_of(text), strict=True)
        for row, cells in enumerate(reader, start=1):
            if any(cell.strip() for cell in cells):
                lines.append((row, cells))
    except csv.Error as error:
        raise ConfigError(f"{path}: row {row + 1}: {error}", hint="look for an unclosed quote") from error
    finally:
        csv.field_size_limit(limit)
    if not lines:
        raise ConfigError(f"{path} is empty", hint="give a header and one row per run")
    above = _rows_above(lines)
    notes = [f"rows above the header are no part of the table: {shown(_joined(lines[0][1]))}"] if above else []
    (_, header), *rows = lines[above:]
    header = [name.strip() for name in header]
    if len(header[0]) > 1:
        header[0] = header[0].removeprefix("#").strip()
    return Grid(header, [(row, _fitted(cells, len(header))) for row, cells in rows], tuple(notes))


def _separator_of(text: str) -> str:
    """What parts the cells: what parts as many of the first lines as there are into as many cells as can be."""
    lines = [line for line in text[:1_000_000].splitlines() if line.strip()][:SAMPLE_LINES]

    def alike(separator: str) -> tuple[float, int]:
        try:
            counts = Counter(len(cells) for cells in csv.reader(lines, delimiter=separator) if cells)
        except csv.Error:
            return 0.0, 0
        cells, often = max(counts.items(), key=lambda each: (each[0] > 1, each[1]), default=(0, 0))
        return (often / counts.total(), cells) if cells > 1 else (0.0, 0)

    return max(SEPARATORS, key=alike)


def _rows_above(lines: list[tuple[int, list[str]]]) -> int:
    """How many rows stand above the header: a title, a date; each in one cell, over a table of three or more."""
    filled = [sum(bool(cell.strip()) for cell in cells) for _, cells in lines]
    usual = Counter(filled).most_common(1)[0][0]
    widths = Counter(len(cells) for _, cells in lines)

    def is_above(place: int) -> bool:
        cells = lines[place][1]
        # A remark, which may have commas in it.
        remark = cells[0].lstrip().startswith("#") and widths[len(cells)] < len(lines) - place - 1
        return filled[place] <= 1 or remark

    above = next((place for place in range(len(lines)) if not is_above(place)), 0)
    return above if usual >= 3 and above < len(lines) - 1 else 0


def _fitted(cells: list[str], columns: int) -> list[str]:
    """A row without the empty cells that spreadsheets put at its end."""
    while len(cells) > columns and not cells[-1].strip():
        cells = cells[:-1]
    return cells


def _joined(cells: list[str]) -> str:
    return " ".join(cell.strip() for cell in cells if cell.strip())
