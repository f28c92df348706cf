"""From weights as they stand in a table to shares: percentages, tokens of each domain, sums that are not one.

Shapes: N runs, D domains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.runs.tables.reading import Units
from mixopt.runs.tables.sheet import Sheet
from mixopt.runs.tables.words import DOCUMENT_WORDS, TOKEN_WORDS, words_of
from mixopt.settings.units import show_count
from search.mixture import FloatArray
from search.runs import BoolArray

# What weights in these units sum to.
WHOLES: Mapping[Units, float] = {"share": 1.0, "percent": 100.0}
# Weights are often published rounded to three digits; a sum further from one lacks a domain or is in other units.
SUM_TOLERANCE = 0.05
# Sums this near one are worth no note: weights of six digits.
ROUNDING = 1e-5
# Where the weights that are given sum to one this nearly, those that are empty are 0.
WHOLE = 2e-3
# Numbers that sum to as many in every run are tokens, whatever they are called.
FEWEST_TOKENS = 1e6


@dataclass(frozen=True)
class Shares:
    """Weights that sum to one.

    Attributes:
        weights_ND: rows that sum to one.
        units: of the table.
        why: the table is taken to be in these.
        tokens_N: of each run, where the table has the tokens of its domains.
    """

    weights_ND: FloatArray
    units: Units
    why: str
    tokens_N: FloatArray | None = None


def without_mixture(sheet: Sheet, columns: Sequence[str]) -> list[int]:
    """The rows in which no weight is given."""
    texts = [sheet.texts(column) for column in columns]
    return [place for place in range(len(sheet)) if not any(each[place] for each in texts)]


def shares_of(sheet: Sheet, columns: Sequence[str], said: Units | None, normalise: bool, notes: list[str]) -> Shares:
    """The mixtures in a table, [N, D].

    Raises:
        ConfigError: a weight that is none, or a sum that no unit explains.
    """
    given_ND = sheet.numbers(columns, amounts=True, needed=True)
    for place, domain in np.argwhere(~np.isnan(given_ND) & ~(np.isfinite(given_ND) & (given_ND >= 0))):
        what = f"{given_ND[place, domain]:g} is not a share"
        raise sheet.error(int(place), columns[domain], what, "shares are 0 or above; write 0 where a domain has none")
    sum_N = np.nansum(given_ND, axis=1)
    units, why = (said, "said so") if said is not None else _units(sheet, columns, sum_N, normalise)
    # Of tokens, nobody knows what they are to sum to.
    whole_N = sum_N / WHOLES.get(units, np.nan)
    _fill_empty(sheet, columns, given_ND, whole_N, notes)
    if (nothing_N := sum_N <= 0).any():
        where = sheet.where(int(np.flatnonzero(nothing_N)[0]), columns[0])
        raise ConfigError(f"{where}: the weights sum to 0", hint="give one domain a weight, or remove the row")
    if units != "tokens":
        if not normalise:
            _check_sums(sheet, columns, sum_N, whole_N, units)
        off_N = np.abs(whole_N - 1) > ROUNDING
        if off_N.any():
            notes.append(
                f"the weights of {off_N.sum()} rows summed to {sum_N[off_N].min():.6g} to {sum_N[off_N].max():.6g}: "
                "divided by that"
            )
    if units == "percent":
        notes.append(f"weights are percentages ({why}): divided by their sum")
    elif units == "tokens":
        least, most = show_count(round(sum_N.min())), show_count(round(sum_N.max()))
        sums = least if least == most else f"{least} to {most}"
        notes.append(f"weights are tokens of each domain ({why}): divided by their sum, {sums}")
    weights_ND: FloatArray = given_ND / sum_N[:, None]
    return Shares(weights_ND, units, why, sum_N if units == "tokens" else None)


def units_of_sums(sum_N: FloatArray) -> Units | None:
    """Shares or percentages, where every sum is that of such; None elsewhere."""
    return next((units for units in WHOLES if _near(sum_N, units).all()), None)


def _units(sheet: Sheet, columns: Sequence[str], sum_N: FloatArray, normalise: bool) -> tuple[Units, str]:
    """The units that explain most of the sums, and why."""
    found = units_of_sums(sum_N)
    if found is not None:
        return found, f"every row sums to {WHOLES[found]:g}"
    words = {word for column in columns for word in words_of(sheet.title(column))}
    words |= {unit.lower() for unit in sheet.units.values()}
    large = bool((sum_N >= FEWEST_TOKENS).all())
    if large and words & DOCUMENT_WORDS and not words & TOKEN_WORDS and not normalise:
        raise ConfigError(
            f"{sheet.source_of(columns[0])}: the weights are counts of documents, by their names, and shares are of "
            "tokens",
            hint="give tokens; or say that documents are about as long in every domain: --normalise",
        )
    if words & TOKEN_WORDS and (sum_N > WHOLES["percent"] * (1 + SUM_TOLERANCE)).all():
        return "tokens", "by their names"
    if large:
        return "tokens", f"every row sums to {FEWEST_TOKENS:.0e} or more"
    shares_N, percents_N = _near(sum_N, "share"), _near(sum_N, "percent")
    if (shares_N | percents_N).all():
        one, other = (sheet.row(int(np.flatnonzero(near_N)[0]), columns[0]) for near_N in (shares_N, percents_N))
        raise ConfigError(
            f"{sheet.source_of(columns[0])}: the weights sum to 1 in row {one} and to 100 in row {other}: two units",
            hint="write all as shares or all as percentages; or --normalise divides each row by its sum",
        )
    return ("percent" if percents_N.sum() > shares_N.sum() else "share"), "most rows sum to that"


def _near(sum_N: FloatArray, units: Units) -> BoolArray:
    """Which sums are the whole in these units, up to rounding and a domain that was forgotten; [N]."""
    near_N: BoolArray = np.abs(sum_N / WHOLES[units] - 1) <= SUM_TOLERANCE
    return near_N


def _fill_empty(
    sheet: Sheet, columns: Sequence[str], given_ND: FloatArray, whole_N: FloatArray, notes: list[str]
) -> None:
    """Writes 0 for weights that are not given, where the others leave nothing.

    Raises:
        ConfigError: they leave something, or nobody knows.
    """
    empty_ND = np.isnan(given_ND)
    if not empty_ND.any():
        return
    for place, domain in np.argwhere(empty_ND):
        if not abs(whole_N[place] - 1) <= WHOLE:
            hint = "a weight that is not known is not 0; write 0 where a domain has none"
            raise sheet.error(int(place), columns[domain], "no weight", hint)
    given_ND[empty_ND] = 0.0
    rows = int(empty_ND.any(axis=1).sum())
    notes.append(f"empty weights of {rows} rows count as 0: the others sum to 1")


def _check_sums(sheet: Sheet, columns: Sequence[str], sum_N: FloatArray, whole_N: FloatArray, units: Units) -> None:
    """
    Args:
        whole_N: the sums as parts of what they should be.

    Raises:
        ConfigError: a sum that is too far from the whole.
    """
    odd_N = ~(np.abs(whole_N - 1) <= SUM_TOLERANCE)
    if not odd_N.any():
        return
    place = int(np.flatnonzero(odd_N)[0])
    others: Units = "percent" if units == "share" else "share"
    said = " (others are percentages)" if units == "percent" else ""
    raise ConfigError(
        f"{sheet.where(place, columns[0])}: the weights sum to {sum_N[place]:.4g}, not {WHOLES[units]:g}{said}",
        hint="these look like the other unit: write all alike"
        if _near(sum_N[[place]], others).all()
        else "give every domain; or --normalise divides each row by its sum",
    )
