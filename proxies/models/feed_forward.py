"""The SwiGLU feed-forward layer (2002.05202): down(silu(gate(x)) * up(x))."""

from __future__ import annotations

from torch import Tensor, nn

from proxies.models.linear import Generators, Linear


def swiglu(gate_and_up: Tensor) -> Tensor:
    """silu(gate) * up, of the two halves of the last axis."""
    gate, up = gate_and_up.chunk(2, dim=-1)
    return nn.functional.silu(gate) * up


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int, generators: Generators, *, gain: float) -> None:
        super().__init__()
        self.gate_and_up = Linear(width, hidden, generators, parts=2)
        self.down = Linear(hidden, width, generators, gain=gain)

    def forward(self, x_MND: Tensor) -> Tensor:
        out_MND: Tensor = self.down(swiglu(self.gate_and_up(x_MND)))
        return out_MND
