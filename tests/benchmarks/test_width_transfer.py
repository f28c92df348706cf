"""Models under rules that carry learning rates across sizes: at the base the product's own, elsewhere as far moved."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.width_transfer import RULES, Rule, ScaledPack, compared, train
from proxies.models.size import model_size
from proxies.recipe import recipe
from tests.proxies.toy import EVALUATION_SETS, LENGTH, VOCABULARY, ToyStream, result_of

STEPS, BATCH_ROWS, RATE = 6, 16, 0.002


def pack_of(rule: Rule, *, width: int = 64, depth: int = 2, seed: int = 1) -> ScaledPack:
    size = model_size("dense", depth, VOCABULARY, LENGTH, width=width)
    chosen = recipe(
        size, STEPS * BATCH_ROWS * LENGTH, batch_rows=BATCH_ROWS, learning_rate=RATE, precision="fp32", compiled=False
    )
    return ScaledPack(chosen, seed, rule)


@pytest.mark.parametrize("rule", RULES)
def test_at_the_base_every_rule_is_the_product(rule: Rule) -> None:
    pack = pack_of(rule)
    expected = {name: loss.nats_per_token for name, loss in result_of(pack.recipe).losses.items()}
    assert train(pack, ToyStream(), EVALUATION_SETS) == pytest.approx(expected, abs=1e-5)


def logits(pack: ScaledPack) -> Tensor:
    with torch.no_grad():
        return pack._model.logits(torch.as_tensor(ToyStream(seed=9).rows(0, 16).inputs_BT)[None])


def added_by_layers(pack: ScaledPack) -> Tensor:
    """What all attention and feed-forward layers together put into the residual stream."""
    added: list[Tensor] = []
    layers = [layer for block in pack._model.blocks for layer in block.children()]
    hooks = [layer.register_forward_hook(lambda _layer, _inputs, out: added.append(out.detach())) for layer in layers]
    logits(pack)
    for hook in hooks:
        hook.remove()
    return torch.stack(added).sum(dim=0)


def moved(read: Callable[[ScaledPack], Tensor], rule: Rule, **size: int) -> float:
    """How far steps move what is read of a model, in root mean squares over its entries; mean of three seeds."""

    def by_one(pack: ScaledPack) -> float:
        before = read(pack)
        train(pack, ToyStream(), EVALUATION_SETS)
        return (read(pack) - before).square().mean().sqrt().item()

    return fmean(by_one(pack_of(rule, seed=seed, **size)) for seed in (1, 2, 3))


@pytest.mark.parametrize("read", [logits, added_by_layers])
def test_under_mup_steps_move_a_model_as_far_whatever_its_width(read: Callable[[ScaledPack], Tensor]) -> None:
    """The coordinate check of 2203.03466."""
    growth = {rule: moved(read, rule, width=256) / moved(read, rule, width=64) for rule in ("one rate", "muP")}
    assert 0.6 < growth["muP"] < 1.6
    assert growth["one rate"] > 1.8


def test_under_completep_layers_together_move_no_further_the_deeper_a_model_is() -> None:
    growth = {
        rule: moved(added_by_layers, rule, depth=8) / moved(added_by_layers, rule, depth=2)
        for rule in ("one rate", "CompleteP")
    }
    assert 0.6 < growth["CompleteP"] < 1.6
    assert growth["one rate"] > 1.6


def test_a_rung_agrees_with_the_top_as_far_as_it_orders_mixtures_alike() -> None:
    top_N = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    alike, turned = (compared(own_N, {"muP": top_N})["muP"] for own_N in (10 * top_N**2, -top_N))
    assert (alike.spearman, alike.regret) == (1, 0)
    assert (turned.spearman, turned.regret) == (-1, 5)
    assert np.nanmax(np.abs(alike.spearman_R - 1)) < 1e-12
