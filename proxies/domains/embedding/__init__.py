"""Texts as vectors: texts that are alike, in words, language or form, lie close to each other.

Axes: N texts, E the width of an embedding, B buckets that n-grams are hashed to, T n-grams of all texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float


class Embedding(Protocol):
    """Something that was learned once, and from then on gives the same text the same vector."""

    @property
    def identity(self) -> str:
        """Its kind, and a digest of what it learned: the same for embeddings that give the same vectors."""

    @property
    def width(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "N E"]:
        """The vector of each text, float32, of length 1; the same whatever texts stand beside it."""
