"""A matrix for each member of a pack, kept in float32 for the optimizer and used in the dtype of what it multiplies.

M members, N tokens, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

# Where each member's first weights come from; None leaves room for those of a member that is yet to begin.
Generators = Sequence[torch.Generator | None]


def draw_weights(shape: tuple[int, ...], scale: float, generators: Generators) -> nn.Parameter:
    """Normal weights, [M, *shape]: each member's come from its own generator, as they would for it alone."""
    return nn.Parameter(
        torch.stack(
            [torch.zeros(shape) if each is None else torch.randn(shape, generator=each) * scale for each in generators]
        )
    )


def linear(x_MNI: Tensor, weight_MOI: Tensor) -> Tensor:
    """Each member's x W^T, [M, N, O]."""
    weight_MOI = weight_MOI.to(x_MNI.dtype)
    if len(weight_MOI) == 1:  # a plain product is faster than a batch of one
        on_cpu_in_bf16 = not x_MNI.is_cuda and x_MNI.dtype == torch.bfloat16
        product = _Product.apply if on_cpu_in_bf16 else nn.functional.linear
        y_NO: Tensor = product(x_MNI[0], weight_MOI[0])
        return y_NO.unsqueeze(0)
    return torch.bmm(x_MNI, weight_MOI.mT)


class _Product(torch.autograd.Function):
    """x W^T, of whose gradients that of W is made with the smaller of its two factors transposed: on a CPU it is the
    transposed one that the library lays out anew, element by element."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, weight_OI: Tensor) -> Tensor:
        ctx.save_for_backward(x_NI, weight_OI)
        return nn.functional.linear(x_NI, weight_OI)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor]:
        (d_y_NO,) = gradients
        x_NI, weight_OI = ctx.saved_tensors
        d_x_NI = d_y_NO @ weight_OI if ctx.needs_input_grad[0] else None
        outputs, inputs = weight_OI.shape
        if outputs > inputs:
            return d_x_NI, (x_NI.mT @ d_y_NO).mT.contiguous()
        return d_x_NI, d_y_NO.mT @ x_NI


class Linear(nn.Module):
    """x W^T without a bias; W is drawn from a normal distribution of variance gain^2 / inputs.

    Args:
        parts: how many matrices of `outputs` rows stand above each other; one product for all of them is faster.
    """

    def __init__(self, inputs: int, outputs: int, generators: Generators, *, gain: float = 1.0, parts: int = 1) -> None:
        super().__init__()
        self.weight_MOI = draw_weights((parts * outputs, inputs), gain * inputs**-0.5, generators)

    def forward(self, x_MNI: Tensor) -> Tensor:
        return linear(x_MNI, self.weight_MOI)
