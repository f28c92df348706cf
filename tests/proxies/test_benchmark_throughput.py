from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.peers import Contender, StepFunction, Work
from benchmarks.proxy_throughput import race
from proxies.models.size import ModelSize

WORK = Work(ModelSize(depth=1, width=32, heads=2, feed_forward=64, vocabulary=37, sequence_length=16), 2, "fp32", "cpu")


def multiplies(times: int) -> StepFunction:
    square = torch.ones(256, 256)

    def step(inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        assert torch.equal(inputs_BT[:, 1:], targets_BT[:, :-1])
        for _ in range(times):
            square @ square
        return torch.tensor(0.0)

    return step


def light(work: Work) -> StepFunction:
    return multiplies(2)


def heavy(work: Work) -> StepFunction:
    return multiplies(40)


def broken(work: Work) -> StepFunction:
    raise ValueError("this model cannot be built")


def test_contenders_are_compared_and_the_missing_one_is_listed() -> None:
    contenders = [Contender("light", light), Contender("absent", light, "not_a_package"), Contender("heavy", heavy)]
    result = race(contenders, WORK, rounds=1, seconds=0.1)

    fast, absent, slow = result["contenders"]
    assert absent == {"contender": "absent", "missing": "not_a_package is not installed"}
    assert fast["contender"] == "light" and slow["contender"] == "heavy"
    assert fast["times_as_fast_as"]["heavy"] > 1
    assert fast["times_as_fast_as"]["heavy"] == pytest.approx(fast["tokens_per_second"] / slow["tokens_per_second"])
    peak = max(result["matrix_products_flops_per_second"].values())
    assert fast["share_of_matrix_peak"] == pytest.approx(fast["model_flops_per_second"] / peak)


def test_a_contender_that_fails_is_not_left_out() -> None:
    with pytest.raises(RuntimeError, match="status 1"):
        race([Contender("broken", broken)], WORK, rounds=1, seconds=0.1)
