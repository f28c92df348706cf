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

# So many documents that differ has a domain at least: one to train on, and one for each of its two held-out sets.
LEAST_DOCUMENTS = 3
# Bytes that are left to train on at least: the shortest row has 16 tokens, of which few have more than 12 bytes.
LEAST_LEFT = 256
# Of a domain's text in a held-out set at most, where that is more than a document: as studies have it by default.
HELD_OUT = 0.1


class NoDomains(ProxyError):
    """Can be made of these documents: the same call will fail again."""


class TooFew(NoDomains):
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
    def learn(
        cls, vectors_NE: Float[np.ndarray, "N E"], bytes_N: Int[np.ndarray, " N"], count: int, fine: int, seed: int
    ) -> Self:
        """
        Args:
            vectors_NE: of a sample.
            bytes_N: of its texts.
            count: of domains, at most: fewer where the vectors fall into fewer groups, or where some of these have too
                little text to be trained and measured on, and go to their neighbours.
            fine: clusters to begin with, at most.

        Raises:
            NoDomains: not even two domains can be made.
        """
        begun = max(count, min(fine, len(vectors_NE) // LEAST_TEXTS))
        # Where a few odd texts were one of two clusters, more clusters tell the others apart.
        for many in (begun, 4 * begun, 16 * begun):
            found = cls._learned(vectors_NE, bytes_N, count, min(many, len(vectors_NE)), seed)
            if found is not None:
                return found
        raise NoDomains(
            f"{len(vectors_NE):,} documents that differ make no two domains, of {LEAST_DOCUMENTS} documents and a few "
            "lines of text at least",
            hint="sort more documents",
        )

    @classmethod
    def _learned(
        cls, vectors_NE: Float[np.ndarray, "N E"], bytes_N: Int[np.ndarray, " N"], count: int, fine: int, seed: int
    ) -> Self | None:
        """As `learn`, of so many fine clusters; None where only one has enough text."""
        all_FE = fine_clusters(vectors_NE, fine, seed)
        if len(all_FE) < 2:
            raise NoDomains(
                "the documents fall into one group, fewer than 2 domains", hint="they are all alike: sort others"
            )
        centres_FE = all_FE[pruned(vectors_NE, all_FE, min(count, len(all_FE)))]
        while len(centres_FE) > 1:
            fine_N = nearest(vectors_NE, centres_FE)
            sizes_F = np.bincount(fine_N, minlength=len(centres_FE))
            tree_M4 = merge_tree(centres_FE, sizes_F)
            domain_F = cut(tree_M4, min(count, len(centres_FE)))
            documents_D, left_D = room_in(bytes_N, domain_F[fine_N], int(domain_F.max()) + 1)
            small_D = (documents_D < LEAST_DOCUMENTS) | (left_D < LEAST_LEFT)
            if not small_D.any():
                return cls(centres_FE, sizes_F, domain_F, tree_M4, len(all_FE))
            # One at a time, the smallest first: what is in it may make another one large enough.
            smallest = np.lexsort((left_D, documents_D, ~small_D))[0]
            centres_FE = centres_FE[domain_F != smallest]
        return None

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


def room_in(
    bytes_N: Int[np.ndarray, " N"], domain_N: Int[np.ndarray, " N"], count: int
) -> tuple[Int[np.ndarray, " D"], Int[np.ndarray, " D"]]:
    """Of each domain: its documents, and the bytes that are left to train on whatever is held out: twice a document or
    HELD_OUT."""
    members = [np.sort(bytes_N[domain_N == domain]) for domain in range(count)]
    left = [int(mine.sum() - np.maximum(mine[-2:], HELD_OUT * mine.sum()).sum()) for mine in members]
    return np.array([len(mine) for mine in members]), np.array(left)
