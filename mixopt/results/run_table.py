"""What a study measured: what `mixopt runs --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Result

# Cells by column, the same columns in every row of a table; docs/run-tables.md explains them.
Row = Mapping[str, str | int | float]


class RunTable(Result):
    """The completed trials of a study as a table of runs."""

    schema_version: Literal[1] = 1
    study: str
    unit: Literal["nats_per_token", "bits_per_byte"]
    """Of the losses."""
    runs: tuple[Row, ...]
