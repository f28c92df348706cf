"""Which columns are one mixture: by a name that they share, and by their sum.

Columns of one beginning and one end are a group: config.mix.web, config.mix.code; web_share, code_share. Columns that
stand side by side and sum to one in every row are a group as well. The surest kind of group that there is decides; more
than one of that kind is for the user to tell.

Shapes: N rows, K columns.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixopt.runs.tables.shares import FEWEST_TOKENS, SUM_TOLERANCE
from mixopt.runs.tables.sheet import Sheet
from mixopt.runs.tables.words import (
    COUNT_WORDS,
    DATA_WORDS,
    DOCUMENT_WORDS,
    EVALUATION_WORDS,
    MIXTURE_WORDS,
    SETTING_WORDS,
    SURE_WORDS,
    TOKEN_WORDS,
    TRAINING_WORDS,
    kind_of,
    without_origin,
    words_of,
)
from search.mixture import FloatArray

# Sums of a mixture, in the middle of the rows, are this near one.
TYPICAL = 0.01
# Of columns without a name in common: rounding alone, and in so many different rows.
EXACT, FEWEST_ROWS = 2e-3, 4
# Two numbers that sum to one may be hits and misses, or what is kept and dropped: without a name that speaks of
# mixtures alone, that is asked.
FEWEST_UNNAMED = 3
# Weights of something else than text.
OF_SETTINGS = frozenset(
    {
        "loss", "decay", "lr", "warmup", "dropout", "clip", "coef", "penalty", "expert", "experts", "router", "gate",
        "gating", "attention", "head", "heads", "layer", "layers", "ema", "class", "classes", "label", "labels",
        "ensemble", "time", "memory",
    }
)  # fmt: skip
# What sums to fewer documents is something else.
FEWEST_DOCUMENTS = 1000
# Beside one another, more columns than this are looked at in no reasonable time.
MOST_SIDE_BY_SIDE = 400
# A wider group has to be nearer to one by this factor, or the narrower one is as likely.
NEARER = 3.0


@dataclass(frozen=True)
class Group:
    """Columns that may be one mixture.

    Attributes:
        columns: by domain.
        pattern: that chooses them, with one star; their names, where they have nothing in common.
        why: for a reader.
        sure: whether that is enough to take them for the mixture.
    """

    columns: Mapping[str, str]
    pattern: str
    why: str
    sure: bool = True


def mixture_columns(sheet: Sheet, taken: Collection[str]) -> list[Group]:
    """The groups that may be the mixture, of the surest kind of which there is one.

    Args:
        taken: columns that are something else.
    """
    numbers = {
        name: values
        for name in sheet.columns
        if name and name not in taken and (values := sheet.if_numbers(name)) is not None and not (values < 0).any()
    }
    groups = [each for each in _groups(list(numbers)) if not all(map(_is_no_domain, each.columns))]
    named = [each for each in groups if _words(each.pattern) & MIXTURE_WORDS and not _is_setting(each.pattern)]
    documents = [
        each
        for each in groups
        if _words(each.pattern) & DOCUMENT_WORDS and (_sums(each, numbers) >= FEWEST_DOCUMENTS).all()
    ]
    about_data = [each for each in groups if _words(each.pattern) & (DATA_WORDS | TOKEN_WORDS)]
    tokens = [
        each
        for each in groups
        if _words(each.pattern) & TOKEN_WORDS
        and (_sums(each, numbers) >= FEWEST_TOKENS).all()
        and _rows_that_differ(each, numbers) > 1  # supplies are the same in every run
    ]

    # Where some have the tokens of a supply in them, the same in every run, and others have not, those are meant.
    tokens = [each for each in tokens if not _has_constants(each, numbers)] or tokens

    def whole(candidates: Sequence[Group]) -> list[Group]:
        return [
            Group(each.columns, each.pattern, f"{why}, and every row sums to {sum_is:g}", _is_sure(each))
            for each, why in ((each, "by their name" if each in named else "by their place") for each in candidates)
            if (sum_is := _sum_is(_sums(each, numbers)))
        ]

    unlike_metrics = [each for each in groups if not _speaks_of_metrics(each)]
    sure = [each for each in named if _words(each.pattern) & SURE_WORDS]
    for candidates in (
        whole(sure),
        whole(about_data),
        # Beside weights that sum to something else, nobody knows which of the two was trained on.
        [Group(each.columns, each.pattern, "tokens, by their name and size") for each in tokens]
        + [Group(each.columns, each.pattern, "by their name") for each in sure if tokens and each not in tokens],
        # What an expert of a router gets, or where the time went, sums to one as well: none of these goes first.
        whole(named)
        + [each for each in whole(unlike_metrics) if _rows_that_differ(each, numbers) >= FEWEST_ROWS]
        + _side_by_side(numbers),
        [Group(each.columns, each.pattern, "by their name") for each in named or documents],
    ):
        if found := _distinct(candidates, numbers):
            return found
    return []


def _groups(names: Sequence[str]) -> list[Group]:
    """Two columns or more that begin alike, end alike, or both, but for one part."""
    members: dict[tuple[str, str], list[str]] = {}
    for name in names:
        # Where words begin and end: what a domain is called lies between two such places.
        starts = [0, *(found.end() for found in re.finditer(r"[./_:\-\s|()\[\]]+", name))]
        ends = [len(name), *(found.start() for found in re.finditer(r"[./_:\-\s|()\[\]]+", name))]
        starts, ends = (
            [place for place in starts if place < len(name)][:12],
            [place for place in ends if place > 0][:12],
        )
        for start in starts:
            for end in ends:
                if start < end and (start, end) != (0, len(name)):
                    members.setdefault((name[:start], name[end:]), []).append(name)
    return [
        Group({name[len(start) : len(name) - len(end)]: name for name in found}, f"{start}*{end}", "")
        for (start, end), found in members.items()
        if len(found) > 1
    ]


def _words(pattern: str) -> set[str]:
    return set(words_of(without_origin(pattern)))


def _is_sure(group: Group) -> bool:
    return len(group.columns) >= FEWEST_UNNAMED or bool(_words(group.pattern) & SURE_WORDS)


def _is_no_domain(name: str) -> bool:
    """Whether a part of a name speaks of training, evaluation or settings alone: train_frac and test_frac."""
    words = set(words_of(name))
    return words <= (TRAINING_WORDS | EVALUATION_WORDS | SETTING_WORDS | COUNT_WORDS)


def _is_setting(pattern: str) -> bool:
    """Whether a group is of a loss's weights, or the like."""
    words = _words(pattern)
    return bool(words & OF_SETTINGS)


