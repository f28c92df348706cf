import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float

from search.designs.baselines import baselines
from search.errors import SearchError
from search.mixture import Mixture
from search.space import DomainLimits, Group, Space
from tests.search.spaces import spaces

BILLION = 10**9
ABC = tuple(DomainLimits(name, 10) for name in "abc")


def points(space: Space, count: int) -> Float[np.ndarray, "N D"]:
    return np.random.default_rng(0).dirichlet(np.full(len(space.domains), 0.3), size=count)


@settings(max_examples=50, deadline=None)
@given(spaces())
def test_a_projection_is_feasible_and_no_feasible_mixture_is_nearer(space: Space) -> None:
    projected = [space.project(weights).array for weights in points(space, 6)]
    for wanted, nearest in zip(points(space, 6), projected, strict=True):
        assert space.violations(Mixture.from_array(space.domains, nearest)) == []
        for other in projected:
            # On a convex set the nearest point makes no acute angle with any other point of it.
            assert (wanted - nearest) @ (other - nearest) < 1e-6


@settings(max_examples=15, deadline=None)
@given(spaces())
def test_projecting_a_feasible_mixture_leaves_it_alone(space: Space) -> None:
    inside = space.project(points(space, 1)[0])
    assert space.project(inside.array).total_variation(inside) < 1e-6


def test_supply_caps_a_share_at_the_most_epochs() -> None:
    space = Space((DomainLimits("web", 10 * BILLION), DomainLimits("books", BILLION)), (), 10 * BILLION, 4)
    assert space.upper_D.tolist() == [1.0, 0.4]
    assert space.contains(Mixture.of({"web": 0.6, "books": 0.4}))
    [violation] = space.violations(Mixture.of({"web": 0.5, "books": 0.5}))
    assert violation == "domain books: 0.5 is above 0.4, which 4 epochs of its 1B tokens give"


def test_a_domain_may_have_epochs_of_its_own() -> None:
    limits = (DomainLimits("web", 10 * BILLION), DomainLimits("books", BILLION, max_epochs=16))
    space = Space(limits, (), 40 * BILLION, 4)
    assert space.max_epochs_D.tolist() == [4, 16]
    assert space.upper_D.tolist() == [1.0, 0.4]
    assert (space.most_epochs("web"), space.most_epochs("books")) == (4, 16)
    [violation] = space.violations(Mixture.of({"web": 0.5, "books": 0.5}))
    assert violation == "domain books: 0.5 is above 0.4, which 16 epochs of its 1B tokens give"
    unlimited = Space(limits, (), 40 * BILLION)
    assert unlimited.upper_D.tolist() == [1.0, 0.4], "the domain's own epochs need no others"
    assert Space(limits, ()).upper_D.tolist() == [1.0, 1.0], "without a target nothing is repeated"


def test_unimax_gives_scarce_domains_their_own_epochs() -> None:
    limits = (DomainLimits("web", 100 * BILLION), DomainLimits("books", BILLION, max_epochs=16))
    [found] = baselines(Space(limits, (), 100 * BILLION, 4), ("unimax",))
    assert found.mixture["books"] == pytest.approx(0.16)


def test_a_supply_that_is_just_enough_leaves_the_natural_mixture() -> None:
    space = Space(tuple(DomainLimits(f"d{index}", 10**6 + 7 * index) for index in range(30)), (), 30_003_045, 1)
    assert space.project(points(space, 1)[0]).total_variation(space.natural) < 1e-6


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 100), min_size=2, max_size=8), st.floats(-0.9e-6, 0.9e-6))
def test_pins_that_miss_one_by_less_than_the_tolerance_leave_a_mixture(masses: list[int], miss: float) -> None:
    shares = np.array(masses) / sum(masses)
    shares[shares.argmax()] += miss
    space = Space(tuple(DomainLimits(f"d{index}", 10, share, share) for index, share in enumerate(shares)))
    assert np.isfinite([space.least_D, space.most_D]).all()
    assert space.violations(space.project(points(space, 1)[0])) == []


@pytest.mark.parametrize(
    "space",
    [
        Space((DomainLimits("a", 9_999_995), DomainLimits("b", 10_000_000)), (), 20_000_005, 1),
        Space(ABC, (Group("ab", ("a", "b"), 0.6667), Group("c", ("c",), 0.3333005))),
        Space(ABC, (Group("ab", ("a", "b"), 0, 0.6667), Group("c", ("c",), 0, 0.3332995))),
    ],
    ids=["supply", "minimums of groups", "maximums of groups"],
)
def test_other_bounds_that_nearly_meet_leave_a_mixture_too(space: Space) -> None:
    assert np.isfinite([space.least_D, space.most_D]).all()
    assert space.violations(space.project(points(space, 1)[0])) == []


