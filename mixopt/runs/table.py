"""A table of finished runs: from a CSV or Parquet file, or a DataFrame, to arrays, and what had to be decided.

    table --_cells--> cells with their rows --read_all--> every run and metric --choose_metrics--> Runs and notes

One row per run; columns `run, fidelity, params, tokens, cost, weight.<domain>, ..., metric.<name>, ...`, of which only
weights and metrics are required. What cannot be right is an error with its row and column; what can be put right is,
and a note says so (docs/run-tables.md lists both).

Shapes: N rows, D domains, M metrics.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.base.files import bytes_in, opened
from mixopt.base.shown import UNSEEN, shown
from mixopt.settings.units import MOST_AMOUNT, parse_amount
from search.errors import first_line
from search.fidelity import Fidelity
from search.mixture import FloatArray
from search.runs import BoolArray, IntArray, Runs

if TYPE_CHECKING:
    from pandas import DataFrame

WEIGHT, METRIC = "weight.", "metric."
# Which documents a run was measured on: losses of other documents are no evidence beside the search's.
DOCUMENTS, OF_CONFIRMATION = "documents", "confirmation"
OPTIONAL = ("run", "fidelity", "params", "tokens", "cost", DOCUMENTS)
MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})
# The name of the one fidelity of a table that names none.
ONLY_FIDELITY = "runs"

# Weights are often published rounded to three digits; a sum further from one lacks a domain or is in other units.
SUM_TOLERANCE = 0.05
# Sums this near one are worth no note: weights of six digits.
ROUNDING = 1e-5
# Costs that differ by less are one cost.
SAME_COST = 1e-6

# What costs, parameters and tokens are at least, and what a measurement is at most.
SMALLEST_AMOUNT, LARGEST_VALUE = 1e-30, 1e100
# Of a column's name, in characters; and of a file, in bytes.
LONGEST_NAME, LARGEST_TABLE = 300, 1_000_000_000
TABLE_HINT = "give a table of runs, .csv or .parquet: docs/run-tables.md"

# A value further from the median than so many times what separates the quartiles is pointed out.
OUTLIER = 20.0


@dataclass(frozen=True, eq=False)
class Frame:
    """A table in memory, under the name that messages call it by."""

    frame: DataFrame
    name: str

    def __str__(self) -> str:
        return self.name


# Where a table of runs is.
TableSource = Path | Frame


def read(source: TableSource, metrics: Collection[str] = ()) -> tuple[Runs, tuple[str, ...]]:
    """The runs of a table, their target the most expensive fidelity; and a sentence for each thing decided.

    Args:
        metrics: those that count; all, if none is named.

    Raises:
        ConfigError, SearchError: as `read_all` and `choose_metrics`.
    """
    runs, notes = read_all(source)
    chosen, metric_notes = choose_metrics(runs, source, metrics)
    return chosen, (*notes, *metric_notes)


def read_all(source: TableSource) -> tuple[Runs, tuple[str, ...]]:
    """As `read`, with every metric and with the runs that diverged, whose metrics are infinite.

    Raises:
        ConfigError: what cannot be read as runs, with its row and column.
    """
    table = _cells(source)
    domains, metrics = table.named(WEIGHT), table.named(METRIC)
    if len(domains) < 2:
        raise ConfigError(
            f"{source}: one domain, {domains[0]}, leaves nothing to choose", hint="give every domain's weight"
        )
    notes = _unused_columns(table)
    table = _of_the_search(table, notes)
    weights_ND = _mixtures(table, domains, notes)
    values_NM = table.numbers([METRIC + name for name in metrics])
    _check_measured(table, metrics, values_NM)
    given_names = table.texts("run")
    fidelity_names = [name or ONLY_FIDELITY for name in table.texts("fidelity")]
    fidelities = _fidelities(table, fidelity_names, notes)

    names = tuple(name or f"row {row} of {source.name}" for name, row in zip(given_names, table.rows, strict=True))
    index_of = {fidelity.proxy: index for index, fidelity in enumerate(fidelities)}
    fidelity_N = np.array([index_of[name] for name in fidelity_names], dtype=np.int64)
    runs = Runs(names, domains, metrics, fidelities, weights_ND, fidelity_N, values_NM)
    runs = runs.select(_first_of_copies(table, runs, given_names, notes))
    return runs, tuple(f"{source.name}: {note}" for note in notes)


def choose_metrics(runs: Runs, source: TableSource, metrics: Collection[str]) -> tuple[Runs, tuple[str, ...]]:
    """The runs of a table that measured one of these metrics, and these alone; and notes.

    Args:
        metrics: all, if none is named.

    Raises:
        SearchError: a metric that the table does not have.
        ConfigError: a metric without a value, or infinite in every run.
    """
    notes: list[str] = []
    chosen = runs.of(*dict.fromkeys(metrics or _measuring(runs, notes)))
    if (overlooked_N := _infinite(runs) & ~_infinite(chosen)).any():
        notes.append(f"runs with an infinite metric that is not used count all the same: {_named(runs, overlooked_N)}")
    chosen = _without_diverged(chosen, source, notes)
    measured_N: BoolArray = np.logical_or.reduce(np.isfinite(chosen.values_NM), axis=1)
    if not measured_N.all():
        notes.append(f"{(~measured_N).sum()} runs measured none of these metrics and are left out")
        chosen = chosen.select(measured_N)
    _note_missing(chosen, source, notes)
    _note_replicates(chosen, notes)
    _note_outliers(chosen, notes)
    return chosen, tuple(f"{source.name}: {note}" for note in notes)


def _measuring(runs: Runs, notes: list[str]) -> list[str]:
    """The metrics that count where none is named: each once, and none that only says how sure another is."""
    doubts = [name for name in runs.metrics if "stderr" in name.lower().replace("_", "")]
    if len(doubts) < len(runs.metrics) and doubts:
        notes.append(f"standard errors are no metrics, and left out: {_some(doubts)}")
    first: dict[bytes, str] = {}
    copies: dict[str, list[str]] = {}
    for name, values_N in zip(runs.metrics, runs.values_NM.T, strict=True):
        if name in doubts:
            continue
        if (same := first.setdefault(values_N.tobytes(), name)) != name:
            copies.setdefault(same, []).append(name)
    for name, others in copies.items():
        notes.append(f"metrics that equal {name} in every run count once: {_some(others)}")
    return list(first.values()) or list(runs.metrics)


def text(rows: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> str:
    """Mixtures and their metrics, all of the same names, as a table that `read` takes."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    mixture, metrics = rows[0]
    writer.writerow([*(WEIGHT + name for name in mixture), *(METRIC + name for name in metrics)])
    writer.writerows([*weights.values(), *values.values()] for weights, values in rows)
    return file.getvalue()


