"""What holds for every kind of model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch.nn.functional import cross_entropy

from proxies.models.attention import attend, causal_mask
from proxies.models.cross_entropy import CHUNK_LOGITS, linear_cross_entropy
from proxies.models.norm import EPSILON, rms_norm
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


def test_attention_written_out_is_the_fused_one() -> None:
    """What a CPU computes by hand in bfloat16 is what the kernel computes."""
    query, key, value = torch.randn(3, 2, 2, LENGTH, 16, generator=torch.Generator().manual_seed(1))
    mask = causal_mask(torch.empty(1, 2 * LENGTH, 32, dtype=torch.bfloat16), LENGTH)
    assert mask is not None

    torch.testing.assert_close(attend(query, key, value, mask), attend(query, key, value, None))


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
