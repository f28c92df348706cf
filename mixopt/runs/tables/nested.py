"""What trackers nest, laid flat: settings as JSON, or as Python prints them, in one cell; lists of names and weights.

{"mix": {"web": 0.7, "code": 0.3}}                     -> mix.web, mix.code
{"data": [{"name": "web", "weight": 0.7}, ...]}        -> data.web.weight, ...
{"domains": ["web", "code"], "weights": [0.7, 0.3]}    -> weights.web, weights.code
"web:0.7,code:0.3" in a column mix                     -> mix.web, mix.code
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mixopt.runs.tables.numbers import is_missing

DEEPEST = 12
# Of lists in settings, the longest that may be of domains.
MOST_LISTED = 1000
# By what an entry of a list is called.
NAMED_BY = ("name", "domain", "dataset", "source", "id", "path")

_PAIR = r"[^\s:=,;|{}\[\]\"']+\s*[:=]\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?%?"
_PAIRS = re.compile(rf"\s*{_PAIR}(?:\s*[,;|\s]\s*{_PAIR})+\s*")
_ONE_PAIR = re.compile(r"([^\s:=,;|]+)\s*[:=]\s*([^\s:=,;|]+)")


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with one level of keys: those of what is nested follow a point."""
    return dict(_flat("", record, 0))


def opened(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The columns, each that holds nested values replaced by the columns that are in it."""
    found: dict[str, list[Any]] = {}
    for name, cells in columns.items():
        values = [_value_in(cell) for cell in cells]
        inside = [value for value in values if not isinstance(value, str) and isinstance(value, Mapping | list)]
        if not inside:
            found.setdefault(name, cells)
            continue
        # The columns of a tracker that call themselves config or summary are told apart by that.
        lines = [flat({name: value}) if isinstance(value, Mapping | list) else {} for value in values]
        for key in dict.fromkeys(key for line in lines for key in line):
            if key not in columns:
                found[key] = [line.get(key) for line in lines]
        if len(inside) < sum(not is_missing(cell) for cell in cells):
            found[name] = cells
    return found


def _flat(prefix: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str | np.ndarray):
        value = _value_in(value)
    if isinstance(value, Mapping) and depth < DEEPEST:
        keys = set(value)
        if "value" in keys and keys <= {"value", "desc"}:  # as W&B writes each setting
            yield from _flat(prefix, value["value"], depth + 1)
            return
        yield from _beside(prefix, value)
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner, depth + 1)
    elif isinstance(value, list) and depth < DEEPEST and 0 < len(value) <= MOST_LISTED:
        yield from _listed(prefix, value, depth)
    elif not isinstance(value, Mapping | list):
        yield prefix, value


def _listed(prefix: str, value: list[Any], depth: int) -> Iterator[tuple[str, Any]]:
    """Entries that have names, under these; of others nothing is known."""
    if not all(isinstance(entry, Mapping) for entry in value):
        return
    for key in NAMED_BY:
        names = [entry.get(key) for entry in value]
        if all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names):
            for entry in value:
                rest = {name: inner for name, inner in entry.items() if name != key}
                yield from _flat(f"{prefix}.{entry[key]}", rest, depth + 1)
            return


def _beside(prefix: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Numbers in a list whose names are in the one list beside it of as many different texts."""
    lists = {key: each.tolist() if isinstance(each, np.ndarray) else each for key, each in value.items()}
    lists = {key: each for key, each in lists.items() if isinstance(each, list) and 2 <= len(each) <= MOST_LISTED}
    names = [each for each in lists.values() if all(isinstance(name, str) for name in each)]
    for key, numbers in lists.items():
        if all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
            fitting = [each for each in names if len(each) == len(numbers) == len(set(each))]
            if len(fitting) == 1:
                start = f"{prefix}.{key}" if prefix else str(key)
                yield from ((f"{start}.{name}", number) for name, number in zip(fitting[0], numbers, strict=True))


def _value_in(cell: Any) -> Any:
    """What a cell holds, where it holds more than one value; the cell itself otherwise."""
    if isinstance(cell, np.ndarray):  # of Parquet
        return cell.tolist()
    if not isinstance(cell, str):
        if isinstance(cell, Sequence) and not isinstance(cell, list | bytes):
            return list(cell)
        return cell
    if not (":" in cell or "=" in cell or "[" in cell):
        return cell
    text = cell.strip()
    if text[:1] in ("{", "[") and text[-1:] in ("}", "]"):
        for read in (json.loads, _python):
            try:
                value = read(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            return value if isinstance(value, Mapping | list) else cell
    elif (":" in text or "=" in text) and len(text) < 100_000 and _PAIRS.fullmatch(text):
        pairs = [(each[1], each[2]) for each in _ONE_PAIR.finditer(text)]
        if len(dict(pairs)) == len(pairs):
            return dict(pairs)
    return cell


def _python(text: str) -> Any:
    """What Python prints of plain values, nan and inf among them.

    Raises:
        ValueError, SyntaxError, RecursionError: it is something else.
    """
    return _constant(ast.parse(text, mode="eval").body)


def _constant(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        # As NumPy prints its numbers.
        case ast.Call(func=ast.Attribute(value=ast.Name(id="np")), args=[ast.Constant(value=int() | float() as value)]):
            return value
        case ast.Name(id="nan"):
            return math.nan
        case ast.Name(id="inf"):
            return math.inf
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _constant(operand)
            if isinstance(value, int | float):
                return -value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_constant(element) for element in elements]
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {
                str(_constant(key)): _constant(value)
                for key, value in zip(keys, values, strict=True)
                if key is not None
            }
    raise ValueError("no plain value")
