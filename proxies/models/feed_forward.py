"""The SwiGLU feed-forward layer (2002.05202): down(silu(gate(x)) * up(x))."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from proxies.models.linear import Linear


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int, generator: torch.Generator, *, gain: float) -> None:
        super().__init__()
        self.gate = Linear(width, hidden, generator)
        self.up = Linear(width, hidden, generator)
        self.down = Linear(hidden, width, generator, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(nn.functional.silu(self.gate(x)) * self.up(x))
        return out
