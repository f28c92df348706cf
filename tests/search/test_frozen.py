import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jaxtyping import Float

from search.designs.anchors import Anchors
from search.designs.choices import DESIGNS, choices
from search.errors import SearchError
from search.frozen_space import FrozenSpace
from search.history import History
from search.mixture import Mixture
from search.problem import Problem
from search.randomness import generator
from search.space import DomainLimits, Group, Space
from search.strategies.base import Settings
from search.strategies.regmix import RegMix
from tests.search.worlds import SPACE, completed, problem

NAMES = ("a", "b", "c", "d", "e")
KEPT = ("b", "d")
OTHERS = ("a", "c", "e")


@st.composite
def frozen_spaces(draw: st.DrawFn) -> FrozenSpace:
    """Spaces of five domains of which two are kept, with minimums, maximums, supply and groups that admit a mixture."""
    limits = []
    for name in NAMES:
        minimum = draw(st.sampled_from([0.0, 0.0, 0.05]))
        maximum = draw(st.sampled_from([1.0, 0.6, 0.3]))
        limits.append(DomainLimits(name, draw(st.integers(1, 1000)), minimum, maximum))
    groups = draw(
        st.sampled_from(
            [
                (),
                (Group("others", ("a", "c"), maximum=0.5),),
                (Group("with the kept", ("a", "b", "d"), minimum=0.2, maximum=0.9),),
            ]
        )
    )
    kept = Mixture.of({name: draw(st.sampled_from([1.0, 2.0, 7.0])) for name in KEPT})
    try:
        return FrozenSpace(Space(tuple(limits), groups, draw(st.sampled_from([None, 600])), 4.0), kept)
    except SearchError:
        assume(False)
        raise


@settings(max_examples=12, deadline=None)
@given(frozen=frozen_spaces(), seed=st.integers(0, 1000), design=st.sampled_from(list(DESIGNS)))
def test_whatever_is_chosen_keeps_the_ratios_and_every_limit(frozen: FrozenSpace, seed: int, design: str) -> None:
    uniform = frozen.space.project(np.full(len(NAMES), 0.2))
    question = Problem(
        frozen.space, problem().rungs, problem().objective, {"proportional": uniform}, seed=0, kept=frozen.kept
    )
    rng = generator(seed, "test")
    offered, anchors = choices(question), Anchors.of(question.space, question.objective, question.baselines)
    trained_ND = rng.dirichlet(np.ones(len(NAMES)), size=5)
    candidates_ND = offered.sample(trained_ND, 90, rng)
    found = [
        *(mixture.array for mixture in offered.design(design, anchors, 4, rng)),
        *candidates_ND,
        *offered.near(candidates_ND[:5], 20, rng),
        *(offered.mixture(weights_D).array for weights_D in trained_ND),
        candidates_ND.mean(axis=0),
    ]
    for weights_D in found:
        mixture = Mixture.from_array(NAMES, weights_D)
        assert frozen.space.violations(mixture) == []
        together = mixture["b"] + mixture["d"]
        assert mixture["b"] == pytest.approx(frozen.kept["b"] * together, abs=1e-9)


@settings(max_examples=12, deadline=None)
@given(frozen=frozen_spaces(), seed=st.integers(0, 1000))
def test_no_mixture_with_these_ratios_is_lost(frozen: FrozenSpace, seed: int) -> None:
    rng = generator(seed, "test")
    weights_NR = rng.dirichlet(np.ones(4), size=50)
    inside_N = frozen.smaller.feasible(weights_NR)
    assert (frozen.space.feasible(frozen.expand(weights_NR)) == inside_N).mean() > 0.99  # but for the tolerance
    np.testing.assert_allclose(frozen.reduce(frozen.expand(weights_NR)), weights_NR, atol=1e-12)


def test_a_search_that_keeps_ratios_asks_and_answers_with_them() -> None:
    base = problem(trials=(16,))
    kept = Mixture.of({"web": 1.0, "books": 3.0})
    question = Problem(SPACE, base.rungs, base.objective, base.baselines, base.seed, kept=kept)
    strategy = RegMix(question, Settings(surrogate="quadratic"))
    asked = strategy.ask(History(), 100)
    answer = strategy.recommend(completed(asked))
    assert answer.method != "best observed"
    for mixture in (answer.mixture, *(trial.mixture for trial in asked if trial.origin == "design")):
        assert 3 * mixture["web"] == pytest.approx(mixture["books"])


def test_the_kept_domains_grow_until_the_first_reaches_its_maximum_or_supply() -> None:
    limits = (DomainLimits("a", 100), DomainLimits("b", 100, maximum=0.4), DomainLimits("c", 100))
    space = Space(limits, target_tokens=1000, max_epochs=5)
    by_maximum = FrozenSpace(space, Mixture.of({"a": 1.0, "b": 3.0})).smaller
    assert by_maximum.upper_D == pytest.approx([0.4 / 0.75, 0.5])
    by_supply = FrozenSpace(space, Mixture.of({"a": 3.0, "b": 1.0})).smaller
    assert by_supply.upper_D == pytest.approx([0.5 / 0.75, 0.5])


@pytest.mark.parametrize(
    ("kept", "limits", "says"),
    [
        ({"web": 1.0, "news": 1.0}, {}, "no domain is called news"),
        (dict.fromkeys(SPACE.domains, 1.0), {}, "nothing is left to search over"),
        ({"web": 1.0, "chat": 1.0}, {}, "group talk holds chat, but not all"),
        ({"web": 1.0, "books": 1.0}, {"web": (0.4, 1.0), "books": (0.0, 0.3)}, "ask for a sum of 0.8.* allow 0.6"),
        ({"web": 1.0, "books": 0.0}, {"books": (0.1, 1.0)}, "cannot keep their relative weights"),
    ],
)
def test_what_cannot_be_kept_is_said_so(
    kept: dict[str, float], limits: dict[str, tuple[float, float]], says: str
) -> None:
    bounded = tuple(
        DomainLimits(limit.name, limit.tokens, *limits.get(limit.name, (0.0, 1.0))) for limit in SPACE.limits
    )
    with pytest.raises(SearchError, match=says):
        FrozenSpace(Space(bounded, (Group("talk", ("chat", "code"), maximum=0.5),)), Mixture.of(kept))


def test_a_domain_kept_at_nothing_stays_at_nothing() -> None:
    frozen = FrozenSpace(SPACE, Mixture.of({"web": 1.0, "books": 0.0}))
    weights_NR: Float[np.ndarray, "N R"] = np.array([[0.5, 0.3, 0.2]])
    assert frozen.expand(weights_NR)[0].tolist() == [0.5, 0.3, 0.0, 0.2]
    assert frozen.reduce(np.array([[0.4, 0.3, 0.1, 0.2]]))[0] == pytest.approx([0.5, 0.3, 0.2])


def test_what_is_left_of_a_domain_by_an_optimiser_is_nothing() -> None:
    wanted = np.array([0.5, 0.3, 0.2 - 3e-8, 3e-8])
    chosen = choices(problem()).mixture(wanted)
    assert chosen.weights[3] == 0 and SPACE.contains(chosen)
    assert chosen.array == pytest.approx(wanted, abs=1e-7)
