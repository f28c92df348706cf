"""What a run's log says that it drew, by domain; the forms that are read:

a row for each domain       domain,tokens          (`dataset` or `source` for `domain`; CSV, TSV or JSON lines)
a column for each domain    step,tokens/web,tokens/code,...    (any common beginning and end; CSV, TSV or JSON lines;
                                                               tokens/total is a sum)
one object                  {"tokens": {"web": 1200, "code": 300}}       (JSON; objects in it are as `tokens/web`)

Nothing is guessed that could be meant otherwise: rows that say the same domain again are totals or steps, and somebody
has to say which; of several columns for one domain the one is taken whose name says what it counts, or the one that
somebody names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from mixopt.base.errors import ConfigError
from mixopt.base.files import opened
from mixopt.base.shown import shown, shown_name
from mixopt.exports.asked import Asked
from mixopt.exports.formats import Draws
from mixopt.exports.judging import Counted, Unit
from mixopt.runs.tables.sheet import some
from mixopt.runs.tables.text import read_grid, read_text

DOMAIN = ("domain", "dataset", "source")
UNIT_WORDS: Mapping[str, Unit] = {
    **dict.fromkeys(("token", "tokens"), "tokens"),
    **dict.fromkeys(("document", "documents", "docs"), "documents"),
    **dict.fromkeys(("sequence", "sequences"), "sequences"),
}
# What a trainer calls whatever it draws: documents or sequences, by what its weights count.
DRAWN = {"sample", "samples", "example", "examples", "drawn", "draws", "count", "counts"}
NO_COUNTS = {
    "per",
    "sec",
    "second",
    "rate",
    "loss",
    "share",
    "frac",
    "fraction",
    "weight",
    "epoch",
    "epochs",
    "avg",
    "mean",
}
# What stands where a domain's name does, and is none: sums, and what trainers count beside them.
NO_DOMAIN = {"total", "totals", "all", "sum", "overall", "step", "steps", "lr"}
SEPARATORS = "/._-: "
FORMS = "write `domain,tokens`, or a column for each domain as tokens/web"
ALL_SHARES = (1.0, 100.0)


class Rows(StrEnum):
    """What rows count that say the same domain again."""

    TOTALS = "totals"
    STEPS = "steps"


Row = Mapping[str, Any]


def read_log(
    path: Path, asked: Asked, rows: str | None = None, columns: str | None = None, unit: str | None = None
) -> tuple[Counted, tuple[str, ...]]:
    """What was drawn, and notes.

    Args:
        rows: whether rows are totals so far, or count since the row before.
        columns: with `*` for the domain's name.
        unit: what is counted.

    Raises:
        ConfigError: an option is wrong, or the log is in none of these forms, or could be read in two ways.
    """
    if unit is not None and unit not in get_args(Unit):
        raise ConfigError(f"unit {unit} is none", hint=f"choose from {', '.join(get_args(Unit))}")
    if rows is not None and rows not in list(Rows):
        raise ConfigError(f"rows {rows} are none", hint="they are totals (so far), or steps (since the row before)")
    table = list(_rows(path))
    if not table:
        raise ConfigError(f"{path} has no rows", hint=FORMS)
    notes: tuple[str, ...] = ()
    named = next((name for name in DOMAIN if all(isinstance(row.get(name), str) for _, row in table)), None)
    if named is not None and columns is None:
        column, what = _count_column(path, table, named, asked, unit)
        series = _long(path, table, named, column, asked)
    else:
        begin, end, what = _template(path, table, asked, columns, unit)
        series, notes = _wide(path, table, begin, end, asked)
    counts = {name: _total(path, name, values, rows) for name, values in series.items()}
    whole = math.fsum(counts.values())
    if any(abs(whole - total) < 1e-3 * total for total in ALL_SHARES) and any(value % 1 for value in counts.values()):
        raise ConfigError(f"{path}: these are shares, for they sum to {whole:.6g}, and no counts", hint=FORMS)
    return Counted(what, counts), notes


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    """With their lines; objects in objects are as one with names that have slashes."""
    with opened(path, "log", FORMS):
        text = read_text(path, None)
    start = text.lstrip()[:1]
    if start == "{":
        yield from _json_rows(path, text)
    elif start == "[":
        raise ConfigError(f"{path} is a list in JSON", hint="write an object a line")
    elif start:
        yield from _delimited_rows(path)


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    if path.suffix == ".json":
        yield 1, _flat(_parsed(path, 1, text))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _flat(_parsed(path, number, line))


def _parsed(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        hint = "an object a line, in a file named .jsonl; one object over several lines in one named .json"
        raise ConfigError(f"{path}, line {number}: this is no JSON", hint=hint) from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}, line {number}: {shown(content)} is no object", hint=FORMS)
    return content


def _flat(content: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{name}/")
        else:
            flat[f"{before}{name}"] = value
    return flat


def _delimited_rows(path: Path) -> Iterator[tuple[int, Row]]:
    grid = read_grid(path, None)
    names = [name for name in grid.header if name]
    if len(names) != len(set(names)):
        raise ConfigError(f"{path}: a column stands there twice", hint="name each once")
    for line, cells in grid.rows:
        if len(cells) > len(grid.header):
            raise ConfigError(
                f"{path}, line {line}: {len(cells)} cells under {len(grid.header)} names", hint="name every column"
            )
        yield line, {name: cell for name, cell in zip(grid.header, cells, strict=False) if name and cell.strip()}


def _count_column(
    path: Path, table: Sequence[tuple[int, Row]], named: str, asked: Asked, unit: str | None
) -> tuple[str, Unit]:
    """The column that counts, of a table with a row for each domain."""
    names = {name: None for _, row in table for name in row if name != named}
    found = {name: says for name in names if (says := _unit_of(name, asked)) is not None}
    if unit is not None:
        found = {name: what for name, what in found.items() if what == unit}
    if len(found) != 1:
        what = f"{len(found)} columns count what was drawn" if found else "no column's name says what it counts"
        raise ConfigError(
            f"{path}: {what}: {', '.join(map(shown_name, found or names))}",
            hint="--unit tokens, documents or sequences says which; name the column so",
        )
    return next(iter(found.items()))


def _long(
    path: Path, table: Sequence[tuple[int, Row]], named: str, column: str, asked: Asked
) -> dict[str, list[float]]:
    series: dict[str, list[float]] = {name: [] for name in asked.shares}
    for line, row in table:
        name = asked.names.get(row[named], row[named])
        if name not in series:
            raise ConfigError(
                f"{path}, line {line}: no domain {shown_name(name)}", hint=f"there are {', '.join(asked.shares)}"
            )
        if column in row:
            series[name].append(_number(path, line, column, row[column]))
    return series


def _template(
    path: Path, table: Sequence[tuple[int, Row]], asked: Asked, columns: str | None, unit: str | None
) -> tuple[str, str, Unit]:
    """What stands before and behind a domain's name in the columns that count, and what they count."""
    if columns is not None:
        begin, star, end = columns.partition("*")
        if not star or "*" in end:
            raise ConfigError(f"columns {columns}: where the domain's name is", hint="write one *, as in 'tokens/*'")
        candidates = [(begin, end)]
    else:
        candidates = _templates({name for _, row in table for name in row}, asked)
    known = {each: what for each in candidates if (what := _unit_of(" ".join(each), asked)) is not None}
    if (unit is not None and not known and len(candidates) == 1) or (unit is not None and columns is not None):
        known = {candidates[0]: _as_unit(unit)}
    elif unit is not None:
        known = {each: what for each, what in known.items() if what == unit}
    if len(known) == 1:
        (begin, end), what = next(iter(known.items()))
        return begin, end, what
    if not candidates:
        raise ConfigError(f"{path} has no column for each domain, and no column domain", hint=FORMS)
    shapes = ", ".join(f"{begin}*{end}" for begin, end in (known or candidates))
    if known:
        raise ConfigError(f"{path}: several columns count: {shapes}", hint="--columns says which, as in 'tokens/*'")
    raise ConfigError(
        f"{path}: no column's name says what it counts: {shapes}",
        hint="--unit tokens, documents or sequences says it, --columns which",
    )


