from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import silu

from proxies.models.experts import SLICE_ROWS, ExpertLayer, layout
from proxies.models.router import Router, Routing, balance_loss
from proxies.models.size import Balancing, Experts, Scores


def build(members: int = 1, top_k: int = 2, scores: Scores = "softmax", balancing: Balancing = "loss") -> ExpertLayer:
    generators = [torch.Generator().manual_seed(member) for member in range(members)]
    return ExpertLayer(16, Experts(4, top_k, 8, 8, scores, balancing), generators, gain=1.0)


def tokens(members: int, count: int) -> torch.Tensor:
    return torch.randn(members, count, 16, generator=torch.Generator().manual_seed(1))


def plain(layer: ExpertLayer, x_MND: torch.Tensor, routing: Routing) -> torch.Tensor:
    """Every expert for every token, and then the sum of those chosen."""
    gate_and_up, down = layer.gate_and_up_MEDF.to(x_MND.dtype), layer.down_MEFD.to(x_MND.dtype)
    gate, up = torch.einsum("mnd,medf->mnef", x_MND, gate_and_up).chunk(2, dim=3)
    every = torch.einsum("mnef,mefd->mned", silu(gate) * up, down)
    weights = torch.zeros(every.shape[:3]).scatter(2, routing.experts_MNK, routing.weights_MNK)
    out: torch.Tensor = layer.shared(x_MND) + torch.einsum("mne,mned->mnd", weights.to(x_MND.dtype), every)
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("favourite", [None, 0, 3])
def test_every_token_reaches_all_of_its_experts(dtype: torch.dtype, favourite: int | None) -> None:
    """No token is dropped, also where all of them choose the same expert."""
    layer, x = build(members=2), tokens(2, 100).abs().to(dtype)
    if favourite is not None:
        layer.router.score.weight_MOI.data[:, favourite] = 10.0

    out, routing = layer(x)

    if favourite is not None:
        assert (routing.experts_MNK[:, :, 0] == favourite).all()
    tolerance = 0.05 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(out, plain(layer, x, routing), atol=tolerance, rtol=0.02)
    torch.testing.assert_close(routing.weights_MNK.sum(2), torch.ones(2, 100))


