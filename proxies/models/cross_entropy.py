"""The cross-entropy of a linear head, without ever holding all of its logits.

The logits of a batch are by far the largest tensor of a small model: N x V floats, several times over. Here they
are made for a chunk of tokens at a time, and the chunk's gradients at once with its loss, because what the
backward pass needs (softmax minus one-hot) is what the forward pass has just computed.

N tokens, D width, V vocabulary, C tokens of one chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

IGNORED = -100

# What fits a core's cache on a CPU; on a GPU, large products.
CHUNK_LOGITS = {"cpu": 2**21, "cuda": 2**27}


def linear_cross_entropy(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Summed nats of all targets but the IGNORED ones; logits are float32 whatever the dtype of `hidden_ND`."""
    counted_N = targets_N != IGNORED
    # A hidden state of zeros adds nothing to the head's gradient, and gets none itself.
    hidden_ND = hidden_ND * counted_N.unsqueeze(1).to(hidden_ND.dtype)
    nats: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_ND, head_VD, targets_N.where(counted_N, 0), counted_N, torch.is_grad_enabled()
    )
    return nats


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, counted_N: Tensor, with_gradients: bool
    ) -> Tensor:
        head = head_VD.to(hidden_ND.dtype)
        rows = max(64, CHUNK_LOGITS[hidden_ND.device.type] // head.shape[0])
        nats = torch.zeros((), device=hidden_ND.device)
        if with_gradients:
            d_hidden_ND, d_head_VD = torch.empty_like(hidden_ND), torch.zeros_like(head_VD)
            ctx.save_for_backward(d_hidden_ND, d_head_VD)
        for start in range(0, len(targets_N), rows):
            chunk = slice(start, start + rows)
            target_C1 = targets_N[chunk].unsqueeze(1)
            log_p_CV = torch.log_softmax(hidden_ND[chunk] @ head.T, dim=-1, dtype=torch.float32)
            log_p_C1 = log_p_CV.gather(1, target_C1)
            nats -= log_p_C1.squeeze(1) @ counted_N[chunk].float()
            if with_gradients:
                d_logits_CV = log_p_CV.exp_().scatter_add_(1, target_C1, -torch.ones_like(log_p_C1)).to(head.dtype)
                d_hidden_ND[chunk] = d_logits_CV @ head
                d_head_VD += d_logits_CV.T @ hidden_ND[chunk]
        return nats

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        d_hidden_ND, d_head_VD = ctx.saved_tensors
        (d_nats,) = gradients
        return d_hidden_ND * d_nats.to(d_hidden_ND.dtype), d_head_VD * d_nats, None, None, None
