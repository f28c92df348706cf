"""A space in which some domains are grades of one pool's quality, and a better one is read at least as often.

Every mixture that sampling functions give (search.sampling_function) is of this kind: a function never rises with the
rank. And every mixture of this kind is an average of such, since steps are sampling functions, and any falling
sequence of copies is a weighted sum of steps. So the kind is their convex hull, and linear constraints say what it is:

    share of a grade / its tokens  >=  share of the next worse grade / its tokens.

The search draws its candidates through the functions, four parameters for each pool in place of a share for each
grade, and averages and climbs inside the hull.

Shapes: N mixtures, D domains, R domains of the smaller space: the pools, then the others; O pairs of neighbouring
grades.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from search.errors import SearchError
from search.mixture import Mixture
from search.polytope import Polytope
from search.sampling_function import SamplingFunctions
from search.space import TOLERANCE, DomainLimits, Group, Space

# By what share of a grade's copies the next worse one may have more: rounding only.
ROUNDING = 1e-5


@dataclass(frozen=True)
class GradedSpace:
    """
    Attributes:
        space: of all domains.
        pools: by name of a pool its grades, domains of the space, best first.

    Raises:
        SearchError: a grade does not exist or is of two pools, a pool has a single one, or no mixture of the space has
            its grades in this order.
    """

    space: Space
    pools: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        for pool, grades in self.pools.items():
            if unknown := [name for name in grades if name not in self.space.domains]:
                raise SearchError(
                    f"levels of {pool}: no domain is called {', '.join(unknown)}",
                    hint=f"choose from {', '.join(self.space.domains)}",
                )
            if len(grades) < 2:
                raise SearchError(f"levels of {pool}: a single level has no order", hint="name two or more, best first")
        every = [name for grades in self.pools.values() for name in grades]
        if twice := [name for name in dict.fromkeys(every) if every.count(name) > 1]:
            raise SearchError(f"levels: {twice[0]} is named twice", hint="name each domain once")
        if self.polytope.nearest(self.space.natural.array) is None:
            raise SearchError(
                f"no mixture within the limits reads better levels of {', '.join(self.pools)} as often as worse ones",
                hint="widen the limits of the levels, or let them be searched as cells",
            )

    @cached_property
    def smaller(self) -> Space:
        """Limits of the pools, as wide as those of their grades together, and of the other domains.

        Groups that cut through a pool are left out: what keeps them is for the whole space to say.
        """
        space, pools = self.space, []
        for pool, grades in self.pools.items():
            places = [space.domains.index(name) for name in grades]
            least, most = float(space.lower_D[places].sum()), float(min(space.upper_D[places].sum(), 1))
            own = [space.limits[place].max_epochs for place in places]
            epochs = None if own == [None] * len(own) else float(space.max_epochs_D[places].max())
            tokens = sum(space.limits[place].tokens for place in places)
            pools.append(DomainLimits(pool, tokens, min(least, most), most, epochs))
        groups = (self._group(group) for group in space.groups)
        return Space(
            (*pools, *self._others),
            tuple(group for group in groups if group is not None),
            space.target_tokens,
            space.max_epochs,
        )

    @cached_property
    def polytope(self) -> Polytope:
        """The space's constraints and the order of the grades."""
        whole = self.space.polytope
        return replace(
            whole,
            rows_CD=np.vstack([whole.rows_CD, self.order_OD]),
            floor_C=np.append(whole.floor_C, np.zeros(len(self.order_OD))),
        )

    @cached_property
    def order_OD(self) -> Float[np.ndarray, "O D"]:
        """Rows that are at least 0 on a mixture whose grades are in order, [O, D]."""
        rows = []
        for grades in self.pools.values():
            for better, worse in pairwise(self.space.domains.index(name) for name in grades):
                row_D = np.zeros(len(self.space.domains))
                tokens = np.array([self.space.limits[place].tokens for place in (better, worse)], dtype=np.float64)
                # By tokens of the pair, so that a row is about as long as a share's.
                row_D[better], row_D[worse] = tokens[1] / tokens.sum(), -tokens[0] / tokens.sum()
                rows.append(row_D)
        return np.array(rows)

    def in_order(self, weights_ND: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]:
        """Which mixtures read no grade more often than a better one, [N]."""
        room = TOLERANCE + ROUNDING * weights_ND @ np.abs(self.order_OD).T
        in_order_N: Bool[np.ndarray, " N"] = (weights_ND @ self.order_OD.T >= -room).all(axis=1)
        return in_order_N

    def feasible(self, weights_ND: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]:
        """Which mixtures are in the space, and their grades in order, [N]."""
        feasible_N: Bool[np.ndarray, " N"] = np.logical_and(self.space.feasible(weights_ND), self.in_order(weights_ND))
        return feasible_N

    def out_of_order(self, mixture: Mixture) -> list[tuple[str, str]]:
        """Each grade that is read more often than the next better one, after that one."""
        shares_1D = mixture.reordered(self.space.domains).array[None]
        pairs = [pair for grades in self.pools.values() for pair in pairwise(grades)]
        return [
            pair
            for pair, row_D in zip(pairs, self.order_OD, strict=True)
            if (shares_1D @ row_D)[0] < -TOLERANCE - ROUNDING * (shares_1D @ np.abs(row_D))[0]
        ]

    def project(self, weights_D: Float[np.ndarray, " D"]) -> Mixture:
        """The mixture of this kind nearest to `weights_D` in Euclidean distance."""
        nearest_D = self.polytope.nearest(weights_D)
        assert nearest_D is not None, "a space without a mixture in order is refused when it is made"
        return self.space.rounded(nearest_D)

    def reduce(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N R"]:
        """The grades of each pool added up, [N, R]."""
        weights_NR: Float[np.ndarray, "N R"] = weights_ND @ self._member_RD.T
        return weights_NR

    def expand(self, weights_NR: Float[np.ndarray, "N R"], generator: np.random.Generator) -> Float[np.ndarray, "N D"]:
        """Mixtures of the smaller space, each pool shared out among its grades by a function that is drawn, [N, D]."""
        weights_ND = weights_NR @ self._member_RD
        for grades in self.pools.values():
            places = [self.space.domains.index(name) for name in grades]
            tokens_L = np.array([self.space.limits[place].tokens for place in places], dtype=np.float64)
            weights_ND[:, places] *= SamplingFunctions.draw(len(weights_NR), generator).shares(tokens_L)
        return np.asarray(weights_ND)

    @cached_property
    def _member_RD(self) -> Float[np.ndarray, "R D"]:
        """1 where a domain is, or is a grade of, one of the smaller space."""
        held = [*self.pools.values(), *((limit.name,) for limit in self._others)]
        return np.array([[float(name in names) for name in self.space.domains] for names in held])

    @cached_property
    def _others(self) -> tuple[DomainLimits, ...]:
        grades = {name for names in self.pools.values() for name in names}
        return tuple(limit for limit in self.space.limits if limit.name not in grades)

    def _group(self, group: Group) -> Group | None:
        names = list(group.domains)
        for pool, grades in self.pools.items():
            held = [name for name in names if name in grades]
            if held and len(held) < len(grades):
                return None
            if held:
                names = [*(name for name in names if name not in grades), pool]
        return Group(group.name, tuple(names), group.minimum, group.maximum)
