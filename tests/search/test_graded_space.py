from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from search.designs.anchors import Anchors
from search.designs.choices import DESIGNS, choices
from search.errors import SearchError
from search.graded_space import GradedSpace
from search.history import History
from search.mixture import Mixture
from search.problem import Problem
from search.randomness import generator
from search.space import DomainLimits, Group, Space
from search.strategies import STRATEGIES
from tests.search.worlds import SPACE, measure, problem

POOLS = {"web": ("web.q1", "web.q2", "web.q3"), "code": ("code.q1", "code.q2")}
NAMES = (*POOLS["web"], "books", *POOLS["code"])


@st.composite
def graded_spaces(draw: st.DrawFn) -> GradedSpace:
    """Two pools in levels and another domain, with limits, supply and groups that admit a mixture in order."""
    limits = []
    for name in NAMES:
        minimum = draw(st.sampled_from([0.0, 0.0, 0.03]))
        maximum = draw(st.sampled_from([1.0, 0.5, 0.3]))
        limits.append(DomainLimits(name, draw(st.integers(50, 1000)), minimum, maximum))
    groups = draw(
        st.sampled_from(
            [
                (),
                (Group("web", POOLS["web"], maximum=0.6),),
                (Group("through a pool", ("web.q1", "books"), minimum=0.2, maximum=0.7),),
            ]
        )
    )
    try:
        return GradedSpace(Space(tuple(limits), groups, draw(st.sampled_from([None, 1000])), 4.0), POOLS)
    except SearchError:
        assume(False)
        raise


def question(graded: GradedSpace) -> Problem:
    middle = graded.project(graded.space.natural.array)
    given = problem()
    return Problem(graded.space, given.rungs, given.objective, {"proportional": middle}, seed=0, grades=graded.pools)


@settings(max_examples=15, deadline=None)
@given(graded=graded_spaces(), seed=st.integers(0, 1000), design=st.sampled_from(list(DESIGNS)))
def test_whatever_is_chosen_is_in_order_and_within_every_limit(graded: GradedSpace, seed: int, design: str) -> None:
    asked, rng = question(graded), generator(seed, "test")
    offered, anchors = choices(asked), Anchors.of(asked.space, asked.objective, asked.baselines)
    trained_ND = rng.dirichlet(np.ones(len(NAMES)), size=5)
    candidates_ND = offered.sample(trained_ND, 90, rng)
    found = [
        *(mixture.array for mixture in offered.design(design, anchors, 4, rng)),
        *candidates_ND,
        *offered.near(candidates_ND[:5], 20, rng),
        *(offered.mixture(weights_D).array for weights_D in trained_ND),
        candidates_ND.mean(axis=0),
    ]
    assert asked.feasible(np.array(found)).all()
    for weights_D in found:
        mixture = Mixture.from_array(NAMES, weights_D)
        assert graded.space.violations(mixture) == []
        for levels in POOLS.values():
            tokens_L = [graded.space.limits[NAMES.index(name)].tokens for name in levels]
            copies_L = np.array([mixture[name] for name in levels]) / tokens_L
            assert (np.diff(copies_L) <= 1e-4 * copies_L.max() + 1e-6).all()


def test_what_is_out_of_order_is_named() -> None:
    space = Space(tuple(DomainLimits(name, 100) for name in NAMES))
    graded = GradedSpace(space, POOLS)
    assert graded.out_of_order(space.natural) == []
    mixture = Mixture.of(dict(zip(NAMES, (3, 1, 2, 9, 1, 1.5), strict=True)))
    assert graded.out_of_order(mixture) == [("web.q2", "web.q3"), ("code.q1", "code.q2")]
    assert graded.out_of_order(graded.project(mixture.array)) == []


def test_a_longer_design_begins_with_the_shorter() -> None:
    space = Space(tuple(DomainLimits(name, 100) for name in NAMES))
    asked = question(GradedSpace(space, POOLS))
    anchors = Anchors.of(asked.space, asked.objective, asked.baselines)
    for name in DESIGNS:
        short, long = (choices(asked).design(name, anchors, count, generator(1, "test")) for count in (4, 9))
        assert long[:4] == short
        assert len(set(long)) == 9


def test_a_search_never_asks_for_a_level_more_often_than_for_a_better_one() -> None:
    given = problem()
    grades = {"pool": (SPACE.domains[0], SPACE.domains[1])}
    asked = replace(given, grades=grades, rungs=(replace(given.rungs[-1], trials=9),))
    searching, history = STRATEGIES["bayes"](asked), History()
    while trials := searching.ask(history, 4):
        for trial in trials:
            history = history.closed(trial, measure(trial))
    chosen = {trial.mixture.reordered(SPACE.domains) for trial in history.trials} - set(asked.baselines.values())
    assert len(chosen) >= 8
    assert asked.feasible(np.array([mixture.array for mixture in chosen])).all()
    assert asked.feasible(searching.recommend(history).mixture.array[None]).all()


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        ({"web": ("web.q1", "web.q9")}, "no domain is called web.q9"),
        ({"web": ("web.q1",)}, "a single level has no order"),
        ({"web": ("web.q1", "web.q2"), "more": ("web.q2", "books")}, "web.q2 is named twice"),
    ],
)
def test_levels_that_have_no_order_are_refused(pools: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(SearchError, match=message):
        GradedSpace(Space(tuple(DomainLimits(name, 100) for name in NAMES)), pools)


def test_limits_that_ask_for_the_worse_level_are_refused() -> None:
    limits = [DomainLimits(name, 100) for name in NAMES]
    limits[1] = DomainLimits("web.q2", 100, minimum=0.3)
    limits[0] = DomainLimits("web.q1", 100, maximum=0.1)
    with pytest.raises(SearchError, match="as often as worse ones"):
        GradedSpace(Space(tuple(limits)), POOLS)
