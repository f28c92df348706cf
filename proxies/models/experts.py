"""The expert layer: a shared expert for every token, and the few experts that the router chooses for it.

No token is dropped: tokens are sorted by expert, and each expert multiplies its own slice of rows, as long as it
is popular (MegaBlocks, 2211.15841). Slices are filled up with zeros to a multiple of 64 rows: on a CPU each new
shape of a bfloat16 product costs ten times the product itself, because its code is generated then.

N tokens, D width, E experts, K experts for each token, A = N K assignments sorted by expert, R rows of all slices,
F hidden width of an expert.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from proxies.models.feed_forward import FeedForward
from proxies.models.router import Router, Routing, assignments
from proxies.models.size import Experts

SLICE_ROWS = 64


class ExpertLayer(nn.Module):
    def __init__(self, width: int, size: Experts, generator: torch.Generator, *, gain: float) -> None:
        super().__init__()

        def matrices(inputs: int, outputs: int, gain: float = 1.0) -> nn.Parameter:
            weight = torch.randn(size.count, inputs, outputs, generator=generator) * (gain * inputs**-0.5)
            return nn.Parameter(weight)

        self.router = Router(width, size.count, size.top_k, generator)
        self.shared = FeedForward(width, size.shared_feed_forward, generator, gain=gain)
        self.gate_EDF = matrices(width, size.feed_forward)
        self.up_EDF = matrices(width, size.feed_forward)
        self.down_EFD = matrices(size.feed_forward, width, gain)

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, Routing]:
        x_ND = x_BTD.flatten(0, 1)
        routing = self.router(x_ND)
        out_ND = self.shared(x_ND) + self._routed(x_ND, routing)
        return out_ND.view_as(x_BTD), routing

    def _routed(self, x_ND: Tensor, routing: Routing) -> Tensor:
        """The chosen experts' outputs, weighted and summed for each token, [N, D]."""
        experts, (tokens, top_k) = self.router.experts, routing.experts_NK.shape
        expert_A, order_A = routing.experts_NK.flatten().sort(stable=True)
        token_A = order_A // top_k
        weight_A = routing.weights_NK.flatten().index_select(0, order_A)

        count_E = assignments(routing.experts_NK, experts)
        slice_E = (count_E + SLICE_ROWS - 1) // SLICE_ROWS * SLICE_ROWS
        padding_E = (slice_E - count_E).cumsum(0) - (slice_E - count_E)
        row_A = torch.arange(tokens * top_k, device=x_ND.device) + padding_E.index_select(0, expert_A)
        rows = (tokens * top_k // SLICE_ROWS + experts) * SLICE_ROWS
        end_E = slice_E.cumsum(0).int()
        end_E[-1] = rows  # what is left of this upper bound, the last expert multiplies too: also zeros

        def multiplied(x_RI: Tensor, weight_EIO: Tensor) -> Tensor:
            return nn.functional.grouped_mm(x_RI, weight_EIO.to(x_RI.dtype), offs=end_E)

        x_RD = x_ND.new_zeros(rows, x_ND.shape[1]).index_copy(0, row_A, x_ND.index_select(0, token_A))
        hidden_RF = nn.functional.silu(multiplied(x_RD, self.gate_EDF)) * multiplied(x_RD, self.up_EDF)
        out_AD = multiplied(hidden_RF, self.down_EFD).index_select(0, row_A) * weight_A.unsqueeze(1).to(x_ND.dtype)
        return torch.zeros_like(x_ND).index_add(0, token_A, out_AD)
