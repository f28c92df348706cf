"""Earlier runs read as runs over the domains of now, after some were added, split, renamed or removed.

    added     earlier runs had nothing of it: weight 0
    split     its weight is shared among its parts by their tokens, which is exact: text was drawn evenly from the whole
    renamed   another name for the same text
    merged    its weight is theirs together; runs that mixed them otherwise than their tokens are do not count
    removed   runs that hardly used it count, their other weights rescaled; the others do not

After the mixture reuse of Olmix (Allen Institute for AI, arXiv 2602.12237, 2026); its other half, ratios that are kept,
is search/frozen_space.py.

Shapes: N runs, E earlier domains, D domains of now, M metrics.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float

from search.errors import SearchError
from search.fidelity import Fidelity
from search.mixture import Mixture
from search.runs import Runs
from search.space import Space

# A run that gave removed domains no more than this share says nearly what it would have said without them.
REMOVED_SHARE = 0.02


@dataclass(frozen=True)
class Changes:
    """What became of earlier domains that are no longer there under their names; those not named here were removed.

    Attributes:
        renamed: earlier name -> name of now; a metric called like the domain is renamed with it.
        split: earlier name -> names of its parts, which together are the whole; a metric called like the domain is no
            longer measured, for its text is another.
        merged: name of now -> earlier names that it was put together of, each with its tokens; a metric called like one
            of them is no longer measured.

    Raises:
        SearchError: a domain is in two of these, or in one twice.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    split: Mapping[str, Sequence[str]] = field(default_factory=dict)
    merged: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.renamed:
            if name in self.split:
                raise SearchError(f"domain {name} is both renamed and split", hint="leave it in split alone")
        seen: set[str] = set()
        for new, tokens in self.merged.items():
            for name in tokens:
                if name in seen or name in self.renamed or name in self.split:
                    raise SearchError(f"domain {name} became several things", hint=f"name it in merged.{new} alone")
                seen.add(name)

    @property
    def changed(self) -> frozenset[str]:
        """The earlier domains that have another name now, or are no more: a metric of their name is not theirs."""
        return frozenset((*self.renamed, *self.split, *(name for tokens in self.merged.values() for name in tokens)))

    def became(self, name: str) -> Sequence[str]:
        merged = [new for new, tokens in self.merged.items() if name in tokens]
        return self.split.get(name) or merged or [self.renamed.get(name, name)]


def reuse(
    earlier: Runs,
    space: Space,
    metrics: Sequence[str],
    fidelities: Sequence[Fidelity],
    changes: Changes | None = None,
) -> tuple[Runs, tuple[str, ...]]:
    """The earlier runs over the space's domains and these metrics, and a sentence on each thing that was done.

    Args:
        fidelities: an earlier one with the name, parameters and tokens of one of these is the same. Any other is
            called "earlier <name>" and comes before them: surrogates tie its values to the target's.

    Raises:
        SearchError: the changes do not fit the domains, or no run is left.
    """
    changes = changes or Changes()
    notes: list[str] = []
    runs = _over_domains(earlier, space, changes, notes)
    runs = _over_metrics(runs, metrics, changes, notes)
    runs = _over_fidelities(runs, fidelities, notes)
    return runs, (f"{len(runs)} of {len(earlier)} earlier runs count as evidence", *notes)


def mixed_as_merged(runs: Runs, changes: Changes) -> int:
    """How many of the runs mixed the domains that were merged as their tokens are, so that they count.

    Raises:
        SearchError: the runs have no such domain.
    """
    for name in sorted(changes.changed):
        _check_name(name, runs.domains, "the earlier runs have")
    return int(_mixed_alike(runs, changes, []).sum())


def _over_domains(runs: Runs, space: Space, changes: Changes, notes: list[str]) -> Runs:
    change_ED = _change(runs, space, changes)
    for name, row_D in zip(runs.domains, change_ED, strict=True):
        if name in changes.split:
            parts = ", ".join(
                f"{part} {share:.1%}" for part, share in zip(space.domains, row_D, strict=True) if share > 0
            )
            notes.append(f"domain {name} of the earlier runs is read as its parts by their tokens: {parts}")
    if added := _named(space.domains, change_ED.sum(axis=0) == 0):
        notes.append(f"the earlier runs had nothing of {added}")

    weights_ND = runs.weights_ND @ change_ED
    remaining_N = weights_ND.sum(axis=1)
    alike_N = _mixed_alike(runs, changes, notes)
    counts_N = (remaining_N >= 1 - REMOVED_SHARE) & alike_N
    if not alike_N.any():
        raise SearchError(
            f"each earlier run mixed {', '.join(sorted(name for part in changes.merged.values() for name in part))} "
            "otherwise than their tokens are, so none says what they do together",
            hint="keep them as domains of their own, in constant proportion: reuse.keep",
        )
    removed = _named(runs.domains, change_ED.sum(axis=1) == 0)
    if not counts_N.any():
        raise SearchError(
            f"each earlier run gave more than {REMOVED_SHARE:.0%} to domains that are not there any more: {removed}",
            hint="say in renamed and split what became of them",
        )
    if removed:
        notes.append(
            f"domains that are not there any more: {removed}; {(~counts_N).sum()} earlier runs gave them more than "
            f"{REMOVED_SHARE:.0%} and were left out, the others' weights divided by what remains"
        )
    counted = runs.select(counts_N)
    return replace(counted, domains=space.domains, weights_ND=weights_ND[counts_N] / remaining_N[counts_N, None])


