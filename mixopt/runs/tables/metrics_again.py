"""Columns that say again what other metrics say: one metric at several steps, and the mean of the others.

An objective that is the mean of all metrics would count them several times, or mix losses of early steps into it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from mixopt.base.shown import shown_name
from mixopt.runs.tables.sheet import Sheet, some
from mixopt.runs.tables.words import kind_of, without_origin, words_of

# loss_web@2000, loss_web_step_2000, web/loss (step 2k).
AT_A_STEP = re.compile(
    r"(?P<metric>.+?)[\s/._:(-]*(?P<word>@|steps?|iter(?:ation)?s?)[\s=_.-]*(?P<step>\d+)(?P<k>k?)\)?", re.IGNORECASE
)
MEAN_WORDS = frozenset({"avg", "average", "mean"})
# By so little a mean that was rounded differs from that of its parts.
ROUNDED = 2e-3


def said_once(sheet: Sheet, metrics: Sequence[str], reasons: dict[str, str]) -> tuple[list[str], list[str]]:
    """The metrics without those that say again what others say, and a sentence for each kind that was left out.

    Args:
        reasons: why each column is what it is; added to.
    """
    last, told = _at_their_last_step(metrics, reasons)
    parts, means = _without_means(sheet, last, reasons)
    return parts, [*told, *means]


def _at_their_last_step(metrics: Sequence[str], reasons: dict[str, str]) -> tuple[list[str], list[str]]:
    steps: dict[str, dict[int, str]] = defaultdict(dict)
    for name in metrics:
        found = AT_A_STEP.fullmatch(name)
        # pass@1 and recall@5 are metrics of their own.
        if found and (found["word"] != "@" or kind_of(without_origin(found["metric"])) == "loss"):
            steps[found["metric"]][int(found["step"]) * (1000 if found["k"] else 1)] = name
    last = {metric: max(of_step) for metric, of_step in steps.items() if len(of_step) > 1}
    early = {name for metric, end in last.items() for step, name in steps[metric].items() if step != end}
    if not early:
        return list(metrics), []
    reasons |= dict.fromkeys(early, "an earlier step of a metric: --metrics takes it")
    kept = some((shown_name(steps[metric][end]) for metric, end in last.items()), 3)
    left_out = "1 column is left out" if len(early) == 1 else f"{len(early)} columns are left out"
    told = f"one metric at several steps counts once, at the last of them: {kept}; {left_out} (--metrics takes them)"
    return [name for name in metrics if name not in early], [told]


def _without_means(sheet: Sheet, metrics: Sequence[str], reasons: dict[str, str]) -> tuple[list[str], list[str]]:
    named = [name for name in metrics if MEAN_WORDS & set(words_of(without_origin(name)))]
    left, told = list(metrics), list[str]()
    for name in named:
        kind = kind_of(without_origin(name))
        parts = [part for part in metrics if part not in named and kind_of(without_origin(part)) == kind]
        if len(parts) < 2:
            continue
        if _is_mean(sheet, name, parts):
            left.remove(name)
            reasons[name] = "the mean of the other metrics: --metrics takes it"
            told.append(f"{shown_name(name)} is the mean of the other metrics, and is left out (--metrics takes it)")
        else:
            told.append(f"{shown_name(name)} may be a mean of other metrics, and counts beside them")
    return left, told


def _is_mean(sheet: Sheet, name: str, parts: Sequence[str]) -> bool:
    mean_N, *values_MN = (sheet.if_numbers(each) for each in (name, *parts))
    values = [each for each in values_MN if each is not None]
    if mean_N is None or len(values) < len(parts):
        return False
    expected_N = np.mean(values, axis=0)
    known_N = np.isfinite(mean_N) & np.isfinite(expected_N)
    return bool(known_N.any()) and np.allclose(mean_N[known_N], expected_N[known_N], rtol=ROUNDED, atol=0)
