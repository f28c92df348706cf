"""Which runs count: those that came to their end. What crashed, or goes on, has values of some point on its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.runs.tables.reading import Role
from mixopt.runs.tables.roles import ENDED, NOT_ENDED, Known
from mixopt.runs.tables.sheet import Sheet
from search.mixture import FloatArray

# A run is at its end at this share of its steps: trackers do not log each step.
AT_THE_END = 0.98
# Where more of the runs end early than this, who says that they did?
MOST_SHORT = 1 / 3
# Names of rows that spreadsheets have below the runs.
SUMMARIES = frozenset(
    {
        "mean", "average", "avg", "total", "sum", "std", "stdev", "min", "max", "median", "count",
        "mittelwert", "summe",
    }
)  # fmt: skip


@dataclass(frozen=True)
class LeftOut:
    """Rows that are no evidence.

    Attributes:
        places: in the sheet.
        why: for a reader, behind their number: "crashed (state)".
    """

    places: tuple[int, ...]
    why: str


def unfinished(sheet: Sheet, roles: Mapping[Role, Known]) -> list[LeftOut]:
    """The rows of runs that did not come to their end, each once, with the reason.

    Raises:
        ConfigError: so many ended early that they may have been meant to.
    """
    found: list[LeftOut] = []
    gone: set[int] = set()

    def leave(places: list[int], why: str) -> None:
        if new := [place for place in places if place not in gone]:
            found.append(LeftOut(tuple(new), why))
            gone.update(new)

    if "run" in roles:
        names = sheet.texts(roles["run"].column)
        leave(
            [place for place, name in enumerate(names) if name.lower() in SUMMARIES],
            "named as a summary of the rows above",
        )
    if "state" in roles:
        column = roles["state"].column
        states = [state.lower() for state in sheet.texts(column)]
        for state in sorted(set(states) & NOT_ENDED):
            leave([place for place, each in enumerate(states) if each == state], f"{state} ({column})")
    if "step" in roles:
        for places, why in _short(sheet, roles, gone):
            leave(places, why)
    return found


def unknown_states(sheet: Sheet, roles: Mapping[Role, Known]) -> list[str]:
    """States that say neither that a run ended nor that it did not."""
    states = sheet.texts(roles["state"].column) if "state" in roles else []
    return sorted({state for state in states if state and state.lower() not in ENDED | NOT_ENDED})


def _short(sheet: Sheet, roles: Mapping[Role, Known], gone: set[int]) -> list[tuple[list[int], str]]:
    """The rows whose last step is missing, or before the planned one, or before that of the others of a scale."""
    step = roles["step"].column
    step_N = sheet.if_numbers(step)
    if step_N is None or np.nanmax(step_N) <= 0:
        return []
    left = [place for place in range(len(sheet)) if place not in gone]
    found = []
    if missing := [place for place in left if np.isnan(step_N[place])]:
        if len(missing) > MOST_SHORT * len(left):
            return []  # a column that says something else
        found.append((missing, f"without a last step ({step})"))
    planned_N = sheet.if_numbers(roles["last_step"].column) if "last_step" in roles else None
    if planned_N is not None and _same_unit(step_N, planned_N):
        early = [place for place in left if step_N[place] < AT_THE_END * planned_N[place] - 1]
        if early:
            found.append((early, f"ended before {roles['last_step'].column} ({step})"))
        return found
    for alike in _scales(sheet, roles, left):
        reached = [place for place in alike if not np.isnan(step_N[place])]
        if len(reached) < 2:
            continue
        last = max(step_N[place] for place in reached)
        early = [place for place in reached if step_N[place] < AT_THE_END * last - 1]
        if len(early) > MOST_SHORT * len(reached):
            first = min(step_N[place] for place in reached)
            raise ConfigError(
                f"{sheet.source}: {len(early)} of {len(reached)} runs end before the last of them ({step}: {first:g} "
                f"to {last:g}), too many to have crashed",
                hint="--keep-unfinished takes all, --column step= ignores it, --column fidelity=NAME tells scales",
            )
        if early:
            found.append((early, f"ended before the {last:g} steps of the others ({step})"))
    return found


def _same_unit(step_N: FloatArray, planned_N: FloatArray) -> bool:
    """Whether the steps that were planned are ever reached: they may be counted otherwise."""
    known_N = np.isfinite(step_N) & np.isfinite(planned_N) & (planned_N > 0)
    if not known_N.any():
        return False
    reached_N = step_N[known_N] / planned_N[known_N]
    return bool((np.abs(reached_N - 1) < 1 - AT_THE_END).any() and reached_N.max() < 2)


def _scales(sheet: Sheet, roles: Mapping[Role, Known], places: list[int]) -> list[list[int]]:
    """Rows that are trained alike: of one fidelity, size and number of tokens, as far as the table says them."""
    columns = [roles[role].column for role in ("fidelity", "params", "tokens") if role in roles]
    columns = [column for column in columns if _few(sheet.texts(column))]
    alike: dict[tuple[str, ...], list[int]] = {}
    texts = [sheet.texts(column) for column in columns]
    for place in places:
        alike.setdefault(tuple(each[place] for each in texts), []).append(place)
    return list(alike.values())


def _few(texts: list[str]) -> bool:
    """Whether values repeat, so that they are of scales and not of runs."""
    return len(set(texts)) * 2 <= len(texts) or len(set(texts)) == 1
