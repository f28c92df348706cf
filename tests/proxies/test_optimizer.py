"""One member alone takes torch's kernel, several take an update over all of them: both are AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from proxies.optimizer import UNDECAYED, AdamW
from proxies.recipe import Recipe
from tests.proxies.toy import toy_recipe

SHAPES = {UNDECAYED: (7, 4), "matrix_MOI": (3, 4), "experts_MEIO": (2, 4, 3)}
RATES = [3e-2, 1e-3, 1e-2]
STEPS = 6


def drawn(seed: int, scale: float = 1.0) -> dict[str, Tensor]:
    """One member's numbers in each weight's shape."""
    generator = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(1, *shape, generator=generator) for name, shape in SHAPES.items()}


def together(members: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([member[name] for member in members]) for name in SHAPES}


def gradients(member: int, step: int) -> dict[str, Tensor]:
    """Some are above the norm at which they are clipped, some below."""
    return drawn(100 * member + step, scale=0.01 * 10 ** (step % 3))


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return toy_recipe("dense", weight_decay=0.3)


def reference(recipe: Recipe, member: int) -> dict[str, Tensor]:
    """By torch's own classes, step by step."""
    weights = {name: torch.nn.Parameter(weight) for name, weight in drawn(member).items()}
    decayed = [weight for name, weight in weights.items() if name != UNDECAYED]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": [weights[UNDECAYED]], "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=RATES[member], betas=recipe.betas, weight_decay=recipe.weight_decay)
    for step in range(STEPS):
        for name, gradient in gradients(member, step).items():
            weights[name].grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_(weights.values(), recipe.clip)
        adamw.step()
    return {name: weight.detach() for name, weight in weights.items()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-5, atol=1e-6)


def test_alone_and_together_members_are_updated_as_torchs_adamw_does(recipe: Recipe) -> None:
    weights = together([drawn(member) for member in range(3)])
    optimizer = AdamW(weights, recipe)
    for step in range(STEPS):
        norm_M = optimizer.step(together([gradients(member, step) for member in range(3)]), torch.tensor(RATES))
    for member in range(3):
        alone = drawn(member)
        single = AdamW(alone, recipe)
        for step in range(STEPS):
            norm_1 = single.step(gradients(member, step), torch.tensor(RATES[member : member + 1]))
        torch.testing.assert_close(norm_M[member : member + 1], norm_1)
        assert_same(alone, reference(recipe, member))
        assert_same({name: weight[member : member + 1] for name, weight in weights.items()}, alone)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("spoil", [lambda gradient: gradient, lambda gradient: gradient * torch.nan])
def test_a_member_whose_rate_is_0_stays_as_it_is(
    recipe: Recipe, members: int, spoil: Callable[[Tensor], Tensor]
) -> None:
    """Its moments too, and also where its gradients are no numbers, and before its first step."""
    weights = together([drawn(member) for member in range(members)])
    optimizer = AdamW(weights, recipe)
    for steps in range(2):
        before = {name: weight.clone() for name, weight in weights.items()}, optimizer.state(0)
        rate_M = torch.tensor([0.0, *RATES[1:members]])
        spoilt = {name: gradient.clone() for name, gradient in together([gradients(0, 1)] * members).items()}
        for gradient in spoilt.values():
            gradient[0] = spoil(gradient[0])
        optimizer.step(spoilt, rate_M)

        torch.testing.assert_close(optimizer.state(0), before[1], rtol=0, atol=0)
        for name, weight in weights.items():
            assert torch.equal(weight[0], before[0][name][0]), steps
            assert weight.isfinite().all()
            assert members == 1 or not torch.equal(weight[1], before[0][name][1])
        optimizer.step(together([gradients(0, 2)] * members), torch.tensor(RATES[:members]))


@pytest.mark.parametrize("members", [1, 3])
def test_the_next_member_of_a_slot_begins_with_nothing(recipe: Recipe, members: int) -> None:
    """And one that goes on, with what it had."""
    weights = together([drawn(member) for member in range(members)])
    optimizer = AdamW(weights, recipe)
    begun = optimizer.state(0)
    optimizer.step(together([gradients(member, 1) for member in range(members)]), torch.tensor(RATES[:members]))
    later = optimizer.state(0)
    optimizer.reset(0)
    torch.testing.assert_close(optimizer.state(0), begun, rtol=0, atol=0)
    optimizer.restore(0, later)
    torch.testing.assert_close(optimizer.state(0), later, rtol=0, atol=0)