def _change(runs: Runs, space: Space, changes: Changes) -> Float[np.ndarray, "E D"]:
    """What a weight of 1 on an earlier domain is on those of now, [E, D]; a removed one's row is 0.

    Raises:
        SearchError: a name that is not there, or two earlier domains for one of now.
    """
    for name in sorted(changes.changed):
        _check_name(name, runs.domains, "the earlier runs have")
        for new_name in changes.became(name):
            _check_name(new_name, space.domains, "there is")
    tokens = {limit.name: limit.tokens for limit in space.limits}
    change_ED = np.zeros((len(runs.domains), len(space.domains)))
    for row_D, name in zip(change_ED, runs.domains, strict=True):
        parts = [part for part in changes.became(name) if part in tokens]
        if parts:
            shares = Mixture.of({part: float(tokens[part]) for part in parts})
            row_D[[space.domains.index(part) for part in parts]] = shares.array
    several_D = (change_ED > 0).sum(axis=0) > np.array([len(changes.merged.get(name, [0])) for name in space.domains])
    if mixed := _named(space.domains, several_D):
        raise SearchError(
            f"several earlier domains became {mixed}",
            hint="a domain can stand for one earlier domain, or a part of one; say in merged what was put together",
        )
    return change_ED


def _mixed_alike(runs: Runs, changes: Changes, notes: list[str]) -> Bool[np.ndarray, " N"]:
    """Which runs mixed the domains that were merged as their tokens are, but for so much as a removed one may have."""
    alike_N = np.ones(len(runs), dtype=bool)
    for new, tokens in changes.merged.items():
        share_K = np.array(list(tokens.values()), dtype=np.float64) / sum(tokens.values())
        weights_NK = runs.weights_ND[:, [runs.domains.index(name) for name in tokens]]
        moved_N = np.abs(weights_NK - weights_NK.sum(axis=1, keepdims=True) * share_K).sum(axis=1) / 2
        otherwise_N = moved_N > REMOVED_SHARE
        notes.append(
            f"domains {', '.join(tokens)} of the earlier runs are {new} now; {otherwise_N.sum()} runs that mixed them "
            f"otherwise than their tokens are, by more than {REMOVED_SHARE:.0%} of all, were left out"
        )
        alike_N &= ~otherwise_N
    return alike_N


def _over_metrics(runs: Runs, metrics: Sequence[str], changes: Changes, notes: list[str]) -> Runs:
    kept = {name: name for name in runs.metrics if name not in changes.changed}
    earlier_name = kept | {new: old for old, new in changes.renamed.items() if old in runs.metrics}
    values_NM = np.full((len(runs), len(metrics)), np.nan)
    for place, name in enumerate(metrics):
        if name in earlier_name:
            values_NM[:, place] = runs.values_NM[:, runs.metrics.index(earlier_name[name])]
    measured_NM = np.isfinite(values_NM)
    measured_N = measured_NM.any(axis=1)
    if not measured_N.any():
        raise SearchError(
            f"the earlier runs measured none of {', '.join(metrics)}",
            hint=f"judge by some of what they measured: {', '.join(runs.metrics)}",
        )
    if missing := _named(metrics, ~measured_NM.any(axis=0)):
        notes.append(f"the earlier runs say nothing on these metrics: {missing}")
    if not measured_N.all():
        notes.append(f"{(~measured_N).sum()} earlier runs measured no metric that counts and were left out")
    return replace(runs, metrics=tuple(metrics), values_NM=values_NM).select(measured_N)


def _over_fidelities(runs: Runs, fidelities: Sequence[Fidelity], notes: list[str]) -> Runs:
    same = {(fidelity.proxy, fidelity.params, fidelity.tokens): fidelity for fidelity in fidelities}
    found = []
    for fidelity in runs.fidelities:
        match = same.get((fidelity.proxy, fidelity.params, fidelity.tokens))
        found.append(match or replace(fidelity, proxy=f"earlier {fidelity.proxy}"))
        if match is None:
            notes.append(f"proxy {fidelity.proxy} of the earlier runs is one of its own, tied to the others by a line")
    return replace(runs, fidelities=tuple(found))


def _check_name(name: str, known: Collection[str], where: str) -> None:
    if name not in known:
        raise SearchError(f"{where} no domain {name}", hint=f"choose from {', '.join(known)}")


def _named(names: Sequence[str], chosen: Bool[np.ndarray, " K"]) -> str:
    return ", ".join(name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen)