def complete_fidelities(runs: Runs) -> list[Fidelity]:
    """The fidelities that have a run."""
    return [fidelity for index, fidelity in enumerate(runs.fidelities) if runs.at(index).any()]


@dataclass(frozen=True)
class _Table:
    """The cells of a table.

    Attributes:
        columns: cells by column name, N each; text, or what a DataFrame holds.
        rows: where each stands: in a file as a spreadsheet counts (a CSV's header is row 1), in a DataFrame as `iloc`.
    """

    source: TableSource
    columns: dict[str, list[Any]]
    rows: list[int]

    def named(self, prefix: str) -> tuple[str, ...]:
        names = tuple(column.removeprefix(prefix) for column in self.columns if column.startswith(prefix))
        if not names:
            raise ConfigError(
                f"{self.source}: no column {prefix}<name> among {_some(self.columns)}",
                hint="weights stand in weight.<domain>, measurements in metric.<name>",
            )
        if "" in names:
            raise ConfigError(f"{self.source}: column {prefix} lacks the name after the point", hint="add it")
        return names

    def texts(self, column: str) -> list[str]:
        """Cells as text, empty where there is none, N."""
        cells = self.columns.get(column, [""] * len(self.rows))
        return ["" if _is_missing(cell) else str(cell).strip() for cell in cells]

    def numbers(self, columns: Sequence[str]) -> FloatArray:
        """Cells as numbers, NaN where there is none, one column each of `columns`."""
        return np.array(
            [[self._number(column, place) for column in columns] for place in range(len(self.rows))],
            dtype=np.float64,
        ).reshape(len(self.rows), len(columns))

    def _number(self, column: str, place: int) -> float:
        cell = self.columns[column][place]
        if _is_missing(cell):
            return math.nan
        try:
            return _as_number(cell, column)
        except (TypeError, ValueError, OverflowError):
            hint = "write one such as 0.25" + ("" if column.startswith(WEIGHT) else ", or leave it empty")
            if isinstance(cell, str) and re.fullmatch(r"[-+]?[\d.]*,\d+", cell.strip()):
                hint = f"write a decimal point: {cell.strip().replace('.', '').replace(',', '.')}"
            raise self.error(place, column, f"{shown(cell)} is not a number", hint) from None

    def error(self, place: int, column: str, what: str, hint: str) -> ConfigError:
        return ConfigError(f"{self.source}: row {self.rows[place]}, column {column}: {what}", hint)


