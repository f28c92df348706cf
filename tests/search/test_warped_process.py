"""Warped processes over one fidelity and several, and the choice that is passed on from fit to fit."""

from itertools import pairwise

import numpy as np
import pytest
from jaxtyping import Float, Int
from scipy.stats import spearmanr

from search.gaussian_process.hyperparameters import Hyperparameters
from search.gaussian_process.process import ITERATIONS
from search.surrogates import warped_process
from search.surrogates.rows import LEAST_AT_FIDELITY, Rows
from search.surrogates.warp import all_warps
from search.surrogates.warped_process import MOST_CHOSEN, Component, WarpedProcess, choose, unwarped

RNG = np.random.default_rng(0)
WEIGHTS = RNG.dirichlet(np.full(4, 0.7), size=300)
UNSEEN = RNG.dirichlet(np.full(4, 0.7), size=100)
# Nats: the choice is by marginal likelihoods, which heights of modes order nearly the same.
NEARLY = 2.0


def truth(weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    return np.asarray(2 + (weights_ND @ np.array([0.1, 1.0, 0.4, 0.2]) + 0.05) ** -0.3)


VALUES = truth(WEIGHTS) + 0.01 * RNG.standard_normal(300)


def table(values_N: Float[np.ndarray, " N"], fidelity_N: Int[np.ndarray, " N"] | None = None) -> Rows:
    runs = len(values_N)
    fidelity_N = np.zeros(runs, dtype=np.int64) if fidelity_N is None else fidelity_N
    return Rows(WEIGHTS[:runs], values_N, fidelity_N, np.arange(runs) % 5)


def two_fidelities(cheap: int, dear: int) -> Rows:
    """Cheap runs with another unit, and a few at the target."""
    fidelity_N = (np.arange(cheap + dear) >= cheap).astype(np.int64)
    return table(np.where(fidelity_N == 0, 3 + 1.5 * VALUES[: cheap + dear], VALUES[: cheap + dear]), fidelity_N)


def predicted(process: WarpedProcess) -> Float[np.ndarray, "2 Q"]:
    found = process.predict(UNSEEN)
    return np.array([found.mean_N, found.sd_N])


@pytest.mark.parametrize("rows", [table(VALUES[:40]), table(VALUES), two_fidelities(60, 8), two_fidelities(250, 50)])
def test_a_choice_for_the_same_runs_is_taken_and_changes_nothing(rows: Rows) -> None:
    """So a search that was stopped asks what it would have asked without the stop."""
    once = warped_process.fit(rows, 0)
    again = choose(rows, 0, once.choice)
    assert again.reference is once.choice.reference
    np.testing.assert_array_equal(predicted(warped_process.fit(rows, 0, again)), predicted(once))


def test_a_run_that_is_not_chosen_on_leaves_the_choice_and_what_follows_from_it() -> None:
    first = table(VALUES[:MOST_CHOSEN])

    def with_one_more(run: int) -> Rows:
        return table(VALUES).select(np.append(np.arange(MOST_CHOSEN), run))

    unchosen = (with_one_more(run) for run in range(MOST_CHOSEN, 300))
    rows = next(rows for rows in unchosen if set(rows.informative(MOST_CHOSEN, 0).values_N) == set(first.values_N))
    passed_on = choose(rows, 0, choose(first, 0))
    assert passed_on.chosen_on(first)
    again, anew = warped_process.fit(rows, 0, passed_on), warped_process.fit(rows, 0)
    np.testing.assert_array_equal(predicted(again), predicted(anew))


def test_a_choice_for_other_runs_is_made_anew() -> None:
    earlier = choose(table(VALUES[:39]), 0)
    found = choose(table(VALUES[:40]), 0, earlier)
    assert len(found.chosen) == 40
    assert found.reference is not earlier.reference
    # The lowest run is informative: where its value changes, so may the choice.
    moved = VALUES.copy()
    moved[VALUES.argmin()] -= 0.1
    assert not choose(table(VALUES), 0).chosen_on(choose(table(moved), 0).chosen)


@pytest.mark.parametrize(
    "values_N", [VALUES[:30], VALUES[:80], -VALUES[:80], VALUES[:80] ** 4, RNG.permutation(VALUES[:60])]
)
def test_the_warps_that_are_not_tried_would_not_have_been_the_best(values_N: Float[np.ndarray, " N"]) -> None:
    rows = table((values_N - values_N.mean()) / values_N.std())
    best = choose(rows, 0).reference[0]
    start = Hyperparameters.start(best.hyperparameters.lengths)
    every = [Component(1.0, warp, start).fit(rows, ITERATIONS) for warp in all_warps(rows.values_N)]
    height = {
        (part.warp.gap, part.warp.sign): part.log_density(part.process.log_posterior, rows.values_N) for part in every
    }
    assert height[best.warp.gap, best.warp.sign] > max(height.values()) - NEARLY


def test_further_runs_of_another_fidelity_leave_the_choice_at_the_reference() -> None:
    fewer, more = two_fidelities(60, 8), two_fidelities(60, 9)
    earlier = choose(fewer, 0)
    assert choose(more, 0, earlier).reference is earlier.reference


def test_cheap_runs_in_another_unit_teach_the_target() -> None:
    both, alone = warped_process.fit(two_fidelities(60, 8), 0), warped_process.fit(table(VALUES[60:68]), 0)
    assert both.target == 1
    error, error_alone = (np.abs(each.predict(UNSEEN).mean_N - truth(UNSEEN)).mean() for each in (both, alone))
    assert error < 0.3 * error_alone
    # By the cheap runs and the line alone, too.
    assert spearmanr(both.carried_over(UNSEEN), truth(UNSEEN)).statistic > 0.95
    assert 0.8 < both.explained < 1


def test_of_many_runs_each_is_known_though_few_were_chosen_on() -> None:
    process = warped_process.fit(table(VALUES), 0)
    assert len(process.choice.chosen) == MOST_CHOSEN
    assert [len(part.process.data.values_N) for part in process.parts] == [300]
    error_N = process.predict(UNSEEN).mean_N - truth(UNSEEN)
    assert np.sqrt((error_N**2).mean()) < 0.006


def test_shares_are_of_one_and_the_best_part_is_first() -> None:
    for rows in (table(VALUES[:30]), two_fidelities(40, 10)):
        shares = [part.likelihood_part for part in warped_process.fit(rows, 0).parts]
        assert sum(shares) == pytest.approx(1)
        assert shares == sorted(shares, reverse=True)


def test_a_single_component_without_a_warp_has_the_length_scales_asked_for() -> None:
    for lengths in (1, 4):
        [part] = warped_process.fit(table(VALUES[:40]), 0, unwarped(table(VALUES[:40]), 0, lengths)).parts
        assert part.warp.identity
        assert len(part.process.hyperparameters.log_length_G) == lengths


def test_a_further_run_displaces_one_informative_run_at_most() -> None:
    chosen = [set(table(VALUES[:runs]).informative(96, 0).values_N) for runs in range(120, 151)]
    assert all(len(one) == 96 for one in chosen)
    assert max(len(one - other) for one, other in pairwise(chosen)) == 1


def test_the_extremes_are_informative_and_each_fidelity_has_its_part() -> None:
    few = two_fidelities(260, 40).informative(64, 0)
    assert np.bincount(few.fidelity_N).tolist() == [64 * 260 // 300, LEAST_AT_FIDELITY]
    rows = table(VALUES)
    lowest_and_highest = set(np.sort(VALUES)[[0, 1, -2, -1]])
    assert lowest_and_highest <= set(rows.informative(64, 0).values_N)
    assert rows.informative(300, 0) is rows
