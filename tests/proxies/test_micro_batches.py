"""A batch larger than memory passes through the model in micro-batches, and teaches the same."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from proxies import micro_batches
from proxies.member import Member
from proxies.pack import Pack
from proxies.recipe import Recipe
from proxies.result import TrainingProgress, TrainingResult
from proxies.targets import IGNORED
from proxies.train import train_pack
from tests.proxies.models.kinds import kinds
from tests.proxies.toy import EVALUATION_SETS, ToyStream, toy_recipe

MEMBERS = (Member(ToyStream(1), seed=1), Member(ToyStream(2), seed=2, learning_rate=3e-3))
SAME = 1e-5  # relative: sums in another order


def results(recipe: Recipe) -> list[TrainingResult]:
    events = train_pack(recipe, MEMBERS, EVALUATION_SETS)
    last = {index: event for index, event in events if not isinstance(event, TrainingProgress)}
    assert all(isinstance(event, TrainingResult) for event in last.values())
    return [event for _, event in sorted(last.items()) if isinstance(event, TrainingResult)]


def bytes_of(recipe: Recipe, rows: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Memory into which so many rows of the members fit."""
    for limit in (1 << power for power in range(10, 40)):
        monkeypatch.setattr(micro_batches, "CPU_BYTES", limit)
        if Pack(recipe, [1, 2]).micro_batches == micro_batches.MicroBatches(rows, False):
            return limit
    raise AssertionError(f"no memory is just enough for {rows} rows")


@kinds
@pytest.mark.parametrize("rows", [4, 2])
def test_micro_batches_teach_what_the_batch_does(kind: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven rows: the last one is smaller. Balancing is over the batch, not over a micro-batch."""
    recipe = toy_recipe(kind, batch_rows=7, balance_loss=0.1, router_z_loss=0.01)
    whole = results(recipe)

    monkeypatch.setattr(micro_batches, "CPU_BYTES", bytes_of(recipe, rows, monkeypatch))
    for ours, theirs in zip(results(recipe), whole, strict=True):
        assert ours.training_losses == pytest.approx(theirs.training_losses, rel=SAME)
        assert dict(ours.diagnostics) == pytest.approx(dict(theirs.diagnostics), rel=1e-3)
        for name, loss in theirs.losses.items():
            assert ours.losses[name].nats_per_token == pytest.approx(loss.nats_per_token, rel=SAME)


@kinds
def test_where_not_even_a_row_fits_layers_are_computed_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = toy_recipe(kind, batch_rows=4)
    whole = results(recipe)

    monkeypatch.setattr(micro_batches, "CPU_BYTES", 1)
    assert Pack(recipe, [1, 2]).micro_batches == micro_batches.MicroBatches(1, True)
    for ours, theirs in zip(results(recipe), whole, strict=True):
        assert ours.training_losses == pytest.approx(theirs.training_losses, rel=SAME)


def test_masked_rows_count_as_in_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean is over the targets of the batch, wherever they lie."""
    recipe = toy_recipe("dense", batch_rows=4)
    rows = ToyStream().rows(0, 4)
    inputs_MBT, targets_MBT = (torch.as_tensor(part)[None].clone() for part in (rows.inputs_BT, rows.targets_BT))
    targets_MBT[:, 0] = IGNORED
    targets_MBT[:, 2, 3:] = IGNORED
    losses = []
    for limit in (2**30, 1):
        monkeypatch.setattr(micro_batches, "CPU_BYTES", limit)
        pack = Pack(recipe, [1])
        losses.append([pack.step(inputs_MBT, targets_MBT, torch.tensor([1e-2])).item() for _ in range(4)])

    assert losses[1] == pytest.approx(losses[0], rel=SAME)


def test_a_batch_that_fits_is_not_divided() -> None:
    recipe = toy_recipe("dense")
    assert Pack(recipe, [1]).micro_batches == micro_batches.MicroBatches(recipe.batch_rows, False)
    assert Pack(replace(recipe, batch_rows=9), [1]).micro_batches.rows == 9


LEFT_BEHIND = """
import gc
import torch
from proxies.pack import Pack
from tests.proxies.toy import toy_recipe

tensors = []
for _ in range(3):
    Pack(toy_recipe("moe"), [1, 2])
    gc.collect()
    tensors.append(sum(isinstance(each, torch.Tensor) for each in gc.get_objects()))
print(*tensors)
"""


def test_a_pack_leaves_nothing_behind() -> None:
    """In a process of its own: what other tests compiled is let go of at any time."""
    told = subprocess.run([sys.executable, "-c", LEFT_BEHIND], capture_output=True, text=True, check=True).stdout
    assert len(set(told.split())) == 1
