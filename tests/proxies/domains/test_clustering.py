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
        Clusters.learn(np.ones((30, 4), dtype=np.float32), np.full(30, 100), count=2, fine=10, seed=0)


def test_what_cannot_be_trained_and_measured_on_goes_to_its_neighbour() -> None:
    groups = np.repeat([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [0.0, 11.0]], [9, 9, 2, 4], axis=0).astype(np.float32)
    found = Clusters.learn(groups, np.full(24, 1000), count=4, fine=10, seed=0)
    domains = found.domains_of(groups)
    assert (found.count, found.found) == (3, 4)
    assert Clusters.learn(groups[:18], np.full(18, 1000), count=5, fine=10, seed=0).count == 2, "there are two groups"
    assert len(set(domains[18:])) == 1, "two documents are too few for a domain"
    assert found.domain_F.tolist() == sorted(range(3)) and found.sizes_F.sum() == 24
    # Two long documents, which may be held out, and seven of a word are too little text.
    sizes = np.array([1000] * 9 + [4000, 4000] + [9] * 7 + [1000] * 6)
    assert Clusters.learn(groups, sizes, count=4, fine=10, seed=0).count == 2
    with pytest.raises(ProxyError, match="make no two domains"):
        Clusters.learn(groups[7:11], np.full(4, 1000), count=2, fine=10, seed=0)
