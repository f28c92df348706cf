from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from proxies.errors import ProxyError
from proxies.models.size import Balancing, Scores, model_size
from proxies.recipe import recipe
from proxies.result import Diverged, TrainingProgress, TrainingResult
from proxies.train import train
from tests.proxies.models.kinds import kinds
from tests.proxies.toy import (
    EVALUATION_SETS,
    LENGTH,
    VOCABULARY,
    ToyStream,
    ToyTokens,
    numbers,
    result_of,
    toy_recipe,
)


@kinds
def test_a_learnable_language_is_learnt(kind: str) -> None:
    result = result_of(toy_recipe(kind, steps=120))

    assert result.training_losses[0] > 3
    assert result.training_losses[-1] < 0.5
    assert result.losses["low"].nats_per_token < 0.5
    assert [point.tokens for point in result.curve] == [steps * 128 for steps in (32, 64, 96, 120)]
    assert result.curve[0].losses["low"].nats_per_token > result.losses["low"].nats_per_token
    assert result.tokens == 120 * 128


@kinds
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(kind: str, precision: str) -> None:
    recipe = toy_recipe(kind, precision=precision)
    first = result_of(recipe)

    assert numbers(result_of(recipe)) == numbers(first)
    assert result_of(recipe, seed=2).training_losses != first.training_losses


@kinds
def test_bf16_trains_as_fp32_does(kind: str) -> None:
    exact, rounded = (result_of(toy_recipe(kind, steps=30, precision=precision)) for precision in ("fp32", "bf16"))
    assert rounded.losses["low"].nats_per_token == pytest.approx(exact.losses["low"].nats_per_token, rel=0.05)


@kinds
def test_a_run_closed_midway_goes_on_to_the_same_bits(kind: str, tmp_path: Path) -> None:
    recipe = toy_recipe(kind)
    whole = result_of(recipe)

    interrupted = train(recipe, ToyStream(), EVALUATION_SETS, seed=1, checkpoint=tmp_path / "run", checkpoint_seconds=0)
    event = next(interrupted)
    assert isinstance(event, TrainingProgress)
    assert 0 < event.step < recipe.steps
    interrupted.close()
    resumed = result_of(recipe, checkpoint=tmp_path / "run")

    assert numbers(resumed) == numbers(whole)
    assert resumed.seconds > 0


KILLED_IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
from proxies.train import train
from tests.proxies.toy import EVALUATION_SETS, ToyStream, toy_recipe

class KillingStream(ToyStream):
    def rows(self, start, count):
        if start == 8 * 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().rows(start, count)

checkpoint = Path(sys.argv[1])
list(train(toy_recipe("moe"), KillingStream(), EVALUATION_SETS, seed=1, checkpoint=checkpoint, checkpoint_seconds=0))
"""


def test_a_killed_process_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run"
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_THE_MIDDLE, str(checkpoint)], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert checkpoint.exists()

    assert numbers(result_of(toy_recipe("moe"), checkpoint=checkpoint)) == numbers(result_of(toy_recipe("moe")))


def test_a_finished_run_answers_at_once(tmp_path: Path) -> None:
    first = result_of(toy_recipe("moe"), checkpoint=tmp_path / "run")

    events = list(train(toy_recipe("moe"), ToyStream(), EVALUATION_SETS, seed=1, checkpoint=tmp_path / "run"))

    assert events == [first]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "another seed", "other data"])
def test_a_checkpoint_that_is_not_this_runs_is_replaced_and_noted(damage: str, tmp_path: Path) -> None:
    recipe, checkpoint = toy_recipe("dense"), tmp_path / "run"
    seed, data = 2 if damage == "another seed" else 1, "others" if damage == "other data" else ""
    result_of(recipe, checkpoint=checkpoint, seed=seed, data=data)
    content = bytearray(checkpoint.read_bytes())
    if damage == "truncated":
        checkpoint.write_bytes(content[:-1])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        checkpoint.write_bytes(content)
    elif damage == "empty":
        checkpoint.write_bytes(b"")

    result = result_of(recipe, checkpoint=checkpoint)

    assert result.diagnostics["checkpoint/replaced"] == 1
    assert result.losses == result_of(recipe).losses


def test_a_huge_learning_rate_diverges() -> None:
    with pytest.raises(Diverged) as diverged:
        result_of(toy_recipe("dense", steps=50, learning_rate=100.0, clip=1e9))
    assert 1 < diverged.value.step <= 50
    assert not diverged.value.loss < 7


def test_progress_tells_where_the_run_is() -> None:
    *progress, result = train(toy_recipe("dense"), ToyStream(), EVALUATION_SETS, seed=1)

    assert isinstance(result, TrainingResult)
    reports = [event for event in progress if isinstance(event, TrainingProgress)]
    assert [report.evaluation for report in reports if report.evaluation] == list(result.curve)
    assert reports[-1].step == reports[-1].steps == result.steps
    assert all(report.tokens == report.step * 128 and report.tokens_per_second > 0 for report in reports)


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
@pytest.mark.parametrize("balancing", ["loss", "bias"])
def test_a_load_that_is_skewed_without_balancing_becomes_even_with_it(scores: Scores, balancing: Balancing) -> None:
    def busiest(balancing: Balancing, **overrides: Any) -> float:
        """How many times the mean load the busiest expert has at the end."""
        size = model_size("moe", 2, VOCABULARY, LENGTH, width=32, heads=2, scores=scores, balancing=balancing)
        chosen = recipe(size, 15_360, batch_rows=8, learning_rate=1e-2, precision="fp32", **overrides)
        return result_of(chosen).diagnostics["expert_load/layer1/max_over_mean"]

    assert busiest("loss", balance_loss=0.0) > 1.7
    assert busiest(balancing) < 1.5


def test_an_moe_tells_which_experts_read_what() -> None:
    diagnostics = result_of(toy_recipe("moe")).diagnostics

    assert 1 <= diagnostics["expert_load/layer1/max_over_mean"] <= 4
    for name in EVALUATION_SETS:
        shares = [diagnostics[f"routing/{name}/layer1/expert{expert}"] for expert in range(8)]
        assert sum(shares) == pytest.approx(1)
    assert not any(key.startswith(("expert_load", "routing")) for key in result_of(toy_recipe("dense")).diagnostics)


def test_the_thread_count_of_the_process_is_given_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run = train(toy_recipe("dense"), ToyStream(), EVALUATION_SETS, seed=1)
        next(run)
        assert torch.get_num_threads() == 1
        run.close()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_missing_gpu_or_evaluation_set_is_said_before_anything_is_trained() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(ProxyError, match="no GPU"):
            result_of(toy_recipe("dense", device="cuda", precision="bf16"))
    with pytest.raises(ProxyError, match="no evaluation set"):
        result_of(toy_recipe("dense"), sets={})
    with pytest.raises(ProxyError, match="none to predict"):
        result_of(toy_recipe("dense"), sets={"empty": ToyTokens(EVALUATION_SETS["low"].tokens_N[:1])})


def test_training_loads_no_compiler() -> None:
    """torch's takes longer to load than torch, which each worker would do anew; its optimizers load it."""
    program = "import sys; from tests.proxies.toy import result_of, toy_recipe; result_of(toy_recipe('moe', 2))"
    program += "; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
