"""The worlds of the benchmark: what is called the optimum has nothing below it."""

import numpy as np
import pytest
from jaxtyping import Float
from scipy.optimize import LinearConstraint, minimize

from benchmarks.worlds import Sparse


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
