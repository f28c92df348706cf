"""The default embedding: hashed n-grams, weighted by how rare they are, reduced by a singular value decomposition.

Latent semantic analysis (Deerwester et al. 1990, "Indexing by latent semantic analysis") with the hashing trick
(Weinberger et al. 2009, "Feature hashing for large scale multitask learning") and a randomised decomposition (Halko,
Martinsson, Tropp 2011, "Finding structure with randomness"). Nothing is downloaded; it is learned from the texts that
are to be sorted, in three steps: in how many texts does a bucket occur; which directions do the weighted counts of
buckets vary along, but for what all texts share; and from then on a text is a weighted sum of rows of one table, one
row a bucket.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from proxies.domains.embedding.ngrams import BUCKETS, Counted, count_ngrams
from proxies.errors import ProxyError
from proxies.storage import write_whole

# Raised when the same texts get other vectors.
FORMAT = 2
KIND = "ngrams"
WIDTH = 64
# Texts that are learned from, of more: the decomposition takes a millisecond for each.
LEARNED_FROM = 20_000
POWER_ITERATIONS = 2
TABLE, ABOUT = "table.npz", "embedding.json"


@dataclass(frozen=True)
class HashedNgrams:
    """What was learned.

    Attributes:
        table_BE: what one n-gram of a bucket adds to a text's vector: its rarity times its direction.
        texts: from how many it was learned.
    """

    table_BE: Float[np.ndarray, "B E"]
    texts: int

    @cached_property
    def identity(self) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(self.table_BE).tobytes())
        return f"{KIND}-{FORMAT}-{digest.hexdigest()[:16]}"

    @property
    def width(self) -> int:
        return int(self.table_BE.shape[1])

    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "N E"]:
        """As `Embedding.embed`; a text without any n-gram lies on the first axis."""
        if not texts:
            return np.zeros((0, self.width), dtype=np.float32)
        return _unit(_summed(self.table_BE, count_ngrams(texts)))

    @classmethod
    def learn(cls, texts: Sequence[str], width: int = WIDTH, seed: int = 0) -> Self:
        """
        Args:
            texts: a sample, of which LEARNED_FROM are read, evenly spaced; the width is at most their number.

        Raises:
            ProxyError: fewer than two texts, or no n-gram in any.
        """
        from scipy.sparse import csr_matrix
        from sklearn.utils.extmath import randomized_svd
        from threadpoolctl import threadpool_limits

        if len(texts) < 2:
            raise ProxyError(f"an embedding of {len(texts)} texts", hint="give at least two")
        texts = texts[:: -(-len(texts) // LEARNED_FROM)]
        counted = count_ngrams(texts)
        if not len(counted.buckets_T):
            raise ProxyError("an embedding of empty texts", hint="give texts with words")
        # Smoothed, so that no bucket weighs nothing or infinitely much. Its root: what tells kinds of text apart, such
        # as punctuation and common words, is in many texts; what is rare tells topics apart.
        with_bucket_B = np.bincount(counted.buckets_T, minlength=BUCKETS)
        rarity_B = np.sqrt(np.log((1 + len(texts)) / (1 + with_bucket_B)) + 1).astype(np.float32)
        weights_T = _damped(counted) * rarity_B[counted.buckets_T]
        starts_N1 = np.append(counted.starts_N, len(weights_T))
        lengths_N = np.sqrt(np.maximum(np.add.reduceat(np.append(weights_T**2, 0), counted.starts_N), 1e-12))
        weights_T /= np.repeat(lengths_N, np.diff(starts_N1)).astype(np.float32)
        rows_NB = csr_matrix((weights_T, counted.buckets_T.astype(np.int32), starts_N1), (len(texts), BUCKETS))
        # With one thread, as sums of several come in any order.
        with threadpool_limits(1):
            _, _, directions_EB = randomized_svd(
                rows_NB, min(width, len(texts)), random_state=seed, n_iter=POWER_ITERATIONS
            )
        table_BE = np.ascontiguousarray(directions_EB.T * rarity_B[:, None], dtype=np.float32)
        # What all texts have in common tells none apart, and makes those alike that have little else: it is taken out.
        shared_1E = _unit(_unit(_summed(table_BE, counted)).mean(axis=0, keepdims=True))
        table_BE -= (table_BE @ shared_1E.T) * shared_1E
        # Texts differ most along few axes; what there is on the many others is mostly noise, which clusters would heed.
        spread_E = _unit(_summed(table_BE, counted)).std(axis=0)
        table_BE *= np.sqrt(spread_E / max(float(spread_E.max()), 1e-12))
        return cls(table_BE, len(texts))

    def save(self, folder: Path) -> None:
        """Write it into a folder, which is made.

        Raises:
            OSError: it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez(content, table=self.table_BE)
        write_whole(folder / TABLE, content.getvalue())
        about = {"kind": KIND, "format": FORMAT, "identity": self.identity, "texts": self.texts}
        write_whole(folder / ABOUT, json.dumps(about).encode())

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What `save` wrote.

        Raises:
            ProxyError: it is not there, damaged, or of another version.
        """
        try:
            about = json.loads((folder / ABOUT).read_bytes())
            with np.load(folder / TABLE, allow_pickle=False) as saved:
                found = cls(saved["table"], about["texts"])
            if about["format"] == FORMAT and about["identity"] == found.identity:
                return found
        except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise ProxyError(f"{folder} holds no embedding: {error}", hint="learn it again") from error
        raise ProxyError(f"{folder} holds an embedding that is damaged or of another version", hint="learn it again")


def _damped(counted: Counted) -> Float[np.ndarray, " T"]:
    """The tenth time says less than the first."""
    damped: Float[np.ndarray, " T"] = 1 + np.log(counted.counts_T)
    return damped


def _summed(table_BE: Float[np.ndarray, "B E"], counted: Counted) -> Float[np.ndarray, "N E"]:
    import torch
    from torch.nn.functional import embedding_bag

    with torch.inference_mode():
        summed_NE = embedding_bag(
            torch.from_numpy(counted.buckets_T),
            torch.from_numpy(table_BE),
            torch.from_numpy(counted.starts_N),
            mode="sum",
            per_sample_weights=torch.from_numpy(_damped(counted)),
        )
    return summed_NE.numpy()


def _unit(vectors_NE: Float[np.ndarray, "N E"]) -> Float[np.ndarray, "N E"]:
    lengths_N = np.linalg.norm(vectors_NE, axis=1)
    nothing_N = lengths_N == 0
    vectors_NE[nothing_N, 0] = 1
    unit: Float[np.ndarray, "N E"] = vectors_NE / np.where(nothing_N, 1, lengths_N)[:, None].astype(np.float32)
    return unit
