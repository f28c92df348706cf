"""The kinds of model that whatever is said of proxies has to hold for."""

from __future__ import annotations

from typing import Any

import pytest

from proxies.models.size import ModelSize, model_size

# The last one is a mixture of experts as they are built in 2026: small experts with scores of their own, balanced by a
# bias.
KINDS: dict[str, dict[str, Any]] = {
    "dense": {"kind": "dense"},
    "moe": {"kind": "moe"},
    "moe of 2026": {"kind": "moe", "scores": "sigmoid", "balancing": "bias", "granularity": 2},
}
kinds = pytest.mark.parametrize("kind", KINDS)


def small(kind: str, vocabulary: int, length: int, *, depth: int = 2, width: int = 32) -> ModelSize:
    """A small model of that kind, with two heads and a feed-forward layer of 64."""
    shape = {"width": width, "heads": 2, "feed_forward": 64} | KINDS[kind]
    return model_size(**shape, depth=depth, vocabulary=vocabulary, sequence_length=length)
