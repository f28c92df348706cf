from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.errors import ProxyError
from proxies.models.size import Experts, Kind, ModelSize, model_size
from proxies.models.transformer import Transformer

KINDS = ("dense", "moe")


@settings(max_examples=20, deadline=None)
@given(depth=st.integers(2, 3), width=st.sampled_from([16, 48]), vocabulary=st.integers(1, 99))
@pytest.mark.parametrize("kind", KINDS)
def test_parameters_by_formula_are_those_of_the_module(kind: Kind, depth: int, width: int, vocabulary: int) -> None:
    size = model_size(kind, depth, vocabulary, 8, width=width, heads=2, feed_forward=32)
    model = Transformer(size, [torch.Generator()])

    assert size.total_parameters == sum(weight.numel() for weight in model.parameters())
    assert size.embedding_parameters == model.embedding_MVD.numel() + model.head.weight_MOI.numel()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [2, 3, 8, 20])
def test_the_dial_gives_a_model_that_grows_with_depth(kind: Kind, depth: int) -> None:
    size = model_size(kind, depth, 1000, 128)
    larger = model_size(kind, depth + 1, 1000, 128)

    assert larger.active_parameters > size.active_parameters
    assert larger.total_parameters > size.total_parameters


@pytest.mark.parametrize("depth", [2, 4, 12])
def test_an_moe_costs_a_token_what_the_dense_model_does(depth: int) -> None:
    dense, moe = model_size("dense", depth, 1000, 128), model_size("moe", depth, 1000, 128)

    routers = (depth - 1) * moe.width * moe.expert_count
    assert moe.active_parameters == dense.active_parameters + routers
    assert moe.total_parameters > 1.1 * dense.total_parameters - dense.embedding_parameters


def test_what_is_given_is_kept() -> None:
    size = model_size("moe", 3, 1000, 128, width=96, heads=3, feed_forward=200, experts=4, top_k=1)

    assert (size.width, size.heads, size.feed_forward) == (96, 3, 200)
    assert size.experts is not None
    assert (size.experts.count, size.experts.top_k) == (4, 1)


@pytest.mark.parametrize(
    ("sparsity", "top_k", "count"), [(0.0, None, 2), (0.75, None, 8), (0.9, None, 20), (0.875, 4, 32), (0.99, 1, 100)]
)
def test_sparsity_says_how_many_experts_there_are(sparsity: float, top_k: int | None, count: int) -> None:
    experts = model_size("moe", 2, 1000, 128, sparsity=sparsity, top_k=top_k).experts
    assert experts is not None
    assert experts.count == count
    assert experts.sparsity == pytest.approx(sparsity)


@pytest.mark.parametrize("granularity", [2, 3, 4])
def test_finer_experts_are_more_and_cost_as_much(granularity: int) -> None:
    coarse = model_size("moe", 4, 1000, 128, experts=16)
    fine = model_size("moe", 4, 1000, 128, experts=16, granularity=granularity)

    assert coarse.experts is not None and fine.experts is not None
    assert (fine.experts.count, fine.experts.top_k) == (16 * granularity, 2 * granularity)
    assert fine.experts.sparsity == coarse.experts.sparsity
    routers = 3 * fine.width * (fine.expert_count - coarse.expert_count)
    assert fine.active_parameters == coarse.active_parameters + routers
    assert fine.total_parameters == pytest.approx(coarse.total_parameters, rel=0.1)


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: model_size("dense", 0, 100, 16), "depth is 0"),
        (lambda: model_size("dense", 2, 100, 16, width=100, heads=3), "width 100"),
        (lambda: model_size("moe", 2, 100, 16, feed_forward=0), "feed_forward is 0"),
        (lambda: model_size("moe", 2, 100, 16, top_k=0), "experts.top_k is 0"),
        (lambda: model_size("dense", 2, 100, 16, top_k=2), "dense model has no experts"),
        (lambda: model_size("moe", 1, 100, 16), "depth 1"),
        (lambda: model_size("moe", 2, 100, 16, experts=4, top_k=5), "5 of 4 experts"),
        (lambda: model_size("moe", 2, 100, 16, experts=4, sparsity=0.5), "experts and sparsity"),
        (lambda: model_size("moe", 2, 100, 16, sparsity=1.0), "sparsity is 1.0"),
        (lambda: model_size("moe", 2, 100, 16, sparsity=0.99999), "200,000 experts in a layer"),
        (lambda: model_size("moe", 2, 100, 16, granularity=0), "granularity is 0"),
        (
            lambda: model_size("moe", 2, 100, 16, width=64, granularity=8),
            "granularity 8 leaves experts narrower than 8",
        ),
        (lambda: model_size("dense", 2, 100, 16, balancing="bias"), "dense model has no experts"),
        (lambda: ModelSize(2, 16, 2, 8, 100, 16, Experts(4, 2, 8, 8, balancing="los")), "experts.balancing is 'los'"),  # type: ignore[arg-type]
        (lambda: ModelSize(2, 12, 2, 8, 100, 16, Experts(4, 2, 8, 8)), "width of an moe is 12"),
    ],
)
def test_an_impossible_model_is_refused_with_a_remedy(build: Callable[[], ModelSize], complaint: str) -> None:
    with pytest.raises(ProxyError, match=complaint) as refused:
        build()
    assert refused.value.hint
