"""Mixtures of pools that are split into grades of quality: shares of pools, and of their grades by sampling functions.

The pools' shares are drawn as those of any domains; how a pool's share falls to its grades, by a function with drawn
parameters (search.sampling_function). What is outside the limits is moved to the nearest mixture inside whose grades
are in order.

Shapes: N mixtures, K anchors, D domains, R domains of the smaller space.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from search.designs.anchors import Anchors
from search.designs.around_baselines import DRAWS, near_or_far
from search.designs.dirichlet import draw, reachable, tempered
from search.designs.furthest_apart import furthest_apart
from search.designs.samples import PROJECTIONS, sample_mixtures
from search.designs.tempered_dirichlet import POWER, STRENGTHS
from search.graded_space import GradedSpace
from search.mixture import Mixture


def design_grades(
    graded: GradedSpace, anchors: Anchors, wide: bool, count: int, generator: np.random.Generator
) -> list[Mixture]:
    """`count` distinct mixtures, fewer only where there are not so many.

    Of several draws the one furthest from all before it is kept, in square roots of shares, as in around_baselines. The
    first n of a longer design are the design of n.

    Args:
        anchors: of the whole space.
        wide: draw the pools' shares as tempered_dirichlet does, in place of around_baselines.
    """
    smaller = graded.smaller
    pool_anchors = Anchors(
        np.array([smaller.project(weights_R).array for weights_R in graded.reduce(anchors.weights_KD)]),
        graded.reduce(anchors.needed_D[None].astype(float))[0] > 0,
    )
    prior_R = reachable(smaller, tempered(smaller, POWER))

    def pools(number: int) -> Float[np.ndarray, "N R"]:
        if wide:
            return draw(smaller, prior_R, generator.choice(STRENGTHS, size=DRAWS), generator)
        return near_or_far(smaller, pool_anchors, number, generator)

    def draws(number: int) -> Float[np.ndarray, "N D"]:
        return graded.expand(pools(number), generator)

    return furthest_apart(graded, graded.space.domains, draws, anchors.weights_KD, count)


def sample_grades(
    graded: GradedSpace, trained_ND: Float[np.ndarray, "N D"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "Q D"]:
    """`count` mixtures among which the best is looked for.

    A third share a pool out by functions, among pools' shares from all over; a third by functions, among the pools'
    shares of trained mixtures; the rest are the trained ones and points between one of them and any other, in order
    since such mixtures are a convex set.
    """
    smaller = graded.smaller
    trained_ND = trained_ND[graded.feasible(trained_ND)]
    centre_1D = graded.project(graded.space.natural.array).array[None]
    trained_ND = trained_ND if len(trained_ND) else centre_1D
    trained_NR = graded.reduce(trained_ND)
    everywhere_NR = sample_mixtures(smaller, trained_NR[smaller.feasible(trained_NR)], count // 3, generator)
    again_NR = trained_NR[generator.integers(len(trained_NR), size=count // 3)]
    drawn_ND = graded.expand(np.vstack([everywhere_NR, again_NR]), generator)
    inside_N = graded.feasible(drawn_ND)
    outside_ND = generator.permutation(drawn_ND[~inside_N])[:PROJECTIONS]
    moved_ND = [graded.project(weights_D).array for weights_D in outside_ND]
    found_ND = np.vstack([trained_ND, drawn_ND[inside_N], *moved_ND])
    missing = max(count - len(found_ND), 0)
    one_ND = trained_ND[generator.integers(len(trained_ND), size=missing)]
    other_ND = found_ND[generator.integers(len(found_ND), size=missing)]
    share_N1 = generator.random((missing, 1))
    return np.vstack([found_ND, share_N1 * one_ND + (1 - share_N1) * other_ND])[:count]
