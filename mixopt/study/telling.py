"""What became of trials that another trainer trained, as people have it: JSON, a table, an export of W&B, an MLflow.

Tables are opened as for `mixopt fit` (mixopt/runs/tables), so separators, decimal commas and nested settings are read.

In tables a row is a run. Its trial is in a column `trial`, or in whichever column holds ids of trials that are open: as
they are, or in a longer text, such as a run's name. A metric is in the column of its name, or in the only one that ends
in it after a separator, such as `eval/web` or `metrics.eval/web`, and is a measurement by the rules of `mixopt fit`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.base.files import text_in
from mixopt.base.shown import shown_name
from mixopt.runs.tables.columns import metric_column
from mixopt.runs.tables.numbers import is_missing
from mixopt.runs.tables.reading import Reading
from mixopt.runs.tables.roles import ENDED
from mixopt.runs.tables.sheet import Cells, Sheet, some
from mixopt.runs.tables.sources import sheet_in
from mixopt.workers.foreign import Order

AS_IT_STANDS = Reading()
ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])")
TRIAL = "trial"
# Columns that say how a run ended, in lower case.
STATES = ("state", "status")
FAILED = "failed"
# What that column says of a run that did not, in lower case.
NOT_FAILED = ("false", "no", "0", "0.0", "none", "null")
# The time that a run took: as we, and as exports of W&B call it.
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


def told_in_table(source: Cells, orders: Mapping[str, Order], reading: Reading = AS_IT_STANDS) -> Heard:
    """What a table, or an MLflow experiment, tells of the trials that are known, open or not.

    Args:
        reading: in what encoding it is, and what parts decimals; the rest is told from the trials.

    Raises:
        ConfigError: it is none, has no column of trials, or lacks a metric.
        TrackingError: the MLflow does not answer, or has no such experiment.
    """
    notes: list[str] = []
    sheet = sheet_in(source, reading, notes)
    ids = _trials(sheet, orders)
    states = _states(sheet)
    unfinished = [f"{trial} ({state})" for trial, state in zip(ids, states, strict=True) if trial and state]
    places = [place for place, trial in enumerate(ids) if trial is not None and not states[place]]
    others = sum(trial is None for trial in ids)
    notes += [f"runs that did not come to their end are left out: {some(unfinished, 5)}"] if unfinished else []
    notes += [f"{others} runs of no trial of this study are left out"] if others else []
    told, gaps = _told_by_rows(sheet.select(places), [ids[place] or "" for place in places], orders)
    return Heard(told, (*notes, *gaps))


def _told_by_rows(sheet: Sheet, ids: Sequence[str], orders: Mapping[str, Order]) -> tuple[dict[str, object], list[str]]:
    """What became of each trial; and in sentences, which rows do not say it.

    Args:
        ids: of the trial of each row.

    Raises:
        ConfigError: a trial is there twice, a metric has no column, or a cell is no number.
    """
    twice = next((trial for trial, count in Counter(ids).items() if count > 1), None)
    if twice is not None:
        raise ConfigError(f"{sheet.source}: trial {twice} is there twice", hint="keep the run that counts")
    metrics = next(iter(orders.values())).metrics if orders else ()
    columns = {metric: metric_column(sheet, metric) for metric in metrics}
    losses_NM = sheet.numbers([*columns.values()])
    seconds = next((name for name in sheet.columns if name.lower() in RUNTIME), None)
    seconds_N = np.zeros(len(sheet)) if seconds is None else np.nan_to_num(sheet.numbers([seconds])[:, 0])
    failed = next((name for name in sheet.columns if name.lower() == FAILED), None)
    why_N = [""] * len(sheet) if failed is None else sheet.texts(failed)
    told: dict[str, object] = {}
    gaps: list[str] = []
    for place, (trial, why) in enumerate(zip(ids, why_N, strict=True)):
        took = {"seconds": float(seconds_N[place])}
        lacking = [metric for metric, column in columns.items() if _is_empty(sheet.columns[column][place])]
        if why and why.lower() not in NOT_FAILED:
            told[trial] = {"failed": why, **took}
        elif lacking:
            gaps.append(f"{trial} ({lacking[0]})")
        else:
            told[trial] = {"losses": dict(zip(columns, map(float, losses_NM[place]), strict=True)), **took}
    if gaps and not told:
        raise ConfigError(f"{sheet.source}: no run has every metric: {some(gaps, 5)}", hint="fill the gaps")
    return told, [f"runs without a metric are left out: {some(gaps, 5)}"] if gaps else []


def _states(sheet: Sheet) -> list[str]:
    """Of each row, how its run stands, where it did not come to its end; else nothing."""
    column = next((name for name in sheet.columns if name.lower() in STATES), None)
    if column is None:
        return [""] * len(sheet)
    return ["" if state.lower() in ENDED else state or "no state" for state in sheet.texts(column)]


def _is_empty(cell: Any) -> bool:
    """Whether nothing was measured: NaN is what a run that diverged measures."""
    return is_missing(cell) and not (isinstance(cell, float) or str(cell).strip().lower() == "nan")


def _trials(sheet: Sheet, orders: Mapping[str, Order]) -> list[str | None]:
    """The trial of each row; None of rows that are of none.

    Raises:
        ConfigError: no column says it, or several say different things; or the column `trial` names an unknown one.
    """
    if TRIAL in sheet.columns:
        names = [name or None for name in sheet.texts(TRIAL)]
        if unknown := [name for name in names if name is not None and name not in orders]:
            said = f"{sheet.source}: no trial {shown_name(unknown[0])} was asked for"
            raise ConfigError(said, hint="mixopt trials lists them")
        return names
    found: list[str | None] = [None] * len(sheet)
    for column in sheet.columns:
        for place, text in enumerate(sheet.texts(column)):
            named = {each for each in ID.findall(text) if each in orders}
            if len(named | ({found[place]} - {None})) > 1:
                hint = f"add a column `{TRIAL}` with the id of each run"
                raise ConfigError(f"{sheet.source}: row {sheet.rows[place]} names several trials", hint)
            found[place] = next(iter(named), found[place])
    if not any(found):
        raise ConfigError(
            f"{sheet.source}: no row names a trial of this study",
            hint=f"put the id that mixopt ask gives into the run's name or configuration, or into a column `{TRIAL}`",
        )
    return found


def told_as_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """`web=3.1` as a metric and its number.

    Raises:
        ConfigError: one is no pair, or a metric is there twice; or its number is one that nobody measures: a run
            that diverged has no losses, and whoever mistyped one would lose the trial.
    """
    split = [pair.rpartition("=") for pair in pairs]
    if odd := [pair for pair, (name, _, number) in zip(pairs, split, strict=True) if not name or not number]:
        raise ConfigError(f"--loss {shown_name(odd[0])} is no METRIC=NUMBER", hint="write --loss web=3.1")
    twice = [name for name, count in Counter(name for name, _, _ in split).items() if count > 1]
    if twice:
        raise ConfigError(f"--loss {shown_name(twice[0])} is there twice", hint="keep the one that was measured")
    if lost := [pair for pair, (_, _, number) in zip(pairs, split, strict=True) if _is_no_loss(number)]:
        raise ConfigError(
            f"--loss {shown_name(lost[0])} is no loss", hint='of a run that diverged tell that: --failed "diverged"'
        )
    return {name: number for name, _, number in split}


def is_trial_id(text: str) -> bool:
    return ID.fullmatch(text) is not None


def _is_no_loss(number: str) -> bool:
    """Whether it is NaN or infinite; what is no number at all is told of where numbers are read."""
    try:
        return not math.isfinite(float(number))
    except ValueError:
        return False
