"""Whether more of a metric is better: by the words in its name, and by what costlier runs do."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown_name
from mixopt.runs.tables.sheet import some
from mixopt.runs.tables.words import kind_of
from search.mixture import FloatArray
from search.runs import Runs


def directions(
    runs: Runs, maximize: Collection[str], minimize: Collection[str]
) -> tuple[frozenset[str], tuple[str, ...]]:
    """The metrics of which more is better: those named, and of the others those whose names say so.

    Raises:
        ConfigError: a metric named is not there, or named both ways.
    """
    for name in (*maximize, *minimize):
        if name not in runs.metrics:
            raise ConfigError(f"metric {name!r} is not among those used", hint=f"choose from {', '.join(runs.metrics)}")
        if name in maximize and name in minimize:
            raise ConfigError(f"metric {name} is both to be maximised and minimised", hint="leave out one of the two")
    asked = [name for name in runs.metrics if name not in maximize and name not in minimize]
    if unclear := _unclear(runs, asked):
        raise ConfigError(
            f"more of {some(unclear, 4)} may be better or worse: the values are between 0 and 1, as scores are",
            hint=f"say which: --maximize {shown_name(unclear[0])} or --minimize {shown_name(unclear[0])}",
        )
    guessed = {name: kind_of(name) for name in asked}
    scores = [name for name, kind in guessed.items() if kind == "score"]
    notes = []
    for kind, choice in (
        ("score", "maximised for their names, --minimize NAME turns one"),
        ("loss", "minimised for their names, --maximize NAME turns one"),
        ("unknown", "minimised, for nothing is known of them, --maximize NAME turns one"),
    ):
        if names := [name for name in guessed if guessed[name] == kind]:
            notes.append(f"{choice}: {some(names)}")
    for name in guessed:
        rises = _rises_with_cost(runs, name)
        if rises is not None and rises != (name in scores):
            way, turn = ("maximised", "--minimize") if name in scores else ("minimised", "--maximize")
            notes.append(
                f"metric {name} is {way}, but dearer runs have {'higher' if rises else 'lower'} values, as if it were "
                f"the other way round: {turn} {name} turns it"
            )
    return frozenset(maximize) | frozenset(scores), tuple(notes)


def _unclear(runs: Runs, names: Collection[str]) -> list[str]:
    """Metrics of which nothing is known, and whose values could be scores, beside others that are."""
    if not any(kind_of(name) == "score" for name in runs.metrics):
        return []
    return [
        name
        for name, values_N in zip(runs.metrics, runs.values_NM.T, strict=True)
        if name in names and kind_of(name) == "unknown" and _like_a_score(values_N[np.isfinite(values_N)])
    ]


def _like_a_score(values_N: FloatArray) -> bool:
    """Between 0 and 1, and not the same in every run: that decides nothing, whatever its direction."""
    return len(values_N) > 0 and 0 <= values_N.min() < values_N.max() <= 1


def _rises_with_cost(runs: Runs, metric: str) -> bool | None:
    """Whether the runs of the dearest fidelity have higher values than those of the cheapest; None where unclear."""
    values_N = runs.values_NM[:, runs.metrics.index(metric)]
    flops_N = np.array([runs.fidelities[index].flops for index in runs.fidelity_N])[np.isfinite(values_N)]
    values_N = values_N[np.isfinite(values_N)]
    cheap_N, dear_N = values_N[flops_N == flops_N.min()], values_N[flops_N == flops_N.max()]
    if flops_N.min() == flops_N.max() or len(cheap_N) < 2 or len(dear_N) < 2:
        return None
    difference = dear_N.mean() - cheap_N.mean()
    doubt = 2 * math.sqrt(cheap_N.var(ddof=1) / len(cheap_N) + dear_N.var(ddof=1) / len(dear_N))
    return bool(difference > 0) if abs(difference) > doubt else None
