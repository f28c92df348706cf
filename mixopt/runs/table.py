"""A table of finished runs: from wherever it is to arrays, and what had to be decided.

    source --open_table--> rows under plain names --read_all--> every run and metric --choose_metrics--> Runs and notes

One row per run; columns `run, fidelity, params, tokens, cost, weight.<domain>, ..., metric.<name>, ...`, or whatever
mixopt/runs/tables takes for these. What cannot be right is an error with its row and column; what can be put right is,
and a note says so (docs/run-tables.md lists both).

Shapes: N rows, D domains, M metrics.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.runs.tables.columns import WEIGHT
from mixopt.runs.tables.opening import DOCUMENTS, open_table
from mixopt.runs.tables.reading import TableSource
from mixopt.runs.tables.shares import Shares, shares_of
from mixopt.runs.tables.sheet import Frame, Sheet, some
from mixopt.runs.tables.sizes import alike, names_of_sizes, params_in_names
from mixopt.runs.tables.words import METRIC, kind_of
from mixopt.settings.units import MOST_AMOUNT, show_count
from search.fidelity import Fidelity
from search.mixture import FloatArray
from search.runs import BoolArray, IntArray, Runs

__all__ = [
    "DOCUMENTS",
    "METRIC",
    "OF_CONFIRMATION",
    "WEIGHT",
    "Frame",
    "TableSource",
    "choose_metrics",
    "complete_fidelities",
    "read",
    "read_all",
    "text",
]

OF_CONFIRMATION = "confirmation"
# The name of the one fidelity of a table that names none.
ONLY_FIDELITY = "runs"

# Costs that differ by less are one cost.
SAME_COST = 1e-6

# What costs, parameters and tokens are at least, and what a measurement is at most.
SMALLEST_AMOUNT, LARGEST_VALUE = 1e-30, 1e100

# A value further from the median than so many times what separates the quartiles is pointed out.
OUTLIER = 20.0


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
    opened = open_table(source)
    sheet, domains, metrics = opened.sheet, tuple(opened.layout.weights), tuple(opened.layout.metrics)
    if len(domains) < 2:
        raise ConfigError(
            f"{source}: one domain, {domains[0]}, leaves nothing to choose", hint="give every domain's weight"
        )
    notes = list(opened.notes)
    sheet = _of_the_search(sheet, notes)
    columns = [WEIGHT + name for name in domains]
    shares = shares_of(sheet, columns, opened.said.units, opened.said.normalise, notes)
    values_NM = sheet.numbers([METRIC + name for name in metrics])
    _check_measured(sheet, metrics, values_NM)
    sheet = _with_scales(sheet, shares, notes)
    given_names = sheet.texts("run")
    fidelity_names = [name or ONLY_FIDELITY for name in sheet.texts("fidelity")]
    fidelities = _fidelities(sheet, fidelity_names, notes)

    names = tuple(name or f"row {row} of {source.name}" for name, row in zip(given_names, sheet.rows, strict=True))
    index_of = {fidelity.proxy: index for index, fidelity in enumerate(fidelities)}
    fidelity_N = np.array([index_of[name] for name in fidelity_names], dtype=np.int64)
    runs = Runs(names, domains, metrics, fidelities, shares.weights_ND, fidelity_N, values_NM)
    runs = runs.select(_first_of_copies(sheet, runs, given_names, notes))
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
        notes.append(f"standard errors are no metrics, and left out: {some(doubts)}")
    first: dict[bytes, str] = {}
    copies: dict[str, list[str]] = {}
    for name, values_N in zip(runs.metrics, runs.values_NM.T, strict=True):
        if name in doubts:
            continue
        if (same := first.setdefault(values_N.tobytes(), name)) != name:
            copies.setdefault(same, []).append(name)
    for name, others in copies.items():
        notes.append(f"metrics that equal {name} in every run count once: {some(others)}")
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


def _check_measured(table: Sheet, metrics: Sequence[str], values_NM: FloatArray) -> None:
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
        if kind_of(name) == "loss":
            continue
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
                f"{values_N[other]:g}, where row {table.row(one, METRIC + name)} has {values_N[one]:g}: two units in "
                "one metric",
                "write all of it as shares, or all as percentages",
            )


def _of_the_search(table: Sheet, notes: list[str]) -> Sheet:
    """Without the runs that were measured on the documents of a confirmation."""
    kept = [place for place, documents in enumerate(table.texts(DOCUMENTS)) if documents != OF_CONFIRMATION]
    left_out = len(table) - len(kept)
    if not left_out:
        return table
    if not kept:
        raise ConfigError(
            f"{table.source}: every run was measured on the documents of a confirmation",
            hint=f"give the search's runs as well, or remove the column {DOCUMENTS}",
        )
    notes.append(f"{left_out} runs of a confirmation are left out: they were measured on other documents")
    return table.select(kept)


def _with_scales(table: Sheet, shares: Shares, notes: list[str]) -> Sheet:
    """With the tokens that the domains' sum to, and with fidelities by size, where the table has none of these."""
    columns = dict(table.columns)
    if "tokens" not in columns and shares.tokens_N is not None:
        columns["tokens"] = alike(shares.tokens_N).tolist()
    if "fidelity" not in columns:
        known = {name: table.if_numbers(name) for name in ("params", "tokens") if name in table.columns}
        sizes = {name: alike(each) for name, each in known.items() if each is not None}
        if "tokens" not in sizes and shares.tokens_N is not None:
            sizes["tokens"] = alike(shares.tokens_N)
        names = names_of_sizes(sizes.get("params"), sizes.get("tokens"))
        if names is not None:
            columns["fidelity"] = list(names)
            columns |= {name: each.tolist() for name, each in sizes.items()}
            notes.append(f"no column names a fidelity: runs of one size are one, {some(dict.fromkeys(names))}")
    # Numbers have their units in them.
    kept = {name: unit for name, unit in table.units.items() if columns.get(name) is table.columns.get(name)}
    return replace(table, columns=columns, units=kept)


