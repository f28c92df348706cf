from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.evaluate import evaluate
from proxies.models.size import Kind, model_size
from proxies.models.transformer import Transformer
from tests.proxies.toy import ToyTokens

VOCABULARY, LENGTH = 20, 8
MODELS: dict[Kind, Transformer] = {
    kind: Transformer(
        model_size(kind, 2, VOCABULARY, LENGTH, width=16, heads=2, feed_forward=32), torch.Generator().manual_seed(0)
    )
    for kind in ("dense", "moe")
}


@settings(max_examples=25, deadline=None)
@given(tokens=st.integers(2, 60), batch_rows=st.integers(1, 4), masked=st.booleans(), seed=st.integers(0, 9))
@pytest.mark.parametrize("kind", ["dense", "moe"])
def test_every_token_counts_once_where_its_mask_is_1(
    kind: Kind, tokens: int, batch_rows: int, masked: bool, seed: int
) -> None:
    rng, model = np.random.default_rng(seed), MODELS[kind]
    tokens_N = rng.integers(VOCABULARY, size=tokens)
    mask_N = rng.integers(2, size=tokens).astype(np.uint8) if masked else np.ones(tokens, dtype=np.uint8)
    mask_N[-1] = 1

    nats = 0.0
    for position in range(1, tokens):
        row_start = (position - 1) // LENGTH * LENGTH
        logits = model.logits(torch.from_numpy(tokens_N[None, row_start:position]))[0, -1]
        nats -= mask_N[position] * torch.log_softmax(logits, -1)[tokens_N[position]].item()

    loss = evaluate(model, ToyTokens(tokens_N, mask_N if masked else None, bytes=77), batch_rows=batch_rows).loss
    assert loss.nats_per_token == pytest.approx(nats / mask_N[1:].sum(), rel=1e-5)
    assert loss.bits_per_byte == pytest.approx(nats / math.log(2) / 77, rel=1e-5)


def test_tokens_may_be_stored_in_few_bits_and_read_only() -> None:
    tokens_N = np.arange(15, dtype=np.uint16)
    expected = evaluate(MODELS["dense"], ToyTokens(tokens_N.astype(np.int64)), batch_rows=2)
    tokens_N.flags.writeable = False
    assert evaluate(MODELS["dense"], ToyTokens(tokens_N), batch_rows=2) == expected


def test_the_row_that_is_filled_up_does_not_count_in_the_routing() -> None:
    tokens_N = np.random.default_rng(0).integers(VOCABULARY, size=LENGTH + 3)
    routing = evaluate(MODELS["moe"], ToyTokens(tokens_N), batch_rows=2).routing

    shares = np.array([routing[f"layer1/expert{expert}"] for expert in range(8)])
    assignments = shares * (LENGTH + 2) * 2  # ten predicted tokens, two experts each
    np.testing.assert_allclose(assignments, assignments.round(), atol=1e-4)
    assert routing["layer1/entropy_nats"] == pytest.approx(-sum(s * math.log(s) for s in shares if s), rel=1e-5)
