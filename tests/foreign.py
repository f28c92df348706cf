"""A study whose trials are trained by another trainer, and such a trainer: a formula."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from tests.tracking.new_store import new_store

STUDY = """\
study: ours
seed: 3
domains:
  web: {tokens: 300B}
  code: {tokens: 40B}
  books: {tokens: 10B}
target: {tokens: 100B}
proxies:
  small: {params: 60M, tokens: 2B, trials: 10}
baselines: [proportional, uniform]
confirm: {candidates: 1, seeds: 2}
search: {strategy: regmix, surrogate: linear}
executor: {kind: external}
"""


def write_foreign(folder: Path, text: str = STUDY) -> Path:
    """A study file of another trainer, and a store."""
    folder.mkdir(parents=True, exist_ok=True)
    new_store(folder / ".mixopt")
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def trained(weights: Mapping[str, float], seed: int = 0) -> dict[str, float]:
    """What the trainer measures: least where code and books have about a third each."""
    noise = (seed % 1000) * 1e-6
    return {name: 3.0 - 0.5 * math.sqrt(weight) + 0.1 * weight + noise for name, weight in weights.items()}
