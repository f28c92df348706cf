"""RMS norm without a gain: the matrix that follows each norm can hold one.

    y = x / sqrt(mean(x^2) + epsilon)                       Zhang and Sennrich, 1910.07467
    dx = (dy - y mean(dy y)) / sqrt(mean(x^2) + epsilon)

A compiler fuses the first line, and finds the second. Without one, on a CPU, the backward pass is written out:
derived by autograd it takes twice as long, and there are four norms in a layer. There the mean is rounded to the
type of `x`: summing a float32 copy of bfloat16 takes six times as long.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-6


def rms_norm(x: Tensor) -> Tensor:
    """`x` with its last axis scaled to a mean square of one."""
    if torch.compiler.is_compiling():
        exact = x.float()
        return (exact * torch.rsqrt(exact.square().mean(dim=-1, keepdim=True) + EPSILON)).to(x.dtype)
    normed: Tensor = _RMSNorm.apply(x)  # type: ignore[no-untyped-call]
    return normed


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        scale = torch.rsqrt(_mean_product(x, x) + EPSILON).to(x.dtype)
        y: Tensor = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (dy,) = gradients
        y, scale = ctx.saved_tensors
        dx: Tensor = (dy - y * _mean_product(dy, y).to(y.dtype)) * scale
        return dx


def _mean_product(a: Tensor, b: Tensor) -> Tensor:
    mean: Tensor = torch.linalg.vecdot(a, b).float().unsqueeze(-1) / a.shape[-1]
    return mean
