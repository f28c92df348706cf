"""Fidelities of tables that name none: runs of one size and as many tokens are of one."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mixopt.settings.units import parse_amount, show_count
from search.mixture import FloatArray

# Tokens that were counted differ a little from run to run, and are those of one scale all the same.
ALIKE = 0.05
# With fewer runs at each of the sizes, in the middle, sizes are no scales but a setting like any other.
FEWEST_EACH = 2
_SIZE = re.compile(r"(?<![a-z0-9.])(\d+(?:[.p]\d+)?[kmb])(?![a-z0-9])")


def alike(values_N: FloatArray) -> FloatArray:
    """Each value replaced by the middle one of those that differ from it by little."""
    middle_N = values_N.copy()
    order = [place for place in np.argsort(values_N, kind="stable") if np.isfinite(values_N[place])]
    group: list[int] = []
    for place in [*order, None]:
        if group and (place is None or values_N[place] > values_N[group[0]] * (1 + ALIKE)):
            middle_N[group] = np.median(values_N[group])
            group = []
        if place is not None:
            group.append(place)
    return middle_N


def params_in_names(names: Sequence[str]) -> dict[str, float]:
    """The parameters that names speak of, llama-60m and llama-1.3b; none unless all do, each of another size."""
    found: dict[str, float] = {}
    for name in dict.fromkeys(names):
        sizes = {each[1] for each in _SIZE.finditer(name.lower())}
        if len(sizes) != 1:
            return {}
        found[name] = parse_amount(sizes.pop().replace("p", "."))
    return found if len(set(found.values())) == len(found) > 1 else {}


def names_of_sizes(params_N: FloatArray | None, tokens_N: FloatArray | None) -> Sequence[str] | None:
    """What to call the scale of each run, N; None where all are of one, or hardly two are of any."""
    sizes = [each for each in (params_N, tokens_N) if each is not None and np.isfinite(each).all() and (each > 0).all()]
    told = [each for each in sizes if len(np.unique(each)) > 1]
    if not told:
        return None
    units = ["parameters" if each is params_N else "tokens" for each in told]
    names = [
        ", ".join(f"{show_count(float(value))} {unit}" for value, unit in zip(values, units, strict=True))
        for values in zip(*told, strict=True)
    ]
    if len(set(names)) < len(set(zip(*told, strict=True))):  # rounded to one
        names = [", ".join(f"{value:g}" for value in values) for values in zip(*told, strict=True)]
    counts = [names.count(name) for name in dict.fromkeys(names)]
    return names if np.median(counts) >= FEWEST_EACH else None
