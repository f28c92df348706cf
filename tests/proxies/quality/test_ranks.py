import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from proxies.quality.ranks import levels, merged, ranks

scores = st.lists(st.tuples(st.integers(-5, 5), st.integers(1, 100)), min_size=1, max_size=60)


@given(scores)
def test_ranks_are_shares_of_bytes_that_are_better(pairs: list[tuple[int, int]]) -> None:
    score_N, size_N = np.array(pairs).T
    rank_N = ranks(score_N.astype(float), size_N)
    for score, rank in zip(score_N, rank_N, strict=True):
        better, alike = size_N[score_N > score].sum(), size_N[score_N == score].sum()
        assert abs(rank - (better + alike / 2) / size_N.sum()) < 1e-12
    assert abs((rank_N * size_N).sum() / size_N.sum() - 0.5) < 1e-12


@given(scores)
def test_ranks_do_not_depend_on_the_order_nor_on_the_unit(pairs: list[tuple[int, int]]) -> None:
    score_N, size_N = np.array(pairs).T
    order = np.random.default_rng(len(pairs)).permutation(len(pairs))
    rank_N = ranks(score_N.astype(float), size_N)
    np.testing.assert_array_equal(ranks(np.exp(score_N[order].astype(float)), size_N[order]), rank_N[order])


@given(st.lists(st.integers(1, 50), min_size=40, max_size=200), st.integers(2, 8))
def test_levels_of_distinct_scores_have_about_the_same_bytes(sizes: list[int], count: int) -> None:
    size_N = np.array(sizes)
    rank_N = ranks(np.random.default_rng(0).permutation(len(sizes)).astype(float), size_N)
    level_N = levels(rank_N, size_N, count)
    of_level = np.bincount(level_N, weights=size_N)
    assert len(of_level) == count
    # Off by half of the text at each end, at most.
    assert np.abs(of_level - size_N.sum() / count).max() <= size_N.max()
    assert (np.diff(level_N[np.argsort(rank_N)]) >= 0).all()


def test_many_alike_leave_fewer_levels_and_none_empty() -> None:
    score_N = np.array([1.0] * 70 + [0.0] * 30)
    size_N = np.ones(100, dtype=np.int64)
    level_N = levels(ranks(score_N, size_N), size_N, 5)
    assert level_N.tolist() == [0] * 70 + [1] * 30


def test_scores_are_merged_by_their_ranks() -> None:
    size_N = np.ones(4, dtype=np.int64)
    first, second = ranks(np.array([9.0, 1.0, 0.5, 0.1]), size_N), ranks(np.array([1.0, 2.0, 3.0, 4.0]), size_N)
    np.testing.assert_allclose(merged(np.array([first, second]), (3, 1), size_N), [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(merged(np.array([first, second]), (1, 1), size_N), [0.5] * 4)
