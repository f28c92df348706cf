"""AdamW, fused into one kernel, with weight decay on the matrices that multiply, not on the embedding."""

from __future__ import annotations

import torch

from proxies.models.transformer import Transformer
from proxies.recipe import Recipe


def adamw(model: Transformer, recipe: Recipe) -> torch.optim.AdamW:
    # The rows of rare tokens get few gradients: decay would only shrink them.
    matrices = [weight for weight in model.parameters() if weight is not model.embedding]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": [model.embedding], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)
