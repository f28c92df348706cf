"""How far texts are from each other, as distributions of points, and the mixture of pools nearest to what is judged.

The distance is that of optimal transport, sliced: the mean, over fixed random directions, of the least work that moves
one set of points, projected on the direction, onto the other (the sliced Wasserstein distance: N. Bonneel et al.,
"Sliced and Radon Wasserstein barycenters of measures", 2015). On a line that is the area between the two cumulative
distributions, so that no plan has to be searched for; samples of a few hundred points estimate it in any number of
dimensions; and, as the distribution of a mixture is the mixture of distributions, its distance is convex in the shares.

That data should be near the validation set by optimal transport is from projektor (F. Kang et al., 2307.02460).

Shapes: P points of a sample, E dimensions, S directions, K pools, G steps of a cumulative distribution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from search.mixture import Mixture
from search.randomness import generator
from search.space import Space

DIRECTIONS = 64
# Where cumulative distributions are compared, along each direction, for a mixture.
STEPS = 32
# To the nearest share that anybody trains: a guess that differs by rounding on another machine would be another trial.
ROUNDED = 3  # decimals


def distance(one_PE: Float[np.ndarray, "P E"], other_PE: Float[np.ndarray, "P E"]) -> float:
    """Between two samples of as many points, in the unit of the points: 0 for the same sample, the same both ways."""
    assert one_PE.shape == other_PE.shape, "as many points of each"
    one_PS, other_PS = (np.sort(each @ _directions(each.shape[1]), axis=0) for each in (one_PE, other_PE))
    return float(np.abs(one_PS - other_PS).mean())


def nearest_mixture(
    space: Space,
    pools_KPE: Float[np.ndarray, "K P E"],
    judged_JPE: Float[np.ndarray, "J P E"],
    emphasis_J: Float[np.ndarray, " J"],
) -> Mixture:
    """The feasible mixture of pools whose text is nearest to that of the evaluation sets, taken together.

    A linear program over the shares and the area of each step; of equally near ones whichever the solver ends in.

    Args:
        pools_KPE: points of each domain of the space, in its order.
        judged_JPE, emphasis_J: points of each evaluation set, and what it counts, which sums to more than 0.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, hstack, identity, vstack

    pools_RK, judged_R = _cumulative(pools_KPE, judged_JPE, emphasis_J / emphasis_J.sum())
    rows, pools = pools_RK.shape
    area_RR, pools_sparse = identity(rows, format="csr"), csr_array(pools_RK)
    groups_GK = csr_array(np.vstack([space.group_GD, -space.group_GD]))
    none_GR = csr_array((groups_GK.shape[0], rows))
    solution = linprog(  # type: ignore[call-overload]  # its types leave out sparse matrices, which it takes
        np.concatenate([np.zeros(pools), np.ones(rows)]),
        A_ub=vstack(
            [hstack([pools_sparse, -area_RR]), hstack([-pools_sparse, -area_RR]), hstack([groups_GK, none_GR])]
        ),
        b_ub=np.concatenate([judged_R, -judged_R, space.group_upper_G, -space.group_lower_G]),
        A_eq=np.concatenate([np.ones(pools), np.zeros(rows)])[None],
        b_eq=[1.0],
        bounds=[*zip(space.lower_D, space.upper_D, strict=True), *[(0, None)] * rows],
    )
    # Limits that leave a single mixture may, by rounding, leave none.
    found_K = space.natural.array if solution.x is None else solution.x[:pools]
    return space.project(np.round(found_K, ROUNDED) / np.round(found_K, ROUNDED).sum())


def mixture_distance(
    weights_K: Float[np.ndarray, " K"],
    pools_KPE: Float[np.ndarray, "K P E"],
    judged_JPE: Float[np.ndarray, "J P E"],
    emphasis_J: Float[np.ndarray, " J"],
) -> float:
    """Between a mixture of pools and evaluation sets taken together: what `nearest_mixture` makes least."""
    pools_RK, judged_R = _cumulative(pools_KPE, judged_JPE, emphasis_J / emphasis_J.sum())
    return float(np.abs(pools_RK @ weights_K - judged_R).sum())


def _cumulative(
    pools_KPE: Float[np.ndarray, "K P E"],
    judged_JPE: Float[np.ndarray, "J P E"],
    emphasis_J: Float[np.ndarray, " J"],
) -> tuple[Float[np.ndarray, "R K"], Float[np.ndarray, " R"]]:
    """Cumulative distributions of pools, and of evaluation sets together, by step of each direction, times its width.

    Steps are as wide as they hold the same number of all points; R = S * G.
    """
    directions_ES = _directions(pools_KPE.shape[2])
    pools_KPS, judged_JPS = pools_KPE @ directions_ES, judged_JPE @ directions_ES
    pools_RK, judged_R = list[Float[np.ndarray, "G K"]](), list[Float[np.ndarray, " G"]]()
    for slice_ in range(directions_ES.shape[1]):
        pools_KP, judged_JP = pools_KPS[:, :, slice_], judged_JPS[:, :, slice_]
        every = np.concatenate([pools_KP.ravel(), judged_JP.ravel()])
        ends = np.quantile(every, np.linspace(0, 1, STEPS + 1))
        middle_G, width_G = (ends[1:] + ends[:-1]) / 2, np.diff(ends) / directions_ES.shape[1]
        pools_RK.append((pools_KP[:, :, None] <= middle_G).mean(axis=1).T * width_G[:, None])
        judged_R.append(emphasis_J @ (judged_JP[:, :, None] <= middle_G).mean(axis=1) * width_G)
    return np.vstack(pools_RK), np.concatenate(judged_R)


def _directions(dimensions: int) -> Float[np.ndarray, "E S"]:
    """As long as the root of the dimensions, so that projections are of the size of the points; always the same."""
    drawn_ES = generator("directions of transport", dimensions).standard_normal((dimensions, DIRECTIONS))
    directions_ES: Float[np.ndarray, "E S"] = drawn_ES / np.linalg.norm(drawn_ES, axis=0) * np.sqrt(dimensions)
    return directions_ES


def distances(
    pools: Sequence[Float[np.ndarray, "P E"]], judged: Sequence[Float[np.ndarray, "P E"]]
) -> Float[np.ndarray, "K J"]:
    """Of each pool to each evaluation set."""
    return np.array([[distance(pool, each) for each in judged] for pool in pools]).reshape(len(pools), len(judged))
