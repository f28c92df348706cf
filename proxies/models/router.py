"""Which experts a token goes to, and the two losses that keep this choice healthy.

    p = softmax(x W)                         in float32, over all experts
    chosen = the k largest p, their p divided by their sum
    balance loss = E sum_e f_e P_e           f: share of assignments, P: mean p;  1 where the load is even, 2101.03961
    z loss = mean(logsumexp(x W)^2)          keeps the logits small, 2202.08906

Both losses are means over all tokens of the optimizer's batch: an expert may take most of one row, as long as it does
not take most of the batch. Where that passes through the model in micro-batches, f is the batch's, counted before, and
their means are those of the batch: P and the z loss are sums over tokens.

M members, N tokens of each, D width, E experts, K experts for each token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from proxies.models.linear import Generators, Linear


@dataclass(frozen=True)
class Routing:
    """One layer's choice for the N tokens of each member; the losses are [M]."""

    experts_MNK: Tensor
    weights_MNK: Tensor
    balance_loss_M: Tensor
    z_loss_M: Tensor


class Router(nn.Module):
    def __init__(self, width: int, experts: int, top_k: int, generators: Generators) -> None:
        super().__init__()
        self.top_k = top_k
        self.score = Linear(width, experts, generators)

    def forward(self, x_MND: Tensor, share_ME: Tensor | None = None) -> Routing:
        """`share_ME`: of the batch's assignments, those that fall on each expert; None where these are all of them."""
        logits_MNE = self.score(x_MND.float())
        probabilities_MNE = torch.softmax(logits_MNE, dim=-1)
        chosen_MNK, experts_MNK = probabilities_MNE.topk(self.top_k, dim=-1)
        return Routing(
            experts_MNK=experts_MNK,
            weights_MNK=chosen_MNK / chosen_MNK.sum(dim=-1, keepdim=True),
            balance_loss_M=balance_loss(probabilities_MNE, experts_MNK, share_ME),
            z_loss_M=torch.logsumexp(logits_MNE, dim=-1).square().mean(dim=1),
        )


def balance_loss(probabilities_MNE: Tensor, experts_MNK: Tensor, share_ME: Tensor | None = None) -> Tensor:
    """E sum_e f_e P_e, [M]: its gradient lowers the probability of the experts that are chosen most."""
    experts = probabilities_MNE.shape[2]
    if share_ME is None:
        share_ME = one_hot(experts_MNK.flatten(1), experts).float().mean(dim=1)
    return experts * (share_ME * probabilities_MNE.mean(dim=1)).sum(dim=1)


def one_hot(experts: Tensor, count: int) -> Tensor:
    """True where an assignment falls on an expert, [..., E]."""
    return experts.unsqueeze(-1) == torch.arange(count, device=experts.device)
