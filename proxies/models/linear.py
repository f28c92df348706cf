"""A matrix kept in float32 for the optimizer and used in the dtype of what it multiplies."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """x W^T without a bias; W is [outputs, inputs], drawn from a normal distribution of variance 1 / inputs."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator, *, gain: float = 1.0) -> None:
        super().__init__()
        weight = torch.randn(outputs, inputs, generator=generator) * (gain * inputs**-0.5)
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight.to(x.dtype))
