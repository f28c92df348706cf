"""A decoder language model: embed, attend and transform `depth` times, predict the next token.

    x = embedding(tokens)
    x = x + attention(norm(x))
    x = x + feed_forward(norm(x))            an expert layer in all layers but the first of an moe
    logits = head(norm(x))

Head and embedding are two matrices: as one they save memory, not operations, and small models learnt less (.03
nats after 600,000 tokens). Weights are float32; the computation runs in `dtype`, its router and its loss in
float32.

B rows, T positions, D width, V vocabulary, N = B T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from proxies.models.attention import Attention, causal_mask
from proxies.models.cross_entropy import linear_cross_entropy
from proxies.models.experts import ExpertLayer
from proxies.models.feed_forward import FeedForward
from proxies.models.linear import Linear
from proxies.models.norm import rms_norm
from proxies.models.router import Routing
from proxies.models.size import ModelSize


@dataclass(frozen=True)
class Losses:
    """What a batch cost: `nats` summed over its targets, and how each expert layer routed it."""

    nats: Tensor
    routings: tuple[Routing, ...]


class Block(nn.Module):
    def __init__(self, size: ModelSize, layer: int, generator: torch.Generator) -> None:
        super().__init__()
        # 2 depth branches are added up: with this gain their sum has the variance of one.
        gain = (2 * size.depth) ** -0.5
        self.attention = Attention(size, generator, gain=gain)
        self.feed_forward: FeedForward | ExpertLayer
        if size.experts is not None and layer in size.expert_layers:
            self.feed_forward = ExpertLayer(size.width, size.experts, generator, gain=gain)
        else:
            self.feed_forward = FeedForward(size.width, size.feed_forward, generator, gain=gain)

    def forward(self, x_BTD: Tensor, mask_TT: Tensor | None) -> tuple[Tensor, Routing | None]:
        x_BTD = x_BTD + self.attention(rms_norm(x_BTD), mask_TT)
        if isinstance(self.feed_forward, FeedForward):
            return x_BTD + self.feed_forward(rms_norm(x_BTD)), None
        out_BTD, routing = self.feed_forward(rms_norm(x_BTD))
        return x_BTD + out_BTD, routing


class Transformer(nn.Module):
    def __init__(self, size: ModelSize, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.size = size
        self.dtype = dtype
        self.embedding = nn.Parameter(torch.randn(size.vocabulary, size.width, generator=generator))
        self.blocks = nn.ModuleList(Block(size, layer, generator) for layer in range(size.depth))
        self.head = Linear(size.width, size.vocabulary, generator)

    def logits(self, tokens_BT: Tensor) -> Tensor:
        """Scores of the next token, [B, T, V], float32."""
        hidden_BTD, _ = self._hidden(tokens_BT)
        logits_BTV: Tensor = self.head(hidden_BTD).float()
        return logits_BTV

    def forward(self, inputs_BT: Tensor, targets_BT: Tensor) -> Losses:
        """The loss of predicting `targets_BT`, of which those that are IGNORED count nothing."""
        hidden_BTD, routings = self._hidden(inputs_BT)
        nats = linear_cross_entropy(hidden_BTD.flatten(0, 1), self.head.weight, targets_BT.flatten())
        return Losses(nats, routings)

    def _hidden(self, tokens_BT: Tensor) -> tuple[Tensor, tuple[Routing, ...]]:
        x_BTD = nn.functional.embedding(tokens_BT, self.embedding).to(self.dtype)
        mask_TT = causal_mask(x_BTD)
        routings = []
        for block in self.blocks:
            x_BTD, routing = block(x_BTD, mask_TT)
            if routing is not None:
                routings.append(routing)
        return rms_norm(x_BTD), tuple(routings)
