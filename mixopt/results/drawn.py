"""What was drawn beside what was asked: what `mixopt check --json` and `mixopt audit --json` print."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Part, Result

# Unless somebody says otherwise: how many documents or sequences are drawn, and by what share of the tokens a domain
# may be off beside rounding and chance.
SAMPLES = 20_000
TOLERANCE = 0.002


class DomainDrawn(Part):
    """One domain, in shares of tokens."""

    domain: str
    asked: float
    drawn: float
    difference: float
    """Drawn minus asked."""
    allowed: float
    """How much of a difference is none: the tolerance, and what chance explains."""
    count: float
    """As it was counted, in the unit of the whole."""
    as_asked: bool
    """Whether the difference is none."""
    told: bool = True
    """False where so little was drawn that it could have got nothing within what is allowed."""


class Drawn(Result):
    """What was drawn beside what was asked."""

    schema_version: Literal[1] = 1
    source: str
    """The log that was read, or the export that was drawn from."""
    asked_by: str
    """What says what was asked: an export's receipt, or a study's answer."""
    answer: str | None
    """The id of the answer that was asked for, where it is one."""
    counted: Literal["tokens", "sequences", "documents"]
    total: float
    """Of all domains, as counted."""
    domains: tuple[DomainDrawn, ...]
    total_variation: float
    """Share of the tokens that went to another domain than asked, 0 to 1."""
    chi_square: float | None
    """Of the counts against those expected; null where they are no independent draws."""
    p_value: float | None
    """How often chance alone gives so large a chi-square."""
    as_asked: bool
    """Whether no domain differs, and enough was drawn to tell."""
    told: bool = True
    """False where so little was drawn that half of the tokens could have gone to other domains unnoticed."""
    verdict: str
    notes: tuple[str, ...] = ()
