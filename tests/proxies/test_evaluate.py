from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from proxies.evaluate import EvaluationSet, evaluate
from proxies.models.transformer import Transformer
from proxies.pack import Pack
from tests.proxies.models.kinds import kinds
from tests.proxies.toy import LENGTH, VOCABULARY, ToyTokens, toy_recipe


def toy_pack(kind: str, batch_rows: int = 2, members: int = 1) -> Pack:
    return Pack(toy_recipe(kind, batch_rows=batch_rows), range(members))


def nats_of_each_token(pack: Pack, member: int, tokens_N: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each but the first, by a model that is shown what stands before it in its row, and nothing else."""
    model = Transformer(pack.recipe.model, [torch.Generator()])
    model.load_state_dict({name: weight.unsqueeze(0) for name, weight in pack.state(member)["weights"].items()})
    before = len(tokens_N) - 1
    shown = np.zeros((before, LENGTH), dtype=np.int64)
    for index in range(before):
        start = index // LENGTH * LENGTH
        shown[index, : index + 1 - start] = tokens_N[start : index + 1]
    with torch.no_grad():
        logits = model.logits(torch.from_numpy(shown).unsqueeze(0))[0, torch.arange(before), np.arange(before) % LENGTH]
    nats: NDArray[np.float64] = -torch.log_softmax(logits.double(), -1).numpy()[np.arange(before), tokens_N[1:]]
    return nats


@settings(max_examples=25, deadline=None)
@given(
    batches=st.integers(0, 3),
    more=st.integers(-1, LENGTH + 1),
    batch_rows=st.integers(1, 3),
    masked=st.booleans(),
    seed=st.integers(0, 9),
)
@kinds
def test_every_token_counts_once_where_its_mask_is_1(
    kind: str, batches: int, more: int, batch_rows: int, masked: bool, seed: int
) -> None:
    """Also where the last batch has only one token, or lacks one."""
    rng, pack = np.random.default_rng(seed), toy_pack(kind, batch_rows, members=2)
    tokens_N = rng.integers(VOCABULARY, size=max(2, 1 + batches * batch_rows * LENGTH + more))
    mask_N = rng.integers(2, size=len(tokens_N)).astype(np.uint8) if masked else np.ones(len(tokens_N), dtype=np.uint8)
    mask_N[-1] = 1

    tokens = ToyTokens(tokens_N, mask_N if masked else None, bytes=77)
    sets = {"set": EvaluationSet(tokens, pack.recipe, pack.micro_batches.rows)}

    for member in range(len(pack)):
        evaluation = evaluate(pack, member, sets)
        nats = nats_of_each_token(pack, member, tokens_N) @ mask_N[1:]
        loss = evaluation.losses["set"]
        assert loss.nats_per_token == pytest.approx(nats / mask_N[1:].sum(), rel=1e-5)
        assert loss.bits_per_byte == pytest.approx(nats / math.log(2) / 77, rel=1e-5)


def test_tokens_may_be_stored_in_few_bits_and_read_only() -> None:
    pack, tokens_N = toy_pack("dense"), np.arange(15, dtype=np.uint16)
    tokens_N.flags.writeable = False
    wide, narrow = (
        EvaluationSet(ToyTokens(stored_N), pack.recipe, pack.micro_batches.rows)
        for stored_N in (tokens_N.astype(np.int64), tokens_N)
    )
    assert evaluate(pack, 0, {"set": narrow}) == evaluate(pack, 0, {"set": wide})


def test_the_row_that_is_filled_up_does_not_count_in_the_routing() -> None:
    pack = toy_pack("moe")
    tokens_N = np.random.default_rng(0).integers(VOCABULARY, size=LENGTH + 3)
    evaluation = evaluate(pack, 0, {"set": EvaluationSet(ToyTokens(tokens_N), pack.recipe, pack.micro_batches.rows)})

    shares = np.array([evaluation.routing[f"routing/set/layer1/expert{expert}"] for expert in range(8)])
    assignments = shares * (LENGTH + 2) * 2  # all predicted tokens, two experts each
    np.testing.assert_allclose(assignments, assignments.round(), atol=1e-4)
    entropy_nats = -sum(share * math.log(share) for share in shares if share)
    assert evaluation.routing["routing/set/layer1/entropy_nats"] == pytest.approx(entropy_nats, rel=1e-5)


@kinds
def test_groups_of_documents_cost_what_their_tokens_do(kind: str) -> None:
    """Also where a group lies in several rows and batches, and the mask leaves nothing of another."""
    rng, pack = np.random.default_rng(0), toy_pack(kind, members=2)
    group_N = np.array([0] * 5 + [1] * 70 + [0] * 20 + [2] * 3 + [3] * 9)
    tokens_N, mask_N = rng.integers(VOCABULARY, size=len(group_N)), (group_N != 2).astype(np.uint8)
    tokens = ToyTokens(tokens_N, mask_N, bytes=90, group_N=group_N, bytes_G=(20, 60, 0, 10))

    undivided = ToyTokens(tokens_N, mask_N, bytes=90)
    sets = {
        name: EvaluationSet(each, pack.recipe, pack.micro_batches.rows)
        for name, each in {"a": tokens, "b": undivided}.items()
    }

    for member in range(len(pack)):
        evaluation = evaluate(pack, member, sets)
        assert evaluation.groups.keys() == {"a"}
        groups, nats_N = evaluation.groups["a"], nats_of_each_token(pack, member, tokens_N) * mask_N[1:]
        assert groups.nats_G == pytest.approx(np.bincount(group_N[1:], weights=nats_N).tolist(), rel=1e-5)
        assert (groups.tokens_G, groups.bytes_G) == ((24, 70, 0, 9), (20, 60, 0, 10))
        assert evaluation.losses["a"].nats_per_token == pytest.approx(sum(groups.nats_G) / 103, rel=1e-12)
        assert evaluation.losses["a"].nats_per_token == pytest.approx(evaluation.losses["b"].nats_per_token, rel=1e-9)
