"""A pack: weights and optimizer of proxies that train side by side, one step at a time; one alone is a pack of one.

Every member has its own first weights, rows and learning rate, and learns what it would learn alone: no sum runs over
members. On a GPU their products are batched; on a CPU a pack gains nothing, and each proxy trains alone on its core.
Where a member ends another may begin in its slot, so that what is compiled for M members serves a whole study.

M members, one in each slot; B rows of each, T positions.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from proxies import compilation, device
from proxies.errors import ProxyError
from proxies.micro_batches import micro_batches
from proxies.models.transformer import Losses, TokenLosses, Transformer
from proxies.optimizer import AdamW, update
from proxies.recipe import Recipe
from proxies.targets import IGNORED

# PyTorch's grouped product on Hopper takes fewer than 1024 groups.
MOST_GROUPS = 1023


class _Whole(NamedTuple):
    """The batch that a micro-batch is of.

    Attributes:
        predicted_M: how many of its targets count.
        share_MLE: of its choices, those of each expert; None where the micro-batch is all of it, or there are no
            experts.
    """

    predicted_M: Tensor
    share_MLE: Tensor | None


def _training_losses(
    model: Transformer,
    inputs_MBT: Tensor,
    targets_MBT: Tensor,
    whole: _Whole,
    part: Tensor,
    balance_loss: float,
    router_z_loss: float,
) -> tuple[Tensor, Losses]:
    """What is minimised, a sum over members, and the losses that it is made of; over the micro-batches of a batch
    both add up.

    Args:
        part: of the batch's tokens, those of the micro-batch.
    """
    losses = model(inputs_MBT, targets_MBT, whole.share_MLE)
    losses = losses._replace(balance_loss_ML=part * losses.balance_loss_ML, z_loss_ML=part * losses.z_loss_ML)
    routing_M = (balance_loss * losses.balance_loss_ML + router_z_loss * losses.z_loss_ML).sum(dim=1)
    return (losses.nats_M / whole.predicted_M + routing_M).sum(), losses


def _evaluation_losses(model: Transformer, inputs_MBT: Tensor, targets_MBT: Tensor) -> TokenLosses:
    return model.token_losses(inputs_MBT, targets_MBT)


def _choices(model: Transformer, inputs_MBT: Tensor) -> Tensor:
    return model.choices(inputs_MBT)


class MemberLosses(NamedTuple):
    """What each target of a batch cost one member.

    Attributes:
        nats_BT: 0 for targets that are IGNORED.
        load_LE: how many choices fell on each expert of each expert layer, of tokens with a target.
    """

    nats_BT: Tensor
    load_LE: Tensor


class _Functions(NamedTuple):
    """What a pack computes, compiled or not."""

    training_losses: Callable[..., tuple[Tensor, Losses]]
    evaluation_losses: Callable[[Transformer, Tensor, Tensor], TokenLosses]
    choices: Callable[[Transformer, Tensor], Tensor]


EAGER = _Functions(_training_losses, _evaluation_losses, _choices)


class Pack:
    """
    Args:
        seeds: of the first weights in each slot; None where a member is yet to `begin`.

    Attributes:
        micro_batches: how a batch passes through the model.
        not_compiled: why its steps are not compiled; None once they are.
        losses: those of the last step's batch.
        gradient_norm_M: before clipping, at the last step.

    Raises:
        ProxyError: a GPU cannot multiply so many experts at once.
    """

    def __init__(self, recipe: Recipe, seeds: Sequence[int | None]) -> None:
        groups = len(seeds) * recipe.model.expert_count
        if recipe.device == "cuda" and groups > MOST_GROUPS:
            raise ProxyError(
                f"a pack of {len(seeds)} proxies of {recipe.model.expert_count} experts has {groups} experts",
                hint=f"a GPU multiplies {MOST_GROUPS} at once: let executor.pack be smaller",
            )
        self.recipe = recipe
        self.not_compiled: str | None = "not asked for"
        self._functions = EAGER
        self._model = self._drawn(seeds).to(recipe.device)
        # Evaluations are of one member at a time, for members are seldom due together.
        self._alone = self._model if len(seeds) == 1 else self._drawn([None]).to(recipe.device).requires_grad_(False)
        self._weights = dict(self._model.named_parameters())
        # All of a member's: also what no gradient changes, its routers' biases.
        self._kept = self._model.state_dict()
        # Before there are moments: what they will take is reckoned with.
        self.micro_batches = micro_batches(self._model, recipe)
        self._optimizer = AdamW(self._weights, recipe)
        self._added: list[Tensor] | None = None
        self._counted_before: Counter[str] = Counter()

    def _drawn(self, seeds: Sequence[int | None]) -> Transformer:
        """A model for each seed, with the first weights that it gives."""
        generators = [None if seed is None else _generator(seed) for seed in seeds]
        return Transformer(self.recipe.model, generators, device.dtype_of(self.recipe.precision))

    def __len__(self) -> int:
        return self._model.members

    @torch.no_grad()
    def begin(self, slot: int, seed: int) -> None:
        """Another proxy begins in this slot."""
        drawn = self._drawn([seed]).state_dict()
        for name, weight in self._kept.items():
            weight[slot] = drawn[name][0]
        self._optimizer.reset(slot)

    def compile(self) -> None:
        """Compile its step and its evaluation as its recipe asks, or find what an earlier process compiled.

        Where that fails it goes on without, see `not_compiled`.
        """
        if not self.recipe.compiled:
            return
        self.not_compiled = compilation.missing(self.recipe)
        if self.not_compiled is not None:
            return
        before = compilation.counted()
        shape = (len(self), self.recipe.batch_rows, self.recipe.model.sequence_length)
        what = f"{torch.__version__} {self.recipe.model} {self.recipe.precision} {shape} {self.micro_batches}"
        inputs_MBT = torch.zeros(shape, dtype=torch.int64, device=self.recipe.device)
        targets_MBT = inputs_MBT.clone()  # the same tensor twice would be compiled as such
        try:
            mode = compilation.mode(self.recipe)
            self._functions = _Functions(*(compilation.compile_function(each, mode) for each in EAGER))
            # No CUDA graph: it would copy the weights, which are changed in place.
            self._optimizer.update = compilation.compile_function(update, None)
            with compilation.compiling(what):
                # No step is taken: a rate of 0 moves nothing.
                self.step(inputs_MBT, targets_MBT, inputs_MBT.new_zeros(len(self), dtype=torch.float32))
                micro_batch_BT = inputs_MBT.new_zeros(self.micro_batches.rows, self.recipe.model.sequence_length)
                self.evaluated(0, micro_batch_BT.unsqueeze(0), micro_batch_BT.clone().unsqueeze(0))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            # A full disk, a compiler that breaks: whatever it was, the same steps run without being compiled.
            self.not_compiled = f"compiling failed: {next(iter(str(error).splitlines()), type(error).__name__)}"
            self._functions, self._optimizer.update, self._added = EAGER, update, None
            self._model.zero_grad()
        # What is compiled from here on was not meant to be.
        self._counted_before = Counter(before | {"compilations": compilation.counted()["compilations"]})

    @property
    def slower(self) -> str:
        """Why its steps are slower than its recipe asks, in words; empty where they are not."""
        if not self.recipe.compiled:
            return ""
        if self.not_compiled is not None:
            return f"not compiled: {self.not_compiled}"
        slips = compilation.counted() - self._counted_before
        return ", ".join(f"{often} {what if often > 1 else what[:-1]}" for what, often in sorted(slips.items()))

    def step(self, inputs_MBT: Tensor, targets_MBT: Tensor, rate_M: Tensor) -> Tensor:
        """Take one step; returns each member's mean nats per token before it, [M], on the device.

        Args:
            rate_M: each member's learning rate; 0 leaves it as it is.
        """
        mean_M = self._backward(inputs_MBT, targets_MBT)
        gradients = {name: weight.grad for name, weight in self._weights.items() if weight.grad is not None}
        self.gradient_norm_M = self._optimizer.step(gradients, rate_M)
        if self.recipe.model.has_bias:
            self._model.update_router_biases(self.losses.load_MLE, self.recipe.bias_rate * (rate_M > 0))
        self._model.zero_grad()
        return mean_M

    def _backward(self, inputs_MBT: Tensor, targets_MBT: Tensor) -> Tensor:
        """Gradients and losses of a batch; returns each member's nats per token, [M]."""
        inputs, targets = (torch.split(rows, self.micro_batches.rows, dim=1) for rows in (inputs_MBT, targets_MBT))
        predicted_M = (targets_MBT != IGNORED).sum(dim=(1, 2)).clamp(min=1)
        whole = _Whole(predicted_M, self._shares(inputs) if len(inputs) > 1 else None)
        parts = []
        for part_inputs_MBT, part_targets_MBT in zip(inputs, targets, strict=True):
            part = torch.full((), part_inputs_MBT.shape[1] / inputs_MBT.shape[1], device=inputs_MBT.device)
            loss, losses = self._functions.training_losses(
                *(self._model, part_inputs_MBT, part_targets_MBT, whole, part),
                *(self.recipe.balance_loss, self.recipe.router_z_loss),
            )
            torch.autograd.backward(loss)
            # A CUDA graph writes its next results where these lie.
            parts.append(Losses(*(each.detach().clone() for each in losses)))
            if len(inputs) > 1:
                self._add_gradients()
        self._take_added_gradients()
        self.losses = Losses(*(torch.stack(each).sum(dim=0) for each in zip(*parts, strict=True)))
        return self.losses.nats_M / predicted_M

    def _shares(self, parts: Sequence[Tensor]) -> Tensor | None:
        """Of the choices of a batch, the share of each expert, [M, L, E]; None where nothing is learned from it.

        Without it the balance loss that is told is the mean of the micro-batches' own.
        """
        if not self.recipe.model.expert_count or not self.recipe.balance_loss:
            return None
        with torch.no_grad():
            choices_MLE = torch.stack([self._functions.choices(self._model, each).clone() for each in parts]).sum(dim=0)
        return choices_MLE / choices_MLE.sum(dim=2, keepdim=True)

    def _add_gradients(self) -> None:
        """Accumulate the gradients of a micro-batch, out of the way of the next one's."""
        gradients = [weight.grad for weight in self._weights.values() if weight.grad is not None]
        if self._added is None:
            self._added = [gradient.clone() for gradient in gradients]
        else:
            torch._foreach_add_(self._added, gradients)
        self._model.zero_grad()

    def _take_added_gradients(self) -> None:
        if self._added is not None:
            for weight, gradient in zip(self._weights.values(), self._added, strict=True):
                weight.grad = gradient
            self._added = None

    @torch.no_grad()
    def evaluated(self, slot: int, inputs_XBT: Tensor, targets_XBT: Tensor) -> list[MemberLosses]:
        """One member's losses on X batches, which teach it nothing."""
        if self._alone is not self._model:
            for name, weight in self._alone.state_dict().items():
                weight.copy_(self._kept[name][slot : slot + 1])
        losses = []
        for batch in zip(inputs_XBT, targets_XBT, strict=True):
            found = self._functions.evaluation_losses(self._alone, *(tokens_BT.unsqueeze(0) for tokens_BT in batch))
            losses.append(MemberLosses(*(part[0].clone() for part in found)))
        return losses

    def weights(self, slot: int) -> dict[str, Tensor]:
        """A copy of one member's weights, its routers' biases included, on the CPU."""
        # A view would be saved with all that it is a view of.
        return {name: weight[slot].to("cpu", copy=True) for name, weight in self._kept.items()}

    def state(self, slot: int) -> dict[str, Any]:
        """A copy of one member's weights and moments, as it would have them alone, on the CPU."""
        return {"weights": self.weights(slot), "moments": self._optimizer.state(slot)}

    @torch.no_grad()
    def restore(self, slot: int, state: dict[str, Any]) -> None:
        for name, weight in self._kept.items():
            weight[slot] = state["weights"][name]
        self._optimizer.restore(slot, state["moments"])


def _generator(seed: int) -> torch.Generator:
    digest = hashlib.sha256(f"first weights {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]))
