"""What became of trials that another trainer trained, as people have it: JSON, a table, an export of W&B, an MLflow.

In tables a row is a run. Its trial is in a column `trial`, or in whichever column holds ids of trials that are open: as
they are, or in a longer text, such as a run's name. A metric is in the column of its name, or in the only one that ends
in it after a separator, such as `eval/web` or `metrics.eval/web`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mixopt.base.errors import ConfigError
from mixopt.base.files import bytes_in, text_in
from mixopt.base.shown import shown_name
from mixopt.workers.foreign import Order

if TYPE_CHECKING:
    import pandas as pd

ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])")
LARGEST_TABLE = 200_000_000  # bytes
TRIAL = "trial"
# Lower case, of columns that say how a run ended; and the words of those that came to their end.
STATES, FINISHED = ("state", "status"), ("finished", "completed", "success", "succeeded", "done")
SEPARATORS = "/._-: "
# Columns of a table for `tell` that are no metrics.
SECONDS, FAILED = "seconds", "failed"
# What an export of W&B calls the same.
RUNTIME = ("seconds", "runtime", "_runtime", "_wandb.runtime")


@dataclass(frozen=True)
class Heard:
    """
    Attributes:
        told: what became of each trial, by id, as mixopt/workers/foreign.py reads it.
        left_out: in sentences, which runs were not taken.
    """

    told: Mapping[str, object]
    left_out: tuple[str, ...] = ()


def told_in_file(path: Path) -> object:
    """What a JSON file tells of one trial.

    Raises:
        ConfigError: there is none, or it is no JSON.
    """
    text = text_in(path, "JSON file", 'write the losses there: {"web": 3.1, ...}')
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: no JSON: {error}", hint='write {"web": 3.1, ...}') from error


def told_in_table(path: Path, orders: Mapping[str, Order]) -> Heard:
    """What a table tells of the trials that are known, open or not.

    Raises:
        ConfigError: it is none, has no column of trials, or lacks a metric.
    """
    import io

    import pandas as pd

    content = bytes_in(path, "table", "name a .csv with a row for each trial", LARGEST_TABLE)
    head = content.split(b"\n", 1)[0].decode(errors="replace")
    try:
        frame = pd.read_csv(io.BytesIO(content), dtype=str, encoding="utf-8-sig", sep=max(",;\t", key=head.count))
    except (ValueError, pd.errors.ParserError) as error:
        raise ConfigError(f"{path}: no table: {error}", hint="write a .csv with a row for each trial") from error
    return _heard(frame, str(path), orders)


def told_in_mlflow(uri: str, experiment: str, orders: Mapping[str, Order]) -> Heard:
    """What runs of an MLflow experiment tell: those that have a trial's id as a tag, a parameter or in their name.

    Raises:
        ConfigError: no run names a trial, or a metric is missing.
        TrackingError: there is no such experiment, or the store does not answer.
    """
    import pandas as pd

    from tracking.foreign_runs import runs_of

    return _heard(pd.DataFrame(runs_of(uri, experiment)), f"experiment {experiment}", orders)


def _heard(frame: pd.DataFrame, place: str, orders: Mapping[str, Order]) -> Heard:
    ids = _trials(frame, place, orders)
    state = next((column for column in frame.columns if column.lower() in STATES), None)
    metrics = next(iter(orders.values())).metrics if orders else ()
    columns = {name: _column(frame.columns, name, place) for name in metrics}
    failed = next((column for column in frame.columns if column.lower() == FAILED), None)
    seconds = next((column for column in frame.columns if column.lower() in RUNTIME), None)
    told: dict[str, object] = {}
    unfinished, others = [], 0
    for row, trial in zip(frame.to_dict("records"), ids, strict=True):
        if trial is None:
            others += 1
            continue
        if trial in told:
            raise ConfigError(f"{place}: trial {trial} is there twice", hint="keep the run that counts")
        if state is not None and str(row[state]).lower() not in FINISHED:
            unfinished.append(f"{trial} ({row[state]})")
            continue
        if failed is not None and _is_there(row[failed]):
            told[trial] = {"failed": row[failed]}
        else:
            told[trial] = {"losses": {name: row[column] for name, column in columns.items() if _is_there(row[column])}}
        if seconds is not None and _is_there(row[seconds]):
            told[trial] = {**told[trial], "seconds": row[seconds]}  # type: ignore[dict-item]  # they are mappings
    left_out = []
    if unfinished:
        more = f" and {len(unfinished) - 5} more" if len(unfinished) > 5 else ""
        left_out.append(f"runs that did not come to their end are left out: {', '.join(unfinished[:5])}{more}")
    if others:
        left_out.append(f"{others} runs of no trial of this study are left out")
    return Heard(told, tuple(left_out))


def _trials(frame: pd.DataFrame, place: str, orders: Mapping[str, Order]) -> list[str | None]:
    """The trial of each row; None of rows that are of none.

    Raises:
        ConfigError: no column says it, or several say different things; or the column `trial` names an unknown one.
    """
    if TRIAL in frame.columns:
        names = [str(value).strip() if _is_there(value) else None for value in frame[TRIAL]]
        if unknown := [name for name in names if name is not None and name not in orders]:
            raise ConfigError(
                f"{place}: no trial {shown_name(unknown[0])} was asked for", hint="mixopt trials lists them"
            )
        return names
    found: list[str | None] = [None] * len(frame)
    for column in frame.columns:
        for row, value in enumerate(frame[column]):
            named = {each for each in ID.findall(value) if each in orders} if isinstance(value, str) else set()
            if len(named | ({found[row]} - {None})) > 1:
                raise ConfigError(
                    f"{place}: row {row + 2} names several trials",
                    hint=f"add a column `{TRIAL}` with the id of each run",
                )
            found[row] = next(iter(named), found[row])
    if not any(found):
        raise ConfigError(
            f"{place}: no row names a trial of this study",
            hint=f"put the id that mixopt ask gives into the run's name or configuration, or into a column `{TRIAL}`",
        )
    return found


def _column(columns: Iterable[str], metric: str, place: str) -> str:
    """
    Raises:
        ConfigError: none is of this metric, or several may be.
    """
    names = list(columns)
    if metric in names:
        return metric
    fitting = [name for name in names if name.endswith(metric) and name[: -len(metric)][-1:] in SEPARATORS]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise ConfigError(
            f"{place}: no column of metric {shown_name(metric)}", hint=f"call one {metric}, or PREFIX/{metric}"
        )
    raise ConfigError(
        f"{place}: {shown_name(fitting[0])} and {shown_name(fitting[1])} may both be metric {shown_name(metric)}",
        hint=f"leave one of them, or call it {metric}",
    )


def _is_there(value: object) -> bool:
    return value is not None and value == value and value != ""  # NaN is no equal of itself


def told_as_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """`web=3.1` as a metric and its number.

    Raises:
        ConfigError: one is no pair.
    """
    split = [pair.rpartition("=") for pair in pairs]
    if odd := [pair for pair, (name, _, number) in zip(pairs, split, strict=True) if not name or not number]:
        raise ConfigError(f"--loss {shown_name(odd[0])} is no METRIC=NUMBER", hint="write --loss web=3.1")
    return {name: number for name, _, number in split}
