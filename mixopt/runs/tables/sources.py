"""Where runs are, opened: delimited text, JSON, JSON lines, Parquet, a DataFrame, an MLflow experiment.

source --> header and lines --> what is nested laid flat --> Sheet
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixopt.base.errors import ConfigError
from mixopt.base.files import opened as opened_file
from mixopt.base.shown import shown
from mixopt.runs.tables import nested
from mixopt.runs.tables.reading import Reading
from mixopt.runs.tables.sheet import Cells, Experiment, Frame, Sheet, sheet_of, some
from mixopt.runs.tables.text import TABLE_HINT, read_grid, read_text
from search.errors import first_line

if TYPE_CHECKING:
    from pandas import DataFrame

DELIMITED, LINES, SPREADSHEETS = (".csv", ".tsv", ".txt"), (".jsonl", ".ndjson"), (".xlsx", ".xls", ".ods", ".numbers")
PARQUET, JSON = ".parquet", ".json"
# Keys under which a JSON file may hold its runs.
HOLDING_RUNS = ("runs", "data", "rows", "results", "trials")
# A file with a setting of W&B and the newest point of each of its histories has these.
RUN_KEYS = ("config", "summary", "summaryMetrics", "summary_metrics", "metrics", "params")

Lines = list[tuple[int, list[Any]]]


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name, also one that is to be saved as another."""
    return path.suffix.lower() in (PARQUET, JSON, *DELIMITED, *LINES, *SPREADSHEETS)


def sheet_in(source: Cells, said: Reading, notes: list[str]) -> Sheet:
    """The cells of a table.

    Raises:
        ConfigError: there is none that can be read.
    """
    header, lines = _lines(source, said, notes)
    sheet = sheet_of(source, header, lines, said.decimal, notes)
    flat = nested.opened(sheet.columns)
    if flat.keys() == sheet.columns.keys():
        return sheet
    return sheet_of(source, list(flat), _rows_of(flat, sheet.rows), said.decimal, notes)


def _lines(source: Cells, said: Reading, notes: list[str]) -> tuple[list[str], Lines]:
    if isinstance(source, Frame):
        return _frame_lines(source.frame, first_row=0)
    if isinstance(source, Experiment):
        return _experiment_lines(source)
    ending = source.suffix.lower()
    if ending == PARQUET:
        return _parquet_lines(source)
    if ending in DELIMITED:
        grid = read_grid(source, said.encoding)
        notes += grid.notes
        return grid.header, grid.rows
    if ending in LINES:
        return _records(source, _json_lines(source, said.encoding))
    if ending == JSON:
        return _records(source, _json(source, said.encoding))
    if ending in SPREADSHEETS:
        raise ConfigError(
            f"{source}: a workbook of a spreadsheet, of which nobody knows which sheet is meant",
            hint="save the sheet as CSV: decimal commas, semicolons, UTF-16 and percentages are read as they are",
        )
    raise ConfigError(
        f"{source}: a table ends in .csv, .tsv, .json, .jsonl or .parquet", hint="export it as one of these"
    )


def _frame_lines(frame: DataFrame, first_row: int) -> tuple[list[str], Lines]:
    # An index that has a name says something of each run, such as what it is called.
    frame = frame.reset_index(level=[name for name in frame.index.names if name and name not in frame.columns])
    cells = frame.astype(object).where(frame.notna(), None)
    return [str(name) for name in frame.columns], list(enumerate(cells.to_numpy().tolist(), start=first_row))


def _parquet_lines(path: Path) -> tuple[list[str], Lines]:
    import pandas as pd

    with opened_file(path, "table", TABLE_HINT) as file:
        try:
            frame = pd.read_parquet(file)
        except MemoryError:
            raise
        except Exception as error:  # of damaged files, the library raises whatever it happens to
            raise ConfigError(f"{path}: not Parquet: {first_line(error)}", hint="write the file again") from error
    return _frame_lines(frame, first_row=1)


def _experiment_lines(source: Experiment) -> tuple[list[str], Lines]:
    from tracking.foreign_runs import runs_of

    rows = runs_of(source.uri, source.name)
    if not rows:
        raise ConfigError(f"{source} at {source.uri} has no run", hint="correct --experiment, or --from-mlflow")
    return _records(source, list(enumerate(rows, start=1)))


