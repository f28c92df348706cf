import numpy as np
import pytest
from hypothesis import given, settings

from search.designs.anchors import Anchors
from search.designs.baselines import baselines
from search.designs.choices import DESIGNS
from search.designs.samples import sample_mixtures
from search.designs.tempered_dirichlet import tempered_dirichlet
from search.errors import SearchError
from search.mixture import Mixture
from search.objective import Objective, WeightedMean
from search.randomness import generator
from search.space import DomainLimits, Group, Space
from tests.search.spaces import spaces
from tests.search.worlds import SPACE, TIGHT

every_design = pytest.mark.parametrize("name", DESIGNS)
EVEN = WeightedMean(dict.fromkeys(SPACE.domains, 1.0))


def designed(name: str, space: Space, count: int, seed: int = 0, objective: Objective = EVEN) -> list[Mixture]:
    anchors = Anchors.of(space, objective, {each.name: each.mixture for each in baselines(space)})
    return DESIGNS[name](space, anchors, count, generator(seed, "design"))


@every_design
@settings(max_examples=25, deadline=None)
@given(space=spaces())
def test_every_mixture_of_a_design_is_feasible_and_new(name: str, space: Space) -> None:
    design = designed(name, space, 12)
    assert len(design) <= 12
    for index, mixture in enumerate(design):
        assert space.violations(mixture) == []
        assert all(mixture.total_variation(other) > 1e-4 for other in design[:index])


@settings(max_examples=15, deadline=None)
@given(spaces())
def test_every_candidate_is_feasible(space: Space) -> None:
    trained = np.array([baseline.mixture.array for baseline in baselines(space)])
    candidates = sample_mixtures(space, trained, 300, generator(0, "candidates"))
    assert candidates.shape == (300, len(space.domains))
    assert space.feasible(candidates).all()
    assert np.allclose(candidates.sum(axis=1), 1)


def test_candidates_reach_every_corner_of_a_space_with_one_dominant_domain() -> None:
    space = Space(tuple(DomainLimits(name, tokens) for name, tokens in zip("abc", (98, 1, 1), strict=True)))
    trained = space.natural.array[None]
    candidates = sample_mixtures(space, trained, 30_000, generator(0, "candidates"))
    for wanted in ([0.2, 0.4, 0.4], [0.0, 0.9, 0.1], [0.9, 0.05, 0.05]):
        assert (np.abs(candidates - wanted).sum(axis=1) / 2 < 0.1).sum() > 30


@every_design
@pytest.mark.parametrize("space", [SPACE, TIGHT], ids=["free", "tight"])
def test_a_longer_design_starts_with_the_shorter_one(name: str, space: Space) -> None:
    long = designed(name, space, 40, seed=7)
    assert len(long) == 40
    assert designed(name, space, 15, seed=7) == long[:15]
    assert designed(name, space, 15, seed=8) != long[:15]


def test_around_the_baselines_most_shares_are_halved_or_doubled_at_most() -> None:
    space = Space(tuple(DomainLimits(f"d{place}", 100) for place in range(9)))
    design = designed("around_baselines", space, 40, objective=WeightedMean(dict.fromkeys(space.domains, 1.0)))
    factors = np.array([mixture.array for mixture in design]) * 9
    assert ((factors > 0.4) & (factors < 2.5)).mean() > 0.7
    assert (factors > 0).mean() > 0.97
    far = [mixture.total_variation(space.natural) for mixture in design]
    assert np.median(far) < 0.4 < max(far)


def test_a_single_evaluation_set_draws_the_design_into_its_corner() -> None:
    space = Space(tuple(DomainLimits(f"d{place}", 100) for place in range(9)))
    design = designed("around_baselines", space, 40, objective=WeightedMean({"d3": 1.0}))
    wanted = np.array([mixture["d3"] for mixture in design])
    assert (wanted > 0.5).sum() >= 8 and (wanted < 0.3).sum() >= 8
    others = np.array([[mixture[f"d{place}"] for place in range(9) if place != 3] for mixture in design])
    assert (others == 0).mean() > 0.1


