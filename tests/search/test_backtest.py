"""Known and left out: no mixture is on both sides, and controls tell what is leaked from what is learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float

from search.backtest import (
    Backtest,
    by_chance,
    deal,
    left_out,
    nearest_run,
    over_subsets,
    score_subset,
    scramble,
)
from search.fidelity import Fidelity
from search.mixture import Mixture
from search.objective import WeightedMean
from search.problem import PROPORTIONAL, Problem, Rung
from search.runs import Runs
from search.space import DomainLimits, Space
from search.surrogates.base import Fitted, Prediction, SingleScale
from search.surrogates.rows import Rows

DOMAINS = ("web", "code", "books")
SMALL, LARGE = Fidelity("small", 1, 1, 1.0), Fidelity("large", 1, 1, 10.0)
BEST = np.array([3, 2, 1]) / 6
UNIFORM = Mixture(DOMAINS, (1 / 3, 1 / 3, 1 / 3))


def made_up(weights_ND: Float[np.ndarray, "N D"], loss_N: Float[np.ndarray, " N"], large: int | None = None) -> Runs:
    """Runs of which the last `large`, or all, are of the target."""
    count = len(loss_N)
    large = count if large is None else large
    return Runs(
        names=tuple(f"run {place}" for place in range(count)),
        domains=DOMAINS,
        metrics=("loss",),
        fidelities=(SMALL, LARGE),
        weights_ND=weights_ND,
        fidelity_N=(np.arange(count) >= count - large).astype(np.int64),
        values_NM=loss_N[:, None],
    )


def world(count: int, seed: int, effect: float = 4.0, noise: float = 0.05) -> Runs:
    rng = np.random.default_rng(seed)
    weights_ND = rng.dirichlet(np.ones(3), count)
    return made_up(weights_ND, 3 + effect * ((weights_ND - BEST) ** 2).sum(axis=1) + noise * rng.standard_normal(count))


def problem() -> Problem:
    return Problem(
        space=Space(tuple(DomainLimits(name, 1) for name in DOMAINS)),
        rungs=(Rung(LARGE, 0),),
        objective=WeightedMean({"loss": 1.0}),
        baselines={PROPORTIONAL: UNIFORM},
        seed=0,
    )


@dataclass(frozen=True, eq=False)
class Remembered(Fitted[None]):
    rows: Rows
    choice: None = None

    def predict(self, weights_ND: Float[np.ndarray, "N D"]) -> Prediction:
        apart_NK = np.abs(weights_ND[:, None] - self.rows.weights_ND).sum(axis=2)
        return Prediction(self.rows.values_N[apart_NK.argmin(axis=1)], np.ones(len(weights_ND)))


class Nearest(SingleScale[None]):
    """What the nearest known mixture measured: whatever leaks, it sees."""

    fewest_runs = 1

    def _fit_alike(self, rows: Rows, choice: None) -> Remembered:
        return Remembered(rows)


def scrambled_correlations(runs: Runs, known: int, subsets: int = 5) -> tuple[Float[np.ndarray, " K"], int]:
    """Of the nearest neighbour; and over how many mixtures."""
    reference, found = nearest_run(runs, UNIFORM), []
    for subset in range(subsets):
        dealt_runs = scramble(runs, (0, subset))
        dealt = deal(dealt_runs, known, reference, (0, subset))
        out = dealt_runs.select(dealt.left_out_N)
        of_reference = dealt_runs.select(np.array([reference.row]))
        score = score_subset(
            Nearest(), problem().objective, dealt.known_to(dealt_runs, known), out, of_reference, (0, subset)
        )
        found.append(score.spearman)
    return np.array(found), left_out(runs, known, reference)


@st.composite
def tables(draw: st.DrawFn) -> Runs:
    """Mixtures with one to three runs each, at either fidelity or both."""
    mixtures = draw(st.integers(12, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    place_N = np.repeat(np.arange(mixtures), rng.integers(1, 4, mixtures))
    fidelity_N = rng.integers(0, 2, len(place_N))
    fidelity_N[0] = 1
    order_N = np.argsort(fidelity_N, kind="stable")
    weights_ND = rng.dirichlet(np.ones(3), mixtures)[place_N[order_N]]
    return made_up(weights_ND, rng.standard_normal(len(place_N)), int(fidelity_N.sum()))


@given(runs=tables(), seed=st.integers(0, 100), known=st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_no_mixture_is_both_known_and_left_out(runs: Runs, seed: int, known: int) -> None:
    reference = nearest_run(runs, UNIFORM)
    dealt = deal(runs, known, reference, (seed, 0))
    largest = dealt.known_to(runs, known)
    known_rows = {row.tobytes() for row in largest.weights_ND}
    out_rows = {row.tobytes() for row in runs.weights_ND[dealt.left_out_N]}
    assert not known_rows & out_rows
    # All of a mixture's runs, cheap ones too, are on its side.
    assert len(largest) == sum(row.tobytes() in known_rows for row in runs.weights_ND)
    assert runs.weights_ND[reference.row].tobytes() in known_rows
    assert runs.at_target_N[dealt.left_out_N].all()
    assert left_out(runs, known, reference) == len(out_rows)
    # The fewer that are known are among the more.
    fewer = dealt.known_to(runs, max(known // 2, 1))
    assert set(fewer.names) <= set(largest.names)


def test_a_small_subset_has_its_part_of_the_target() -> None:
    rng = np.random.default_rng(0)
    runs = made_up(rng.dirichlet(np.ones(3), 100), rng.standard_normal(100), large=30)
    dealt = deal(runs, 60, nearest_run(runs, UNIFORM), (0, 0))
    at_target = [int(dealt.known_to(runs, known).at_target_N.sum()) for known in (5, 20, 40, 60)]
    assert at_target[0] == 5
    assert at_target[1:] == pytest.approx([9, 14, 19], abs=2)


@given(runs=tables(), seed=st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_scrambling_keeps_a_mixtures_runs_together(runs: Runs, seed: int) -> None:
    dealt = scramble(runs, (seed, 0))
    np.testing.assert_array_equal(dealt.weights_ND, runs.weights_ND)
    giver = dict(zip(runs.values_NM[:, 0], runs.mixture_N, strict=True))
    for mixture in np.unique(runs.mixture_N):
        here_N = runs.mixture_N == mixture
        assert len({giver[value] for value in dealt.values_NM[here_N, 0]}) == 1
    cheap = set(runs.values_NM[~runs.at_target_N, 0])
    assert set(dealt.values_NM[~runs.at_target_N, 0]) <= cheap


@pytest.mark.parametrize("seed", range(3))
def test_scrambled_rows_are_predicted_by_chance_in_a_world_of_signal_and_in_one_of_noise(seed: int) -> None:
    for effect in (4.0, 0.0):
        correlations_K, mixtures = scrambled_correlations(world(60, seed, effect), known=30)
        assert not by_chance(correlations_K, mixtures).lower > 0


def test_runs_that_stand_twice_under_slightly_different_shares_are_a_leak() -> None:
    honest = world(40, 0)
    moved_ND = honest.weights_ND + 2e-3
    copies = made_up(
        np.vstack([honest.weights_ND, moved_ND / moved_ND.sum(axis=1, keepdims=True)]),
        np.tile(honest.values_NM[:, 0], 2),
    )
    correlations_K, mixtures = scrambled_correlations(copies, known=50)
    assert by_chance(correlations_K, mixtures).lower > 0


def test_equal_measurements_of_unlike_mixtures_are_no_copies() -> None:
    """Accuracies of few questions are often equal."""
    runs = world(60, 0)
    coarse = made_up(runs.weights_ND, np.round(runs.values_NM[:, 0] * 4) / 4)
    correlations_K, mixtures = scrambled_correlations(coarse, known=30)
    assert not by_chance(correlations_K, mixtures).lower > 0


def test_a_surrogate_that_learns_is_told_from_one_that_cannot() -> None:
    backtest = Backtest(problem(), world(80, 1), 40)
    right = backtest.score("quadratic", 40, (0, 0))
    assert right.spearman > 0.9
    assert right.permuted < 0.6
    assert right.pairwise is not None and right.pairwise > 0.7
    assert 0 <= right.regret < 0.1
    assert abs(right.optimism) < 0.3
    blind = Backtest(problem(), world(80, 1, effect=0.0), 40).score("quadratic", 40, (0, 0))
    assert abs(blind.spearman) < 0.6
    # It believes the luck of what it knows.
    assert blind.optimism > 0


def test_the_same_subset_is_scored_the_same() -> None:
    backtest = Backtest(problem(), world(40, 1), 20)
    assert backtest.score("linear", 15, (3, 1)) == backtest.score("linear", 15, (3, 1))
    assert backtest.score("linear", 15, (3, 1)) != backtest.score("linear", 15, (3, 2))


def test_the_mean_over_subsets_is_less_certain_the_more_they_share() -> None:
    values_K = np.array([0.1, 0.3, 0.2, 0.2])
    apart, alike = over_subsets(values_K, 0.0), over_subsets(values_K, 0.5)
    assert apart.mean == alike.mean == pytest.approx(0.2)
    # Student's t of 3 degrees of freedom, times the standard error.
    assert apart.upper - apart.mean == pytest.approx(3.1824 * values_K.std(ddof=1) / 2, rel=1e-3)
    assert alike.upper - alike.mean == pytest.approx((apart.upper - apart.mean) * 5**0.5)
    assert apart.shown and not alike.shown
