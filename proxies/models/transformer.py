"""Decoder language models of one size, side by side: from tokens to the loss of predicting the next token.

    x = embedding(tokens)
    x = x + attention(norm(x))
    x = x + feed_forward(norm(x))            an expert layer in all layers but the first of an moe
    logits = head(norm(x))

Every weight has a leading axis of members, each with its own text: one model alone is a pack of one. On a GPU many
small models together keep it busy, which one alone cannot.

Head and embedding are two matrices: as one they save memory, not operations, and small models learnt less (.03
nats after 600,000 tokens). Weights are float32; the computation runs in `dtype`, its router and its loss in
float32.

M members, B rows of each, T positions, N = B T tokens, D width, V vocabulary, L expert layers, E experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from proxies.models.attention import Attention
from proxies.models.cross_entropy import cross_entropies, linear_cross_entropy
from proxies.models.experts import ExpertLayer
from proxies.models.feed_forward import FeedForward
from proxies.models.linear import Generators, Linear, draw_weights
from proxies.models.norm import rms_norm
from proxies.models.router import Routing, one_hot
from proxies.models.size import ModelSize
from proxies.targets import IGNORED


class Losses(NamedTuple):
    """What a batch cost each member.

    Attributes:
        nats_M: summed over its targets.
        balance_loss_ML, z_loss_ML: of each expert layer, as in `proxies.models.router`.
        load_MLE: how many choices fell on each expert, of tokens with a target.
    """

    nats_M: Tensor
    balance_loss_ML: Tensor
    z_loss_ML: Tensor
    load_MLE: Tensor

    def cpu(self) -> Losses:
        return Losses(*(part.cpu() for part in self))


class TokenLosses(NamedTuple):
    """What each target of a batch cost each member.

    Attributes:
        nats_MBT: 0 for targets that are IGNORED.
        load_MLE: as in `Losses`.
    """

    nats_MBT: Tensor
    load_MLE: Tensor


class Block(nn.Module):
    def __init__(self, size: ModelSize, layer: int, generators: Generators) -> None:
        super().__init__()
        # 2 depth branches are added up: with this gain their sum has the variance of one.
        gain = (2 * size.depth) ** -0.5
        self.attention = Attention(size, generators, gain=gain)
        self.feed_forward: FeedForward | ExpertLayer
        if size.experts is not None and layer in size.expert_layers:
            self.feed_forward = ExpertLayer(size.width, size.experts, generators, gain=gain)
        else:
            self.feed_forward = FeedForward(size.width, size.feed_forward, generators, gain=gain)

    def forward(self, x_MND: Tensor, share_ME: Tensor | None) -> tuple[Tensor, Routing | None]:
        x_MND = x_MND + self.attention(rms_norm(x_MND))
        if isinstance(self.feed_forward, FeedForward):
            return x_MND + self.feed_forward(rms_norm(x_MND)), None
        out_MND, routing = self.feed_forward(rms_norm(x_MND), share_ME)
        return x_MND + out_MND, routing


class Transformer(nn.Module):
    """
    Args:
        generators: of each member's first weights.

    Attributes:
        recomputed: the backward pass computes each block again, and little is kept for it.
    """

    def __init__(self, size: ModelSize, generators: Generators, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.size = size
        self.dtype = dtype
        self.recomputed = False
        self.embedding_MVD = draw_weights((size.vocabulary, size.width), 1.0, generators)
        self.blocks = nn.ModuleList(Block(size, layer, generators) for layer in range(size.depth))
        self.head = Linear(size.width, size.vocabulary, generators)

    def logits(self, tokens_MBT: Tensor) -> Tensor:
        """Scores of the next token, [M, B, T, V], float32."""
        hidden_MND, _ = self._hidden(tokens_MBT)
        logits_MNV: Tensor = self.head(hidden_MND).float()
        return logits_MNV.view(*tokens_MBT.shape, -1)

    def hidden(self, tokens_MBT: Tensor) -> Tensor:
        """What the head predicts the next token from, [M, B, T, D], float32."""
        hidden_MND, _ = self._hidden(tokens_MBT)
        return hidden_MND.float().view(*tokens_MBT.shape, -1)

    @property
    def members(self) -> int:
        return len(self.embedding_MVD)

    def forward(self, inputs_MBT: Tensor, targets_MBT: Tensor, share_MLE: Tensor | None = None) -> Losses:
        """The loss of predicting `targets_MBT`, of which those that are IGNORED count nothing.

        Args:
            share_MLE: where this is a micro-batch, the share of its batch's choices that falls on each expert.
        """
        hidden_MND, routings = self._hidden(inputs_MBT, share_MLE)
        targets_MN = targets_MBT.flatten(1)
        nats_M = linear_cross_entropy(hidden_MND, self.head.weight_MOI, targets_MN)
        load_MLE = self._load(routings, targets_MN)
        if not routings:
            none_ML = nats_M.new_zeros(len(nats_M), 0)
            return Losses(nats_M, none_ML, none_ML, load_MLE)
        return Losses(
            nats_M,
            torch.stack([routing.balance_loss_M for routing in routings], dim=1),
            torch.stack([routing.z_loss_M for routing in routings], dim=1),
            load_MLE,
        )

    def token_losses(self, inputs_MBT: Tensor, targets_MBT: Tensor) -> TokenLosses:
        """As `forward`, of each target by itself, and to learn nothing from."""
        hidden_MND, routings = self._hidden(inputs_MBT)
        targets_MN = targets_MBT.flatten(1)
        nats_MN = cross_entropies(hidden_MND, self.head.weight_MOI, targets_MN)
        return TokenLosses(nats_MN.view_as(targets_MBT), self._load(routings, targets_MN))

    def choices(self, inputs_MBT: Tensor) -> Tensor:
        """How many choices fell on each expert, of all tokens, [M, L, E]."""
        _, routings = self._hidden(inputs_MBT)
        return self._load(routings, torch.zeros_like(inputs_MBT).flatten(1))

    def update_router_biases(self, load_MLE: Tensor, rate_M: Tensor) -> None:
        """After a step, where a bias balances the experts.

        Args:
            load_MLE: as in `Losses`, of the whole batch.
            rate_M: how far each member's biases move; 0 leaves them as they are.
        """
        layers = [block.feed_forward for block in self.blocks if isinstance(block.feed_forward, ExpertLayer)]
        for layer, load_ME in zip(layers, load_MLE.unbind(1), strict=True):
            layer.router.update_bias(load_ME, rate_M)

    def _load(self, routings: Sequence[Routing], targets_MN: Tensor) -> Tensor:
        """How many choices fell on each expert, of tokens with a target, [M, L, E]."""
        if not routings:
            return self.head.weight_MOI.new_zeros(len(targets_MN), 0, 1)
        counted_MN11 = (targets_MN != IGNORED)[:, :, None, None]
        loads = [
            (one_hot(routing.experts_MNK, self.size.expert_count) & counted_MN11).sum(dim=(1, 2))
            for routing in routings
        ]
        return torch.stack(loads, dim=1)

    def _hidden(self, tokens_MBT: Tensor, share_MLE: Tensor | None = None) -> tuple[Tensor, list[Routing]]:
        members, vocabulary, width = self.embedding_MVD.shape
        first_M1 = torch.arange(members, device=tokens_MBT.device).unsqueeze(1) * vocabulary
        table_VD = self.embedding_MVD.view(-1, width)  # the members' tables above each other
        x_MND = nn.functional.embedding(tokens_MBT.flatten(1) + first_M1, table_VD).to(self.dtype)
        routings: list[Routing] = []
        for block in self.blocks:
            has_experts = isinstance(block.feed_forward, ExpertLayer)
            share_ME = share_MLE[:, len(routings)] if has_experts and share_MLE is not None else None
            if self.recomputed and torch.is_grad_enabled():
                x_MND, routing = checkpoint(block, x_MND, share_ME, use_reentrant=False)
            else:
                x_MND, routing = block(x_MND, share_ME)
            if routing is not None:
                routings.append(routing)
        return rms_norm(x_MND), routings