def test_experts_have_the_gradients_of_the_plain_computation() -> None:
    layer, x = build(members=2), tokens(2, 30).requires_grad_()

    out, routing = layer(x)
    expected = plain(layer, x, routing)

    parameters = [x, *layer.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad(out.square().sum(), parameters, retain_graph=True),
        torch.autograd.grad(expected.square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_member_that_is_not_finite_leaves_the_gradients_of_the_others_finite(lost: int) -> None:
    layer, x = build(members=2), tokens(2, 30)
    x[lost] = torch.nan

    out, _ = layer(x)
    out.sum().backward()

    assert out[1 - lost].isfinite().all()
    for name, weight in layer.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad[1 - lost].isfinite().all(), name


@settings(deadline=None)
@given(
    members=st.integers(1, 3),
    experts=st.integers(1, 5),
    assignments=st.integers(1, 200),
    popular=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_each_assignment_has_a_row_of_its_own_in_its_experts_slice(
    members: int, experts: int, assignments: int, popular: int, seed: int
) -> None:
    """Where `popular` is 1 all choose one expert."""
    generator = torch.Generator().manual_seed(seed)
    experts_MA = torch.randint(min(popular, experts), (members, assignments), generator=generator)

    rows = layout(experts_MA, experts)

    # 1. Slices follow each other from 0 to the last row, and start where whole blocks of rows do.
    start_E = torch.cat([torch.zeros(1, dtype=torch.int32), rows.end_E[:-1]])
    assert (start_E <= rows.end_E).all() and (start_E % SLICE_ROWS == 0).all()
    assert rows.end_E[-1] == len(rows.assignment_R) == len(rows.filled_R)

    # 2. Each assignment has one row, in the slice of its own member's expert, in order.
    slice_A = (torch.arange(members).unsqueeze(1) * experts + experts_MA).flatten()
    assert (start_E[slice_A] <= rows.row_A).all() and (rows.row_A < rows.end_E[slice_A]).all()
    assert torch.equal(rows.assignment_R[rows.row_A], torch.arange(members * assignments))
    for chosen in range(members * experts):
        assert (rows.row_A[slice_A == chosen].diff() == 1).all()

    # 3. All other rows are filled with assignments of the slice's member.
    assert rows.filled_R.nonzero().flatten().tolist() == sorted(rows.row_A.tolist())
    member_R = torch.arange(members * experts).repeat_interleave(rows.end_E - start_E) // experts
    assert torch.equal(rows.assignment_R // assignments, member_R)


def test_the_balance_loss_is_one_when_even_and_grows_to_the_number_of_experts() -> None:
    even, crowded = torch.full((8, 4), 0.25), torch.eye(4)[torch.zeros(8, dtype=torch.int64)]
    chosen = torch.stack([torch.arange(8) % 4, torch.zeros(8, dtype=torch.int64)]).unsqueeze(2)
    assert balance_loss(torch.stack([even, crowded]), chosen).tolist() == pytest.approx([1, 4])

    # f = (3/4, 1/4), P = (.6, .4): 2 (.45 + .1)
    probabilities = torch.tensor([[[0.8, 0.2], [0.6, 0.4], [0.7, 0.3], [0.3, 0.7]]])
    assert balance_loss(probabilities, torch.tensor([[[0], [0], [0], [1]]])).item() == pytest.approx(1.1)


def test_the_balance_loss_is_that_of_the_whole_batch_not_of_its_rows() -> None:
    """Two rows that each crowd one expert are even together."""
    probabilities = torch.eye(2)[torch.tensor([[0, 0, 0, 1, 1, 1]])]
    chosen = probabilities.argmax(2, keepdim=True)

    assert balance_loss(probabilities, chosen).item() == pytest.approx(1)
    assert balance_loss(probabilities[:, :3], chosen[:, :3]).item() == pytest.approx(2)


def biased(router: Router) -> torch.Tensor:
    assert router.bias_ME is not None
    return router.bias_ME


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_a_bias_decides_who_is_chosen_and_not_what_they_weigh(scores: Scores) -> None:
    x = tokens(2, 100)
    plainly, router = build(2, 1, scores).router, build(2, 1, scores, "bias").router
    torch.testing.assert_close(router(x).experts_MNK, plainly(x).experts_MNK)

    biased(router)[0, 3] = 2.0  # above any score: only the first member's, and only where experts are chosen
    routing = router(x)

    logits = router.score(x)
    expected = logits.sigmoid() if scores == "sigmoid" else logits.softmax(dim=2)
    assert (routing.experts_MNK[0] == 3).all()
    torch.testing.assert_close(routing.experts_MNK[1], plainly(x).experts_MNK[1])
    torch.testing.assert_close(routing.weights_MNK[0], expected[0, :, 3:])
    torch.testing.assert_close(build(2, 2, scores, "bias").router(x).weights_MNK.sum(2), torch.ones(2, 100))


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_the_bias_rises_where_load_is_missing_until_it_is_even(scores: Scores) -> None:
    """Of the first member; the second's rate is 0."""
    router, x = build(2, 2, scores, "bias").router, tokens(2, 400) + 1  # tokens that have much in common

    def load() -> torch.Tensor:
        return torch.stack([chosen.flatten().bincount(minlength=4) for chosen in router(x).experts_MNK])

    before = load()
    router.update_bias(before, torch.tensor([0.01, 0.0]))
    assert biased(router)[0].tolist() == pytest.approx((0.01 * (200 - before[0]).sign()).tolist())
    for _ in range(100):
        router.update_bias(load(), torch.tensor([0.01, 0.0]))

    assert before[0].max() > 280 and before[1].max() > 280
    assert load()[0].max() < 220
    assert torch.equal(load()[1], before[1])


@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_the_router_learns_from_what_its_experts_make(top_k: int, scores: Scores) -> None:
    """Also where a token has a single expert, whose share of the chosen ones' sum would be 1 whatever it scores."""
    layer = build(top_k=top_k, scores=scores)
    out, _ = layer(tokens(1, 30))
    out.square().sum().backward()

    gradient = layer.router.score.weight_MOI.grad
    assert gradient is not None and gradient.abs().max() > 1e-3
