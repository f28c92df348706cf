"""What holds for every kind of model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch.nn.functional import cross_entropy

from proxies.models.attention import BLOCK, MOST_BLOCKS, attend
from proxies.models.cross_entropy import CHUNK_LOGITS, linear_cross_entropy
from proxies.models.linear import linear
from proxies.models.norm import EPSILON, rms_norm
from proxies.models.size import model_size
from proxies.models.transformer import Transformer
from proxies.targets import IGNORED
from tests.proxies.models.kinds import kinds, small

VOCABULARY, LENGTH = 50, 12


def build(kind: str, dtype: torch.dtype = torch.float32, seeds: Sequence[int] = (0,)) -> Transformer:
    return Transformer(small(kind, VOCABULARY, LENGTH), [torch.Generator().manual_seed(seed) for seed in seeds], dtype)


def batch(rows: int = 3, members: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets, [M, rows, T]."""
    tokens = torch.randint(VOCABULARY, (members, rows, LENGTH + 1), generator=torch.Generator().manual_seed(0))
    return tokens[:, :, :-1], tokens[:, :, 1:]


@kinds
def test_the_future_does_not_change_the_past(kind: str) -> None:
    model, (inputs, _) = build(kind), batch()
    changed = inputs.clone()
    changed[..., 7:] = (changed[..., 7:] + 1) % VOCABULARY

    before, after = model.logits(inputs), model.logits(changed)

    torch.testing.assert_close(before[:, :, :7], after[:, :, :7])
    assert not torch.allclose(before[:, :, 7:], after[:, :, 7:])


@kinds
def test_the_order_of_the_past_matters(kind: str) -> None:
    model, (inputs, _) = build(kind), batch()
    swapped = inputs.clone()
    swapped[..., [0, 1]] = inputs[..., [1, 0]]

    assert not torch.allclose(model.logits(inputs)[:, :, -1], model.logits(swapped)[:, :, -1])


@kinds
def test_the_loss_is_the_cross_entropy_of_the_logits(kind: str) -> None:
    model, (inputs, targets) = build(kind, seeds=(0, 1)), batch(members=2)
    targets = targets.clone()
    targets[0, 0, :5] = IGNORED

    logits = model.logits(inputs).flatten(1, 2)
    expected = [cross_entropy(logits[member], targets[member].flatten(), reduction="sum") for member in range(2)]

    torch.testing.assert_close(model(inputs, targets).nats_M, torch.stack(expected))


@kinds
def test_a_member_is_the_model_that_it_is_alone(kind: str) -> None:
    """Its weights to the bit, and what it computes but for the order of sums."""
    pack, (inputs, targets) = build(kind, seeds=(3, 1, 2)), batch(members=3)
    together = pack(inputs, targets)

    for member, seed in enumerate((3, 1, 2)):
        alone, own = build(kind, seeds=(seed,)), slice(member, member + 1)
        for (name, weight), whole in zip(alone.named_parameters(), pack.parameters(), strict=True):
            assert torch.equal(weight, whole[own]), name
        for ours, theirs in zip(together, alone(inputs[own], targets[own]), strict=True):
            torch.testing.assert_close(ours[own], theirs)


@kinds
def test_bf16_agrees_with_fp32(kind: str) -> None:
    inputs, targets = batch(rows=8)
    exact, rounded = (build(kind, dtype)(inputs, targets).nats_M.item() for dtype in (torch.float32, torch.bfloat16))
    assert rounded == pytest.approx(exact, rel=5e-3)
    assert rounded != exact


@kinds
def test_every_weight_learns(kind: str) -> None:
    model, (inputs, targets) = build(kind), batch(rows=16)
    losses = model(inputs, targets)
    (losses.nats_M + losses.z_loss_ML.sum(dim=1)).sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("length", [LENGTH, BLOCK, 2 * BLOCK + 40, MOST_BLOCKS * BLOCK + 10])
