"""How often a run reads each domain, and whether it may."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mixopt.base.errors import ConfigError
from mixopt.results.export import Supply
from mixopt.settings.units import show_count
from search.mixture import ROUNDING, Mixture, counts

# So often nothing is read: its size alone is of interest.
MANY = 100


def supplies_in(
    tokens: int | None, mixture: Mixture, there: Mapping[str, int], most_epochs: Mapping[str, float]
) -> list[Supply]:
    """What each domain gives in a run of so many tokens; nothing where its tokens, or those of a domain, are not known.

    Args:
        there: tokens of each domain, of those for which they are known.
        most_epochs: how often the run may read each domain.
    """
    if tokens is None or not there.keys() >= set(mixture.domains):
        return []
    return [
        Supply(domain=name, share=mixture[name], taken=taken, there=there[name], max_epochs=most_epochs[name])
        for name, taken in counts(mixture, tokens).items()
    ]


def most_of(supply: Supply) -> float:
    """How often the run may read a domain."""
    return math.inf if supply.max_epochs is None else supply.max_epochs


def shown_times(supply: Supply) -> str:
    return f"{supply.epochs:,.0f}" if supply.epochs >= MANY else f"{supply.epochs:.3g}"


def is_beyond(supply: Supply) -> bool:
    """Whether a domain is read more often than it may be."""
    return supply.epochs > most_of(supply) * (1 + ROUNDING)


def require_few_repeats(supplies: Sequence[Supply], tokens: int | None, hint: str) -> None:
    """
    Args:
        hint: what to do about it; {domain} is where the domain's name belongs.

    Raises:
        ConfigError: a domain is read more often than it may be.
    """
    beyond = [each for each in supplies if is_beyond(each)]
    if not beyond:
        return
    # By how much it is beyond what it may be.
    each = max(beyond, key=lambda supply: supply.epochs / most_of(supply))
    raise ConfigError(
        f"domain {each.domain} would be read {shown_times(each)} times in {show_count(tokens or 0)} tokens: it has "
        f"{show_count(each.there)}, the mixture takes {each.share:.2%}, and the most is {most_of(each):g}",
        hint=hint.replace("{domain}", each.domain),
    )


def told_repeats(supplies: Sequence[Supply], most_epochs: Mapping[str, float]) -> dict[str, float]:
    """How often the trainer is told that it may read each domain: often enough for this mixture."""
    needed = {each.domain: float(math.ceil(each.epochs)) for each in supplies if each.epochs > most_of(each)}
    return {**most_epochs, **needed}
