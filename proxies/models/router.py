"""Which experts a token goes to, and the two losses that keep this choice healthy.

    p = softmax(x W)                         in float32, over all experts
    chosen = the k largest p, their p divided by their sum
    balance loss = E sum_e f_e P_e           f: share of assignments, P: mean p;  1 where the load is even, 2101.03961
    z loss = mean(logsumexp(x W)^2)          keeps the logits small, 2202.08906

Both losses are means over all tokens of the optimizer's batch, which the trainer passes through the model whole:
an expert may take most of one row, as long as it does not take most of the batch.

N tokens, D width, E experts, K experts for each token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from proxies.models.linear import Linear
from proxies.models.size import ModelSize


@dataclass(frozen=True)
class Routing:
    """One layer's choice for N tokens."""

    experts_NK: Tensor
    weights_NK: Tensor
    balance_loss: Tensor
    z_loss: Tensor


class Router(nn.Module):
    def __init__(self, width: int, experts: int, top_k: int, generator: torch.Generator) -> None:
        super().__init__()
        self.experts = experts
        self.top_k = top_k
        self.score = Linear(width, experts, generator)

    def forward(self, x_ND: Tensor) -> Routing:
        logits_NE = self.score(x_ND.float())
        probabilities_NE = torch.softmax(logits_NE, dim=-1)
        chosen_NK, experts_NK = probabilities_NE.topk(self.top_k, dim=-1)
        return Routing(
            experts_NK=experts_NK,
            weights_NK=chosen_NK / chosen_NK.sum(dim=-1, keepdim=True),
            balance_loss=balance_loss(probabilities_NE, experts_NK),
            z_loss=torch.logsumexp(logits_NE, dim=-1).square().mean(),
        )


def assignments(experts_NK: Tensor, experts: int) -> Tensor:
    """How many of the N K choices fell on each expert, [E]."""
    return torch.bincount(experts_NK.flatten(), minlength=experts)


def balance_loss(probabilities_NE: Tensor, experts_NK: Tensor) -> Tensor:
    """E sum_e f_e P_e: its gradient lowers the probability of the experts that are chosen most."""
    experts = probabilities_NE.shape[1]
    share_E = assignments(experts_NK, experts) / experts_NK.numel()
    return experts * (share_E * probabilities_NE.mean(dim=0)).sum()


def load_diagnostics(routings: Sequence[Routing], size: ModelSize) -> dict[str, float]:
    """How evenly each expert layer is used: max_over_mean is 1 where all experts have the same load."""
    numbers = {}
    for layer, routing in zip(size.expert_layers, routings, strict=True):
        count_E = assignments(routing.experts_NK, size.expert_count)
        numbers[f"expert_load/layer{layer}/max_over_mean"] = (count_E.max() / count_E.float().mean()).item()
        numbers[f"expert_load/layer{layer}/balance_loss"] = routing.balance_loss.item()
        numbers[f"expert_load/layer{layer}/z_loss"] = routing.z_loss.item()
    return numbers
