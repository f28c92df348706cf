"""AdamW (1711.05101) of the members of a pack, gradients clipped before it, weight decay on the matrices that multiply,
not on the embedding.

One member alone takes torch's kernel, which reads and writes each number once; torch's own class for it would load
torch's compiler, which takes longer than loading torch. Several, whose rates and steps differ, take one update over
[M, ...], which a pack compiles with its step.

M members, each with its own learning rate and number of steps, for one may have begun while others were half done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from proxies.recipe import Recipe

# Rows of rare tokens get few gradients: decay would only shrink them.
UNDECAYED = "embedding_MVD"
EPSILON = 1e-8


class AdamW:
    """
    Args:
        weights: by name, each with a leading axis of members.

    Attributes:
        update: of several members' weights, which a pack may replace by its compiled twin.
    """

    def __init__(self, weights: Mapping[str, Tensor], recipe: Recipe) -> None:
        self._recipe = recipe
        self._weights = {name: weight.detach() for name, weight in weights.items()}
        self._first = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}
        self._second = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}
        some = next(iter(self._weights.values()))
        self._step_M = torch.zeros(len(some), device=some.device)
        self._decays = [0.0 if name == UNDECAYED else recipe.weight_decay for name in self._weights]
        self.update: Callable[..., None] = update

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor], rate_M: Tensor) -> Tensor:
        """Update all members but those with a rate of 0.

        Returns:
            The norm of each member's gradients before they are clipped, [M].
        """
        ordered = [gradients[name] for name in self._weights]
        norm_M = _norms(ordered)
        self._step_M += rate_M > 0
        if len(rate_M) == 1:
            self._fused(ordered, norm_M, rate_M)
        else:
            self.update(
                *(list(self._weights.values()), ordered, list(self._first.values()), list(self._second.values())),
                *(self._decays, norm_M, rate_M, self._step_M, self._recipe.clip, self._recipe.betas),
            )
        return norm_M

    def _fused(self, gradients: Sequence[Tensor], norm_M: Tensor, rate_M: Tensor) -> None:
        # The kernel divides gradients by the one, and does nothing where the other is 1.
        scale, stands_still = ((norm_M[0] + 1e-6) / self._recipe.clip).clamp(min=1.0), (rate_M[0] == 0).float()
        tensors = zip(self._weights.values(), gradients, self._first.values(), self._second.values(), strict=True)
        of_decay: dict[float, list[tuple[Tensor, ...]]] = {}
        for decay, each in zip(self._decays, tensors, strict=True):
            of_decay.setdefault(decay, []).append(each)
        for decay, group in of_decay.items():
            weights, group_gradients, first, second = (list(part) for part in zip(*group, strict=True))
            torch._fused_adamw_(
                *(weights, group_gradients, first, second, [], [self._step_M[0]] * len(weights)),
                lr=rate_M[0],
                beta1=self._recipe.betas[0],
                beta2=self._recipe.betas[1],
                weight_decay=decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
                grad_scale=scale,
                found_inf=stands_still,
            )

    def state(self, member: int) -> dict[str, Any]:
        """A copy of a member's moments and steps, as it would have them alone, on the CPU."""
        return {
            "step": self._step_M[member].to("cpu", copy=True),
            "first": {name: moment[member].to("cpu", copy=True) for name, moment in self._first.items()},
            "second": {name: moment[member].to("cpu", copy=True) for name, moment in self._second.items()},
        }

    def restore(self, member: int, state: Mapping[str, Any]) -> None:
        self._step_M[member] = state["step"]
        for name in self._weights:
            self._first[name][member] = state["first"][name]
            self._second[name][member] = state["second"][name]

    def reset(self, member: int) -> None:
        """Another proxy begins in its slot."""
        self._step_M[member] = 0
        for moments in (self._first, self._second):
            for moment in moments.values():
                moment[member] = 0


def update(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    decays: Sequence[float],
    norm_M: Tensor,
    rate_M: Tensor,
    step_M: Tensor,
    clip: float,
    betas: tuple[float, float],
) -> None:
    """One step of all members, in place: what torch's kernel does, with a rate and a count of steps for each."""
    clipped_M = (clip / (norm_M + 1e-6)).clamp(max=1.0)
    # 1 - beta^steps is 0 for a member that never took one, whose rate is 0.
    correction_M, root_correction_M = (torch.where(rate_M > 0, 1 - beta**step_M, 1.0) for beta in betas)
    for weight, gradient, mean, square, decay in zip(weights, gradients, first, second, decays, strict=True):
        per_member = (-1, *[1] * (weight.dim() - 1))
        rate = rate_M.view(per_member)
        clipped = gradient * clipped_M.view(per_member)
        next_mean = torch.lerp(mean, clipped, 1 - betas[0])
        next_square = torch.lerp(square, clipped.square(), 1 - betas[1])
        root = (next_square / root_correction_M.view(per_member)).sqrt() + EPSILON
        next_weight = weight * (1 - rate * decay) - rate / correction_M.view(per_member) * next_mean / root
        for old, new in ((mean, next_mean), (square, next_square), (weight, next_weight)):
            # Chosen, not multiplied by 0: a member that stands still may have gradients that are no numbers.
            old.copy_(torch.where(rate > 0, new, old))


def _norms(gradients: Sequence[Tensor]) -> Tensor:
    """Of each member, over all its weights, [M]."""
    of_each = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]
    norm_M: Tensor = torch.linalg.vector_norm(torch.stack(of_each), dim=0)
    return norm_M