def test_attention_written_out_is_the_fused_one_and_so_are_its_gradients(length: int) -> None:
    """What a CPU computes by hand in bfloat16 is what the kernel computes."""
    generator = torch.Generator().manual_seed(1)
    query, key, value = torch.randn(3, 2, 2, length, 16, generator=generator)
    inputs = [rms_norm(query) / 4, rms_norm(key), value]
    weights = torch.randn(2, 2, length, 16, generator=generator)

    def mixed_and_gradients(past: torch.Tensor | None) -> list[torch.Tensor]:
        leaves = [each.clone().requires_grad_() for each in inputs]
        mixed = attend(leaves[0], leaves[1], leaves[2], past)
        return [mixed, *torch.autograd.grad((weights * mixed).sum(), leaves)]

    written, fused = mixed_and_gradients(torch.ones(length, length).tril()), mixed_and_gradients(None)

    for ours, theirs in zip(written, fused, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_attention_in_bf16_sees_no_future_in_any_block() -> None:
    length = BLOCK + 30
    model = Transformer(
        model_size("dense", 1, VOCABULARY, length, width=32, heads=2, feed_forward=64),
        [torch.Generator().manual_seed(0)],
        torch.bfloat16,
    )
    tokens = torch.randint(VOCABULARY, (1, 2, length), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[..., BLOCK + 9 :] = (changed[..., BLOCK + 9 :] + 1) % VOCABULARY

    before, after = model.logits(tokens), model.logits(changed)

    assert torch.equal(before[:, :, : BLOCK + 9], after[:, :, : BLOCK + 9])
    assert not torch.allclose(before[:, :, BLOCK + 9 :], after[:, :, BLOCK + 9 :])


@pytest.mark.parametrize("outputs", [4, 24])
def test_a_product_in_bf16_has_the_gradients_that_autograd_derives(outputs: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 40, 8, generator=generator).bfloat16().requires_grad_()
    weight = torch.randn(1, outputs, 8, generator=generator).requires_grad_()
    factors = torch.randn(1, 40, outputs, generator=generator)

    ours = torch.autograd.grad((factors * linear(x, weight)).sum(), (x, weight))
    theirs = torch.autograd.grad((factors * (x.float() @ weight.bfloat16().float().mT)).sum(), (x, weight))

    for our, their in zip(ours, theirs, strict=True):
        assert our.is_contiguous()
        torch.testing.assert_close(our, their, atol=0.1, rtol=0.02)


def test_norm_has_the_gradient_that_autograd_derives() -> None:
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weights = torch.arange(80.0).view(5, 16)

    plain = torch.nn.functional.rms_norm(x, (16,), eps=EPSILON)

    torch.testing.assert_close(rms_norm(x), plain)
    (ours,) = torch.autograd.grad((weights * rms_norm(x)).sum(), x)
    (theirs,) = torch.autograd.grad((weights * plain).sum(), x)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("compiling", [False, True])
@pytest.mark.parametrize("members", [1, 2])
def test_cross_entropy_in_chunks_and_as_compiled_has_the_loss_and_gradients_of_the_plain_one(
    members: int, compiling: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CHUNK_LOGITS, "cpu", 1)  # the smallest chunk: 64 tokens, so three of them
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(members, 150, 8, generator=generator, requires_grad=True)
    head = torch.randn(members, 20, 8, generator=generator, requires_grad=True)
    targets = torch.randint(20, (members, 150), generator=generator)
    targets[0, 40:70] = IGNORED

    logits = hidden @ head.mT
    plain = torch.stack([cross_entropy(logits[m], targets[m], reduction="sum") for m in range(members)])
    ours = linear_cross_entropy(hidden, head, targets)

    torch.testing.assert_close(ours, plain)
    weights = torch.arange(1, members + 1)
    for our, their in zip(
        torch.autograd.grad((weights * ours).sum(), (hidden, head)),
        torch.autograd.grad((weights * plain).sum(), (hidden, head)),
        strict=True,
    ):
        torch.testing.assert_close(our, their)


@pytest.mark.parametrize("compiling", [False, True])
def test_cross_entropy_of_what_is_nearly_known_is_precise_in_bf16(
    compiling: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a target with a probability of .99 the gradient is the small difference to one, which rounding could drown."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    generator = torch.Generator().manual_seed(0)
    head = torch.randn(1, 50, 64, generator=generator).bfloat16().float()
    targets = torch.randint(50, (1, 200), generator=generator)
    hidden = (0.18 * head[0, targets]).bfloat16()

    leaves = [hidden.clone().requires_grad_(), head.clone().requires_grad_()]
    exact_leaves = [hidden.double().requires_grad_(), head.double().requires_grad_()]
    logits = (exact_leaves[0] @ exact_leaves[1].mT)[0]
    exact = cross_entropy(logits, targets[0], reduction="sum")
    nats = linear_cross_entropy(leaves[0], leaves[1], targets)

    assert logits.softmax(dim=1).gather(1, targets.mT).median() > 0.99
    assert nats.item() == pytest.approx(exact.item(), rel=0.02)
    for our, their in zip(
        torch.autograd.grad(nats.sum(), leaves), torch.autograd.grad(exact, exact_leaves), strict=True
    ):
        assert (our - their).norm() < 0.02 * their.norm()
