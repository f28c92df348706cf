"""What was drawn beside what was asked: by how much each domain is off, and whether rounding and chance explain it.

With draws at random a domain's share of the tokens has an error that follows from its share and from how long its
documents are, beside the others'. Four of these standard errors, one draw, and a tolerance are no difference; the
tolerance is a fifth of a share at most, so that a small domain that gets nothing is noticed.

Where so little was drawn that a domain could have got nothing within that, of this domain nothing is told; and where
half of the tokens could have gone to other domains so, nothing is told of the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from mixopt.base.errors import ConfigError
from mixopt.exports.asked import Asked
from mixopt.exports.formats import Draws
from mixopt.results.drawn import TOLERANCE, DomainDrawn, Drawn

Unit = Literal["tokens", "sequences", "documents"]
PART = 0.2  # of a domain's own share
ERRORS = 4.0
# Of a run's tokens: where so many could have gone elsewhere unnoticed, too little was drawn to tell.
UNNOTICED = 0.5
# Below so many expected draws of a domain chi-square is no measure.
FEWEST = 5.0


@dataclass(frozen=True)
class Counted:
    """
    Attributes:
        counts: of each domain, in the unit.
    """

    unit: Unit
    counts: Mapping[str, float]


def judge(
    asked: Asked, counted: Counted, source: str, tolerance: float = TOLERANCE, notes: tuple[str, ...] = ()
) -> Drawn:
    """
    Raises:
        ConfigError: nothing was drawn, or what was counted cannot be turned into tokens.
    """
    total = math.fsum(counted.counts.values())
    if total <= 0:
        raise ConfigError(f"{source}: nothing was drawn of any domain", hint="is it the log of this run?")
    lengths = _lengths(asked, counted)
    tokens = {name: counted.counts.get(name, 0.0) * lengths[name] for name in asked.shares}
    whole = math.fsum(tokens.values())
    errors, draws = _errors(asked, counted, total, whole, lengths)
    rows = []
    for name, share in asked.shares.items():
        drawn = tokens[name] / whole
        one = 0.0 if draws is None else 1 / draws
        allowed = 0.0 if share == 0 else min(1.0, min(tolerance, PART * share) + ERRORS * errors[name] + one)
        rows.append(
            DomainDrawn(
                domain=name,
                asked=share,
                drawn=drawn,
                difference=drawn - share,
                allowed=allowed,
                count=counted.counts.get(name, 0.0),
                as_asked=abs(drawn - share) <= allowed,
                told=share == 0 or allowed < share,
            )
        )
    statistic, p_value = _chi_square(asked, counted, total, lengths)
    variation = sum(abs(row.difference) for row in rows) / 2
    differs = not all(row.as_asked for row in rows)
    # What the domains could have got too little by, all of them at once.
    unnoticed = math.fsum(min(row.allowed, row.asked) for row in rows)
    told = differs or unnoticed < UNNOTICED
    return Drawn(
        source=source,
        asked_by=asked.by,
        answer=asked.answer,
        counted=counted.unit,
        total=total,
        domains=tuple(rows),
        total_variation=variation,
        chi_square=statistic,
        p_value=p_value,
        as_asked=told and not differs,
        told=told,
        verdict=_verdict(rows, variation) if told else _too_little(asked, unnoticed, draws),
        notes=notes,
    )


def _lengths(asked: Asked, counted: Counted) -> dict[str, float]:
    """Tokens of what was counted, by domain; sequences are of one length."""
    if counted.unit != "documents":
        return dict.fromkeys(asked.shares, 1.0)
    missing = [name for name, share in asked.shares.items() if name not in asked.unit_tokens and share > 0]
    if asked.draws in (Draws.SEQUENCES, Draws.TOKENS) or missing:
        raise ConfigError(
            f"documents were counted, and how long those of {(missing or list(asked.shares))[0]} are is not known",
            hint=f"{asked.by} does not say it; log tokens, or export with documents as what is drawn",
        )
    return {name: asked.unit_tokens.get(name, 1.0) for name in asked.shares}


def _errors(
    asked: Asked, counted: Counted, total: float, tokens: float, lengths: Mapping[str, float]
) -> tuple[dict[str, float], float | None]:
    """The standard error of each domain's share, and how many draws there were, where that is known."""
    none = dict.fromkeys(asked.shares, 0.0)
    units = lengths
    if counted.unit == "tokens":
        if not asked.unit_tokens.keys() >= {name for name, share in asked.shares.items() if share > 0}:
            return none, None
        units = {name: asked.unit_tokens.get(name, 1.0) for name in asked.shares}
        total = tokens * sum(share / units[name] for name, share in asked.shares.items())
    if not asked.at_random:
        return none, total
    share_D, length_D = np.array(list(asked.shares.values())), np.array([units[name] for name in asked.shares])
    drawn_D = share_D / length_D / (share_D / length_D).sum()
    off_DD = np.eye(len(share_D)) - share_D[:, None]
    variance_D = (off_DD**2 * (drawn_D * length_D**2)).sum(axis=1) / (drawn_D @ length_D) ** 2 / total
    return dict(zip(asked.shares, np.sqrt(variance_D).tolist(), strict=True)), total


def _chi_square(
    asked: Asked, counted: Counted, total: float, lengths: Mapping[str, float]
) -> tuple[float | None, float | None]:
    """Where draws are independent, and were counted as such."""
    parts = {name: share / lengths[name] for name, share in asked.shares.items() if share > 0}
    expected_D = np.array(list(parts.values())) / sum(parts.values()) * total
    found_D = np.array([counted.counts.get(name, 0.0) for name in parts])
    independent = asked.at_random and counted.unit != "tokens"
    if not independent or len(parts) < 2 or expected_D.min() < FEWEST:
        return None, None
    statistic = float(((found_D - expected_D) ** 2 / expected_D).sum())
    return statistic, float(stats.chi2.sf(statistic, len(parts) - 1))


def _verdict(rows: list[DomainDrawn], variation: float) -> str:
    off = sorted((row for row in rows if not row.as_asked), key=lambda row: -abs(row.difference))
    if not off:
        unclear = [row.domain for row in rows if not row.told]
        others = f" and {len(unclear) - 1} more" if len(unclear) > 1 else ""
        but = f"; of {unclear[0]}{others} too little was drawn to tell" if unclear else ""
        said = f"drawn as asked: the shares are {variation:.2%} apart, which tolerance, rounding and chance explain"
        return said + but
    first = off[0]
    others = "" if len(off) == 1 else f"; {len(off) - 1} more domains differ"
    return (
        f"not drawn as asked: {first.domain} gave {first.drawn:.2%} of the tokens where {first.asked:.2%} was asked"
        f"{others}; {variation:.2%} of the tokens went to another domain"
    )


def _too_little(asked: Asked, unnoticed: float, draws: float | None) -> str:
    """
    Args:
        unnoticed: share of the tokens that could have gone elsewhere.
        draws: how many there were, where that is known.
    """
    unit = asked.draws if asked.draws in (Draws.SEQUENCES, Draws.TOKENS) else Draws.DOCUMENTS
    few = ""
    if draws is not None:
        few = f" in about {draws:,.0f} {unit}" if draws >= 1 else f" in less than one of its {unit}"
    return f"too little was drawn to tell: {unnoticed:.0%} of the tokens could be off{few}, and chance would explain it"
