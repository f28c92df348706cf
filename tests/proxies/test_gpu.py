"""What a GPU does: the same as a CPU, a pack the same as its members alone, compiled steps as CUDA graphs.

pytest -n 0 -m gpu                       wherever there is one; elsewhere these tests are skipped
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from proxies import device, micro_batches
from proxies.compilation import missing
from proxies.member import Member
from proxies.pack import Pack
from proxies.pack_speed import pack_speeds
from proxies.recipe import Recipe
from proxies.result import TrainingResult
from proxies.slots import BLOCK_STEPS
from proxies.train import train, train_pack
from tests.proxies.models.kinds import kinds
from tests.proxies.toy import EVALUATION_SETS, ToyStream, result_of, toy_recipe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
    pytest.mark.timeout(900),
]
# Relative. Kernels of other shapes add in another order, and in bfloat16 that shows.
ALIKE = {"fp32": 1e-4, "bf16": 0.02}


def gpu_recipe(kind: str, steps: int = 100, **overrides: Any) -> Recipe:
    # A GPU multiplies the experts of several members in bfloat16 only.
    precision = "fp32" if kind == "dense" else "bf16"
    return toy_recipe(kind, steps, **({"device": "cuda", "precision": precision} | overrides))


def members_of(recipe: Recipe) -> list[Member]:
    """Four, of which one is stopped half way."""
    members = [Member(ToyStream(seed), seed=seed, learning_rate=1e-2 / seed) for seed in range(1, 5)]
    half = recipe.tokens // 2
    return [replace(members[0], hopeless=lambda point: point.tokens >= half), *members[1:]]


def results(recipe: Recipe, members: list[Member], slots: int) -> list[TrainingResult]:
    events = train_pack(recipe, members, EVALUATION_SETS, slots=slots)
    ended = {index: event for index, event in events if isinstance(event, TrainingResult)}
    return [ended[index] for index in range(len(members))]


def assert_alike(ours: TrainingResult, theirs: TrainingResult, tolerance: float) -> None:
    assert ours.steps == theirs.steps
    # Where a small model is done learning, its losses are near 0.
    assert ours.training_losses == pytest.approx(theirs.training_losses, rel=tolerance, abs=tolerance)
    for name, loss in theirs.losses.items():
        assert ours.losses[name].nats_per_token == pytest.approx(loss.nats_per_token, rel=tolerance, abs=tolerance)


@pytest.fixture(autouse=True)
def memory_is_given_back() -> Iterator[None]:
    yield
    torch.cuda.empty_cache()


@kinds
def test_it_learns_what_a_cpu_does(kind: str) -> None:
    on_gpu = gpu_recipe(kind, steps=20)
    on_cpu = replace(on_gpu, device="cpu")
    assert_alike(result_of(on_gpu), result_of(on_cpu), 10 * ALIKE[on_gpu.precision])


@kinds
def test_members_in_two_slots_learn_what_they_would_alone(kind: str) -> None:
    """Blocks end where one is stopped and the next takes its slot."""
    recipe = gpu_recipe(kind)
    assert recipe.steps > 3 * BLOCK_STEPS["cuda"]
    members = members_of(recipe)
    for ours, member in zip(results(recipe, members, slots=2), members, strict=True):
        assert_alike(ours, results(recipe, [member], slots=1)[0], 10 * ALIKE[recipe.precision])


@kinds
@pytest.mark.parametrize("slots", [1, 2])
def test_compiled_steps_are_cuda_graphs_and_learn_what_eager_ones_do(kind: str, slots: int) -> None:
    asked = gpu_recipe(kind, steps=40, precision="bf16", compiled=True)
    if (lacking := missing(asked)) is not None:
        pytest.skip(f"to compile, this machine lacks {lacking}")
    members = members_of(asked)
    eager = results(replace(asked, compiled=False), members, slots)
    for ours, theirs in zip(results(asked, members, slots), eager, strict=True):
        assert ours.environment["steps"] == "compiled"
        assert device.SLOWER not in ours.environment, ours.environment[device.SLOWER]
        assert_alike(ours, theirs, 3 * ALIKE["bf16"])


def test_bf16_learns_what_fp32_does() -> None:
    exact, rounded = (result_of(gpu_recipe("dense", steps=30, precision=precision)) for precision in ("fp32", "bf16"))
    assert_alike(rounded, exact, 3 * ALIKE["bf16"])


@kinds
def test_a_run_closed_midway_goes_on_to_the_same_losses(kind: str, tmp_path: Path) -> None:
    recipe = gpu_recipe(kind)
    begun = train(recipe, ToyStream(), EVALUATION_SETS, seed=1, checkpoint=tmp_path / "run", checkpoint_seconds=0)
    next(begun)
    begun.close()
    assert (tmp_path / "run").exists()
    assert_alike(result_of(recipe, checkpoint=tmp_path / "run"), result_of(recipe), 10 * ALIKE[recipe.precision])


@kinds
def test_a_batch_larger_than_free_memory_is_divided(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = gpu_recipe(kind, steps=20)
    whole = result_of(recipe)
    monkeypatch.setattr(micro_batches, "GPU_SHARE", 1e-12)
    assert Pack(recipe, [1]).micro_batches == micro_batches.MicroBatches(1, True)
    assert_alike(result_of(recipe), whole, 10 * ALIKE[recipe.precision])


def test_how_many_it_takes_side_by_side_is_measured() -> None:
    speeds = pack_speeds(gpu_recipe("dense", precision="bf16"), seconds=0.2)
    assert speeds[2] > speeds[1], "one such model leaves a GPU idle"