def _as_number(cell: Any, column: str) -> float:
    """A cell as a number: 12% is 0.12, and parameters and tokens may be written 20M.

    Raises:
        TypeError, ValueError, OverflowError: it is none.
    """
    if isinstance(cell, str) and cell.strip().endswith("%"):
        return float(cell.strip()[:-1]) / 100
    if (
        isinstance(cell, str)
        and column in ("params", "tokens")
        and cell.strip()[-1:].lower() in ("k", "m", "b", "g", "t")
    ):
        return parse_amount(cell)
    return float(cell)


def _is_missing(cell: Any) -> bool:
    return cell is None or str(cell).strip().lower() in MISSING


def _cells(source: TableSource) -> _Table:
    if isinstance(source, Frame):
        header, lines = _frame_lines(source.frame, first_row=0)
    elif source.suffix.lower() == ".parquet":
        header, lines = _parquet_lines(source)
    elif source.suffix.lower() in (".csv", ".tsv", ".txt"):
        header, lines = _csv_lines(source)
    else:
        raise ConfigError(f"{source}: a table ends in .csv, .tsv or .parquet", hint="export it as one of these")
    for number, name in enumerate(header, start=1):
        if len(name) > LONGEST_NAME or UNSEEN.search(name):
            raise ConfigError(
                f"{source}: the name of column {number}, {shown(name)}, is no name",
                hint=f"write at most {LONGEST_NAME} characters, on one line",
            )
    repeated = [name for name, count in Counter(filter(None, header)).items() if count > 1]
    if repeated:
        raise ConfigError(f"{source}: column {repeated[0]} stands there twice", hint="remove or rename one of the two")
    if not lines:
        raise ConfigError(f"{source}: a table without a run", hint="give one row per run below the header")
    for row, cells in lines:
        if len(cells) != len(header):
            raise ConfigError(
                f"{source}: row {row} has {len(cells)} cells, the header {len(header)}",
                hint="look for a missing or an additional delimiter, or a decimal comma",
            )
    columns = {name: [cells[place] for _, cells in lines] for place, name in enumerate(header)}
    return _Table(source, columns, [row for row, _ in lines])


