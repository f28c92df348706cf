"""How often a run reads each domain, and whether that is more often than it may."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mixopt.base.errors import ConfigError
from mixopt.results.export import Supply
from mixopt.settings.units import show_count
from search.mixture import ROUNDING, Mixture, counts


def supplies_of(
    mixture: Mixture, tokens: int | None, there: Mapping[str, int], most: Mapping[str, float]
) -> list[Supply]:
    """What each domain gives in a run; nothing where the tokens of the run, or of a domain, are not known.

    Args:
        tokens: of the run.
        there: tokens of each domain.
        most: how often each may be read.
    """
    if tokens is None or not there.keys() >= set(mixture.domains):
        return []
    return [
        Supply(domain=name, share=mixture[name], taken=taken, there=there[name], max_epochs=most[name])
        for name, taken in counts(mixture, tokens).items()
    ]


def is_beyond(supply: Supply) -> bool:
    """Whether a domain is read more often than it may be."""
    return supply.max_epochs is not None and supply.epochs > supply.max_epochs * (1 + ROUNDING)


def check_few(supplies: Sequence[Supply], tokens: int | None, hint: str) -> None:
    """
    Args:
        tokens: of the run.
        hint: the remedy; {domain} in it stands for the domain that is furthest beyond what it may be.

    Raises:
        ConfigError: a domain would be read more often than it may.
    """
    beyond = [each for each in supplies if is_beyond(each)]
    if not beyond:
        return
    each = max(beyond, key=lambda supply: supply.epochs / (supply.max_epochs or math.inf))
    raise ConfigError(
        f"domain {each.domain} would be read {each.epochs:.3g} times in {show_count(tokens or 0)} tokens: it has "
        f"{show_count(each.there)}, the mixture takes {each.share:.2%}, and the most is {each.max_epochs:g}",
        hint=hint.format(domain=each.domain),
    )


def told(supplies: Sequence[Supply], most: Mapping[str, float]) -> dict[str, float]:
    """How often a trainer is told that it may read each domain: often enough for this mixture."""
    return {**most, **{each.domain: float(math.ceil(each.epochs)) for each in supplies if is_beyond(each)}}
