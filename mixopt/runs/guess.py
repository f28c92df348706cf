"""What `mixopt fit --guess` does: say what each column of a table is taken for, and why, and write it down."""

from __future__ import annotations

from pathlib import Path

from mixopt.base.files import write_text
from mixopt.base.shown import error_line
from mixopt.results.table_guess import GuessedColumn, RowsLeftOut, TableGuess
from mixopt.runs.table import read_all
from mixopt.runs.tables.opening import open_table
from mixopt.runs.tables.proposal import mapping_text
from mixopt.runs.tables.reading import TableSource


def guess(source: TableSource, mapping: Path | None) -> TableGuess:
    """What the table is taken for; what was told of it is in the mapping file.

    Args:
        mapping: where to write a mapping file.

    Raises:
        ConfigError: there is no such table, or what it says cannot be right.
    """
    opened = open_table(source, strict=False)
    layout, counts, notes = opened.layout, dict[str, int](), opened.notes
    if mapping is not None:
        write_text(mapping, mapping_text(opened, mapping.parent))
    if not layout.questions:
        runs, notes = read_all(source)
        counts = {fidelity.proxy: int(runs.at(index).sum()) for index, fidelity in enumerate(runs.fidelities)}
    return TableGuess(
        table=str(source),
        rows=opened.found,
        left_out=tuple(RowsLeftOut(rows=len(each.places), why=each.why) for each in opened.left_out),
        columns=tuple(
            GuessedColumn(column=each.name, taken_for=each.part, called=each.called, why=each.why)
            for each in layout.columns
        ),
        questions=tuple(error_line(each.message, each.hint) for each in layout.questions),
        domains=tuple(layout.weights),
        metrics=tuple(layout.metrics),
        runs=counts,
        notes=notes,
        mapping=None if mapping is None else str(mapping),
    )
