"""What a table of runs is taken for: what `mixopt fit --guess --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Part, Result


class GuessedColumn(Part):
    """A column, what it is taken for, and why."""

    column: str
    """Its name in the table."""
    taken_for: str
    """weight, metric, or run, fidelity, params, tokens, cost, state, step, last_step, id, seed; nothing."""
    called: str
    """The domain or the metric; empty for others."""
    why: str


class RowsLeftOut(Part):
    """Rows that do not count."""

    rows: int
    why: str


class TableGuess(Result):
    """What a table of runs is taken for."""

    schema_version: Literal[1] = 1
    table: str
    rows: int
    """That are runs, of all that are there."""
    left_out: tuple[RowsLeftOut, ...]
    columns: tuple[GuessedColumn, ...]
    questions: tuple[str, ...]
    """What could not be told, each with the option that tells it; nothing is fitted before."""
    domains: tuple[str, ...]
    metrics: tuple[str, ...]
    runs: Mapping[str, int]
    """How many count at each fidelity; empty where there are questions."""
    notes: tuple[str, ...]
    mapping: str | None = None
    """The mapping file that was written."""
