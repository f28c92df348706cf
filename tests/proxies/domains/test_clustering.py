"""Mergers by Ward's rule are those of SciPy where all clusters are of one size, and count documents where not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from proxies.domains.clustering import cut, merge_tree, pruned
from proxies.domains.clusters import Clusters
from proxies.errors import ProxyError


def test_clusters_of_one_size_merge_as_in_scipy() -> None:
    centres = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    tree = merge_tree(centres, np.ones(40, dtype=np.int64))
    known = linkage(centres.astype(np.float64), "ward")
    np.testing.assert_allclose(tree[:, 2] * np.sqrt(2), known[:, 2], rtol=1e-4)
    for count in (2, 7, 40):
        assert adjusted_rand_score(cut(tree, count), fcluster(known, count, "maxclust")) == 1


def test_a_cluster_counts_as_often_as_it_has_documents() -> None:
    centres = np.array([[0.0], [1.0], [2.1]], dtype=np.float32)
    # Two large clusters that are near each other cost more to merge than a small one that is farther away.
    assert cut(merge_tree(centres, np.array([1000, 1000, 1])), 2).tolist() == [0, 1, 1]
    assert cut(merge_tree(centres, np.array([1, 1, 1])), 2).tolist() == [0, 0, 1]


def test_small_clusters_are_dissolved_but_not_below_what_is_asked_for() -> None:
    centres = np.array([[0.0], [1.0], [5.0]], dtype=np.float32)
    vectors = np.array([[0.0]] * 50 + [[1.0]] * 49 + [[5.0]], dtype=np.float32)
    assert pruned(vectors, centres, 2).tolist() == [0, 1]
    assert pruned(vectors, centres, 3).tolist() == [0, 1, 2]


def test_vectors_that_are_alike_make_no_domains() -> None:
    with pytest.raises(ProxyError, match="fall into one group"):
        Clusters.learn(np.ones((30, 4), dtype=np.float32), count=2, least=2, fine=10, seed=0)
