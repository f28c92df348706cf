"""From where runs are to their rows under plain names: run, fidelity, params, tokens, cost, weight.*, metric.*.

source --sheet_in--> cells --one_row_a_run, joined--> runs --unfinished--> those that count --layout_of--> what is what
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mixopt.base.errors import ConfigError
from mixopt.runs.tables.columns import WEIGHT, Layout, layout_of
from mixopt.runs.tables.finished import LeftOut, unfinished, unknown_states
from mixopt.runs.tables.mapping_file import mapping_beside
from mixopt.runs.tables.reading import NO_COLUMN, Described, Reading, Role, TableSource, cells_of
from mixopt.runs.tables.roles import roles_of
from mixopt.runs.tables.rows import check_one_mixture_a_run, joined, one_row_a_run
from mixopt.runs.tables.shares import without_mixture
from mixopt.runs.tables.sheet import Sheet, repeated, some
from mixopt.runs.tables.sources import check_no_chart, sheet_in
from mixopt.runs.tables.words import METRIC

# Roles whose columns keep their cells under a name of their own.
PLAIN: tuple[Role, ...] = ("fidelity", "params", "tokens", "cost")
# Which documents a run was measured on: losses of other documents are no evidence beside the search's.
DOCUMENTS = "documents"


@dataclass(frozen=True)
class Opened:
    """A table's runs that count, and how they were found.

    Attributes:
        sheet: with the columns weight.<domain>, metric.<name>, run, and those of `PLAIN` and DOCUMENTS that there are.
        layout: of the table.
        said: what somebody said, that of a mapping file beside the table included.
        found: rows of the table, one for each run.
        left_out: rows of it that do not count.
        notes: what was decided.
    """

    sheet: Sheet
    layout: Layout
    said: Reading
    found: int
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def open_table(source: TableSource, strict: bool = True) -> Opened:
    """
    Args:
        strict: refuse what is a question; the opened sheet has no columns otherwise, where there is one.

    Raises:
        ConfigError: there is no table, or what is what cannot be told.
    """
    cells = cells_of(source)
    said = source.said if isinstance(source, Described) else Reading()
    notes: list[str] = []
    mapping = source.mapping if isinstance(source, Described) else None
    if mapping is None and isinstance(cells, Path) and (beside := mapping_beside(cells)) is not None:
        mapping, mapped = beside
        said = said.over(mapped)
    if mapping is not None:
        notes.append(f"its columns are those of {mapping}")
    sheet = sheet_in(cells, said, notes)
    check_no_chart(sheet)
    sheet, steps = one_row_a_run(sheet, said, notes)
    others, all_steps = list[Sheet](), [steps]
    nowhere = {role: column for role, column in said.columns.items() if column == NO_COLUMN}
    for path in said.join:
        alone = Reading(decimal=said.decimal, encoding=said.encoding, columns=nowhere)
        other, steps = one_row_a_run(sheet_in(path, alone, notes), alone, notes)
        others.append(other)
        all_steps.append(steps)
    sheet = joined(sheet, others, said, notes)
    found = len(sheet)
    left_out: list[LeftOut] = []
    if not said.keep_unfinished:
        roles = roles_of(sheet, said)
        left_out = unfinished(sheet, roles)
        sheet = _without(sheet, left_out, "--keep-unfinished takes runs that did not come to their end")
        if odd := unknown_states(sheet, roles):
            notes.append(f"runs whose state says nothing known count: {some(odd)}")
    layout = layout_of(sheet, said)
    if layout.questions:
        if strict:
            raise layout.questions[0]
        return Opened(sheet, layout, said, found, tuple(left_out), (*notes, *_told(left_out)))
    check_one_mixture_a_run([each for each in all_steps if each is not None], list(layout.weights.values()))
    if bare := without_mixture(sheet, list(layout.weights.values())):
        empty = LeftOut(tuple(bare), "without a mixture")
        sheet = _without(sheet, [empty], "fill in the weights")
        left_out.append(empty)
    if layout.plain:
        notes += _unused(layout)
    else:
        notes += layout.notes
    names = _names(sheet, layout, notes)
    return Opened(_renamed(sheet, layout, names), layout, said, found, tuple(left_out), (*notes, *_told(left_out)))


def _without(sheet: Sheet, left_out: Sequence[LeftOut], hint: str) -> Sheet:
    gone = {place for each in left_out for place in each.places}
    if len(gone) == len(sheet):
        reasons = some(f"{len(each.places)} {each.why}" for each in left_out)
        raise ConfigError(f"{sheet.source}: no run is left: {reasons}", hint=hint)
    return sheet.select([place for place in range(len(sheet)) if place not in gone])


def _told(left_out: Sequence[LeftOut]) -> list[str]:
    if not left_out:
        return []
    count = sum(len(each.places) for each in left_out)
    rows = "1 row is" if count == 1 else f"{count} rows are"
    return [f"{rows} left out: {some(f'{len(each.places)} {each.why}' for each in left_out)}"]


def _unused(layout: Layout) -> list[str]:
    """Columns beside those of a table that says itself what is what."""
    odd = [each.name for each in layout.columns if each.part in ("nothing", "id", "seed") and each.name != DOCUMENTS]
    return [f"columns that are not used: {some(name or '(without a name)' for name in odd)}"] if odd else []


def _names(sheet: Sheet, layout: Layout, notes: list[str]) -> list[str]:
    """What each run is called, N; empty where nobody named it."""
    if "run" not in layout.roles:
        return [""] * len(sheet)
    column = layout.roles["run"].column
    names = sheet.texts(column)
    scales = sheet.texts(layout.roles["fidelity"].column) if "fidelity" in layout.roles else [""] * len(names)
    if not repeated(pair for pair in zip(names, scales, strict=True) if pair[0]):
        return names
    for role in ("id", "seed"):
        known = layout.roles.get(role)
        if known is None or known.column == column:
            continue
        apart = [f"{name}/{other}" for name, other in zip(names, sheet.texts(known.column), strict=True)]
        if len(set(zip(apart, scales, strict=True))) == len(apart):
            notes.append(f"runs of one name are told apart by {known.column}")
            return apart
    return names


def _renamed(sheet: Sheet, layout: Layout, names: list[str]) -> Sheet:
    """The columns that count, under plain names."""
    was = {WEIGHT + domain: name for domain, name in layout.weights.items()}
    was |= {METRIC + metric: name for metric, name in layout.metrics.items()}
    was |= {role: layout.roles[role].column for role in PLAIN if role in layout.roles}
    if DOCUMENTS in sheet.columns:
        was[DOCUMENTS] = DOCUMENTS
    columns: dict[str, list[Any]] = {new: sheet.columns[old] for new, old in was.items()}
    columns["run"] = list(names)
    known = {new: way for new, old in was.items() if (way := sheet.sure_decimal(old)) is not None}
    run = layout.roles["run"].column if "run" in layout.roles else "run"
    return replace(
        sheet,
        columns=columns,
        units={new: sheet.units[old] for new, old in was.items() if old in sheet.units},
        titles={"run": run, **{new: sheet.title(old) for new, old in was.items()}},
        known_decimals=known,
        elsewhere={new: sheet.elsewhere[old] for new, old in was.items() if old in sheet.elsewhere},
    )
