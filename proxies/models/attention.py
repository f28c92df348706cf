"""Causal self-attention with rotary positions (2104.09864) and normed queries and keys (2010.04245).

On a CPU, in bfloat16, it is written out. The mean square of queries and keys is one, so no score is beyond sqrt(C):
their exponentials are finite, for heads of up to 7,700, without their row's maximum taken off, and a row is divided by
its sum t only when its values have been added up.

    S = Q K^T / sqrt(C)      E = exp(S), 0 for the future      O = (E V) / t
    dV = E^T (dO / t)        dS = E ((dO / t) V^T - rowsum((dO / t) O))        dQ, dK from dS as ever

Blocks of queries meet the keys up to their own last one, so that little is computed of the future, half of all
scores.

M members, B rows of each, T positions, N = B T tokens, R = M B rows of all, H heads, C width of a head,
D = H C width, P = C / 2 rotated pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from proxies.models.linear import Generators, Linear
from proxies.models.norm import rms_norm
from proxies.models.size import ModelSize

ROTARY_BASE = 10_000.0
BLOCK, MOST_BLOCKS = 128, 4  # the least queries of a block; each block is compiled for itself


def longest_written_out() -> int:
    """Positions up to which attention in bfloat16 is written out on this machine's CPU.

    The fused kernel takes three times as long at 256, 512 and 1024 positions, but where the processor has AMX: there
    it is faster from 1024 on. In float32 it is faster anywhere.
    """
    return 512 if torch.cpu._is_amx_tile_supported() else 1024


class Attention(nn.Module):
    cos_TP: Tensor
    sin_TP: Tensor
    past_TT: Tensor | None

    def __init__(self, size: ModelSize, generators: Generators, *, gain: float) -> None:
        super().__init__()
        self.heads = size.heads
        self.query_key_value = Linear(size.width, size.width, generators, parts=3)
        self.out = Linear(size.width, size.width, generators, gain=gain)

        length, pairs = size.sequence_length, size.width // size.heads // 2
        angle_TP = torch.outer(torch.arange(length), ROTARY_BASE ** (-torch.arange(pairs) / pairs))
        self.register_buffer("cos_TP", angle_TP.cos(), persistent=False)
        self.register_buffer("sin_TP", angle_TP.sin(), persistent=False)
        # Kept: a compiler would compare positions anew for each score.
        past_TT = torch.ones(length, length, dtype=torch.bfloat16).tril() if length <= longest_written_out() else None
        self.register_buffer("past_TT", past_TT, persistent=False)

    def forward(self, x_MND: Tensor) -> Tensor:
        length = len(self.cos_TP)
        heads_RT3HC = self.query_key_value(x_MND).view(-1, length, 3, self.heads, x_MND.shape[2] // self.heads)
        query_RHTC, key_RHTC, value_RHTC = (each_RTHC.transpose(1, 2) for each_RTHC in heads_RT3HC.unbind(2))
        query_RHTC = self._rotated(rms_norm(query_RHTC), query_RHTC.shape[3] ** -0.5)
        key_RHTC = self._rotated(rms_norm(key_RHTC))
        written_out = not x_MND.is_cuda and x_MND.dtype == torch.bfloat16
        mixed_RHTC = attend(query_RHTC, key_RHTC, value_RHTC, self.past_TT if written_out else None)
        mixed_MND: Tensor = self.out(mixed_RHTC.transpose(1, 2).reshape(x_MND.shape))
        return mixed_MND

    def _rotated(self, x_RHTC: Tensor, scale: float = 1.0) -> Tensor:
        cos_TP, sin_TP = ((scale * table_TP).to(x_RHTC.dtype) for table_TP in (self.cos_TP, self.sin_TP))
        left_RHTP, right_RHTP = x_RHTC.chunk(2, dim=-1)
        return torch.cat([left_RHTP * cos_TP - right_RHTP * sin_TP, right_RHTP * cos_TP + left_RHTP * sin_TP], dim=-1)


def attend(query_RHTC: Tensor, key_RHTC: Tensor, value_RHTC: Tensor, past_TT: Tensor | None) -> Tensor:
    """The values that each position attends to.

    Args:
        query_RHTC, key_RHTC: normed, and the queries divided by sqrt(C).
        past_TT: ones for the past and the present, zeros for the future, to write it out; None for the fused kernel.
    """
    if past_TT is None:
        return nn.functional.scaled_dot_product_attention(query_RHTC, key_RHTC, value_RHTC, is_causal=True, scale=1.0)
    each_STC = (heads_RHTC.flatten(0, 1) for heads_RHTC in (query_RHTC, key_RHTC, value_RHTC))
    mixed_STC: Tensor = _Attention.apply(*each_STC, past_TT)  # type: ignore[no-untyped-call]
    return mixed_STC.view_as(query_RHTC)


class _Attention(torch.autograd.Function):
    """S = R H sequences of one head; Q queries of a block, K keys up to its last query. Queries are scaled already."""

    @staticmethod
    def forward(ctx: Any, query_STC: Tensor, key_STC: Tensor, value_STC: Tensor, past_TT: Tensor) -> Tensor:
        mixed, kept = [], []
        for queries, keys in _blocks(query_STC.shape[1]):
            query_SQC, key_SKC, value_SKC = (
                part.contiguous() for part in (query_STC[:, queries], key_STC[:, keys], value_STC[:, keys])
            )
            exp_SQK = torch.bmm(query_SQC, key_SKC.mT).exp_().mul_(past_TT[queries, keys])
            total_SQ1 = exp_SQK.sum(dim=2, keepdim=True, dtype=torch.float32)
            mixed_SQC = (torch.bmm(exp_SQK, value_SKC) / total_SQ1).to(query_STC.dtype)
            mixed.append(mixed_SQC)
            kept += [query_SQC, key_SKC, value_SKC, exp_SQK, total_SQ1, mixed_SQC]
        ctx.save_for_backward(*kept)
        return torch.cat(mixed, dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (d_mixed_STC,) = gradients
        d_query, d_key, d_value = [], [], []
        for block, (queries, _) in enumerate(_blocks(d_mixed_STC.shape[1])):
            query_SQC, key_SKC, value_SKC, exp_SQK, total_SQ1, mixed_SQC = ctx.saved_tensors[6 * block : 6 * block + 6]
            d_sum_SQC = (d_mixed_STC[:, queries] / total_SQ1).to(d_mixed_STC.dtype)
            d_total_SQ1 = (d_sum_SQC * mixed_SQC).sum(dim=2, keepdim=True)
            d_scores_SQK = torch.bmm(d_sum_SQC, value_SKC.mT).sub_(d_total_SQ1).mul_(exp_SQK)
            d_query.append(torch.bmm(d_scores_SQK, key_SKC))
            d_key.append(torch.bmm(d_scores_SQK.mT, query_SQC))
            d_value.append(torch.bmm(exp_SQK.mT, d_sum_SQC))
        return torch.cat(d_query, dim=1), _summed(d_key), _summed(d_value), None


def _blocks(length: int) -> list[tuple[slice, slice]]:
    """Queries, and the keys that they may see."""
    return [(slice(start, end), slice(0, end)) for start, end in pairwise((*range(0, length, _block(length)), length))]


def _block(length: int) -> int:
    return max(BLOCK, -(-length // MOST_BLOCKS))


def _summed(parts: Sequence[Tensor]) -> Tensor:
    """Those of each block of queries, [S, K, C], to one of all keys, [S, T, C]."""
    block = _block(parts[-1].shape[1])
    rows = [torch.split(part, block, dim=1) for part in parts]
    return torch.cat([sum((later[at] for later in rows[at + 1 :]), rows[at][at]) for at in range(len(rows))], dim=1)
