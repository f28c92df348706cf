"""AdamW, fused into one kernel, with weight decay on the matrices that multiply, not on the embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from proxies.recipe import Recipe

EMBEDDING = "embedding_MVD"


def adamw(members: Sequence[Mapping[str, Tensor]], recipe: Recipe) -> torch.optim.AdamW:
    """Two groups a member: its matrices, and its embedding, whose rare rows get few gradients and would only shrink.

    Args:
        members: each one's weights by name.
    """
    groups = []
    for weights in members:
        matrices = [weight for name, weight in weights.items() if name != EMBEDDING]
        groups.append({"params": matrices, "weight_decay": recipe.weight_decay})
        groups.append({"params": [weights[EMBEDDING]], "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)
