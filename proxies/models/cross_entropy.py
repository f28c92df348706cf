"""The cross-entropy of a linear head, without ever holding all of a large vocabulary's logits.

The logits of a batch are by far the largest tensor of a small model: N x V floats, several times over. Here they
are made for a chunk of tokens at a time, and the chunk's gradients at once with its loss, because what the
backward pass needs (softmax minus one-hot) is what the forward pass has just computed.

Evaluations need no gradients, and have the loss of each token apart (`cross_entropies`).

M members, N tokens of each, D width, V vocabulary, C tokens of one chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from proxies.models.linear import linear
from proxies.targets import IGNORED

# Logits of one chunk: on a CPU what fits a core's cache, on a GPU large products.
CHUNK_LOGITS = {"cpu": 2**21, "cuda": 2**27}
MOST_COMPILED_CHUNKS = 16
# Compiled, a CPU's chunks gain nothing until memory does: the plain loss is faster to compile, and to find again.
PLAIN_LOGITS = 2**25


def linear_cross_entropy(hidden_MND: Tensor, head_MVD: Tensor, targets_MN: Tensor) -> Tensor:
    """Summed nats of all targets but the IGNORED ones, [M]; logits are float32 whatever the dtype of `hidden_MND`."""
    if _compiled_plainly(hidden_MND, head_MVD):
        logits = linear(hidden_MND, head_MVD).float().flatten(0, 1)
        nats = torch.nn.functional.cross_entropy(logits, targets_MN.flatten(), ignore_index=IGNORED, reduction="none")
        return nats.view_as(targets_MN).sum(dim=1)
    counted_MN = targets_MN != IGNORED
    # A hidden state of zeros adds nothing to the head's gradient, and gets none itself.
    hidden_MND = hidden_MND * counted_MN.unsqueeze(2).to(hidden_MND.dtype)
    nats_M: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_MND, head_MVD, targets_MN.where(counted_MN, 0), counted_MN, torch.is_grad_enabled()
    )
    return nats_M


def cross_entropies(hidden_MND: Tensor, head_MVD: Tensor, targets_MN: Tensor) -> Tensor:
    """Nats of each target, [M, N], 0 for those that are IGNORED."""
    head = head_MVD.to(hidden_MND.dtype)
    chunk_tokens = targets_MN.shape[1]
    if not _compiled_plainly(hidden_MND, head_MVD):
        chunk_tokens = _chunk_tokens(hidden_MND, head)
    counted_MN = targets_MN != IGNORED
    targets_MN1 = targets_MN.where(counted_MN, 0).unsqueeze(2)
    nats = []
    for start in range(0, targets_MN.shape[1], chunk_tokens):
        chunk = slice(start, start + chunk_tokens)
        log_p_MCV = torch.log_softmax(linear(hidden_MND[:, chunk], head), dim=-1, dtype=torch.float32)
        nats.append(-log_p_MCV.gather(2, targets_MN1[:, chunk]).squeeze(2))
    return torch.cat(nats, dim=1).where(counted_MN, 0)


def _compiled_plainly(hidden_MND: Tensor, head_MVD: Tensor) -> bool:
    members, tokens, _ = hidden_MND.shape
    few = members * tokens * head_MVD.shape[1] <= PLAIN_LOGITS
    return few and torch.compiler.is_compiling() and not hidden_MND.is_cuda


def _chunk_tokens(hidden_MND: Tensor, head_MVD: Tensor) -> int:
    (members, tokens, _), vocabulary = hidden_MND.shape, head_MVD.shape[1]
    chunk = max(64, CHUNK_LOGITS[hidden_MND.device.type] // (members * vocabulary))
    if torch.compiler.is_compiling():  # each chunk is compiled for itself
        chunk = max(chunk, -(-tokens // MOST_COMPILED_CHUNKS))
    return chunk


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_MND: Tensor, head_MVD: Tensor, targets_MN: Tensor, counted_MN: Tensor, with_gradients: bool
    ) -> Tensor:
        head = head_MVD.to(hidden_MND.dtype)
        chunk_tokens = _chunk_tokens(hidden_MND, head)
        nats_M = torch.zeros(len(hidden_MND), device=hidden_MND.device)
        if with_gradients:
            d_hidden_MND, d_head_MVD = torch.empty_like(hidden_MND), torch.zeros_like(head_MVD)
            ctx.save_for_backward(d_hidden_MND, d_head_MVD)
        for start in range(0, targets_MN.shape[1], chunk_tokens):
            chunk = slice(start, start + chunk_tokens)
            hidden_MCD, target_MC1 = hidden_MND[:, chunk], targets_MN[:, chunk].unsqueeze(2)
            log_p_MCV = torch.log_softmax(linear(hidden_MCD, head), dim=-1, dtype=torch.float32)
            log_p_MC1 = log_p_MCV.gather(2, target_MC1)
            nats_M -= (log_p_MC1.squeeze(2) * counted_MN[:, chunk]).sum(dim=1)
            if with_gradients:
                d_logits_MCV = log_p_MCV.exp_().scatter_add_(2, target_MC1, -torch.ones_like(log_p_MC1)).to(head.dtype)
                d_hidden_MND[:, chunk] = linear(d_logits_MCV, head.mT)
                d_head_MVD += linear(d_logits_MCV.mT, hidden_MCD.mT)
        return nats_M

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        d_hidden_MND, d_head_MVD = ctx.saved_tensors
        (d_nats_M,) = gradients
        d_nats_M11 = d_nats_M.view(-1, 1, 1)
        return d_hidden_MND * d_nats_M11.to(d_hidden_MND.dtype), d_head_MVD * d_nats_M11, None, None, None
