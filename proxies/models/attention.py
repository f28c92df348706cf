"""Causal self-attention with rotary positions (2104.09864) and normed queries and keys (2010.04245).

B rows, T positions, H heads, C width of a head, D = H C width, R = C / 2 rotated pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from proxies.models.linear import Linear
from proxies.models.norm import rms_norm
from proxies.models.size import ModelSize

ROTARY_BASE = 10_000.0
LONGEST_WRITTEN_OUT = 512  # positions


def causal_mask(x_BTD: Tensor) -> Tensor | None:
    """What is added to the scores, 0 for the past and -inf for the future; None where the fused kernel is better.

    Written out, attention in bfloat16 is up to three times as fast on a CPU; not so in float32, nor from 1024
    positions on, where the fused kernel takes half the time.
    """
    length = x_BTD.shape[1]
    if x_BTD.is_cuda or x_BTD.dtype == torch.float32 or length > LONGEST_WRITTEN_OUT:
        return None
    return torch.full((length, length), -torch.inf, dtype=x_BTD.dtype, device=x_BTD.device).triu(1)


class Attention(nn.Module):
    cos_TR: Tensor
    sin_TR: Tensor

    def __init__(self, size: ModelSize, generator: torch.Generator, *, gain: float) -> None:
        super().__init__()
        self.heads = size.heads
        self.query = Linear(size.width, size.width, generator)
        self.key = Linear(size.width, size.width, generator)
        self.value = Linear(size.width, size.width, generator)
        self.out = Linear(size.width, size.width, generator, gain=gain)

        length, pairs = size.sequence_length, size.width // size.heads // 2
        angle_TR = torch.outer(torch.arange(length), ROTARY_BASE ** (-torch.arange(pairs) / pairs))
        self.register_buffer("cos_TR", angle_TR.cos(), persistent=False)
        self.register_buffer("sin_TR", angle_TR.sin(), persistent=False)

    def forward(self, x_BTD: Tensor, mask_TT: Tensor | None) -> Tensor:
        """`mask_TT` as `causal_mask` gives it."""
        query_BHTC = self._rotated(rms_norm(self._by_head(self.query(x_BTD))))
        key_BHTC = self._rotated(rms_norm(self._by_head(self.key(x_BTD))))
        value_BHTC = self._by_head(self.value(x_BTD))
        mixed_BHTC = attended(query_BHTC, key_BHTC, value_BHTC, mask_TT)
        mixed_BTD: Tensor = self.out(mixed_BHTC.transpose(1, 2).flatten(2))
        return mixed_BTD

    def _by_head(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.view(*x_BTD.shape[:2], self.heads, -1).transpose(1, 2)

    def _rotated(self, x_BHTC: Tensor) -> Tensor:
        length = x_BHTC.shape[2]
        cos_TR, sin_TR = self.cos_TR[:length].to(x_BHTC.dtype), self.sin_TR[:length].to(x_BHTC.dtype)
        left_BHTR, right_BHTR = x_BHTC.chunk(2, dim=-1)
        return torch.cat([left_BHTR * cos_TR - right_BHTR * sin_TR, right_BHTR * cos_TR + left_BHTR * sin_TR], dim=-1)


def attended(query_BHTC: Tensor, key_BHTC: Tensor, value_BHTC: Tensor, mask_TT: Tensor | None) -> Tensor:
    """The values that each position attends to: with the fused kernel, or written out where there is a mask."""
    if mask_TT is None:
        return nn.functional.scaled_dot_product_attention(query_BHTC, key_BHTC, value_BHTC, is_causal=True)
    scores_BHTT = (query_BHTC * query_BHTC.shape[3] ** -0.5) @ key_BHTC.transpose(2, 3)
    return torch.softmax(scores_BHTT + mask_TT, dim=-1) @ value_BHTC
