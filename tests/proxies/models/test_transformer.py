"""What holds for every kind of model, and what a mixture of experts adds."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, silu

from proxies.models.attention import attended, causal_mask
from proxies.models.cross_entropy import CHUNK_LOGITS, IGNORED, linear_cross_entropy
from proxies.models.experts import ExpertLayer
from proxies.models.norm import EPSILON, rms_norm
from proxies.models.router import Routing, balance_loss
from proxies.models.size import Experts, Kind, model_size
from proxies.models.transformer import Transformer

VOCABULARY, LENGTH = 50, 12


def build(kind: Kind, dtype: torch.dtype = torch.float32) -> Transformer:
    size = model_size(kind, 2, VOCABULARY, LENGTH, width=32, heads=2, feed_forward=64)
    return Transformer(size, torch.Generator().manual_seed(0), dtype)


def batch(rows: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(VOCABULARY, (rows, LENGTH + 1), generator=torch.Generator().manual_seed(seed))
    return tokens[:, :-1], tokens[:, 1:]


kinds = pytest.mark.parametrize("kind", ["dense", "moe"])


@kinds
def test_the_future_does_not_change_the_past(kind: Kind) -> None:
    model, (inputs, _) = build(kind), batch()
    changed = inputs.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % VOCABULARY

    before, after = model.logits(inputs), model.logits(changed)

    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


@kinds
def test_the_order_of_the_past_matters(kind: Kind) -> None:
    model, (inputs, _) = build(kind), batch()
    swapped = inputs.clone()
    swapped[:, [0, 1]] = inputs[:, [1, 0]]

    assert not torch.allclose(model.logits(inputs)[:, -1], model.logits(swapped)[:, -1])


@kinds
def test_the_loss_is_the_cross_entropy_of_the_logits(kind: Kind) -> None:
    model, (inputs, targets) = build(kind), batch()
    targets = targets.clone()
    targets[0, :5] = IGNORED

    expected = cross_entropy(model.logits(inputs).flatten(0, 1), targets.flatten(), reduction="sum")

    torch.testing.assert_close(model(inputs, targets).nats, expected)


@kinds
def test_bf16_agrees_with_fp32(kind: Kind) -> None:
    inputs, targets = batch(rows=8)
    exact, rounded = (build(kind, dtype)(inputs, targets).nats.item() for dtype in (torch.float32, torch.bfloat16))
    assert rounded == pytest.approx(exact, rel=5e-3)
    assert rounded != exact


@kinds
def test_every_weight_learns(kind: Kind) -> None:
    model, (inputs, targets) = build(kind), batch(rows=16)
    losses = model(inputs, targets)
    losses.nats.backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_attention_written_out_is_the_fused_one() -> None:
    """What a CPU computes by hand in bfloat16 is what the kernel computes."""
    query, key, value = torch.randn(3, 2, 2, LENGTH, 16, generator=torch.Generator().manual_seed(1))
    mask = causal_mask(torch.empty(2, LENGTH, 32, dtype=torch.bfloat16))
    assert mask is not None

    torch.testing.assert_close(attended(query, key, value, mask), attended(query, key, value, None))


def test_norm_has_the_gradient_that_autograd_derives() -> None:
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weights = torch.arange(80.0).view(5, 16)

    plain = torch.nn.functional.rms_norm(x, (16,), eps=EPSILON)

    torch.testing.assert_close(rms_norm(x), plain)
    (ours,) = torch.autograd.grad((weights * rms_norm(x)).sum(), x)
    (theirs,) = torch.autograd.grad((weights * plain).sum(), x)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_chunked_cross_entropy_has_the_loss_and_gradients_of_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHUNK_LOGITS, "cpu", 1)  # the smallest chunk: 64 tokens, so three of them
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(150, 8, generator=generator, requires_grad=True)
    head = torch.randn(20, 8, generator=generator, requires_grad=True)
    targets = torch.randint(20, (150,), generator=generator)
    targets[40:70] = IGNORED

    plain = cross_entropy(hidden @ head.T, targets, reduction="sum")
    chunked = linear_cross_entropy(hidden, head, targets)

    torch.testing.assert_close(chunked, plain)
    for ours, theirs in zip(
        torch.autograd.grad(3 * chunked, (hidden, head)), torch.autograd.grad(3 * plain, (hidden, head)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("favourite", [None, 0, 3])
def test_every_token_reaches_all_of_its_experts(dtype: torch.dtype, favourite: int | None) -> None:
    """Against each token computed alone, also where all tokens choose the same expert."""
    layer = ExpertLayer(16, Experts(4, 2, 8, 8), torch.Generator().manual_seed(0), gain=1.0)
    x = torch.randn(2, 50, 16, generator=torch.Generator().manual_seed(1)).abs().to(dtype)
    if favourite is not None:
        layer.router.score.weight.data[favourite] = 10.0

    out, routing = layer(x)

    for index, token in enumerate(x.flatten(0, 1)):
        expected = layer.shared(token)
        for expert, weight in zip(routing.experts_NK[index], routing.weights_NK[index], strict=True):
            gate, up, down = (matrix[expert].to(dtype) for matrix in (layer.gate_EDF, layer.up_EDF, layer.down_EFD))
            expected = expected + weight.to(dtype) * ((silu(token @ gate) * (token @ up)) @ down)
        atol = 0.05 if dtype == torch.bfloat16 else 1e-5
        torch.testing.assert_close(out.flatten(0, 1)[index], expected, atol=atol, rtol=0.02)
    torch.testing.assert_close(routing.weights_NK.sum(1), torch.ones(100))


def test_experts_have_the_gradients_of_the_plain_computation() -> None:
    layer = ExpertLayer(16, Experts(4, 2, 8, 8), torch.Generator().manual_seed(0), gain=1.0)
    x = torch.randn(1, 30, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)

    def plain(x: torch.Tensor, routing: Routing) -> torch.Tensor:
        every = silu(torch.einsum("nd,edf->nef", x, layer.gate_EDF)) * torch.einsum("nd,edf->nef", x, layer.up_EDF)
        every = torch.einsum("nef,efd->ned", every, layer.down_EFD)
        weights = torch.zeros(len(x), 4).scatter(1, routing.experts_NK, routing.weights_NK)
        out: torch.Tensor = layer.shared(x) + torch.einsum("ne,ned->nd", weights, every)
        return out

    out, routing = layer(x)
    expected = plain(x.flatten(0, 1), routing)

    torch.testing.assert_close(out.flatten(0, 1), expected)
    parameters = [x, *layer.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad(out.square().sum(), parameters, retain_graph=True),
        torch.autograd.grad(expected.square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_the_balance_loss_is_one_when_even_and_grows_to_the_number_of_experts() -> None:
    even = torch.full((8, 4), 0.25)
    assert balance_loss(even, torch.arange(8).view(8, 1) % 4).item() == pytest.approx(1)

    crowded = torch.eye(4)[torch.zeros(8, dtype=torch.int64)]
    assert balance_loss(crowded, torch.zeros(8, 1, dtype=torch.int64)).item() == pytest.approx(4)

    # f = (3/4, 1/4), P = (.6, .4): 2 (.45 + .1)
    probabilities = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.7, 0.3], [0.3, 0.7]])
    assert balance_loss(probabilities, torch.tensor([[0], [0], [0], [1]])).item() == pytest.approx(1.1)


def test_the_balance_loss_is_that_of_the_whole_batch_not_of_its_rows() -> None:
    """Two rows that each crowd one expert are even together."""
    probabilities = torch.eye(2)[torch.tensor([0, 0, 0, 1, 1, 1])]
    chosen = probabilities.argmax(1, keepdim=True)

    assert balance_loss(probabilities, chosen).item() == pytest.approx(1)
    assert balance_loss(probabilities[:3], chosen[:3]).item() == pytest.approx(2)
