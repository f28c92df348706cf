"""A language that a tiny model learns in seconds: each token is followed by its double, modulo the vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.models.size import Kind, model_size
from proxies.recipe import Recipe, recipe

VOCABULARY, LENGTH = 37, 16


@dataclass(frozen=True)
class ToyRows:
    inputs_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]


def sentences(first_B: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    powers_S = np.array([pow(2, position, VOCABULARY) for position in range(length)])
    tokens_BS: NDArray[np.int64] = first_B[:, None] * powers_S % VOCABULARY
    return tokens_BS


class ToyStream:
    def rows(self, start: int, count: int) -> ToyRows:
        first_B = np.array([np.random.default_rng(row).integers(1, VOCABULARY) for row in range(start, start + count)])
        tokens_BS = sentences(first_B, LENGTH + 1)
        return ToyRows(tokens_BS[:, :-1], tokens_BS[:, 1:])


@dataclass(frozen=True)
class ToyTokens:
    tokens_N: NDArray[np.integer]
    loss_mask_N: NDArray[np.uint8] | None = None
    bytes: int = 100


EVALUATION_SETS = {
    "low": ToyTokens(sentences(np.array([3]), 50)[0]),
    "high": ToyTokens(sentences(np.array([30]), 45)[0]),
}


def toy_recipe(kind: Kind, steps: int = 12, **overrides: Any) -> Recipe:
    size = model_size(kind, 2, VOCABULARY, LENGTH, width=32, heads=2, feed_forward=64)
    settings: dict[str, Any] = {"batch_rows": 8, "learning_rate": 1e-2, "precision": "fp32"} | overrides
    return recipe(size, steps * 8 * LENGTH, **settings)
