"""Distances between samples, and the mixture of pools that is nearest to what is judged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float

from search.mixture import Mixture
from search.randomness import generator
from search.space import DomainLimits, Group, Space
from search.transport import distance, distances, mixture_distance, nearest_mixture

DIMENSIONS, POINTS, POOLS = 16, 128, 4
CENTRES = np.eye(POOLS, DIMENSIONS)


def sample(*parts: int, centre: Float[np.ndarray, " E"] | None = None) -> Float[np.ndarray, "P E"]:
    noise = 0.2 * generator("a sample", *parts).standard_normal((POINTS, DIMENSIONS))
    return noise + (np.zeros(DIMENSIONS) if centre is None else centre)


def pools(draw: int = 0) -> Float[np.ndarray, "K P E"]:
    """Each around a corner of its own."""
    return np.array([sample(draw, place, centre=CENTRES[place]) for place in range(POOLS)])


def judged(*places: int) -> Float[np.ndarray, "J P E"]:
    return np.array([sample(99, place, centre=CENTRES[place]) for place in places])


def space(*groups: Group, **limits: tuple[float, float]) -> Space:
    names = [f"p{place}" for place in range(POOLS)]
    return Space(tuple(DomainLimits(name, 100, *limits.get(name, (0.0, 1.0))) for name in names), groups)


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_distance_is_one(one: int, other: int) -> None:
    first, second, third = sample(one), sample(other, centre=CENTRES[0]), sample(one, other)
    assert distance(first, first) == 0
    assert distance(first, first[::-1]) == 0, "the order of points is none of a text's"
    assert distance(first, second) == distance(second, first) > 0
    assert distance(first, second) <= distance(first, third) + distance(third, second) + 1e-12


def test_moving_all_points_costs_what_it_is_long() -> None:
    points = sample(1)
    lengths = [np.mean([distance(points, points + step * axis) for axis in np.eye(DIMENSIONS)]) for step in (0.5, 1.0)]
    assert lengths[1] == pytest.approx(2 * lengths[0])
    # |<direction, step>| of a random direction as long as the root of the dimensions.
    assert lengths[1] == pytest.approx(np.sqrt(2 / np.pi), rel=0.1)


def test_each_pool_is_nearest_to_what_is_of_its_kind() -> None:
    found = distances(list(pools()), list(judged(*range(POOLS))))
    assert (found.argmin(axis=1) == np.arange(POOLS)).all()


@pytest.mark.parametrize(
    ("places", "weights", "expected"),
    [
        ((0,), (1.0,), (1.0, 0.0, 0.0, 0.0)),
        ((0, 2), (3.0, 1.0), (0.75, 0.0, 0.25, 0.0)),
        ((0, 1, 2, 3), (1.0, 1.0, 1.0, 1.0), (0.25, 0.25, 0.25, 0.25)),
    ],
)
def test_the_nearest_mixture_is_that_which_the_judged_text_is_made_of(
    places: tuple[int, ...], weights: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    found = nearest_mixture(space(), pools(), judged(*places), np.array(weights))
    np.testing.assert_allclose(found.array, expected, atol=0.06)
    again = nearest_mixture(space(), pools(), judged(*places), 10 * np.array(weights))
    assert again == found, "only proportions count"


def test_no_other_mixture_is_nearer() -> None:
    question = pools(), judged(0, 3), np.array([2.0, 1.0])
    found = nearest_mixture(space(), *question)
    least = mixture_distance(found.array, *question)
    others = generator("other mixtures").dirichlet(np.full(POOLS, 0.5), size=50)
    # The shares are rounded.
    assert least <= min(mixture_distance(weights, *question) for weights in others) + 2e-3


@given(st.integers(0, 1000))
@settings(max_examples=6, deadline=None)
def test_the_nearest_mixture_keeps_the_limits(seed: int) -> None:
    rng = generator("limits", seed)
    low, high = np.sort(rng.uniform(0, 0.3, POOLS)) / POOLS, rng.uniform(0.3, 1, POOLS)
    limits = {f"p{place}": (float(low[place]), float(high[place])) for place in range(POOLS)}
    narrow = space(Group("some", ("p0", "p1"), 0.1, float(rng.uniform(0.3, 0.6))), **limits)
    found = nearest_mixture(narrow, pools(seed), judged(0), np.array([1.0]))
    assert narrow.violations(found) == []


def test_pinned_shares_and_a_single_mixture_are_kept() -> None:
    pinned = space(p0=(1 / 3, 1 / 3))
    assert nearest_mixture(pinned, pools(), judged(0), np.array([1.0]))["p0"] == pytest.approx(1 / 3, abs=1e-9)
    only = space(**{f"p{place}": (0.25, 0.25) for place in range(POOLS)})
    assert nearest_mixture(only, pools(), judged(0), np.array([1.0])) == Mixture(only.domains, (0.25,) * POOLS)