def test_evaluation_sets_of_no_domain_let_every_domain_be_left_out() -> None:
    design = designed("around_baselines", SPACE, 40, objective=WeightedMean({"exam": 1.0}))
    assert (np.array([mixture.array for mixture in design]) == 0).mean(axis=0).min() > 0.05


def test_a_design_reaches_from_nearly_one_domain_to_nearly_natural() -> None:
    design = tempered_dirichlet(SPACE, 200, generator(0, "design"))
    assert max(max(mixture.weights) for mixture in design) > 0.99
    assert min(mixture.total_variation(SPACE.natural) for mixture in design) < 0.1
    # Tempering: a domain of 1% of the supply gets far more than that on average.
    assert np.mean([mixture["chat"] for mixture in design]) > 0.03


def test_tiny_shares_are_zero() -> None:
    weights = np.array([mixture.array for mixture in tempered_dirichlet(SPACE, 100, generator(0, "design"))])
    assert (weights == 0).any()
    assert not ((weights > 0) & (weights < 2e-4)).any()


def test_sixty_four_domains_with_pins_caps_and_groups_still_give_the_whole_design() -> None:
    rng = np.random.default_rng(3)
    limits = [DomainLimits(f"d{index}", int(tokens)) for index, tokens in enumerate(1e9 * rng.lognormal(0, 2, size=64))]
    limits[5] = DomainLimits("d5", limits[5].tokens, 0.001, 0.001)
    supply = sum(limit.tokens for limit in limits)
    group = Group("some", tuple(f"d{index}" for index in range(10, 40)), 0.4, 0.4)
    space = Space(tuple(limits), (group,), target_tokens=supply // 2, max_epochs=3)
    design = tempered_dirichlet(space, 64, generator(0, "design"))
    assert len(design) == 64
    for mixture in design:
        assert space.violations(mixture) == []
        assert mixture["d5"] == pytest.approx(0.001)
    spread = np.std([mixture.array for mixture in design], axis=0)
    assert (spread > 1e-4).sum() > 50


def test_a_pinned_space_holds_one_mixture() -> None:
    space = Space((DomainLimits("a", 10, 0.3, 0.3), DomainLimits("b", 10, 0.7, 0.7)))
    assert tempered_dirichlet(space, 5, generator(0, "design")) == [Mixture.of({"a": 0.3, "b": 0.7})]


def test_baselines_are_what_their_names_say() -> None:
    found = {baseline.name: baseline.mixture.as_dict() for baseline in baselines(SPACE)}
    total = 9.6e9
    assert found["proportional"] == pytest.approx(
        {"web": 8e9 / total, "code": 1e9 / total, "books": 5e8 / total, "chat": 1e8 / total}
    )
    assert found["uniform"] == pytest.approx(dict.fromkeys(SPACE.domains, 0.25))
    roots = {limit.name: limit.tokens**0.5 for limit in SPACE.limits}
    assert found["temperature"] == pytest.approx({name: root / sum(roots.values()) for name, root in roots.items()})


def test_unimax_is_even_but_for_the_domains_that_run_out() -> None:
    space = Space(
        (DomainLimits("big", 1000), DomainLimits("small", 10), DomainLimits("middle", 400)), (), 600, max_epochs=4
    )
    [unimax] = baselines(space, ["unimax"])
    # small gives 4 * 10, the other two share the remaining 560.
    assert unimax.mixture.as_dict() == pytest.approx({"big": 280 / 600, "small": 40 / 600, "middle": 280 / 600})
    assert unimax.broken == ()


def test_an_infeasible_baseline_is_moved_and_says_so() -> None:
    space = Space((DomainLimits("a", 90), DomainLimits("b", 10, minimum=0.4)))
    [proportional] = baselines(space, ["proportional"])
    assert proportional.mixture.as_dict() == pytest.approx({"a": 0.6, "b": 0.4})
    assert proportional.broken == ("domain b: 0.1 is below its minimum 0.4",)


def test_an_unknown_baseline_is_named() -> None:
    with pytest.raises(SearchError, match="baseline 'best' does not exist"):
        baselines(SPACE, ["best"])