def _json_lines(path: Path, encoding: str | None) -> list[tuple[int, Any]]:
    return [
        (row, _value(path, f"line {row}", line))
        for row, line in enumerate(read_text(path, encoding).split("\n"), start=1)
        if line.strip()
    ]


def _json(path: Path, encoding: str | None) -> list[tuple[int, Any]]:
    """One run for each entry of a list, under whatever key it stands; or of columns, or of runs by their names."""
    value = _value(path, "the file", read_text(path, encoding))
    if isinstance(value, Mapping):
        value = next((value[key] for key in HOLDING_RUNS if _are_runs(value.get(key))), value)
    if isinstance(value, Mapping):
        inner = list(value.values())
        if inner and all(isinstance(each, list) for each in inner) and len({len(each) for each in inner}) == 1:
            value = [dict(zip(value, cells, strict=True)) for cells in zip(*inner, strict=True)]
        elif inner and all(isinstance(each, Mapping) for each in inner):
            if not set(value) & set(RUN_KEYS) and _by_row(inner):
                # As pandas writes a frame: column, then row.
                rows = dict.fromkeys(row for column in inner for row in column)
                value = [{name: column.get(row) for name, column in value.items()} for row in rows]
            elif not set(value) & set(RUN_KEYS):
                value = [{"run": name, **each} for name, each in value.items()]
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        raise ConfigError(f"{path}: {shown(value)} is no list of runs", hint="write a list with an object for each run")
    return list(enumerate(value, start=1))


def _are_runs(value: Any) -> bool:
    """Whether it is a list of runs, and not a column of theirs."""
    return isinstance(value, list) and all(isinstance(each, Mapping) for each in value)


def _by_row(columns: Iterable[Mapping[str, Any]]) -> bool:
    """Whether all have the keys 0, 1, 2, ..., as pandas numbers rows."""
    return all(list(column) == [str(row) for row in range(len(column))] and column for column in columns)


def _value(path: Path, place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {place} is not JSON: {first_line(error)}", hint="write it again") from error


def _records(source: Cells, rows: list[tuple[int, Any]]) -> tuple[list[str], Lines]:
    """Rows that are mappings, laid flat, as lines under one header."""
    if not rows:
        raise ConfigError(f"{source}: a table without a run", hint="give one object for each run")
    for row, record in rows:
        if not isinstance(record, Mapping):
            raise ConfigError(f"{source}: row {row}, {shown(record)}, is no run", hint="write an object for each run")
    records = [nested.flat(_with_the_end_of_its_history(record)) for _, record in rows]
    header = list(dict.fromkeys(str(key) for record in records for key in record))
    return header, [
        (row, [record.get(name) for name in header]) for (row, _), record in zip(rows, records, strict=True)
    ]


def _with_the_end_of_its_history(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A run with the last value of each metric in its history, where it has one and no summary."""
    history = record.get("history")
    if not isinstance(history, list) or not all(isinstance(each, Mapping) for each in history):
        return record
    rest = {key: value for key, value in record.items() if key != "history"}
    if any(record.get(key) for key in ("summary", "summaryMetrics", "summary_metrics")):
        return rest
    last: dict[str, Any] = {}
    for point in history:
        last |= {key: value for key, value in point.items() if value is not None}
    return {**rest, "summary": last}


def _rows_of(columns: Mapping[str, list[Any]], rows: list[int]) -> Lines:
    return [(row, [cells[place] for cells in columns.values()]) for place, row in enumerate(rows)]


def check_no_chart(sheet: Sheet) -> None:
    """
    Raises:
        ConfigError: the export of a chart, with a column for each run, which says nothing of mixtures.
    """
    runs = [name for name in sheet.columns if name.endswith("__MIN") and name.removesuffix("__MIN") in sheet.columns]
    if runs and len(runs) * 3 >= len(sheet.columns) - 2 and "Step" in sheet.columns:
        raise ConfigError(
            f"{sheet.source}: a chart, whose columns are runs ({some([runs[0].removesuffix('__MIN')])})",
            hint="export the table of the runs, which has their settings: Runs, then the arrow downwards, CSV",
        )
