"""A matrix for each member of a pack, kept in float32 for the optimizer and used in the dtype of what it multiplies.

M members, N tokens, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

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
        return nn.functional.linear(x_MNI[0], weight_MOI[0]).unsqueeze(0)
    return torch.bmm(x_MNI, weight_MOI.mT)


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
