from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from proxies.device import native_precision
from proxies.errors import ProxyError
from proxies.models.size import model_size
from proxies.recipe import recipe
from proxies.schedule import learning_rate_share

SMALL = model_size("dense", 2, 2048, 256)


def test_a_large_model_follows_the_step_law() -> None:
    size = model_size("dense", 12, 50_000, 1024)
    parameters = size.active_parameters
    derived = recipe(size, 3_000_000_000)

    assert derived.learning_rate == pytest.approx(1.79 * parameters**-0.713 * 3e9**0.307)
    assert derived.batch_tokens == pytest.approx(0.58 * 3e9**0.571, rel=0.01)
    assert derived.precision == native_precision("cpu")


@pytest.mark.parametrize("tokens", [300, 20_000, 1_000_000, 30_000_000])
def test_a_small_run_keeps_a_sane_rate_and_enough_steps(tokens: int) -> None:
    derived = recipe(SMALL, tokens)

    assert derived.learning_rate <= 0.005
    assert derived.steps >= min(50, tokens // 256)
    assert derived.steps * derived.batch_tokens == pytest.approx(tokens, abs=derived.batch_tokens / 2)


def test_what_is_given_is_kept() -> None:
    derived = recipe(SMALL, 10**6, learning_rate=0.003, batch_rows=5, evaluations=2, precision="fp32")
    assert (derived.learning_rate, derived.batch_rows, derived.precision) == (0.003, 5, "fp32")
    assert len(derived.evaluation_steps) == 2


@pytest.mark.parametrize("evaluations", [1, 2, 4, 7])
def test_losses_are_measured_evenly_before_the_decay_and_at_the_end(evaluations: int) -> None:
    derived = recipe(SMALL, 100 * 2048, batch_rows=8, evaluations=evaluations)
    *stable, end = derived.evaluation_steps

    assert end == 100
    assert len(stable) == evaluations - 1
    assert all(abs(after - before - 80 / len(stable)) <= 1 for before, after in pairwise([0, *stable]))
    assert all(rate(derived.steps, step - 1) == 1 for step in stable)


def rate(steps: int, step: int, warmup: float = 0.05, decay: float = 0.2) -> float:
    return learning_rate_share(step, steps, warmup_share=warmup, decay_share=decay)


@pytest.mark.parametrize(("warmup", "decay"), [(0.05, 0.2), (0.0, 0.0), (0.5, 0.5), (0.0, 1.0)])
@pytest.mark.parametrize("steps", [1, 2, 10, 1000])
def test_the_learning_rate_rises_stays_and_falls(steps: int, warmup: float, decay: float) -> None:
    shares = [rate(steps, step, warmup, decay) for step in range(steps)]

    assert all(0 < share <= 1 for share in shares)
    assert max(shares) == 1 or steps <= 10
    peak = shares.index(max(shares))
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)


@pytest.mark.parametrize(
    "mistake",
    [
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"batch_rows": 0},
        {"evaluations": 0},
        {"weight_decay": -1.0},
        {"warmup_share": 0.9},
        {"decay_share": -0.1},
        {"betas": (0.9, 1.0)},
        {"precision": "fp8"},
        {"device": "tpu"},
        {"tokens": 100},
    ],
)
def test_an_impossible_recipe_is_refused_with_a_remedy(mistake: dict[str, Any]) -> None:
    with pytest.raises(ProxyError) as refused:
        recipe(SMALL, **({"tokens": 10**6} | mistake))
    assert refused.value.hint
    (name,) = mistake
    wrong = "decay_share" if name == "warmup_share" else name  # .9 leaves too little for the decay
    assert wrong in refused.value.message or str(mistake[name]) in refused.value.message
