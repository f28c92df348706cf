"""The one division into folds, and what is predicted by the others of each."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.runs import numbered
from search.surrogates.base import Surrogate
from search.surrogates.blend import Blend, WarpedGP, robust_variance
from search.surrogates.ridge import Linear
from search.surrogates.rows import ALWAYS_KNOWN, FOLDS, Rows, deal_folds

RNG = np.random.default_rng(0)
WEIGHTS = RNG.dirichlet(np.full(4, 0.7), size=40)
LOSSES = 2 + (WEIGHTS @ np.array([0.1, 1.0, 0.4, 0.2]) + 0.05) ** -0.3 + 0.01 * RNG.standard_normal(40)


def one_fidelity(weights_ND: np.ndarray, values_N: np.ndarray, seed: int = 0) -> Rows:
    every_N = np.ones(len(values_N), dtype=bool)
    return Rows(weights_ND, values_N, np.zeros(len(values_N), int), deal_folds(weights_ND, every_N, every_N, seed))


@given(mixtures=st.integers(1, 40), repeats=st.integers(1, 4), at_target=st.integers(0, 40), seed=st.integers(0, 2**32))
def test_a_mixture_is_in_one_fold_and_runs_at_the_target_are_left_to_every_fold(
    mixtures: int, repeats: int, at_target: int, seed: int
) -> None:
    weights_ND = np.repeat(np.random.default_rng(seed).dirichlet(np.ones(3), size=mixtures), repeats, axis=0)
    mixture_N = numbered(weights_ND)
    at_target_N = mixture_N < max(1, min(at_target, mixtures))
    fold_N = deal_folds(weights_ND, at_target_N, np.ones(len(weights_ND), dtype=bool), seed)
    for mixture in range(mixtures):
        assert len(set(fold_N[mixture_N == mixture])) == 1
    if len(np.unique(mixture_N[at_target_N])) > 1 or not at_target_N.all():
        for fold in range(FOLDS):
            assert at_target_N[fold_N != fold].any()


def test_a_mixture_that_is_held_out_is_predicted_without_any_of_its_runs() -> None:
    """Repeated runs of one mixture are in one fold: a value that only they have leaves its prediction where it was."""
    weights_ND, values_N = np.vstack([WEIGHTS, WEIGHTS[:1]]), np.append(LOSSES, LOSSES[0])
    rows = one_fidelity(weights_ND, values_N)
    moved_N = values_N.copy()
    moved_N[[0, -1]] += 5.0
    surrogates: list[Surrogate[Any]] = [Linear(), WarpedGP()]
    for surrogate in surrogates:
        choice = surrogate.fit_rows(rows).choice
        known = surrogate.fit_rows(rows.select(rows.fold_N != rows.fold_N[0]), choice)
        fold_1 = Rows(weights_ND, moved_N, rows.fidelity_N, rows.fold_N)
        without = surrogate.fit_rows(fold_1.select(rows.fold_N != rows.fold_N[0]), choice)
        np.testing.assert_array_equal(known.mean(WEIGHTS[:1]), without.mean(WEIGHTS[:1]))


@pytest.mark.parametrize("kind", [Blend, WarpedGP])
def test_the_predictions_that_a_blend_is_weighed_by_are_those_of_fits_with_its_choice(kind: type[Blend]) -> None:
    """So the gate and the report read what the share and the widths were chosen by, and need no further fits."""
    rows = one_fidelity(WEIGHTS, LOSSES)
    fitted = kind().fit_rows(rows)
    assert fitted.held_out is not None
    out_N = rows.fold_N == 0
    again = kind().fit_rows(rows.select(~out_N), fitted.choice)
    assert again.held_out is None and again.choice.law_part == fitted.choice.law_part
    found = again.predict(WEIGHTS[out_N])
    np.testing.assert_allclose(found.mean_N, fitted.held_out.mean_N[out_N], rtol=1e-9)
    np.testing.assert_allclose(found.sd_N, fitted.held_out.sd_N[out_N], rtol=1e-9)


def test_where_too_few_mixtures_were_measured_at_the_target_these_are_always_known() -> None:
    at_target_N = np.arange(40) < 3
    fold_N = deal_folds(WEIGHTS, at_target_N, np.ones(40, dtype=bool), 0)
    assert (fold_N[:3] == ALWAYS_KNOWN).all() and (fold_N[3:] != ALWAYS_KNOWN).all()
    fitted = Blend().fit(WEIGHTS, LOSSES + (1 - at_target_N), at_target_N.astype(np.int64))
    assert fitted.held_out is not None
    assert np.isfinite(fitted.held_out.mean_N).tolist() == (~at_target_N).tolist()


def test_intervals_widen_as_much_as_held_out_errors_call_for() -> None:
    error_N = np.random.default_rng(1).standard_normal(400)
    assert robust_variance(2 * error_N) / robust_variance(error_N) == pytest.approx(4, rel=0.05)
    # One absurd error is not what the others are like.
    assert robust_variance(np.append(error_N, 1e3)) == pytest.approx(robust_variance(error_N), rel=0.05)
    assert robust_variance(np.zeros(0)) == pytest.approx(1.0)