def _speaks_of_metrics(group: Group) -> bool:
    words = _words(group.pattern)
    return (
        bool(words & (EVALUATION_WORDS | SETTING_WORDS | TRAINING_WORDS))
        or kind_of(group.pattern) != "unknown"
        or any(kind_of(name) != "unknown" for name in group.columns.values())
    )


def _sums(group: Group, numbers: Mapping[str, FloatArray]) -> FloatArray:
    """The sum of each row that has a weight."""
    given_NK = np.column_stack([numbers[name] for name in group.columns.values()])
    has_N = np.isfinite(given_NK).any(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        sums_N: FloatArray = np.nansum(given_NK[has_N], axis=1)
    return sums_N


def _sum_is(sums_N: FloatArray) -> float:
    """1 or 100, where all rows sum to that; 0 elsewhere."""
    for whole in (1.0, 100.0):
        off_N = np.abs(sums_N / whole - 1)
        if len(sums_N) and (off_N <= SUM_TOLERANCE).all() and np.median(off_N) <= TYPICAL:
            return whole
    return 0.0


def _rows_that_differ(group: Group, numbers: Mapping[str, FloatArray]) -> int:
    given_NK = np.nan_to_num(np.column_stack([numbers[name] for name in group.columns.values()]))
    return len(np.unique(np.round(given_NK, 9), axis=0))


def _has_constants(group: Group, numbers: Mapping[str, FloatArray]) -> bool:
    return any(np.nanmax(each) == np.nanmin(each) > 0 for each in (numbers[name] for name in group.columns.values()))


def _side_by_side(numbers: Mapping[str, FloatArray]) -> list[Group]:
    """Columns side by side that sum to one, or to a hundred, up to rounding, in rows that differ."""
    names = [name for name in numbers if not _is_known(name)]
    if not 2 <= len(names) <= MOST_SIDE_BY_SIDE:
        return []
    given_NK = np.column_stack([numbers[name] for name in names])
    rows_N = np.isfinite(given_NK).any(axis=1)
    filled_NK = np.nan_to_num(given_NK[rows_N], posinf=1e300)
    with np.errstate(over="ignore", invalid="ignore"):
        up_to_NK = np.hstack([np.zeros((len(filled_NK), 1)), np.cumsum(filled_NK, axis=1)])
    changes_K = np.ptp(filled_NK, axis=0) > 0 if len(filled_NK) else np.zeros(len(names), dtype=bool)
    found: list[tuple[float, int, int, float]] = []
    for start in range(len(names) - 1):
        for end in range(start + 2, len(names) + 1):
            # What never changes at an end of the group may as well be outside of it.
            if not (changes_K[start] and changes_K[end - 1]):
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                sums_N = up_to_NK[:, end] - up_to_NK[:, start]
            for whole in (1.0, 100.0):
                off = float(np.abs(sums_N / whole - 1).max())
                if off <= EXACT:
                    found.append((off, start, end, whole))
    groups = []
    for off, start, end, whole in found:
        rivals = [each for each in found if each[1:3] != (start, end) and each[1] <= end and each[2] >= start]
        if any(each[0] * NEARER + 1e-12 < off for each in rivals):
            continue
        columns = names[start:end]
        why = f"{columns[0]} to {columns[-1]} sum to {whole:g} in every row"
        group = Group(_domains_in(columns), ", ".join(columns), why, len(columns) >= FEWEST_UNNAMED)
        if _rows_that_differ(group, numbers) >= FEWEST_ROWS and len(group.columns) == len(columns):
            groups.append(group)
    return groups


def _domains_in(columns: Sequence[str]) -> dict[str, str]:
    """Columns by domain: without what all names have in common, where that speaks of mixtures, as in web_ratio."""
    for group in _groups(columns):
        if len(group.columns) == len(columns) and _words(group.pattern) & MIXTURE_WORDS:
            return dict(group.columns)
    return {without_origin(name): name for name in columns}


def _is_known(name: str) -> bool:
    """Whether a name speaks of something else than a domain."""
    words = set(words_of(without_origin(name)))
    return kind_of(name) != "unknown" or bool(
        words & (COUNT_WORDS | SETTING_WORDS | TRAINING_WORDS | (EVALUATION_WORDS - {"dev"}))
    )


def _distinct(groups: Sequence[Group], numbers: Mapping[str, FloatArray]) -> list[Group]:
    """Each set of columns once: the widest of those that lie in one another, the first of those with equal numbers."""
    kept: list[Group] = []
    # Of patterns of the same columns, one that takes nothing from the domains' names, and else as much as it can.
    for group in sorted(
        groups,
        key=lambda each: (
            -len(each.columns),
            "*" not in each.pattern,
            not _ends_where_names_begin(each.pattern),
            -len(each.pattern) if _ends_where_names_begin(each.pattern) else len(each.pattern),
        ),
    ):
        columns = set(group.columns.values())
        inside = any(columns <= set(each.columns.values()) for each in kept)
        if not inside and not any(_equal(group, each, numbers) for each in kept):
            kept.append(group)
    return sorted(kept, key=lambda each: len(each.pattern))


def _ends_where_names_begin(pattern: str) -> bool:
    """Whether the star stands for whole names: mix.code_* may be of domains code_python and code_rust."""
    start, star, end = pattern.partition("*")
    if not star:
        return False
    known = MIXTURE_WORDS | DATA_WORDS | TOKEN_WORDS
    begins = not start or start[-1] in "./:([" or bool(known & set(words_of(start)[-1:]))
    ends = not end or end[0] in "./:)]" or bool(known & set(words_of(end)[:1]))
    return begins and ends


def _equal(group: Group, other: Group, numbers: Mapping[str, FloatArray]) -> bool:
    """Whether two groups have the same domains with the same numbers."""
    return set(group.columns) == set(other.columns) and all(
        np.allclose(numbers[group.columns[domain]], numbers[other.columns[domain]], atol=1e-6, equal_nan=True)
        for domain in group.columns
    )
