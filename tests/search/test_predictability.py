"""What a card says before its numbers: whether a metric can be predicted, and what holds a share."""

from __future__ import annotations

import numpy as np
import pytest

from search.mixture import Mixture
from search.recommendation.predictability import RunNoise, bounds, predictability, run_noise
from search.recommendation.validation import Score
from search.space import DomainLimits, Space


def scored(spearman: float | None, r2: float | None) -> Score:
    return Score(spearman=spearman, rmse=1.0, r2=r2, coverage_80=0.8, coverage_95=0.95, basin=None)


def test_noise_is_what_runs_of_one_mixture_differ_by() -> None:
    rng = np.random.default_rng(0)
    mixture_N = np.repeat(np.arange(200), 3)
    values_N = 10.0 * mixture_N + 0.5 * rng.standard_normal(600)
    noise = run_noise(values_N, mixture_N)
    assert noise is not None
    assert noise.freedom == 400
    assert noise.sd == pytest.approx(0.5, rel=0.1)


def test_a_single_repeat_says_nothing_of_the_noise() -> None:
    assert run_noise(np.array([1.0, 1.0, 2.0, 3.0]), np.array([0, 0, 1, 2])) is None
    assert run_noise(np.array([1.0, 1.5, 0.5, 3.0]), np.array([0, 0, 0, 2])) is not None


@pytest.mark.parametrize(
    ("spearman", "r2", "noise_sd", "verdict", "ceiling"),
    [
        (0.9, 0.8, None, "predictable", None),
        (0.9, 0.4, None, "partly", None),
        # Most of the variance is noise: two fifths are nearly all that there is to explain.
        (0.7, 0.4, 0.7, "predictable", 0.51),
        (0.9, -0.2, None, "partly", None),
        (0.1, 0.6, None, "not shown", None),
        (None, None, 0.1, "not shown", 0.99),
        (0.9, 0.8, 2.0, "predictable", 0.0),
    ],
)
def test_a_word_for_a_metric(
    spearman: float | None, r2: float | None, noise_sd: float | None, verdict: str, ceiling: float | None
) -> None:
    noise = None if noise_sd is None else RunNoise(noise_sd, 10)
    found = predictability(scored(spearman, r2), 30, 1.0, noise)
    assert found.verdict == verdict
    assert found.explained == r2
    assert found.ceiling == (None if ceiling is None else pytest.approx(ceiling))


def test_every_share_on_a_bound_is_named_with_what_holds_it() -> None:
    space = Space(
        (
            DomainLimits("web", 1000, maximum=0.4),
            DomainLimits("code", 100),
            DomainLimits("books", 1000, minimum=0.1),
            DomainLimits("pinned", 1000, minimum=0.05, maximum=0.05),
            DomainLimits("papers", 1000),
            DomainLimits("free", 1000),
        ),
        target_tokens=1000,
        max_epochs=1.5,
    )
    mixture = Mixture(space.domains, (0.4, 0.15, 0.1, 0.05, 0.2, 0.1))
    trained_KD = np.array([[0.5, 0.1, 0.1, 0.05, 0.2, 0.05], [0.2, 0.2, 0.2, 0.05, 0.15, 0.2]])
    found = {bound.domain: str(bound) for bound in bounds(space, mixture, trained_KD)}
    assert found == {
        "web": "at its upper bound (max 40%)",
        "code": "at its upper bound (supply for 15%)",
        "books": "at its lower bound (min 10%)",
        "papers": "at the edge of the evidence (no run has more than 20%)",
    }


def test_a_share_below_all_that_was_trained_is_at_the_edge() -> None:
    space = Space((DomainLimits("web", 1), DomainLimits("code", 1)))
    trained_KD = np.array([[0.5, 0.5], [0.8, 0.2], [0.1, 0.9]])
    [web] = bounds(space, Mixture(space.domains, (0.1, 0.9)), trained_KD)[:1]
    assert (web.domain, web.kind, web.share) == ("web", "least trained", 0.1)
    assert bounds(space, Mixture(space.domains, (0.5, 0.5)), trained_KD) == ()


def test_a_domain_that_gets_nothing_is_at_its_lower_bound() -> None:
    space = Space((DomainLimits("web", 1), DomainLimits("code", 1)))
    found = bounds(space, Mixture(space.domains, (0.0, 1.0)), np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert str(found[0]) == "at its lower bound (min 0%)"
