"""Which experts a token goes to, and what keeps this choice healthy.

    s = softmax(x W), or sigmoid(x W)        in float32, over all experts
    chosen = the k largest s + b             b: the bias of balancing "bias", 2408.15664; no gradient passes through it
    weights = the s of the chosen, divided by their sum; of a single one s itself, so that the router learns, 2101.03961
    balance loss = E sum_e f_e P_e           f: share of assignments, P: mean s / sum(s);  1 where even, 2101.03961
    z loss = mean(logsumexp(x W)^2)          keeps the logits small, 2202.08906

Sigmoid scores, each expert's its own, are those of DeepSeek-V3 (2412.19437).

Both losses are means over all tokens of the optimizer's batch: an expert may take most of one row, as long as it does
not take most of the batch. Where that passes through the model in micro-batches, f is the batch's, counted before, and
their means are those of the batch: P and the z loss are sums over tokens.

After each step the bias of experts with more than the mean load of its batch sinks by a fixed rate, and that of the
others rises.

M members, N tokens of each, D width, E experts, K experts for each token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from proxies.models.linear import Generators, Linear
from proxies.models.size import Experts


@dataclass(frozen=True)
class Routing:
    """One layer's choice for the N tokens of each member; the losses are [M]."""

    experts_MNK: Tensor
    weights_MNK: Tensor
    balance_loss_M: Tensor
    z_loss_M: Tensor


class Router(nn.Module):
    """
    Attributes:
        bias_ME: what is added to the scores where experts are chosen; None where a loss balances them.
    """

    bias_ME: Tensor | None

    def __init__(self, width: int, size: Experts, generators: Generators) -> None:
        super().__init__()
        self.top_k = size.top_k
        self.scores = size.scores
        self.score = Linear(width, size.count, generators)
        self.register_buffer("bias_ME", torch.zeros(len(generators), size.count) if size.balancing == "bias" else None)

    def forward(self, x_MND: Tensor, share_ME: Tensor | None = None) -> Routing:
        """`share_ME`: of the batch's assignments, those that fall on each expert; None where these are all of them."""
        logits_MNE = self.score(x_MND.float())
        if self.scores == "sigmoid":
            scores_MNE = torch.sigmoid(logits_MNE)
            probabilities_MNE = scores_MNE / scores_MNE.sum(dim=-1, keepdim=True)
        else:
            scores_MNE = probabilities_MNE = torch.softmax(logits_MNE, dim=-1)
        if self.bias_ME is None:
            chosen_MNK, experts_MNK = scores_MNE.topk(self.top_k, dim=-1)
        else:
            experts_MNK = (scores_MNE + self.bias_ME.unsqueeze(1)).topk(self.top_k, dim=-1).indices
            chosen_MNK = scores_MNE.gather(2, experts_MNK)
        return Routing(
            experts_MNK=experts_MNK,
            weights_MNK=chosen_MNK if self.top_k == 1 else chosen_MNK / chosen_MNK.sum(dim=-1, keepdim=True),
            balance_loss_M=balance_loss(probabilities_MNE, experts_MNK, share_ME),
            z_loss_M=torch.logsumexp(logits_MNE, dim=-1).square().mean(dim=1),
        )

    @torch.no_grad()
    def update_bias(self, load_ME: Tensor, rate_M: Tensor) -> None:
        """Move the bias towards an even load.

        Args:
            load_ME: how many of a batch's choices fell on each expert.
            rate_M: how far each member's moves; 0 leaves it as it is.
        """
        if self.bias_ME is not None:
            lack_ME = load_ME.float().mean(dim=1, keepdim=True) - load_ME
            self.bias_ME += rate_M.unsqueeze(1) * lack_ME.sign()


def balance_loss(probabilities_MNE: Tensor, experts_MNK: Tensor, share_ME: Tensor | None = None) -> Tensor:
    """E sum_e f_e P_e, [M]: its gradient lowers the probability of the experts that are chosen most."""
    experts = probabilities_MNE.shape[2]
    if share_ME is None:
        share_ME = one_hot(experts_MNK.flatten(1), experts).float().mean(dim=1)
    return experts * (share_ME * probabilities_MNE.mean(dim=1)).sum(dim=1)


def one_hot(experts: Tensor, count: int) -> Tensor:
    """True where an assignment falls on an expert, [..., E]."""
    return experts.unsqueeze(-1) == torch.arange(count, device=experts.device)
