"""One share is moved, and the others give way."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.errors import SearchError
from search.frozen_space import FrozenSpace
from search.give_way import give_way
from search.mixture import Mixture
from search.space import DomainLimits, Group, Space
from tests.search.spaces import spaces

FREE = Space(tuple(DomainLimits(name, 10) for name in "abcd"))
START = Mixture.of({"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1})
CLOSE = 2e-6  # what bounds may give, twice


def inside(space: Space, seed: int) -> Mixture:
    return space.project(np.random.default_rng(seed).dirichlet(np.full(len(space.domains), 0.5)))


def test_what_one_takes_the_others_give_alike() -> None:
    moved = give_way(FREE, START, "a", 0.55)
    assert moved.as_dict() == pytest.approx({"a": 0.55, "b": 0.25, "c": 0.15, "d": 0.05})


def test_who_has_nothing_left_gives_no_more() -> None:
    moved = give_way(FREE, START, "a", 0.85)
    assert moved.as_dict() == pytest.approx({"a": 0.85, "b": 0.125, "c": 0.025, "d": 0.0})


def test_held_domains_keep_their_shares() -> None:
    moved = give_way(FREE, START, "a", 0.55, held=["b", "d"])
    assert moved.as_dict() == pytest.approx({"a": 0.55, "b": 0.3, "c": 0.05, "d": 0.1})


def test_a_share_goes_as_far_as_what_is_held_and_the_limits_let_it() -> None:
    moved = give_way(FREE, START, "a", 0.9, held=["b", "d"])
    assert moved.as_dict() == pytest.approx({"a": 0.6, "b": 0.3, "c": 0.0, "d": 0.1}, abs=CLOSE)
    limited = Space((DomainLimits("a", 10, 0, 0.5), *FREE.limits[1:]), (Group("rare", ("c", "d"), 0.25, 1),))
    assert give_way(limited, START, "a", 0.9)["a"] == pytest.approx(0.5, abs=CLOSE)
    moved = give_way(limited, START, "b", 0.9, held=["a"])
    assert moved.as_dict() == pytest.approx({"a": 0.4, "b": 0.35, "c": 0.175, "d": 0.075}, abs=CLOSE)


def test_where_all_others_are_held_nothing_moves() -> None:
    assert give_way(FREE, START, "a", 0.9, held=["b", "c", "d"]).total_variation(START) < CLOSE


def test_what_is_held_outside_the_limits_has_to_give_way() -> None:
    limited = Space((DomainLimits("a", 10, 0, 0.3), *FREE.limits[1:]))
    moved = give_way(limited, START, "b", 0.2, held=["a"])
    assert moved["a"] <= 0.3 + CLOSE
    assert moved["b"] == pytest.approx(0.2)


def test_kept_domains_move_together() -> None:
    kept = Mixture.of({"c": 2, "d": 1})
    moved = give_way(FREE, START, "d", 0.2, kept=kept)
    assert moved["c"] == pytest.approx(0.4)
    assert FrozenSpace(FREE, kept).keeps(moved.array[None])[0]


def test_a_domain_that_is_not_there() -> None:
    with pytest.raises(SearchError, match="no domain is called e"):
        give_way(FREE, START, "e", 0.5)


@settings(max_examples=60, deadline=None)
@given(spaces(), st.integers(0, 10**6), st.floats(0, 1), st.data())
def test_the_result_is_feasible_and_none_with_that_share_is_nearer(
    space: Space, seed: int, share: float, data: st.DataObject
) -> None:
    start = inside(space, seed)
    domain = data.draw(st.sampled_from(space.domains))
    held = data.draw(st.sets(st.sampled_from(space.domains)).map(lambda names: names - {domain}))
    moved = give_way(space, start, domain, share, held)
    assert space.violations(moved) == []
    assert all(moved[name] == pytest.approx(start[name], abs=10 * CLOSE) for name in held)
    if not held:
        place = space.domains.index(domain)
        reached = min(max(share, space.least_D[place]), space.most_D[place])
        assert moved[domain] == pytest.approx(reached, abs=10 * CLOSE)
    for other_seed in range(4):
        # As it would be given way to from elsewhere.
        other = give_way(space, inside(space, other_seed), domain, moved[domain])
        if any(abs(other[name] - start[name]) > CLOSE for name in held) or abs(other[domain] - moved[domain]) > CLOSE:
            continue
        # On a convex set the nearest point makes no acute angle with any other point of it.
        assert (start.array - moved.array) @ (other.array - moved.array) < 1e-4


@settings(max_examples=40, deadline=None)
@given(spaces(), st.integers(0, 10**6), st.data())
def test_a_share_that_stays_moves_nothing(space: Space, seed: int, data: st.DataObject) -> None:
    start = inside(space, seed)
    domain = data.draw(st.sampled_from(space.domains))
    assert give_way(space, start, domain, start[domain]).total_variation(start) < 10 * CLOSE


def test_it_is_fast_enough_for_a_slider() -> None:
    names = tuple(f"d{number}" for number in range(17))
    space = Space(
        tuple(DomainLimits(name, 10, 0.01, 0.4) for name in names),
        (Group("some", names[:5], 0.1, 0.5), Group("others", names[3:9], 0.2, 0.6)),
    )
    start = inside(space, 0)
    give_way(space, start, names[0], 0.2)
    began = time.perf_counter()
    for step in range(20):
        give_way(space, start, names[0], step / 50, held=names[5:8])
    assert (time.perf_counter() - began) / 20 < 0.1  # seconds; some 10 ms, on a machine that others use
