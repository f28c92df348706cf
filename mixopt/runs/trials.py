"""A study's completed trials as a run table (docs/run-tables.md), for `mixopt fit` and another study's `reuse`."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from io import StringIO

from mixopt.results.run_table import Row
from mixopt.runs.table import DOCUMENTS, METRIC, OF_CONFIRMATION, WEIGHT
from search.fidelity import Fidelity
from search.history import History
from search.objective import Unit
from search.trial import Loss, Measurement, Trial


def run_rows(history: History, unit: Unit) -> list[Row]:
    """A row for each trial that measured something, confirmation included: the cheapest fidelity first, then by seed.

    Of a confirmation that was measured on other documents than the search, a column says so.

    Where trials of a proxy were stopped, so many tokens are a fidelity of their own. The proxy's other trials have a
    row there as well, with what they measured on their way, so that the two fidelities can be compared.

    Args:
        unit: of the losses.
    """
    rows = [
        _row(entry.trial, entry.trial.fidelity, entry.measurement, entry.measurement.losses, unit)
        for entry in history.completed
    ]
    ends = {(entry.trial.fidelity.proxy, entry.measurement.stopped_at) for entry in history.stopped}
    rows += [
        _row(entry.trial, entry.trial.fidelity.after(point.tokens), entry.measurement, point.losses, unit)
        for entry in (*history.completed, *history.stopped)
        for point in entry.measurement.curve
        if (entry.trial.fidelity.proxy, point.tokens) in ends
    ]
    return sorted(rows, key=lambda row: (float(row["cost"]), int(row["seed"])))


def csv_text(rows: list[Row]) -> str:
    """The rows as CSV; numbers keep every bit."""
    text = StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(trial: Trial, fidelity: Fidelity, measurement: Measurement, losses: Mapping[str, Loss], unit: Unit) -> Row:
    return {
        "run": trial.id if fidelity == trial.fidelity else f"{trial.id}@{fidelity.tokens}",
        "fidelity": fidelity.proxy,
        "params": fidelity.params,
        "tokens": fidelity.tokens,
        "cost": fidelity.flops,
        "seed": trial.seed,
        "origin": trial.origin,
        DOCUMENTS: OF_CONFIRMATION if measurement.documents else "search",
        **{WEIGHT + name: weight for name, weight in trial.mixture.as_dict().items()},
        **{METRIC + name: getattr(loss, unit) for name, loss in losses.items()},
    }
