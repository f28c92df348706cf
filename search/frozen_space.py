"""A space in which some domains keep their relative weights, so that only their sum and the other domains are searched.

After the mixture reuse of Olmix (Allen Institute for AI, arXiv 2602.12237, 2026): domains that a change of the corpus
does not affect stay as an earlier search left them, and the search has as many dimensions less.

Shapes: N mixtures, D domains, R domains of the smaller space: the kept ones' sum, then the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from search.errors import SearchError
from search.mixture import Mixture
from search.space import TOLERANCE, DomainLimits, Group, Space


@dataclass(frozen=True)
class FrozenSpace:
    """
    Attributes:
        space: of all domains.
        kept: the relative weights of those that keep them.

    Raises:
        SearchError: a kept domain does not exist, none is left to search over, a group holds some of the kept domains
            but not all, or no mixture of the space has these relative weights.
    """

    space: Space
    kept: Mixture

    def __post_init__(self) -> None:
        if unknown := [name for name in self.kept.domains if name not in self.space.domains]:
            raise SearchError(
                f"no domain is called {', '.join(unknown)}, to be kept",
                hint=f"choose from {', '.join(self.space.domains)}",
            )
        if not self._others:
            raise SearchError(
                "all domains keep their relative weights, so nothing is left to search over", hint="keep fewer"
            )
        # Made now, so that relative weights that cannot be kept are refused with the reason.
        _ = self.smaller

    @cached_property
    def smaller(self) -> Space:
        """The same limits on the sum of the kept domains and on the others.

        The sum may be at most as large as the first kept domain allows that reaches its maximum or its supply.
        """
        name = " + ".join(self.kept.domains)
        places = [self.space.domains.index(domain) for domain in self.kept.domains]
        with np.errstate(divide="ignore", invalid="ignore"):
            least = float(np.nanmax(self.space.lower_D[places] / self.kept.array, initial=0))
            most = float(np.nanmin(self.space.upper_D[places] / self.kept.array, initial=1))
        if least > most + TOLERANCE:
            raise SearchError(
                f"domains {name} cannot keep their relative weights: their minimums ask for a sum of {least:.4g}, "
                f"their maximums and supply allow {most:.4g}",
                hint="keep them at other weights, or change their limits",
            )
        tokens = sum(self.space.limits[place].tokens for place in places)
        # `most` keeps each of them inside its own epochs; those of the sum must only not be fewer.
        own = [self.space.limits[place].max_epochs for place in places]
        epochs = None if own == [None] * len(own) else float(self.space.max_epochs_D[places].max())
        return Space(
            (DomainLimits(name, tokens, min(least, most), most, epochs), *self._others),
            tuple(self._group(group, name) for group in self.space.groups),
            self.space.target_tokens,
            self.space.max_epochs,
        )

    @cached_property
    def share_RD(self) -> Float[np.ndarray, "R D"]:
        """How a weight on each domain of the smaller space is shared among all domains."""
        return np.array([[row.get(name, 0.0) for name in self.space.domains] for row in self._shares])

    def expand(self, weights_NR: Float[np.ndarray, "N R"]) -> Float[np.ndarray, "N D"]:
        """Mixtures of the smaller space as mixtures of all domains, [N, D]."""
        weights_ND: Float[np.ndarray, "N D"] = weights_NR @ self.share_RD
        return weights_ND

    def reduce(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N R"]:
        """The kept domains added up, [N, R]; their relative weights are forgotten."""
        member_RD = np.array([[float(name in row) for name in self.space.domains] for row in self._shares])
        weights_NR: Float[np.ndarray, "N R"] = weights_ND @ member_RD.T
        return weights_NR

    def keeps(self, weights_ND: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]:
        """Which mixtures have the kept relative weights, [N]."""
        off_ND = np.abs(weights_ND - self.expand(self.reduce(weights_ND)))
        keeps_N: Bool[np.ndarray, " N"] = off_ND.max(axis=1) <= TOLERANCE
        return keeps_N

    @cached_property
    def _others(self) -> tuple[DomainLimits, ...]:
        return tuple(limit for limit in self.space.limits if limit.name not in self.kept.domains)

    @property
    def _shares(self) -> list[Mapping[str, float]]:
        """By domain of the smaller space: the domains that it stands for, and their shares of it."""
        return [self.kept.as_dict(), *({limit.name: 1.0} for limit in self._others)]

    def _group(self, group: Group, name: str) -> Group:
        held = [domain for domain in self.kept.domains if domain in group.domains]
        if held and len(held) < len(self.kept.domains):
            raise SearchError(
                f"group {group.name} holds {', '.join(held)}, but not all domains that keep their relative weights",
                hint=f"give the group all of {name}, or keep only domains inside it, or outside it",
            )
        others = tuple(domain for domain in group.domains if domain not in held)
        return Group(group.name, (name, *others) if held else others, group.minimum, group.maximum)
