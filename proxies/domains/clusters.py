"""What was learned of a sample: fine clusters and the domains that they make up; saved for other processes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from proxies.domains.clustering import LEAST_TEXTS, cut, fine_clusters, merge_tree, nearest, pruned
from proxies.errors import ProxyError
from proxies.storage import write_whole


class TooFew(ProxyError):
    """Documents for so many domains."""


@dataclass(frozen=True)
class Clusters:
    """
    Attributes:
        centres_FE: of the fine clusters that stayed.
        sizes_F: how many of the sample lie nearest to each.
        domain_F: the domain of each.
        tree_M4: how they merge, see `merge_tree`.
        found: fine clusters before the small ones were dissolved.
    """

    centres_FE: Float[np.ndarray, "F E"]
    sizes_F: Int[np.ndarray, " F"]
    domain_F: Int[np.ndarray, " F"]
    tree_M4: Float[np.ndarray, "M 4"]
    found: int

    @classmethod
    def learn(cls, vectors_NE: Float[np.ndarray, "N E"], count: int, least: int, fine: int, seed: int) -> Self:
        """
        Args:
            vectors_NE: of a sample.
            count: of domains; `least`: with which the caller is content where the vectors fall into no more groups.
            fine: clusters to begin with, at most.

        Raises:
            TooFew: the vectors are too alike.
        """
        all_FE = fine_clusters(vectors_NE, max(count, min(fine, len(vectors_NE) // LEAST_TEXTS)), seed)
        if len(all_FE) < least:
            groups = f"{len(all_FE)} groups" if len(all_FE) > 1 else "one group"
            raise TooFew(
                f"the documents fall into {groups}, fewer than {least} domains",
                hint="ask for fewer domains: they are alike" if len(all_FE) > 1 else "they are all alike: sort others",
            )
        count = min(count, len(all_FE))
        centres_FE = all_FE[pruned(vectors_NE, all_FE, count)]
        sizes_F = np.bincount(nearest(vectors_NE, centres_FE), minlength=len(centres_FE))
        tree_M4 = merge_tree(centres_FE, sizes_F)
        return cls(centres_FE, sizes_F, cut(tree_M4, count), tree_M4, len(all_FE))

    @property
    def count(self) -> int:
        """Of domains."""
        return int(self.domain_F.max()) + 1

    def domains_of(self, vectors_NE: Float[np.ndarray, "N E"]) -> Int[np.ndarray, " N"]:
        """That of the fine cluster whose centre is nearest."""
        domains: Int[np.ndarray, " N"] = self.domain_F[nearest(vectors_NE, self.centres_FE)]
        return domains

    def save(self, path: Path) -> None:
        """
        Raises:
            OSError: it cannot be written.
        """
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **vars(self))
        write_whole(path, content.getvalue())

    @classmethod
    def open(cls, path: Path) -> Self:
        """What `save` wrote.

        Raises:
            OSError: there is none.
        """
        with np.load(path, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in ("centres_FE", "sizes_F", "domain_F", "tree_M4")}
            return cls(**arrays, found=int(saved["found"]))