def _fidelities(table: Sheet, fidelity_N: Sequence[str], notes: list[str]) -> tuple[Fidelity, ...]:
    """The fidelities by rising cost; unknown parameters count as 0 and unknown tokens as 1."""
    names = list(dict.fromkeys(fidelity_N))
    params, tokens, cost = (_one_each(table, column, fidelity_N) for column in ("params", "tokens", "cost"))
    if not params and not cost and len(names) > 1 and (params := params_in_names(names)):
        told = ", ".join(f"{name} {show_count(size)}" for name, size in params.items())
        notes.append(f"parameters are taken from the names of fidelities: {told}")
    without_cost = [name for name in names if name not in cost]
    derivable = all(name in params and name in tokens for name in names)
    if without_cost and cost and derivable:
        notes.append(f"column cost is not used: it is empty for {some(without_cost)}")
    if without_cost and derivable:
        cost = {name: 6 * params[name] * tokens[name] for name in names}
    elif without_cost and not cost and not tokens and all(name in params for name in names) and len(names) > 1:
        notes.append("the fidelities are ordered by their parameters, and cost in proportion: no tokens are known")
        cost = dict(params)
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


def _one_each(table: Sheet, column: str, fidelity_N: Sequence[str]) -> dict[str, float]:
    """The one value of a column for each fidelity that has any."""
    if column not in table.columns:
        return {}
    first: dict[str, tuple[float, int]] = {}
    for place, (fidelity, value) in enumerate(
        zip(fidelity_N, table.numbers([column], amounts=True)[:, 0], strict=True)
    ):
        if math.isnan(value):
            continue
        if not SMALLEST_AMOUNT <= value <= MOST_AMOUNT:
            what = f"{value:g} is not above 0" if value <= 0 else f"{value:g} is out of range"
            raise table.error(place, column, what, "correct it, or leave the cell empty")
        earlier, row = first.setdefault(fidelity, (float(value), table.row(place, column)))
        if abs(value - earlier) > SAME_COST * earlier:
            raise table.error(
                place,
                column,
                f"{value:g}, where row {row} of the same fidelity {fidelity} has {earlier:g}",
                "runs of one fidelity are trained alike; give them one value, or other fidelities",
            )
    return {fidelity: value for fidelity, (value, _) in first.items()}


def _first_of_copies(table: Sheet, runs: Runs, given_names: Sequence[str], notes: list[str]) -> IntArray:
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
        rows = some(table.rows[place] for place in copies)
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
            odd = some(f"{runs.names[run]} ({values_N[run]:.4g})" for run in np.flatnonzero(far_N))
            notes.append(f"metric {name} is far from all others in {odd}: kept; write inf for a run that diverged")


def _named(runs: Runs, chosen_N: BoolArray) -> str:
    return some(runs.names[run] for run in np.flatnonzero(chosen_N))
