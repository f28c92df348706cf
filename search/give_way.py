"""One share is moved, and the others give way by the smallest change: what a slider does to a mixture.

The smallest is that in Euclidean distance, so that what one domain takes is given by all others alike, as far as their
limits let them; a mixture in proportion would take most from the largest.

Shapes: D domains, E equality constraints, K kept domains.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from search.errors import SearchError
from search.mixture import Mixture
from search.polytope import ROUNDING, Polytope
from search.space import Space


def give_way(
    space: Space,
    mixture: Mixture,
    domain: str,
    share: float,
    held: Collection[str] = (),
    kept: Mixture | None = None,
) -> Mixture:
    """The feasible mixture nearest to `mixture` in which `domain` has `share`, or as near to that as is possible.

    Args:
        held: further domains, whose shares stay as they are where that is possible at all.
        kept: the relative weights of domains that keep these (see search.frozen_space).

    Raises:
        SearchError: there is no such domain.
    """
    for name in (domain, *held):
        if name not in space.domains:
            raise SearchError(f"no domain is called {name}", hint=f"choose from {', '.join(space.domains)}")
    from_D = mixture.reordered(space.domains).array
    place = space.domains.index(domain)
    everywhere = _with_kept(space, kept)
    around = _holding(everywhere, from_D, [space.domains.index(name) for name in held])
    wanted = min(max(share, space.least_D[place]), space.most_D[place])
    # Programs to find out how far it can go take longer than all else, and are seldom needed.
    if (found := _nearest(space, around, from_D, place, wanted)) is not None:
        return found
    for polytope in (around, everywhere):
        least, most = _extremes(polytope, place)
        if least is not None and most is not None:
            found = _nearest(space, polytope, from_D, place, min(max(wanted, least), most))
            if found is not None:
                return found
    # What is left is rounding: a space of nearly one mixture.
    return space.project(from_D)


def _nearest(
    space: Space, polytope: Polytope, from_D: Float[np.ndarray, " D"], place: int, share: float
) -> Mixture | None:
    """The mixture of the polytope nearest to `from_D` with this share; None where there is none."""
    moved_D = from_D.copy()
    moved_D[place] = share
    nearest_D = _holding(polytope, moved_D, [place]).nearest(moved_D)
    if nearest_D is None:
        return None
    # What the projection leaves of a domain is nothing.
    rounded = space.rounded(np.where(nearest_D < ROUNDING, 0, nearest_D))
    return rounded if space.feasible(rounded.array[None])[0] else None


def _with_kept(space: Space, kept: Mixture | None) -> Polytope:
    """The space, in which the kept domains have their relative weights."""
    if kept is None:
        return space.polytope
    places = [space.domains.index(name) for name in kept.domains]
    rows_KD = np.zeros((len(places), len(space.domains)))
    # Each has its part of their sum.
    rows_KD[:, places] = np.eye(len(places)) - kept.array[:, None]
    return _within(space.polytope, rows_KD, np.zeros(len(places)))


def _holding(polytope: Polytope, weights_D: Float[np.ndarray, " D"], places: list[int]) -> Polytope:
    """The part of it in which the shares at these places are those of `weights_D`."""
    return _within(polytope, np.eye(len(weights_D))[places], weights_D[places])


def _within(polytope: Polytope, equal_ED: Float[np.ndarray, "F D"], equal_E: Float[np.ndarray, " F"]) -> Polytope:
    return replace(
        polytope,
        equal_ED=np.vstack([polytope.equal_ED, equal_ED]),
        equal_E=np.append(polytope.equal_E, equal_E),
    )


def _extremes(polytope: Polytope, place: int) -> tuple[float | None, float | None]:
    """The least and the largest share that a domain has in it; None where it is empty."""
    from scipy.optimize import linprog

    cost_D = np.eye(polytope.equal_ED.shape[1])[place]
    found = [
        linprog(
            sign * cost_D,
            A_ub=-polytope.rows_CD,
            b_ub=-polytope.floor_C,
            A_eq=polytope.equal_ED,
            b_eq=polytope.equal_E,
            bounds=(None, None),
        ).fun
        for sign in (1, -1)
    ]
    return (None if found[0] is None else float(found[0]), None if found[1] is None else -float(found[1]))
