"""Vectors into domains: many fine clusters first, then those that are too small dissolved, and the rest merged.

CLIMB (Diao et al. 2025, arXiv:2504.13161) clusters into a thousand, prunes, and merges what lies close to about twenty.
Here what is pruned goes to the nearest cluster that stays, since every document has to be in some domain; and clusters
are merged by Ward's rule (Ward 1963, "Hierarchical grouping to optimize an objective function"), each counted as often
as it has documents, which keeps a few odd texts from being a domain.

Axes: N sampled texts, F fine clusters, E width of the embedding.
"""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float, Int

WHOLE_ROUNDS = 20
AT_ONCE = 4096  # vectors whose distances are in memory
LEAST_TEXTS = 16  # of a fine cluster on average, in the sample
LEAST_SHARE = 0.1  # of the average: a smaller fine cluster is dissolved


def fine_clusters(vectors_NE: Float[np.ndarray, "N E"], count: int, seed: int) -> Float[np.ndarray, "F E"]:
    """Centres of at most `count` clusters; none without a vector, no two the same."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    # With one thread, as sums of several come in any order.
    with threadpool_limits(1), warnings.catch_warnings():
        # Fewer different vectors than clusters: the caller sees how many there are.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Its own batch would make the centres depend on the number of cores.
        begun = MiniBatchKMeans(count, batch_size=4096, n_init=1, random_state=seed, max_iter=100).fit(vectors_NE)
        # Batches leave centres where a few texts of a batch pulled them; whole rounds even that out.
        model = KMeans(count, init=begun.cluster_centers_, n_init=1, max_iter=WHOLE_ROUNDS, random_state=seed)
        centres_FE = model.fit(vectors_NE).cluster_centers_
    centres_FE = np.unique(centres_FE.astype(np.float32), axis=0)
    used = np.unique(nearest(vectors_NE, centres_FE))
    kept: Float[np.ndarray, "F E"] = centres_FE[used]
    return kept


def pruned(
    vectors_NE: Float[np.ndarray, "N E"], centres_FE: Float[np.ndarray, "F E"], least: int
) -> Int[np.ndarray, " F"]:
    """Which centres stay, at least `least` of them: those with a tenth of the average number of texts, or more."""
    sizes_F = np.bincount(nearest(vectors_NE, centres_FE), minlength=len(centres_FE))
    by_size = np.argsort(-sizes_F, kind="stable")
    enough = int((sizes_F >= LEAST_SHARE * len(vectors_NE) / len(centres_FE)).sum())
    stay: Int[np.ndarray, " F"] = np.sort(by_size[: max(enough, least)])
    return stay


def nearest(vectors_NE: Float[np.ndarray, "N E"], centres_FE: Float[np.ndarray, "F E"]) -> Int[np.ndarray, " N"]:
    """The number of the centre that is nearest to each vector; of several, the first."""
    # |v - c|^2 but for |v|^2, halved.
    lengths_F = (centres_FE**2).sum(axis=1) / 2
    found = np.empty(len(vectors_NE), dtype=np.int64)
    for start in range(0, len(vectors_NE), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        found[rows] = (vectors_NE[rows] @ centres_FE.T - lengths_F).argmax(axis=1)
    return found


def merge_tree(centres_FE: Float[np.ndarray, "F E"], sizes_F: Int[np.ndarray, " F"]) -> Float[np.ndarray, "M 4"]:
    """How clusters merge, two at a time, by Ward's rule: in each step the pair whose union adds least to the variance.

    Returns:
        a row for each of the F - 1 mergers, as SciPy has them: two clusters, their distance, fine clusters in both.
    """
    count = len(centres_FE)
    weights_F = np.maximum(sizes_F.astype(np.float64), 1.0)
    centres = centres_FE.astype(np.float64)
    names, members = np.arange(count), np.ones(count)
    squares = (centres**2).sum(axis=1)
    distances_FF = np.maximum(squares[:, None] + squares - 2 * centres @ centres.T, 0)
    costs_FF = distances_FF * (weights_F[:, None] * weights_F) / (weights_F[:, None] + weights_F)
    np.fill_diagonal(costs_FF, np.inf)
    tree_M4 = np.empty((count - 1, 4))
    for step in range(count - 1):
        one, other = sorted(divmod(int(costs_FF.argmin()), count))
        cost = costs_FF[one, other]
        tree_M4[step] = *sorted((names[one], names[other])), np.sqrt(cost), members[one] + members[other]
        both = weights_F[one] + weights_F[other]
        # Lance and Williams (1967): the union's costs from those of its parts.
        united = (
            (weights_F[one] + weights_F) * costs_FF[one]
            + (weights_F[other] + weights_F) * costs_FF[other]
            - weights_F * cost
        ) / (both + weights_F)
        united[one] = np.inf
        costs_FF[one] = costs_FF[:, one] = united
        costs_FF[other] = costs_FF[:, other] = np.inf
        weights_F[one], members[one], names[one] = both, members[one] + members[other], count + step
    return tree_M4


def cut(tree_M4: Float[np.ndarray, "M 4"], count: int) -> Int[np.ndarray, " F"]:
    """The domain of each fine cluster where `count` are left, numbered by their first fine cluster."""
    fine = len(tree_M4) + 1
    parent = np.arange(2 * fine - 1)
    for step, (one, other, *_) in enumerate(tree_M4[: fine - count]):
        parent[int(one)] = parent[int(other)] = fine + step
    for place in range(len(parent) - 1, -1, -1):
        parent[place] = parent[parent[place]]
    _, first, domains = np.unique(parent[:fine], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    numbered: Int[np.ndarray, " F"] = rank[domains]
    return numbered
