"""Pictures of domains: a map of their fine clusters, and a tree of what is near to what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from mixopt.report.plots import AMBER, BLUE, GREEN, GROUND, INK, MUTED, PURPLE, VERMILION, WIDTH, svg

COLOURS = (BLUE, VERMILION, GREEN, PURPLE, AMBER)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
LARGEST_MARK = 160.0  # points squared
FEW = 8  # fine clusters, that no map is learned of


def map_of(
    centres_FE: Float[np.ndarray, "F E"],
    sizes_F: Int[np.ndarray, " F"],
    domain_F: Int[np.ndarray, " F"],
    numbers: Sequence[int],
) -> str:
    """Fine clusters in two dimensions, neighbours beside each other; each domain with a number, colour and mark.

    Args:
        numbers: what each domain is called.
    """
    places_F2 = _places(centres_FE)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        areas_F = 6 + LARGEST_MARK * sizes_F / max(1, sizes_F.max())
        for domain, number in enumerate(numbers):
            mine = np.flatnonzero(domain_F == domain)
            colour = COLOURS[domain % len(COLOURS)]
            marker = MARKERS[domain // len(COLOURS) % len(MARKERS)]
            across, up = places_F2[mine].T
            axes.scatter(across, up, s=areas_F[mine], c=colour, marker=marker, alpha=0.55, linewidths=0)
            middle = places_F2[mine[sizes_F[mine].argmax()]]
            label = axes.annotate(str(number), (float(middle[0]), float(middle[1])), color=INK, ha="center")
            label.set(va="center", fontweight="bold")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.margins(0.06)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)

    return svg("map", (WIDTH, WIDTH * 0.85), draw)


def _places(centres_FE: Float[np.ndarray, "F E"]) -> Float[np.ndarray, "F 2"]:
    """By t-SNE (van der Maaten and Hinton 2008), begun at the two main directions."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    centred_FE = centres_FE - centres_FE.mean(axis=0)
    with threadpool_limits(1):
        _, _, directions = np.linalg.svd(centred_FE.astype(np.float64), full_matrices=False)
        begun_F2 = centred_FE @ directions[:2].T
        if len(centres_FE) < FEW or begun_F2.shape[1] < 2:
            return np.column_stack([begun_F2, np.zeros((len(begun_F2), 2))])[:, :2]
        begun_F2 *= 1e-4 / max(float(begun_F2[:, 0].std()), 1e-12)
        perplexity = min(30.0, (len(centres_FE) - 1) / 3)
        learned = TSNE(perplexity=perplexity, init=begun_F2.astype(np.float32), random_state=0)
        places_F2: Float[np.ndarray, "F 2"] = learned.fit_transform(centred_FE)
    return places_F2


def tree_of(tree_M4: Float[np.ndarray, "M 4"], domain_F: Int[np.ndarray, " F"], names: Sequence[str]) -> str:
    """What would be merged next: domains as leaves, the nearest joined first."""
    from scipy.cluster.hierarchy import dendrogram

    found = dendrogram(upper_tree(tree_M4, domain_F), no_plot=True)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for up, across in zip(found["icoord"], found["dcoord"], strict=True):
            axes.plot(across, up, color=MUTED, linewidth=1.2)
        places = [5 + 10 * place for place in range(len(names))]
        axes.set_yticks(places, [names[leaf] for leaf in found["leaves"] or ()])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_xlabel("distance at which domains would be merged (Ward)")
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
        axes.set_facecolor(GROUND)

    return svg("tree", (WIDTH, 1.1 + 0.24 * len(names)), draw)


def upper_tree(tree_M4: Float[np.ndarray, "M 4"], domain_F: Int[np.ndarray, " F"]) -> Float[np.ndarray, "D1 4"]:
    """The mergers of domains alone, which are its leaves; as SciPy has them."""
    fine, count = len(domain_F), int(domain_F.max()) + 1
    leaf = {cluster: int(domain) for cluster, domain in enumerate(domain_F)}  # of each cluster of the whole tree
    leaves: dict[int, int] = {}
    rows: list[list[float]] = []
    for step, (one, other, distance, _) in enumerate(tree_M4):
        united = fine + step
        if step < fine - count:
            leaf[united] = leaf[int(one)]
            continue
        new = count + len(rows)
        members = sum(leaves.get(leaf[int(each)], 1) for each in (one, other))
        rows.append([*sorted((leaf[int(one)], leaf[int(other)])), distance, members])
        leaf[united], leaves[new] = new, members
    return np.array(rows, dtype=np.float64)