def test_epochs_count_how_often_a_domain_is_read() -> None:
    space = Space((DomainLimits("web", 8 * BILLION), DomainLimits("books", BILLION)), (), 10 * BILLION, 4)
    epochs = space.epochs(Mixture.of({"web": 0.8, "books": 0.2}))
    assert epochs == {"web": pytest.approx(1.0), "books": pytest.approx(2.0)}


def test_epochs_need_a_number_of_tokens() -> None:
    space = Space((DomainLimits("web", BILLION),))
    with pytest.raises(SearchError, match="epochs of an unknown number of tokens"):
        space.epochs(space.natural)


def test_violations_name_every_broken_constraint() -> None:
    space = Space(
        (DomainLimits("a", 5, minimum=0.3), DomainLimits("b", 5, maximum=0.5), DomainLimits("c", 5)),
        (Group("ab", ("a", "b"), maximum=0.6), Group("c", ("c",), minimum=0.4)),
    )
    assert space.violations(Mixture.of({"c": 0.1, "b": 0.8, "a": 0.1})) == [
        "domain a: 0.1 is below its minimum 0.3",
        "domain b: 0.8 is above its maximum 0.5",
        "group ab: 0.9 is above its maximum 0.6",
        "group c: 0.1 is below its minimum 0.4",
    ]


@pytest.mark.parametrize(
    ("limits", "groups", "message", "hint"),
    [
        ([("a", 10, 0.6, 1), ("b", 10, 0.6, 1)], [], "minimums of the domains sum to 1.2", "until they sum to 1"),
        ([("a", 10, 0, 0.4), ("b", 10, 0, 0.4)], [], "maximums of the domains sum to 0.8", "raise"),
        ([("a", 10, 0.5, 0.4)], [], "domain a: min 0.5 is above max 0.4", "lower min or raise max"),
        ([("a", 10, 0, 1.5)], [], "domain a: max 1.5 is not a share", "between 0 and 1"),
        ([("a", 0, 0, 1)], [], "domain a: a supply of 0 tokens", "remove it"),
        ([("a", 10, 0, 1), ("a", 10, 0, 1)], [], "domains [a, a] must be named, each once", ""),
        ([("a", 10, 0, 1)], [("g", ("z",), 0, 1)], "group g: no domain is called z", "choose from a"),
        (
            [("a", 10, 0, 0.2), ("b", 10, 0, 1)],
            [("g", ("a",), 0.5, 1)],
            "group g: min 0.5 is above 0.2",
            "lower groups.g.min",
        ),
        (
            [("a", 10, 0.3, 1), ("b", 10, 0, 1)],
            [("g", ("a",), 0, 0.1)],
            "group g: max 0.1 is below 0.3",
            "raise groups.g.max",
        ),
    ],
)
def test_an_empty_space_is_refused_with_the_numbers_and_a_remedy(
    limits: list[tuple[str, int, float, float]],
    groups: list[tuple[str, tuple[str, ...], float, float]],
    message: str,
    hint: str,
) -> None:
    with pytest.raises(SearchError) as error:
        Space(tuple(DomainLimits(*limit) for limit in limits), tuple(Group(*group) for group in groups))
    assert message in error.value.message
    assert hint in error.value.hint


def test_too_small_a_supply_says_how_many_tokens_there_are() -> None:
    with pytest.raises(SearchError) as error:
        Space((DomainLimits("a", 125_000_000), DomainLimits("b", 200_000_000)), (), 2 * BILLION, 4)
    assert error.value.message.startswith("the supply is too small for target_tokens 2B: at most 4 epochs")
    assert "give 1.3B tokens" in error.value.message
    assert "lower target_tokens" in error.value.hint


def test_a_minimum_above_the_supply_is_named() -> None:
    with pytest.raises(SearchError, match=r"domain a: min 0.3 is above 0.2, all that 4 epochs of its 100M tokens"):
        Space((DomainLimits("a", 10**8, 0.3), DomainLimits("b", 10 * BILLION)), (), 2 * BILLION, 4)


def test_only_the_groups_that_clash_are_named() -> None:
    limits = tuple(DomainLimits(name, 10) for name in "abc")
    groups = (Group("ab", ("a", "b"), 0.6), Group("loose", ("b", "c"), 0.1), Group("c", ("c",), 0.5))
    with pytest.raises(SearchError) as error:
        Space(limits, groups)
    assert "ab (0.6 to 1), c (0.5 to 1)" in error.value.message
    assert "loose" not in error.value.message
