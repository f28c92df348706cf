"""The worlds of the benchmark: what is called the optimum has nothing below it."""

import numpy as np
import pytest
from jaxtyping import Float
from scipy.optimize import LinearConstraint, minimize

from benchmarks.worlds import CHEAP, TARGET, Scarce, Sparse


@pytest.mark.parametrize("domains", [5, 17, 64])
def test_no_search_over_the_simplex_ends_below_the_optimum(domains: int) -> None:
    world = Sparse(domains, seed=1, noise_share=0.0)

    def value(weights_D: Float[np.ndarray, " D"]) -> float:
        return float(world.value(weights_D[None])[0])

    found = minimize(
        value,
        np.full(domains, 1 / domains),
        bounds=[(0, 1)] * domains,
        constraints=LinearConstraint(np.ones((1, domains)), 1, 1),
        method="SLSQP",
        tol=1e-12,
        options={"maxiter": 500},
    )
    assert found.fun == pytest.approx(world.optimum, abs=1e-5)
    assert found.fun > world.optimum - 1e-6


@pytest.mark.parametrize("domains", [5, 17])
@pytest.mark.parametrize("peak", [6.0, float("inf")])
def test_where_domains_repeat_nothing_is_below_the_optimum_either(domains: int, peak: float) -> None:
    world = Scarce(domains, 1, 0.0, peak)

    def value(weights_D: Float[np.ndarray, " D"]) -> float:
        return float(world.value(weights_D[None])[0])

    weights_ND = np.random.default_rng(0).dirichlet(np.ones(domains), size=2000)
    value_N = world.value(weights_ND)
    assert value_N.min() > world.optimum
    found = minimize(
        value,
        np.ravel(weights_ND[int(value_N.argmin())]),
        bounds=[(0, 1)] * domains,
        constraints=LinearConstraint(np.ones((1, domains)), 1, 1),
        method="SLSQP",
        tol=1e-10,
        options={"maxiter": 500},
    )
    assert world.optimum - 1e-5 < found.fun < world.optimum + 0.01
    # All of the scarcest domain is far worse than the same domain fresh.
    scarcest = np.eye(domains)[[np.argmin(world.drawn_from(TARGET))]]
    assert (world.value(scarcest) > world.fresh.value(scarcest) + 0.1)[0] == np.isfinite(peak)


def test_a_cheap_run_repeats_as_the_target_does_or_hardly() -> None:
    matched, fresh = Scarce(5, 1, 0.0, 6.0), Scarce(5, 1, 0.0, 6.0, matched=False)
    assert [rung.supply for rung in matched.problem(1, 1).rungs] == [
        matched.drawn_from(CHEAP),
        matched.drawn_from(TARGET),
    ]
    assert np.allclose(
        np.array(matched.drawn_from(CHEAP)) / CHEAP.tokens, np.array(matched.drawn_from(TARGET)) / TARGET.tokens
    )
    assert fresh.drawn_from(CHEAP) == fresh.drawn_from(TARGET)
