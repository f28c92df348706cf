"""Floating-point operations of training, by formula.

A matrix of p parameters costs 2 p a token (one multiplication, one addition), the attention of one layer
2 x 2 x positions x width (scores, and their product with the values; whole rows, as on a CPU nothing is saved
where the mask hides). A backward pass costs twice the forward pass: one product for each of the two gradients.
Of the experts, those count that a token meets. Left out are elementwise operations and the optimizer.
"""

from __future__ import annotations

from proxies.models.size import ModelSize


def training_flops_per_token(size: ModelSize) -> int:
    """Forward and backward."""
    matrices = size.active_parameters + size.vocabulary * size.width
    attention = size.depth * 2 * size.sequence_length * size.width
    return 3 * 2 * (matrices + attention)


def training_flops(size: ModelSize, tokens: int) -> float:
    """What a run over `tokens` training tokens costs; evaluation is not counted."""
    return float(training_flops_per_token(size) * tokens)
