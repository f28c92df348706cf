"""The expert layer: a shared expert for every token, and the few experts that the router chooses for it.

No token is dropped: rows are laid out expert by expert, and each expert multiplies its own slice of rows, as long as
it is popular (MegaBlocks, 2211.15841). Slices are filled up to a multiple of 64 rows: on a CPU each new shape of a
bfloat16 product costs ten times the product itself, because its code is generated then. A filling row repeats one of
the same member's: nobody reads its output, so that its gradient is zero, but times another member's nan that is nan.

M members, N tokens of each, D width, E experts of each member, K experts for each token, A = N K assignments,
R rows of all slices, F hidden width of an expert.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from proxies.models.feed_forward import FeedForward, swiglu
from proxies.models.linear import Generators, draw_weights
from proxies.models.router import Router, Routing, one_hot
from proxies.models.size import Experts

SLICE_ROWS = 64


@dataclass(frozen=True)
class Layout:
    """Which row stands for which assignment, over all members' assignments M A, and where each slice ends, [M E]."""

    row_A: Tensor
    assignment_R: Tensor
    filled_R: Tensor
    end_E: Tensor


def layout(experts_MA: Tensor, experts: int) -> Layout:
    """A slice of rows for each expert of each member, in which its assignments keep their order."""
    chosen_MAE = one_hot(experts_MA, experts)
    count_ME = chosen_MAE.sum(dim=1)
    rank_MA = chosen_MAE.cumsum(dim=1).gather(2, experts_MA.unsqueeze(2)).squeeze(2) - 1
    slice_ME = (count_ME + SLICE_ROWS - 1) // SLICE_ROWS * SLICE_ROWS
    end_E = slice_ME.flatten().cumsum(0)
    row_A = ((end_E.view_as(slice_ME) - slice_ME).gather(1, experts_MA) + rank_MA).flatten()

    assignments = experts_MA.numel()
    rows = (assignments // SLICE_ROWS + len(end_E)) * SLICE_ROWS  # as many as any choice of experts can need
    end_E = torch.cat([end_E[:-1], end_E.new_full((1,), rows)])  # the last expert multiplies what is left over
    member_R = torch.searchsorted(end_E, torch.arange(rows, device=row_A.device), right=True) // experts
    first_R = member_R * experts_MA.shape[1]
    assignment_R = first_R.scatter(0, row_A, torch.arange(assignments, device=row_A.device))
    filled_R = row_A.new_zeros(rows, dtype=torch.bool).scatter(0, row_A, True)
    return Layout(row_A, assignment_R, filled_R, end_E.int())


class ExpertLayer(nn.Module):
    def __init__(self, width: int, size: Experts, generators: Generators, *, gain: float) -> None:
        super().__init__()
        self.experts = size.count
        self.router = Router(width, size, generators)
        self.shared = FeedForward(width, size.shared_feed_forward, generators, gain=gain)
        self.gate_and_up_MEDF = draw_weights((size.count, width, 2 * size.feed_forward), width**-0.5, generators)
        self.down_MEFD = draw_weights(
            (size.count, size.feed_forward, width), gain * size.feed_forward**-0.5, generators
        )

    def forward(self, x_MND: Tensor, share_ME: Tensor | None = None) -> tuple[Tensor, Routing]:
        routing = self.router(x_MND, share_ME)
        return self.shared(x_MND) + self._routed(x_MND, routing), routing

    def _routed(self, x_MND: Tensor, routing: Routing) -> Tensor:
        """The chosen experts' outputs, weighted and summed for each token, [M, N, D]."""
        members, tokens, width = x_MND.shape
        top_k = routing.experts_MNK.shape[2]
        rows = layout(routing.experts_MNK.flatten(1), self.experts)

        def multiplied(x_RI: Tensor, weight_MEIO: Tensor) -> Tensor:
            return nn.functional.grouped_mm(x_RI, weight_MEIO.to(x_RI.dtype).flatten(0, 1), offs=rows.end_E)

        x_RD: Tensor = _Dispatched.apply(x_MND.flatten(0, 1), rows, top_k)  # type: ignore[no-untyped-call]
        out_RD = multiplied(swiglu(multiplied(x_RD, self.gate_and_up_MEDF)), self.down_MEFD)
        out_AD: Tensor = _Collected.apply(out_RD, rows)  # type: ignore[no-untyped-call]
        weights_MNK1 = routing.weights_MNK.unsqueeze(3).to(x_MND.dtype)
        return (out_AD.view(members, tokens, top_k, width) * weights_MNK1).sum(dim=2)


# Autograd's own backward pass of reading rows by an index is adding them up by that index, one after the other.
# Here the inverse index is known, and both directions read.


class _Dispatched(torch.autograd.Function):
    """Each row's token."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, rows: Layout, top_k: int) -> Tensor:
        ctx.row_A, ctx.top_k = rows.row_A, top_k
        return x_ND.index_select(0, rows.assignment_R // top_k)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (d_x_RD,) = gradients
        d_x_AD = d_x_RD.index_select(0, ctx.row_A)
        return d_x_AD.view(-1, ctx.top_k, d_x_AD.shape[1]).sum(dim=1), None, None


class _Collected(torch.autograd.Function):
    """Each assignment's row."""

    @staticmethod
    def forward(ctx: Any, out_RD: Tensor, rows: Layout) -> Tensor:
        ctx.rows = rows
        return out_RD.index_select(0, rows.row_A)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (d_out_AD,) = gradients
        rows: Layout = ctx.rows
        return d_out_AD.index_select(0, rows.assignment_R) * rows.filled_R.unsqueeze(1), None
