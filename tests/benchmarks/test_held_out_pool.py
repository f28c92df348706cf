"""A pool that is left out of the runs: in a world where neighbours are worth the same, neighbours foretell it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.held_out_pool import Texts, foretold, guesses, mean_worth, worth_of_neighbours
from benchmarks.worlds import Laws
from search.randomness import generator

POOLS, DIMENSIONS, POINTS = 6, 8, 128
# Two kinds, three pools of each.
KIND = np.array([0, 0, 0, 1, 1, 1])


@pytest.fixture(scope="module")
def texts() -> Texts:
    rng = generator("texts of pools")
    centres = np.eye(2, DIMENSIONS)[KIND]
    points, sets = (
        centres[:, None] + 0.1 * rng.standard_normal((POOLS, POINTS, DIMENSIONS)) for _ in ("pools", "sets")
    )
    apart = np.where(KIND[:, None] == KIND, 0.05, 0.8) * ~np.eye(POOLS, dtype=bool)
    return Texts(points, sets, apart, np.full(POOLS, 1e6))


@pytest.fixture(scope="module")
def world() -> Laws:
    """A pool's neighbour is worth a third of itself, any other next to nothing."""
    worth = np.where(KIND[:, None] == KIND, 0.3, 0.001)
    np.fill_diagonal(worth, 1.0)
    return Laws(np.ones(POOLS), np.full(POOLS, 0.5), np.full(POOLS, 0.3), worth)


def test_neighbours_foretell_what_a_pool_is_worth_better_than_the_mean_of_all(world: Laws, texts: Texts) -> None:
    pool, others = 5, np.arange(5)
    floor, height, power = (each[others] for each in (world.floor_M, world.height_M, world.power_M))
    known = Laws(floor, height, power, world.worth_MD[np.ix_(others, others)])
    weights = generator("mixtures").dirichlet(np.ones(POOLS), size=50)
    errors = {
        how: np.abs(foretold(known, texts.apart_DD, pool, how).losses(weights) - world.losses(weights)).mean()
        for how in (mean_worth, worth_of_neighbours)
    }
    assert errors[worth_of_neighbours] < errors[mean_worth]


def test_without_its_own_pool_a_set_is_best_served_by_its_neighbour(world: Laws, texts: Texts) -> None:
    found = guesses(world, texts, metric=0)
    assert found["nearest pool"] == 0
    assert found["transport"] < found["natural"] == pytest.approx(found["even"])