def _templates(names: set[str], asked: Asked) -> list[tuple[str, str]]:
    """What stands around a name, for all domains alike."""
    domains = [name for name, share in asked.shares.items() if share > 0]
    found: list[tuple[str, str]] = []
    for column in sorted(names):
        for at in (each.start() for each in re.finditer(re.escape(domains[0]), column)):
            begin, end = column[:at], column[at + len(domains[0]) :]
            apart = (not begin or begin[-1] in SEPARATORS) and (not end or end[0] in SEPARATORS)
            if apart and all(f"{begin}{name}{end}" in names for name in domains) and (begin, end) not in found:
                found.append((begin, end))
    return found


def _unit_of(name: str, asked: Asked) -> Unit | None:
    """What a column's name says that it counts."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    if words & NO_COUNTS:
        return None
    if found := {UNIT_WORDS[word] for word in words if word in UNIT_WORDS}:
        return found.pop() if len(found) == 1 else None
    drawn: Mapping[Draws | None, Unit] = {Draws.SEQUENCES: "sequences", Draws.DOCUMENTS: "documents"}
    return drawn.get(asked.draws) if words & DRAWN else None


def _as_unit(unit: str) -> Unit:
    return UNIT_WORDS[unit]


def _wide(
    path: Path, table: Sequence[tuple[int, Row]], begin: str, end: str, asked: Asked
) -> tuple[dict[str, list[float]], tuple[str, ...]]:
    names = {name: None for _, row in table for name in row}
    notes = _check_columns(path, names, begin, end, asked)
    series = {
        name: [
            _number(path, line, column, row[column])
            for line, row in table
            if (column := f"{begin}{name}{end}") in row and row[column] is not None
        ]
        for name in asked.shares
    }
    silent = [name for name, share in asked.shares.items() if share > 0 and not series[name]]
    if len(silent) == len([share for share in asked.shares.values() if share > 0]):
        raise ConfigError(f"{path} has no column {begin}*{end} of any domain", hint=FORMS)
    notes += [f"domain {name} has no column {begin}{name}{end}: none of it was drawn" for name in silent]
    return series, tuple(notes)


def _check_columns(path: Path, names: Iterable[str], begin: str, end: str, asked: Asked) -> list[str]:
    """Notes of columns that may count what was drawn of a domain that is not known.

    Raises:
        ConfigError: one does, by what stands around the names of the others.
    """
    expected = [*_templates(set(names), asked), (begin, end)]
    known = {f"{before}{name}{after}" for before, after in expected for name in asked.shares}
    others = [name for name in names if name not in known and name.startswith(begin) and name.endswith(end)]
    between = {name: name[len(begin) : len(name) - len(end)] for name in others if len(name) > len(begin + end)}
    odd = [name for name, domain in between.items() if not _is_no_domain(domain)]
    if odd and not begin + end:
        return [f"what is in columns of no domain is not counted: {some(odd, 5)}"]
    if odd:
        raise ConfigError(
            f"{path}: {shown_name(odd[0])} counts no domain that was asked for: {shown_name(between[odd[0]])}",
            hint=f"there are {', '.join(asked.shares)}; take the column out if it counts something else",
        )
    return []


def _is_no_domain(name: str) -> bool:
    words = set(re.findall("[a-z]+", name.lower()))
    return bool(words & NO_COUNTS) or (bool(words) and words <= NO_DOMAIN)


def _number(path: Path, line: int, column: str, value: Any) -> float:
    try:
        number = float(value)
        if not isinstance(value, bool) and math.isfinite(number) and number >= 0:
            return number
    except (TypeError, ValueError):
        pass
    raise ConfigError(
        f"{path}, line {line}: {shown_name(column)} {shown(value)} is no count", hint="counts are numbers, 0 or above"
    )


def _total(path: Path, name: str, values: Sequence[float], rows: str | None) -> float:
    """Of one domain, over all rows."""
    if len(values) < 2 or rows == Rows.STEPS:
        return math.fsum(values)
    if rows is None:
        raise ConfigError(
            f"{path} counts domain {name} {len(values)} times, and does not say whether these are totals",
            hint="--rows totals (so far), or --rows steps (since the row before)",
        )
    for before, after in pairwise(values):
        if after < before:
            raise ConfigError(
                f"{path}: the total of domain {name} falls from {before:g} to {after:g}",
                hint="a run that began again has a log for each part; --rows steps where rows are no totals",
            )
    return values[-1]
