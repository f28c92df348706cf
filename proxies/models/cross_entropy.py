"""The cross-entropy of a linear head, without ever holding all of a large vocabulary's logits.

The logits of a batch are by far the largest tensor of a small model: N x V floats, several times over. Here they
are made for a chunk of tokens at a time, and the chunk's gradients at once with its loss, because what the
backward pass needs (softmax minus one-hot) is what the forward pass has just computed.

    e = exp(logits - max)      t = sum of e      nats = log t + max - logit of the target
    d = e, but for the target e - t              d_hidden = (d head) / t      d_head = d^T (hidden / t)

Compiled, a chunk is read twice and written once: what is divided by t is small, and of the target t is taken off before
its number is rounded, for p - 1 may be a thousandth of p.

Evaluations need no gradients, and have the loss of each token apart (`cross_entropies`).

M members, N tokens of each, D width, V vocabulary, C tokens of one chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from proxies.models.linear import linear
from proxies.targets import IGNORED

# Logits of one chunk: on a CPU what stays in a core's cache, on a GPU large products.
CHUNK_LOGITS = {"cpu": 2**21, "cuda": 2**27}
# Each takes its second to compile.
MOST_COMPILED_CHUNKS = 8
# A compiled evaluation, which writes no logits, has no use for chunks until memory does.
EVALUATED_AT_ONCE = 2**25


def linear_cross_entropy(hidden_MND: Tensor, head_MVD: Tensor, targets_MN: Tensor) -> Tensor:
    """Summed nats of all targets but the IGNORED ones, [M]; logits are float32 whatever the dtype of `hidden_MND`."""
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
    chunk_tokens = _chunk_tokens(hidden_MND, head)
    if torch.compiler.is_compiling() and not hidden_MND.is_cuda:
        chunk_tokens = max(chunk_tokens, EVALUATED_AT_ONCE // (len(head) * head.shape[1]))
    counted_MN = targets_MN != IGNORED
    targets_MN1 = targets_MN.where(counted_MN, 0).unsqueeze(2)
    nats = []
    for start in range(0, targets_MN.shape[1], chunk_tokens):
        chunk = slice(start, start + chunk_tokens)
        log_p_MCV = torch.log_softmax(linear(hidden_MND[:, chunk], head), dim=-1, dtype=torch.float32)
        nats.append(-log_p_MCV.gather(2, targets_MN1[:, chunk]).squeeze(2))
    return torch.cat(nats, dim=1).where(counted_MN, 0)


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
        nats, d_hidden = [], []
        d_head_MVD = torch.zeros_like(head_MVD)
        for start in range(0, targets_MN.shape[1], chunk_tokens):
            chunk = slice(start, start + chunk_tokens)
            hidden_MCD, target_MC1 = hidden_MND[:, chunk], targets_MN[:, chunk].unsqueeze(2)
            nats_MC1, d_MCV, total_MC1 = _loss_and_gradient(linear(hidden_MCD, head), target_MC1)
            nats.append(nats_MC1.squeeze(2))
            if with_gradients:
                d_hidden.append((linear(d_MCV, head.mT) / total_MC1).to(head.dtype))
                d_head_MVD += linear(d_MCV.mT, (hidden_MCD / total_MC1).to(head.dtype).mT)
        if with_gradients:
            ctx.save_for_backward(torch.cat(d_hidden, dim=1), d_head_MVD)
        return (torch.cat(nats, dim=1) * counted_MN).sum(dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        d_hidden_MND, d_head_MVD = ctx.saved_tensors
        (d_nats_M,) = gradients
        d_nats_M11 = d_nats_M.view(-1, 1, 1)
        return d_hidden_MND * d_nats_M11.to(d_hidden_MND.dtype), d_head_MVD * d_nats_M11, None, None, None


def _loss_and_gradient(logits_MCV: Tensor, target_MC1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Nats of each target, [M, C, 1], float32; `t` times their gradient, in the dtype of the logits; and `t`."""
    dtype = logits_MCV.dtype
    if not torch.compiler.is_compiling():  # torch's own softmax takes fewer passes than the formula
        p_MCV = torch.log_softmax(logits_MCV, dim=-1, dtype=torch.float32)
        nats_MC1 = -p_MCV.gather(2, target_MC1)
        p_MCV = p_MCV.exp_().scatter_add_(2, target_MC1, -torch.ones_like(nats_MC1))
        return nats_MC1, p_MCV.to(dtype), torch.ones_like(nats_MC1)
    logits_MCV = logits_MCV.float()
    most_MC1 = logits_MCV.amax(dim=-1, keepdim=True)
    exp_MCV = (logits_MCV - most_MC1).exp()
    total_MC1 = exp_MCV.sum(dim=-1, keepdim=True)
    of_target_MC1 = logits_MCV.gather(2, target_MC1) - most_MC1
    d_MCV = exp_MCV.to(dtype).scatter(2, target_MC1, (of_target_MC1.exp() - total_MC1).to(dtype))
    return total_MC1.log() - of_target_MC1, d_MCV, total_MC1
