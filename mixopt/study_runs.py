"""A study's completed trials as a run table (docs/run-tables.md), for `mixopt fit` and another study's `reuse`."""

from __future__ import annotations

import csv
from io import StringIO
from typing import Any

from mixopt.run_table import METRIC, WEIGHT
from search.history import Completed, History
from search.objective import Unit

# One row: cells by column name, the same columns in every row of a study.
Row = dict[str, Any]


def run_rows(history: History, unit: Unit) -> list[Row]:
    """A row for each trial that measured something, confirmation included: the cheapest fidelity first, then by seed.

    A stopped trial's fidelity is that of the tokens that it was trained on.

    Args:
        unit: of the losses.
    """
    ordered = sorted(
        (*history.completed, *history.stopped), key=lambda entry: (entry.measurement.flops, entry.trial.seed)
    )
    return [_row(entry, unit) for entry in ordered]


def csv_text(rows: list[Row]) -> str:
    """The rows as CSV; numbers keep every bit."""
    text = StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(entry: Completed, unit: Unit) -> Row:
    trial, stopped_at = entry.trial, entry.measurement.stopped_at
    fidelity = trial.fidelity if stopped_at is None else trial.fidelity.stopped_at(stopped_at)
    return {
        "run": trial.id,
        "fidelity": fidelity.proxy,
        "params": fidelity.params,
        "tokens": fidelity.tokens,
        "cost": fidelity.flops,
        "seed": trial.seed,
        "origin": trial.origin,
        **{WEIGHT + name: weight for name, weight in trial.mixture.as_dict().items()},
        **{METRIC + name: getattr(loss, unit) for name, loss in entry.measurement.losses.items()},
    }
