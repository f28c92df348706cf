"""Causal self-attention with rotary positions (2104.09864) and normed queries and keys (2010.04245).

M members, B rows of each, T positions, N = B T tokens, R = M B rows of all, H heads, C width of a head,
D = H C width, P = C / 2 rotated pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from proxies.models.linear import Generators, Linear
from proxies.models.norm import rms_norm
from proxies.models.size import ModelSize

ROTARY_BASE = 10_000.0
LONGEST_WRITTEN_OUT = 512  # positions


def causal_mask(x_MND: Tensor, length: int) -> Tensor | None:
    """What is added to the scores, 0 for the past and -inf for the future; None where the fused kernel is better.

    Written out, attention in bfloat16 is up to three times as fast on a CPU; not so in float32, nor from 1024
    positions on, where the fused kernel takes half the time.
    """
    if x_MND.is_cuda or x_MND.dtype == torch.float32 or length > LONGEST_WRITTEN_OUT:
        return None
    return torch.full((length, length), -torch.inf, dtype=x_MND.dtype, device=x_MND.device).triu(1)


class Attention(nn.Module):
    cos_TP: Tensor
    sin_TP: Tensor

    def __init__(self, size: ModelSize, generators: Generators, *, gain: float) -> None:
        super().__init__()
        self.heads = size.heads
        self.query_key_value = Linear(size.width, size.width, generators, parts=3)
        self.out = Linear(size.width, size.width, generators, gain=gain)

        length, pairs = size.sequence_length, size.width // size.heads // 2
        angle_TP = torch.outer(torch.arange(length), ROTARY_BASE ** (-torch.arange(pairs) / pairs))
        self.register_buffer("cos_TP", angle_TP.cos(), persistent=False)
        self.register_buffer("sin_TP", angle_TP.sin(), persistent=False)

    def forward(self, x_MND: Tensor, mask_TT: Tensor | None) -> Tensor:
        """`mask_TT` as `causal_mask` gives it."""
        length = len(self.cos_TP)
        heads_RT3HC = self.query_key_value(x_MND).view(-1, length, 3, self.heads, x_MND.shape[2] // self.heads)
        query_RHTC, key_RHTC, value_RHTC = heads_RT3HC.permute(2, 0, 3, 1, 4)
        mixed_RHTC = attend(self._rotated(rms_norm(query_RHTC)), self._rotated(rms_norm(key_RHTC)), value_RHTC, mask_TT)
        mixed_MND: Tensor = self.out(mixed_RHTC.transpose(1, 2).reshape(x_MND.shape))
        return mixed_MND

    def _rotated(self, x_RHTC: Tensor) -> Tensor:
        cos_TP, sin_TP = self.cos_TP.to(x_RHTC.dtype), self.sin_TP.to(x_RHTC.dtype)
        left_RHTP, right_RHTP = x_RHTC.chunk(2, dim=-1)
        return torch.cat([left_RHTP * cos_TP - right_RHTP * sin_TP, right_RHTP * cos_TP + left_RHTP * sin_TP], dim=-1)


def attend(query_RHTC: Tensor, key_RHTC: Tensor, value_RHTC: Tensor, mask_TT: Tensor | None) -> Tensor:
    """The values that each position attends to: with the fused kernel, or written out where there is a mask."""
    if mask_TT is None:
        return nn.functional.scaled_dot_product_attention(query_RHTC, key_RHTC, value_RHTC, is_causal=True)
    scores_RHTT = (query_RHTC * query_RHTC.shape[3] ** -0.5) @ key_RHTC.transpose(2, 3)
    return torch.softmax(scores_RHTT + mask_TT, dim=-1) @ value_RHTC
