"""A language that a tiny model learns in seconds: each token is followed by its double, modulo the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.evaluate import EvaluationTokens
from proxies.recipe import Recipe, recipe
from proxies.result import TrainingResult
from proxies.train import train
from tests.proxies.models.kinds import small

VOCABULARY, LENGTH = 37, 16


@dataclass(frozen=True)
class ToyRows:
    inputs_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]


def sentences(first_B: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    powers_S = np.array([pow(2, position, VOCABULARY) for position in range(length)])
    tokens_BS: NDArray[np.int64] = first_B[:, None] * powers_S % VOCABULARY
    return tokens_BS


@dataclass(frozen=True)
class ToyStream:
    """Sentences in an order of its own for each seed."""

    seed: int = 0

    def rows(self, start: int, count: int) -> ToyRows:
        rows = range(start, start + count)
        first_B = np.array([np.random.default_rng([self.seed, row]).integers(1, VOCABULARY) for row in rows])
        tokens_BS = sentences(first_B, LENGTH + 1)
        return ToyRows(tokens_BS[:, :-1], tokens_BS[:, 1:])


@dataclass(frozen=True)
class ToyTokens:
    tokens_N: NDArray[np.integer]
    loss_mask_N: NDArray[np.uint8] | None = None
    bytes: int = 100
    group_N: NDArray[np.int64] | None = None
    bytes_G: tuple[int, ...] = ()


EVALUATION_SETS = {
    "low": ToyTokens(sentences(np.array([3]), 50)[0]),
    "high": ToyTokens(sentences(np.array([30]), 45)[0]),
}


def toy_recipe(kind: str, steps: int = 12, **overrides: Any) -> Recipe:
    settings: dict[str, Any] = {"batch_rows": 8, "learning_rate": 1e-2, "precision": "fp32"} | overrides
    return recipe(small(kind, VOCABULARY, LENGTH), steps * 8 * LENGTH, **settings)


def result_of(
    recipe: Recipe,
    *,
    seed: int = 1,
    data: str = "",
    checkpoint: str | Path | None = None,
    sets: Mapping[str, EvaluationTokens] = EVALUATION_SETS,
) -> TrainingResult:
    *_, last = train(recipe, ToyStream(), sets, seed=seed, data=data, checkpoint=checkpoint, checkpoint_seconds=0)
    assert isinstance(last, TrainingResult)
    return last


def numbers(result: TrainingResult) -> tuple[object, ...]:
    """All that must not depend on when and how often a run was interrupted."""
    return result.losses, result.curve, result.training_losses, result.diagnostics
