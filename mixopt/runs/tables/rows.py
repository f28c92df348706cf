"""One row a run, of tables that have several: a row for each share or value, or for each step; and tables joined.

run, domain, share           -> run, share.web, share.code, ...
run, metric, value           -> run, metric.loss, ...
run, step, tokens.web, loss  -> the last values of each run
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown, shown_name
from mixopt.runs.tables.numbers import is_missing
from mixopt.runs.tables.reading import Reading
from mixopt.runs.tables.roles import NAMES, Known, roles_of
from mixopt.runs.tables.sheet import Sheet, some
from mixopt.runs.tables.words import without_origin, words_of

# What columns of long tables are called: of what a row is about, and of its number.
DOMAIN = ("domain", "source", "dataset", "pool", "corpus", "domain_name", "data_source", "dataset_name")
SHARE = (
    "share", "weight", "proportion", "ratio", "fraction", "percent", "percentage", "prob", "probability", "tokens",
    "n_tokens", "num_tokens", "token_count", "mix", "anteil",
)  # fmt: skip
METRIC = ("metric", "metric_name", "task", "benchmark", "eval", "evaluation", "measure")
ANY = ("variable", "key", "name", "field", "attribute")
VALUE = ("value", "score", "result", "metric_value", "val", "loss", "acc", "accuracy")

WEIGHT_PREFIX, METRIC_PREFIX = "weight.", "metric."


def one_row_a_run(sheet: Sheet, said: Reading, notes: list[str]) -> Sheet:
    """The table with one row for each run.

    Raises:
        ConfigError: a share or a value stands there twice, with two numbers.
    """
    key = _key(sheet, said)
    if not key:
        return sheet
    runs = _runs(sheet, key)
    # One value for each run is a long table as well, where it says so.
    if len(set(runs)) == len(runs) and not {"metric", "value"} <= sheet.columns.keys():
        return sheet
    if pairs := _pairs(sheet, key):
        return _widened(sheet, key, runs, pairs, notes)
    return _last_of_each(sheet, said, runs, notes)


def joined(sheet: Sheet, others: Sequence[Sheet], said: Reading, notes: list[str]) -> Sheet:
    """The table with the columns that others have of the same runs.

    Raises:
        ConfigError: the tables have no run in common, or one has a run twice.
    """
    for other in others:
        mine, its = _common_key(sheet, other, said)
        place_of: dict[str, int] = {}
        for place, text in enumerate(other.texts(its)):
            if text and place_of.setdefault(text, place) != place:
                raise other.error(
                    place, its, f"{shown(text)} is in row {other.rows[place_of[text]]} too", "keep one row"
                )
        places = [place_of.get(text) for text in sheet.texts(mine)]
        added = {
            name: [None if place is None else cells[place] for place in places]
            for name, cells in other.columns.items()
            if name not in sheet.columns
        }
        if twice := [name for name in other.columns if name in sheet.columns and name != its]:
            notes.append(f"columns that {other.source} has too are taken from {sheet.source}: {some(twice)}")
        missing = sum(place is None for place in places)
        there = f"{len(places) - missing} of {len(places)} runs are in {other.source}"
        notes.append(f"{there}, joined by {mine}: {len(added)} columns")
        known = {name: way for name in added if (way := other.sure_decimal(name)) is not None}
        sheet = replace(
            sheet,
            columns={**sheet.columns, **added},
            units={**other.units, **sheet.units},
            titles={**other.titles, **sheet.titles},
            known_decimals={**sheet.known_decimals, **known},
        )
    return sheet


def _common_key(sheet: Sheet, other: Sheet, said: Reading) -> tuple[str, str]:
    """The columns of both by which most runs are in both."""

    def candidates(of: Sheet) -> list[str]:
        named = [each for each in of.columns if "_".join(words_of(without_origin(each))) in (*NAMES["run"], "id")]
        return [said.columns["run"]] if said.columns.get("run") in of.columns and "run" in said.columns else named

    best = max(
        (
            (len(set(sheet.texts(mine)) & set(other.texts(its)) - {""}), mine, its)
            for mine in candidates(sheet)
            for its in candidates(other)
        ),
        key=lambda each: each[0],
        default=(0, "", ""),
    )
    if not best[0]:
        raise ConfigError(
            f"{sheet.source} and {other.source} have no run in common",
            hint="give both a column run with the same names, or say which it is: --column run=NAME",
        )
    return best[1], best[2]


def _key(sheet: Sheet, said: Reading) -> list[str]:
    """The columns that tell runs apart."""
    roles = roles_of(sheet, said)
    if "run" not in roles:
        return []
    named = [roles["run"]]
    # A run that has a name of its own for each of its trainings.
    if "id" in roles and roles["id"].column != named[0].column:
        named.append(roles["id"])
    if "fidelity" in roles and roles["fidelity"].column == "fidelity":
        named.append(Known("fidelity", ""))
    return [each.column for each in named]


def _runs(sheet: Sheet, key: Sequence[str]) -> list[tuple[str, ...]]:
    return list(zip(*(sheet.texts(column) for column in key), strict=True))


def _called(sheet: Sheet, names: Sequence[str]) -> str | None:
    return next(
        (each for name in names for each in sheet.columns if "_".join(words_of(without_origin(each))) == name), None
    )


def _pairs(sheet: Sheet, key: Sequence[str]) -> list[tuple[str, str, str]]:
    """The columns that say what a row is about, and its number, with what the new columns are to begin with."""
    pairs = []
    domain, share = _called(sheet, DOMAIN), _called(sheet, SHARE)
    if domain and share and _names_and_numbers(sheet, domain, share):
        pairs.append((domain, share, WEIGHT_PREFIX))
    metric, value = _called(sheet, METRIC), _called(sheet, VALUE)
    if metric and value and value != share and _names_and_numbers(sheet, metric, value):
        pairs.append((metric, value, METRIC_PREFIX))
    if not pairs:
        anything, value = _called(sheet, ANY), _called(sheet, VALUE)
        if anything and value and anything not in key and _names_and_numbers(sheet, anything, value):
            pairs.append((anything, value, ""))
    return pairs


def _names_and_numbers(sheet: Sheet, names: str, numbers: str) -> bool:
    told = [text for text in sheet.texts(names) if text]
    return sheet.if_numbers(numbers) is not None and sheet.if_numbers(names) is None and len(set(told)) < len(told)


def _widened(
    sheet: Sheet, key: Sequence[str], runs: list[tuple[str, ...]], pairs: list[tuple[str, str, str]], notes: list[str]
) -> Sheet:
    """The table with a column for each thing that rows are about."""
    taken = {column for pair in pairs for column in pair[:2]}
    kept = [name for name in sheet.columns if name not in taken]
    first_place = {run: place for place, run in reversed(list(enumerate(runs)))}
    cells: dict[str, dict[tuple[str, ...], Any]] = {name: {} for name in kept}
    new: dict[str, dict[tuple[str, ...], Any]] = {}
    titles, known = dict(sheet.titles), dict(sheet.known_decimals)
    order = _by_step(sheet, runs)
    for about, number, prefix in pairs:
        names = sheet.texts(about)
        way = sheet.sure_decimal(number)
        for place in order:
            if not names[place] or is_missing(cell := sheet.columns[number][place]):
                continue
            column = prefix + names[place]
            titles[column] = f"{number} of {names[place]}"
            if way is not None:
                known[column] = way
            held = new.setdefault(column, {})
            if held.setdefault(runs[place], cell) != cell:
                if len(order) == len(set(runs)) or not _steps(sheet):
                    raise sheet.error(
                        place,
                        number,
                        f"{shown(cell)} for {shown_name(names[place])}, given as {shown(held[runs[place]])} before",
                        "keep one row for each run and name",
                    )
                held[runs[place]] = cell
    for name in kept:
        for place in order:
            if not is_missing(cell := sheet.columns[name][place]):
                cells[name][runs[place]] = cell
    distinct = sorted(first_place, key=first_place.__getitem__)
    columns = {name: [by_run.get(run) for run in distinct] for name, by_run in (cells | new).items()}
    told = "; ".join(f"{number} by {about}" for about, number, _ in pairs)
    notes.append(f"rows of one run are put together, {told}: {len(distinct)} runs in {len(runs)} rows")
    return replace(
        sheet,
        columns=columns,
        rows=[sheet.rows[first_place[run]] for run in distinct],
        titles=titles,
        known_decimals=known,
    )


def _last_of_each(sheet: Sheet, said: Reading, runs: list[tuple[str, ...]], notes: list[str]) -> Sheet:
    """Of rows that are steps of runs, the last value of each column; the table itself, where rows are no steps."""
    step = _steps(sheet)
    if step is None or len(set(zip(runs, sheet.texts(step), strict=True))) < len(runs):
        return sheet
    last: dict[tuple[str, ...], dict[str, Any]] = {}
    row_of: dict[tuple[str, ...], int] = {}
    for place in _by_step(sheet, runs):
        values = last.setdefault(runs[place], dict.fromkeys(sheet.columns))
        values |= {name: cells[place] for name, cells in sheet.columns.items() if not is_missing(cells[place])}
        row_of[runs[place]] = sheet.rows[place]
    known = {name: way for name in sheet.columns if (way := sheet.sure_decimal(name)) is not None}
    notes.append(
        f"rows are steps of runs, by {step}: the last value of each column counts, {len(last)} runs in {len(runs)} rows"
    )
    columns = {name: [values[name] for values in last.values()] for name in sheet.columns}
    return replace(sheet, columns=columns, rows=[row_of[run] for run in last], known_decimals=known)


def _steps(sheet: Sheet) -> str | None:
    return next(
        (
            each
            for name in NAMES["step"]
            for each in sheet.columns
            if (each == name or "_".join(words_of(without_origin(each))) == name.strip("_"))
            and sheet.if_numbers(each) is not None
        ),
        None,
    )


def _by_step(sheet: Sheet, runs: Sequence[object]) -> list[int]:
    """The rows, later steps after earlier ones."""
    step = _steps(sheet)
    if step is None or (numbers := sheet.if_numbers(step)) is None:
        return list(range(len(runs)))
    return [int(place) for place in np.argsort(np.nan_to_num(numbers, nan=-1.0), kind="stable")]
