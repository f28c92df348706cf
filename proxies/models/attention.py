"""Causal self-attention with rotary positions (2104.09864) and normed queries and keys (2010.04245).

B rows, T positions, H heads, C numbers a head, D = H C width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from proxies.models.linear import Linear
from proxies.models.norm import rms_norm
from proxies.models.size import ModelSize

ROTARY_BASE = 10_000.0


class Attention(nn.Module):
    mask_TT: Tensor
    cos_TC: Tensor
    sin_TC: Tensor

    def __init__(self, size: ModelSize, generator: torch.Generator, *, gain: float) -> None:
        super().__init__()
        self.heads = size.heads
        self.query = Linear(size.width, size.width, generator)
        self.key = Linear(size.width, size.width, generator)
        self.value = Linear(size.width, size.width, generator)
        self.out = Linear(size.width, size.width, generator, gain=gain)

        length, half = size.sequence_length, size.width // size.heads // 2
        angle_TC = torch.outer(torch.arange(length), ROTARY_BASE ** (-torch.arange(half) / half))
        self.register_buffer("cos_TC", angle_TC.cos(), persistent=False)
        self.register_buffer("sin_TC", angle_TC.sin(), persistent=False)
        self.register_buffer("mask_TT", torch.full((length, length), -torch.inf).triu(1), persistent=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        query_BHTC = self._rotated(rms_norm(self._by_head(self.query(x_BTD))))
        key_BHTC = self._rotated(rms_norm(self._by_head(self.key(x_BTD))))
        value_BHTC = self._by_head(self.value(x_BTD))
        mixed_BHTC = self._attended(query_BHTC, key_BHTC, value_BHTC)
        mixed_BTD: Tensor = self.out(mixed_BHTC.transpose(1, 2).flatten(2))
        return mixed_BTD

    def _by_head(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def _rotated(self, x_BHTC: Tensor) -> Tensor:
        length = x_BHTC.shape[2]
        cos, sin = self.cos_TC[:length].to(x_BHTC.dtype), self.sin_TC[:length].to(x_BHTC.dtype)
        left, right = x_BHTC.chunk(2, dim=-1)
        return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)

    def _attended(self, query_BHTC: Tensor, key_BHTC: Tensor, value_BHTC: Tensor) -> Tensor:
        if query_BHTC.is_cuda:
            return nn.functional.scaled_dot_product_attention(query_BHTC, key_BHTC, value_BHTC, is_causal=True)
        # Written out, with a mask that is added: on a CPU and up to 1024 positions twice as fast as the fused kernel.
        length, head_width = query_BHTC.shape[2:]
        scores_BHTT = (query_BHTC * head_width**-0.5) @ key_BHTC.transpose(2, 3)
        scores_BHTT = scores_BHTT + self.mask_TT[:length, :length].to(scores_BHTT.dtype)
        return torch.softmax(scores_BHTT, dim=-1) @ value_BHTC
