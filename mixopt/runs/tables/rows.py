"""One row a run, of tables that have several: a row for each share or value, or for each step; and tables joined.

run, domain, share           -> run, share.web, share.code, ...
run, metric, value           -> run, metric.loss, ...
run, step, tokens.web, loss  -> the last values of each run
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown, shown_name
from mixopt.runs.tables.numbers import is_missing
from mixopt.runs.tables.reading import Reading, Role
from mixopt.runs.tables.roles import NAMES, Known, roles_of
from mixopt.runs.tables.shares import units_of_sums
from mixopt.runs.tables.sheet import Elsewhere, Sheet, some
from mixopt.runs.tables.words import without_origin, words_of
from search.mixture import FloatArray

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

# A run's shares, counted while it goes on, are this near to what they are at its end.
SHARE_ALIKE = 0.02
# Two numbers are one all the same, where they differ by this part.
EXACT = 1e-9

# Which run a row is of.
Run = tuple[str, ...]


@dataclass(frozen=True)
class Steps:
    """Rows of which those of one run were put together as its steps.

    Attributes:
        sheet: with all of the rows.
        places: those of each run, later steps after earlier ones.
    """

    sheet: Sheet
    places: Mapping[Run, Sequence[int]]


def one_row_a_run(sheet: Sheet, said: Reading, notes: list[str]) -> tuple[Sheet, Steps | None]:
    """The table with one row for each run, and the rows that were taken for steps, where there are such.

    Raises:
        ConfigError: a share or a value stands there twice, with two numbers, or without its run.
    """
    roles = roles_of(sheet, said)
    if "run" not in roles:
        return sheet, None
    # A name may have an id of its own for each training.
    names = list(dict.fromkeys(roles[role].column for role in ("run", "id") if role in roles))
    runs = _runs(sheet, names, roles)
    # One value for each run is a long table as well, where it says so.
    if len(set(runs)) == len(runs) and not {"metric", "value"} <= sheet.columns.keys():
        return sheet, None
    if pairs := _pairs(sheet, names):
        return _widened(sheet, said, names, runs, pairs, notes), None
    return _last_of_each(sheet, said, runs, notes)


def check_one_mixture_a_run(all_steps: Sequence[Steps], weights: Sequence[str]) -> None:
    """
    Args:
        weights: the columns of the mixture.

    Raises:
        ConfigError: rows that were taken for steps of a run are of other mixtures, and so of several runs.
    """
    left = list(weights)
    for steps in all_steps:
        here = [name for name in left if name in steps.sheet.columns]
        left = [name for name in left if name not in here]
        if here:
            _check_one_mixture_a_run(steps, here)


def _check_one_mixture_a_run(steps: Steps, columns: Sequence[str]) -> None:
    sheet = steps.sheet
    given_ND = np.nan_to_num(sheet.numbers(columns, amounts=True))
    sum_N = given_ND.sum(axis=1)
    told = [place for place in range(len(sheet)) if sum_N[place] > 0]
    if not told:
        return
    shares_ND = given_ND / np.where(sum_N > 0, sum_N, 1)[:, None]
    in_units = units_of_sums(sum_N[told]) is not None
    for run, places in steps.places.items():
        of_run = [place for place in places if sum_N[place] > 0]
        for one, next_one in itertools.pairwise(of_run):
            # Tokens that a run has seen never become fewer.
            other = of_run[-1] if in_units else next_one
            if (
                np.abs(shares_ND[one] - shares_ND[other]).max() > SHARE_ALIKE
                if in_units
                else (given_ND[other] < given_ND[one] * (1 - EXACT)).any()
            ):
                first, second = sorted((sheet.rows[one], sheet.rows[other]))
                raise ConfigError(
                    f"{sheet.source}: rows {first} and {second} would be steps of run "
                    f"{shown_name(run[0])}, and have other mixtures",
                    hint="name each run apart, or say what tells them apart: --column seed=NAME or --column id=NAME; "
                    "--column step= where rows are no steps",
                )


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
        common = f"{len(places) - missing} of {len(places)} runs are in {other.source}"
        there = Elsewhere(other.source, [None if place is None else other.rows[place] for place in places])
        notes.append(f"{common}, joined by {mine}: {len(added)} columns")
        known = {name: way for name in added if (way := other.sure_decimal(name)) is not None}
        sheet = replace(
            sheet,
            columns={**sheet.columns, **added},
            units={**sheet.units, **{name: unit for name, unit in other.units.items() if name in added}},
            titles={**sheet.titles, **{name: title for name, title in other.titles.items() if name in added}},
            known_decimals={**sheet.known_decimals, **known},
            elsewhere={**sheet.elsewhere, **dict.fromkeys(added, there)},
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


def _runs(sheet: Sheet, names: Sequence[str], roles: Mapping[Role, Known]) -> list[Run]:
    """Of which run each row is, N: by its name, and by its scale and its seed where each row of the name says them.

    A row without a name is a run by itself.
    """
    runs: list[Run] = [
        run if any(run) else (f"row {row}",)
        for run, row in zip(zip(*(sheet.texts(name) for name in names), strict=True), sheet.rows, strict=True)
    ]
    apart: tuple[Role, ...] = ("fidelity", "seed")
    for column in [roles[role].column for role in apart if role in roles]:
        texts = sheet.texts(column)
        untold = {run for run, text in zip(runs, texts, strict=True) if not text}
        runs = [run if run in untold else (*run, text) for run, text in zip(runs, texts, strict=True)]
    return runs


def _called(sheet: Sheet, names: Sequence[str]) -> str | None:
    return next(
        (each for name in names for each in sheet.columns if "_".join(words_of(without_origin(each))) == name), None
    )


def _pairs(sheet: Sheet, names: Sequence[str]) -> list[tuple[str, str, str]]:
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
        if anything and value and anything not in names and _names_and_numbers(sheet, anything, value):
            pairs.append((anything, value, ""))
    return pairs


def _names_and_numbers(sheet: Sheet, names: str, numbers: str) -> bool:
    told = [text for text in sheet.texts(names) if text]
    return sheet.if_numbers(numbers) is not None and sheet.if_numbers(names) is None and len(set(told)) < len(told)


def _widened(
    sheet: Sheet,
    said: Reading,
    names: Sequence[str],
    runs: Sequence[Run],
    pairs: Sequence[tuple[str, str, str]],
    notes: list[str],
) -> Sheet:
    """The table with a column for each thing that rows are about."""
    distinct = list(dict.fromkeys(runs))
    first_place = {run: place for place, run in reversed(list(enumerate(runs)))}
    cells: dict[str, dict[Run, Any]] = {}
    titles, known = dict(sheet.titles), dict(sheet.known_decimals)
    order, step_N = _by_step(sheet, said)
    is_named = [any(texts) for texts in zip(*(sheet.texts(name) for name in names), strict=True)]
    for about, number, prefix in pairs:
        things = sheet.texts(about)
        way = sheet.sure_decimal(number)
        # The step at which the value that is held was measured.
        since: dict[tuple[Run, str], float] = {}
        for place in order:
            run, thing, cell = runs[place], things[place], sheet.columns[number][place]
            if not thing or is_missing(cell):
                continue
            if not is_named[place]:
                raise sheet.error(place, names[0], "no name of a run", "write it in each row")
            column = prefix + thing
            titles[column] = f"{number} of {thing}"
            if way is not None:
                known[column] = way
            held = cells.setdefault(column, {})
            if run in held and held[run] != cell and step_N[place] == since[run, thing]:
                raise sheet.error(
                    place,
                    number,
                    f"{shown(cell)} for {shown_name(thing)}, given as {shown(held[run])} before",
                    "keep one row for each run and name",
                )
            held[run], since[run, thing] = cell, step_N[place]
    taken = {column for pair in pairs for column in pair[:2]}
    kept = {name: _one_each(sheet.columns[name], runs, order, step_N) for name in sheet.columns if name not in taken}
    if odd := [name for name, by_run in kept.items() if by_run is None and name]:
        notes.append(f"columns that say several things of one run are not used: {some(odd)}")
    cells = {name: by_run for name, by_run in kept.items() if by_run is not None} | cells
    columns = {name: [by_run.get(run) for run in distinct] for name, by_run in cells.items()}
    told = "; ".join(f"{number} by {about}" for about, number, _ in pairs)
    notes.append(f"rows of one run are put together, {told}: {len(distinct)} runs in {len(runs)} rows")
    rows = [sheet.rows[first_place[run]] for run in distinct]
    return replace(sheet, columns=columns, rows=rows, titles=titles, known_decimals=known)


def _one_each(
    cells: Sequence[Any], runs: Sequence[Run], order: Sequence[int], step_N: FloatArray
) -> dict[Run, Any] | None:
    """What a column says of each run, at its last step; None where it says two things of one at one step."""
    found: dict[Run, tuple[Any, float]] = {}
    for place in order:
        cell, step = cells[place], float(step_N[place])
        if is_missing(cell):
            continue
        held, since = found.get(runs[place], (cell, step))
        if held != cell and step == since:
            return None
        found[runs[place]] = (cell, step)
    return {run: cell for run, (cell, _) in found.items()}


def _last_of_each(sheet: Sheet, said: Reading, runs: Sequence[Run], notes: list[str]) -> tuple[Sheet, Steps | None]:
    """Of rows that are steps of runs, the last value of each column; the table itself, where rows are no steps."""
    step = _step(sheet, said)
    if step is None or len(set(zip(runs, sheet.texts(step), strict=True))) < len(runs):
        return sheet, None
    last: dict[Run, dict[str, Any]] = {}
    places: dict[Run, list[int]] = {}
    order, _ = _by_step(sheet, said)
    for place in order:
        values = last.setdefault(runs[place], dict.fromkeys(sheet.columns))
        values |= {name: cells[place] for name, cells in sheet.columns.items() if not is_missing(cells[place])}
        places.setdefault(runs[place], []).append(place)
    known = {name: way for name in sheet.columns if (way := sheet.sure_decimal(name)) is not None}
    notes.append(
        f"rows are steps of runs, by {step}: the last value of each column counts, {len(last)} runs in {len(runs)} rows"
    )
    columns = {name: [values[name] for values in last.values()] for name in sheet.columns}
    rows = [sheet.rows[places[run][-1]] for run in last]
    return replace(sheet, columns=columns, rows=rows, known_decimals=known), Steps(sheet, places)


def _step(sheet: Sheet, said: Reading) -> str | None:
    """The column of the steps that rows are of."""
    if "step" in said.columns:
        return said.columns["step"] or None
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


def _by_step(sheet: Sheet, said: Reading) -> tuple[list[int], FloatArray]:
    """The rows, later steps after earlier ones, and the step of each, N: -1 where it has none."""
    step = _step(sheet, said)
    numbers = None if step is None else sheet.if_numbers(step)
    step_N = np.full(len(sheet), -1.0) if numbers is None else np.nan_to_num(numbers, nan=-1.0)
    return [int(place) for place in np.argsort(step_N, kind="stable")], step_N
