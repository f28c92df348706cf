"""Compiled steps learn what eager ones do, are compiled once for a machine, and are done without where that fails."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from proxies import device
from proxies.compilation import compiling, missing
from proxies.member import Member
from proxies.models.size import model_size
from proxies.pack import Pack
from proxies.recipe import Recipe, recipe
from proxies.result import TrainingProgress, TrainingResult
from proxies.train import train, train_pack
from tests.proxies.toy import EVALUATION_SETS, ToyRows, ToyStream, ToyTokens, numbers, result_of, toy_recipe

# Relative, of losses after twelve steps: in bfloat16 a compiler keeps in float32 what eager steps round in between.
TOLERANCE = 0.02


@dataclass(frozen=True)
class RandomStream:
    """Tokens that follow no rule."""

    vocabulary: int
    length: int

    def rows(self, start: int, count: int) -> ToyRows:
        tokens_BS = np.random.default_rng(start).integers(0, self.vocabulary, (count, self.length + 1))
        return ToyRows(tokens_BS[:, :-1], tokens_BS[:, 1:])


takes_a_minute = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def compiled() -> tuple[Recipe, TrainingResult]:
    """One model, for compiling takes a minute: its first layer is dense, its second has experts."""
    recipe = toy_recipe("moe", precision="bf16", compiled=True)
    if (lacking := missing(recipe)) is not None:
        pytest.skip(f"to compile, this machine lacks {lacking}")
    return recipe, result_of(recipe)


@pytest.mark.slow
@takes_a_minute
def test_compiled_steps_learn_what_eager_ones_do(compiled: tuple[Recipe, TrainingResult]) -> None:
    recipe, result = compiled
    eager = result_of(replace(recipe, compiled=False))

    assert (result.environment["steps"], eager.environment["steps"]) == ("compiled", "eager")
    assert result.training_losses == pytest.approx(eager.training_losses, rel=TOLERANCE)
    for name, loss in eager.losses.items():
        assert result.losses[name].nats_per_token == pytest.approx(loss.nats_per_token, rel=TOLERANCE)


@pytest.mark.slow
@takes_a_minute
def test_what_is_compiled_for_a_pack_serves_all_that_pass_through_its_slots() -> None:
    asked = toy_recipe("dense", precision="bf16", compiled=True)
    if (lacking := missing(asked)) is not None:
        pytest.skip(f"to compile, this machine lacks {lacking}")
    members = [
        Member(ToyStream(1), seed=1, hopeless=lambda point: point.tokens >= 3 * asked.batch_tokens),
        Member(ToyStream(2), seed=2),
        Member(ToyStream(3), seed=3, learning_rate=2e-3),
    ]

    def results(recipe: Recipe) -> list[TrainingResult]:
        events = train_pack(recipe, members, EVALUATION_SETS, slots=2)
        ended = {index: event for index, event in events if isinstance(event, TrainingResult)}
        return [ended[index] for index in range(len(members))]

    for compiled, eager in zip(results(asked), results(replace(asked, compiled=False)), strict=True):
        assert compiled.environment["steps"] == "compiled" and device.SLOWER not in compiled.environment
        assert compiled.training_losses == pytest.approx(eager.training_losses, rel=TOLERANCE)
        assert compiled.steps == eager.steps


@pytest.mark.slow
@takes_a_minute
def test_steps_of_a_usual_shape_are_numbers() -> None:
    """With loops of 512 bits, steps of this very shape were NaN from the second on, on processors with AMX."""
    size = model_size("dense", 2, vocabulary=1024, sequence_length=128, width=64)
    usual = replace(recipe(size, 4 * 16 * 128, batch_rows=16, evaluations=1, precision="bf16"), compiled=True)
    if (lacking := missing(usual)) is not None:
        pytest.skip(f"to compile, this machine lacks {lacking}")
    rng = np.random.default_rng(0)
    sets = {"random": ToyTokens(rng.integers(0, 1024, 300))}
    *_, last = train(usual, RandomStream(1024, 128), sets, seed=0)
    assert isinstance(last, TrainingResult) and last.environment["steps"] == "compiled"
    assert np.isfinite(last.training_losses).all()


@pytest.mark.slow
@takes_a_minute
def test_the_next_proxy_compiles_nothing_and_has_the_same_bits(compiled: tuple[Recipe, TrainingResult]) -> None:
    recipe, result = compiled
    with torch.compiler.set_stance("fail_on_recompile"):
        again, other = result_of(recipe), result_of(recipe, seed=2)

    assert numbers(again) == numbers(result)
    assert other.training_losses != result.training_losses


RESUMED = """
import sys
from pathlib import Path
from torch._dynamo.utils import counters
from tests.proxies.toy import numbers, result_of, toy_recipe

