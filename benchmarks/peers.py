"""Who trains in the throughput benchmark: mixopt, and what a user would pick instead, at the same shape.

A peer gets the loop that its users write, at its best: weights in float32 and bf16 by autocast, fused AdamW with
its moments in float32, gradients clipped to norm 1, nothing printed, no synchronisation. Compiled, model and loss
are one graph.

    transformers    HF Transformers' Llama with scaled_dot_product_attention
    litgpt          LitGPT's GPT in the shape of a Llama

`-compiled` is torch.compile, `-graphs` with its CUDA graphs; `-malloc` keeps freed memory in the process, as mixopt's
workers do; `-bf16-weights` has no float32 weights at all, which is another precision than mixopt's.

M members of a pack, B rows of each, T positions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from proxies.device import Device, Precision, dtype_of
from proxies.models.size import Experts, ModelSize
from proxies.pack import Pack
from proxies.recipe import recipe

LEARNING_RATE = 1e-3

StepFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Work:
    """What a contender trains: this model, or `members` of them, each on `batch_rows` rows per step."""

    size: ModelSize
    batch_rows: int
    precision: Precision
    device: Device
    members: int = 1

    @property
    def step_tokens(self) -> int:
        return self.members * self.batch_rows * self.size.sequence_length


@dataclass(frozen=True)
class Contender:
    """
    Attributes:
        build: makes model and optimizer, and gives what takes one step: inputs and targets [M B, T] to the loss.
        package: has to be installed.
        keeps_memory: freed memory stays with the process.
        processes: work at the same time, each on a model of its own.
        members: models that train side by side in one process.
        moe: half of the feed-forward layer are experts.
        only: the device on which it differs from the others, or is sensible.
    """

    name: str
    build: Callable[[Work], StepFunction]
    package: str = "torch"
    keeps_memory: bool = False
    processes: int = 1
    members: int = 1
    moe: bool = False
    only: Device | None = None

    def work(self, work: Work) -> Work:
        """The contender's own; an moe has as many active parameters: 2 of 16 experts, and one for all tokens."""
        size, hidden = work.size, work.size.feed_forward
        if self.moe:
            size = replace(size, experts=Experts(16, 2, hidden // 4, hidden // 2))
        return replace(work, size=size, members=self.members)


def mixopt(work: Work, *, compiled: bool = True) -> StepFunction:
    settings: dict[str, Any] = {"batch_rows": work.batch_rows, "precision": work.precision, "compiled": compiled}
    pack = Pack(recipe(work.size, work.step_tokens, device=work.device, **settings), range(work.members))
    pack.compile()
    if compiled and pack.not_compiled is not None:
        warnings.warn(f"mixopt runs uncompiled: {pack.not_compiled}", stacklevel=1)

    rate_M = torch.full((work.members,), LEARNING_RATE, device=work.device)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        inputs_MBT, targets_MBT = (rows.view(work.members, work.batch_rows, -1) for rows in (inputs, targets))
        return pack.step(inputs_MBT, targets_MBT, rate_M)

    return step


def transformers(work: Work, *, compiled: str | None = None, bf16_weights: bool = False) -> StepFunction:
    from transformers import LlamaConfig, LlamaForCausalLM

    size = work.size
    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.depth,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=size.sequence_length,
        tie_word_embeddings=False,
        use_cache=False,
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config)
    if bf16_weights:
        model.to(torch.bfloat16)

    def loss_of(inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        loss: Tensor = model(input_ids=inputs_BT, labels=targets_BT, shift_labels=targets_BT).loss
        return loss

    return plain_loop(model, loss_of, work, compiled=compiled, autocast=not bf16_weights)


def litgpt(work: Work, *, compiled: str | None = None) -> StepFunction:
    from litgpt.model import GPT, Config

    size = work.size
    config = Config(
        block_size=size.sequence_length,
        n_layer=size.depth,
        n_embd=size.width,
        n_head=size.heads,
        intermediate_size=size.feed_forward,
        vocab_size=size.vocabulary,
        padded_vocab_size=size.vocabulary,
        mlp_class_name="LLaMAMLP",
        norm_class_name="RMSNorm",
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
    )
    model = GPT(config)

    def loss_of(inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(inputs_BT).float().flatten(0, 1), targets_BT.flatten())

    return plain_loop(model, loss_of, work, compiled=compiled, autocast=True)


def plain_loop(
    model: nn.Module, loss_of: StepFunction, work: Work, *, compiled: str | None, autocast: bool
) -> StepFunction:
    """
    Args:
        compiled: the mode of torch.compile; None leaves it out.
    """
    model.to(work.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    forward = torch.compile(loss_of, dynamic=False, mode=compiled) if compiled else loss_of

    def step(inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        with torch.autocast(work.device, dtype_of(work.precision), enabled=autocast and work.precision == "bf16"):
            loss = forward(inputs_BT, targets_BT)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def _variants(name: str, build: Callable[..., StepFunction]) -> tuple[Contender, ...]:
    compiled = partial(build, compiled="default")
    return (
        Contender(name, build, name),
        Contender(f"{name}-malloc", build, name, keeps_memory=True, only="cpu"),
        Contender(f"{name}-compiled", compiled, name),
        Contender(f"{name}-compiled-malloc", compiled, name, keeps_memory=True, only="cpu"),
        Contender(f"{name}-compiled-graphs", partial(build, compiled="reduce-overhead"), name, only="cuda"),
    )


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("mixopt", mixopt, keeps_memory=True),
        Contender("mixopt-eager", partial(mixopt, compiled=False), keeps_memory=True),
        Contender("mixopt-moe", mixopt, keeps_memory=True, moe=True),
        Contender("mixopt-two-processes", mixopt, keeps_memory=True, processes=2, only="cpu"),
        Contender("mixopt-pack-8", mixopt, keeps_memory=True, members=8, only="cuda"),
        Contender("mixopt-pack-32", mixopt, keeps_memory=True, members=32, only="cuda"),
        *_variants("transformers", transformers),
        Contender("transformers-bf16-weights", partial(transformers, bf16_weights=True), "transformers"),
        *_variants("litgpt", litgpt),
    )
}
