"""The folds on which the default surrogate weighs its parts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from search.surrogates.blend import folds_by_level


@given(counts=st.lists(st.integers(2, 150), min_size=1, max_size=3), seed=st.integers(0, 2**32))
def test_no_fidelity_is_held_out_as_a_whole(counts: list[int], seed: int) -> None:
    level_N = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    fold_N = folds_by_level(level_N, seed)
    for fold in np.unique(fold_N):
        assert set(level_N[fold_N != fold]) == set(range(len(counts)))