def _csv_lines(path: Path) -> tuple[list[str], list[tuple[int, list[Any]]]]:
    """The header, and each further line that is not blank, with its number; commas, semicolons or tabs."""
    content = bytes_in(path, "table", TABLE_HINT, LARGEST_TABLE)
    try:
        with io.StringIO(content.decode("utf-8-sig"), newline="") as file:
            first = file.readline()
            if first.startswith("sep="):  # of Excel
                first = first[4:5]
            else:
                file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first.count), strict=True)
            skipped = 1 if len(first) == 1 else 0
            lines = [(reader.line_num + skipped, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8", hint="save the table as UTF-8") from error
    except csv.Error as error:
        raise ConfigError(f"{path}: row {reader.line_num}: {error}", hint="look for an unclosed quote") from error
    if not lines:
        raise ConfigError(f"{path} is empty", hint="give a header and one row per run")
    return [name.strip() for name in lines[0][1]], list(lines[1:])


def _parquet_lines(path: Path) -> tuple[list[str], list[tuple[int, list[Any]]]]:
    import pandas as pd

    with opened(path, "table", TABLE_HINT) as file:
        try:
            frame = pd.read_parquet(file)
        except MemoryError:
            raise
        except Exception as error:  # of damaged files, the library raises whatever it happens to
            raise ConfigError(f"{path}: not Parquet: {first_line(error)}", hint="write the file again") from error
    return _frame_lines(frame, first_row=1)


def _frame_lines(frame: DataFrame, first_row: int) -> tuple[list[str], list[tuple[int, list[Any]]]]:
    cells = frame.astype(object).where(frame.notna(), None)
    return [str(name) for name in frame.columns], list(enumerate(cells.to_numpy().tolist(), start=first_row))


def _unused_columns(table: _Table) -> list[str]:
    unused = [name for name in table.columns if name not in OPTIONAL and not name.startswith((WEIGHT, METRIC))]
    return [f"columns that are not used: {_some(name or '(without a name)' for name in unused)}"] if unused else []


def _check_measured(table: _Table, metrics: Sequence[str], values_NM: FloatArray) -> None:
    """
    Raises:
        ConfigError: a value is none that anybody measures, or one metric is in two units.
    """
    for name, values_N in zip(metrics, values_NM.T, strict=True):
        odd_N = np.isfinite(values_N) & (np.abs(values_N) > LARGEST_VALUE)
        if odd_N.any():
            place = int(np.flatnonzero(odd_N)[0])
            what = f"{values_N[place]:g} is no measurement"
            raise table.error(place, METRIC + name, what, "write inf for a run that diverged")
        # A share of right answers as 0.25 in one row and as 25 in another.
        share_N = (values_N > 0) & (values_N <= 1)
        percent_N = (values_N > 1) & (values_N <= 100)
        if not (share_N.any() and percent_N.any()) or (share_N | percent_N | ~np.isfinite(values_N)).sum() < len(
            values_N
        ):
            continue
        gap = values_N[percent_N].min() / values_N[share_N].max()
        middle = np.median(values_N[percent_N]) / np.median(values_N[share_N])
        if gap > 10 and 100 / 4 < middle < 100 * 4:
            one, other = (int(np.flatnonzero(where)[0]) for where in (share_N, percent_N))
            raise table.error(
                other,
                METRIC + name,
                f"{values_N[other]:g}, where row {table.rows[one]} has {values_N[one]:g}: two units in one metric",
                "write all of it as shares, or all as percentages",
            )


def _of_the_search(table: _Table, notes: list[str]) -> _Table:
    """Without the runs that were measured on the documents of a confirmation."""
    kept = [place for place, documents in enumerate(table.texts(DOCUMENTS)) if documents != OF_CONFIRMATION]
    left_out = len(table.rows) - len(kept)
    if not left_out:
        return table
    if not kept:
        raise ConfigError(
            f"{table.source}: every run was measured on the documents of a confirmation",
            hint=f"give the search's runs as well, or remove the column {DOCUMENTS}",
        )
    notes.append(f"{left_out} runs of a confirmation are left out: they were measured on other documents")
    columns = {name: [cells[place] for place in kept] for name, cells in table.columns.items()}
    return _Table(table.source, columns, [table.rows[place] for place in kept])


def _mixtures(table: _Table, domains: Sequence[str], notes: list[str]) -> FloatArray:
    """Weights that sum to one, [N, D]."""
    columns = [WEIGHT + name for name in domains]
    weights_ND = table.numbers(columns)
    for place, domain in np.argwhere(~(np.isfinite(weights_ND) & (weights_ND >= 0))):
        weight = weights_ND[place, domain]
        what = "no weight" if math.isnan(weight) else f"{weight:g} is not a share"
        raise table.error(int(place), columns[domain], what, "shares are 0 or above; write 0 where a domain has none")
    sum_N = weights_ND.sum(axis=1)
    for place in np.flatnonzero(np.abs(sum_N - 1) > SUM_TOLERANCE):
        percent = abs(sum_N[place] / 100 - 1) <= SUM_TOLERANCE
        raise ConfigError(
            f"{table.source}: row {table.rows[place]}: the weights sum to {sum_N[place]:.4g}, not 1",
            hint="these look like percentages: divide by 100" if percent else "give every domain; divide by the sum",
        )
    off_N = np.abs(sum_N - 1) > ROUNDING
    if off_N.any():
        notes.append(
            f"the weights of {off_N.sum()} rows summed to {sum_N[off_N].min():.6g} to {sum_N[off_N].max():.6g}: "
            "divided by that"
        )
    normalised_ND: FloatArray = weights_ND / sum_N[:, None]
    return normalised_ND


def _fidelities(table: _Table, fidelity_N: Sequence[str], notes: list[str]) -> tuple[Fidelity, ...]:
    """The fidelities by rising cost; unknown parameters count as 0 and unknown tokens as 1."""
    names = list(dict.fromkeys(fidelity_N))
    params, tokens, cost = (_one_each(table, column, fidelity_N) for column in ("params", "tokens", "cost"))
    without_cost = [name for name in names if name not in cost]
    derivable = all(name in params and name in tokens for name in names)
    if without_cost and cost and derivable:
        notes.append(f"column cost is not used: it is empty for {_some(without_cost)}")
    if without_cost and derivable:
        cost = {name: 6 * params[name] * tokens[name] for name in names}
    elif len(names) == 1:
        cost.setdefault(names[0], 1.0)
    elif without_cost:
        raise ConfigError(
            f"{table.source}: fidelity {without_cost[0]} has no cost, so the fidelities have no order",
            hint="add a column cost (FLOPs, hours, any one unit), or the columns params and tokens",
        )
    found = [
        Fidelity(name, round(params.get(name, 0)), max(round(tokens.get(name, 1)), 1), cost[name]) for name in names
    ]
    return tuple(sorted(found, key=lambda fidelity: fidelity.flops))


def _one_each(table: _Table, column: str, fidelity_N: Sequence[str]) -> dict[str, float]:
    """The one value of a column for each fidelity that has any."""
    if column not in table.columns:
        return {}
    first: dict[str, tuple[float, int]] = {}
    for place, (fidelity, value) in enumerate(zip(fidelity_N, table.numbers([column])[:, 0], strict=True)):
        if math.isnan(value):
            continue
        if not SMALLEST_AMOUNT <= value <= MOST_AMOUNT:
            what = f"{value:g} is not above 0" if value <= 0 else f"{value:g} is out of range"
            raise table.error(place, column, what, "correct it, or leave the cell empty")
        earlier, row = first.setdefault(fidelity, (float(value), table.rows[place]))
        if abs(value - earlier) > SAME_COST * earlier:
            raise table.error(
                place,
                column,
                f"{value:g}, where row {row} of the same fidelity {fidelity} has {earlier:g}",
                "runs of one fidelity are trained alike; give them one value, or other fidelities",
            )
    return {fidelity: value for fidelity, (value, _) in first.items()}


def _first_of_copies(table: _Table, runs: Runs, given_names: Sequence[str], notes: list[str]) -> IntArray:
    """The rows that no earlier one equals in everything.

    Raises:
        ConfigError: two different rows of a fidelity have one name.
    """
    place_of_content: dict[object, int] = {}
    place_of_name: dict[tuple[str, int], int] = {}
    copies = []
    for place, (given, index) in enumerate(zip(given_names, runs.fidelity_N.tolist(), strict=True)):
        content = (given, index, runs.weights_ND[place].tobytes(), runs.values_NM[place].tobytes())
        if place_of_content.setdefault(content, place) != place:
            copies.append(place)
        elif given and (earlier := place_of_name.setdefault((given, index), place)) != place:
            raise table.error(
                place,
                "run",
                f"{given} is another run in row {table.rows[earlier]}",
                "give each run its own name, such as its name and seed",
            )
    if copies:
        rows = _some(table.rows[place] for place in copies)
        notes.append(f"rows that repeat another in everything were counted once: {rows}")
    return np.setdiff1d(np.arange(len(runs)), copies)


def _infinite(runs: Runs) -> BoolArray:
    """Which runs have an infinite metric, [N]."""
    infinite_N: BoolArray = np.logical_or.reduce(np.isinf(runs.values_NM), axis=1)
    return infinite_N


def _without_diverged(runs: Runs, source: TableSource, notes: list[str]) -> Runs:
    diverged_N = _infinite(runs)
    if not diverged_N.any():
        return runs
    if diverged_N.all():
        raise ConfigError(
            f"{source}: every run has an infinite metric",
            hint="give runs that did not diverge, or choose other metrics",
        )
    notes.append(f"runs with an infinite metric diverged and were left out: {_named(runs, diverged_N)}")
    return runs.select(~diverged_N)


def _note_missing(runs: Runs, source: TableSource, notes: list[str]) -> None:
    for name, values_N in zip(runs.metrics, runs.values_NM.T, strict=True):
        missing = int(np.isnan(values_N).sum())
        if missing == len(runs):
            raise ConfigError(
                f"{source}: column {METRIC}{name} has no value", hint="fill it, remove it, or choose other metrics"
            )
        if missing:
            notes.append(
                f"metric {name} is missing in {missing} of {len(runs)} runs, which count for the other metrics"
            )


def _note_replicates(runs: Runs, notes: list[str]) -> None:
    counts = Counter(zip(runs.mixture_N.tolist(), runs.fidelity_N.tolist(), strict=True))
    repeated = [count for count in counts.values() if count > 1]
    if repeated:
        notes.append(
            f"{len(repeated)} mixtures were run more than once at a fidelity, {sum(repeated)} runs in all: "
            "kept as replicates"
        )


def _note_outliers(runs: Runs, notes: list[str]) -> None:
    for name, values_N in zip(runs.metrics, runs.values_NM.T, strict=True):
        far_N = np.zeros(len(runs), dtype=bool)
        for index in range(len(runs.fidelities)):
            here_N = runs.at(index) & np.isfinite(values_N)
            if here_N.any():
                low, middle, high = np.quantile(values_N[here_N], [0.25, 0.5, 0.75])
                far_N |= here_N & (np.abs(values_N - middle) > OUTLIER * (high - low)) & (high > low)
        if far_N.any():
            odd = _some(f"{runs.names[run]} ({values_N[run]:.4g})" for run in np.flatnonzero(far_N))
            notes.append(f"metric {name} is far from all others in {odd}: kept; write inf for a run that diverged")


def _named(runs: Runs, chosen_N: BoolArray) -> str:
    return _some(runs.names[run] for run in np.flatnonzero(chosen_N))


def _some(things: Iterable[object], most: int = 8) -> str:
    """The first of them, and how many there are beyond."""
    named = [str(thing) for thing in things]
    return ", ".join(named[:most]) + (f" and {len(named) - most} more" if len(named) > most else "")