result = result_of(toy_recipe("moe", precision="bf16", compiled=True), checkpoint=Path(sys.argv[1]))
print(counters["aot_autograd"]["autograd_cache_hit"], counters["aot_autograd"]["autograd_cache_miss"])
print(numbers(result))
"""


@pytest.mark.slow
@takes_a_minute
def test_a_new_process_compiles_nothing_and_goes_on_to_the_same_bits(
    compiled: tuple[Recipe, TrainingResult], tmp_path: Path
) -> None:
    recipe, result = compiled
    begun = train(recipe, ToyStream(), EVALUATION_SETS, seed=1, checkpoint=tmp_path / "run", checkpoint_seconds=0)
    event = next(begun)
    assert isinstance(event, TrainingProgress)
    assert 0 < event.step < recipe.steps
    begun.close()

    command = [sys.executable, "-c", RESUMED, str(tmp_path / "run")]
    cache, resumed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert cache == "2 0"  # the step and the evaluation are found
    assert resumed == str(numbers(result))


def test_without_a_compiler_steps_are_eager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    recipe = toy_recipe("dense", compiled=True)

    assert missing(recipe) == "a C++ compiler (g++)"
    result = result_of(recipe)
    assert result.environment["steps"] == "eager"
    assert result.environment[device.SLOWER] == "not compiled: a C++ compiler (g++)"
    assert numbers(result) == numbers(result_of(replace(recipe, compiled=False)))


def test_experts_are_not_compiled_in_fp32() -> None:
    recipe = toy_recipe("moe", compiled=True, precision="fp32")

    assert "bf16" in str(missing(recipe))
    assert result_of(recipe).environment["steps"] == "eager"


WAITING = """
import sys
from pathlib import Path
from proxies.compilation import compiling

with compiling("something else"):
    print("ready", flush=True)
with compiling("this"):
    print(Path(sys.argv[1]).read_text())
"""


@pytest.mark.slow
def test_of_two_processes_one_compiles_and_the_other_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = tmp_path / "made"
    made.write_text("nothing yet")
    with compiling("this"):
        command = [sys.executable, "-c", WAITING, str(made)]
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        answers, _, _ = select.select([other.stdout], [], [], 1.0)
        assert not answers
        made.write_text("all of it")

    assert other.communicate()[0] == "all of it\n"


def test_nobody_else_can_keep_a_process_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder under our name that others may enter, who may hold any lock in it, is not used."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"mixopt-compiling-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with compiling("this"), compiling("this"):
        assert not list(folder.iterdir())


def test_the_locks_are_in_a_folder_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with compiling("this"):
        [folder] = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(folder.iterdir())


@pytest.mark.slow
@takes_a_minute
def test_what_compiled_steps_lose_is_told(compiled: tuple[Recipe, TrainingResult]) -> None:
    """A batch of another shape than the one that was compiled is compiled in the midst of training."""
    recipe, result = compiled
    assert device.SLOWER not in result.environment

    pack = Pack(recipe, [1])
    pack.compile()
    assert pack.slower == ""
    fewer_MBT = torch.zeros(1, recipe.batch_rows - 1, recipe.model.sequence_length, dtype=torch.int64)
    pack.step(fewer_MBT, fewer_MBT.clone(), torch.tensor([1e-3]))
    assert pack.slower == "1 compilation"
