"""Every prefix of the stream keeps the weights, every row can be asked for, every epoch reads everything once."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.data.corpus import Corpus
from proxies.data.mixing import BLOCK, MixedStream, Rows, Schedule, permute
from proxies.errors import ProxyError
from proxies.targets import IGNORED

LENGTH = 32
WEIGHTS = {"web": 0.62, "code": 0.3, "chat": 0.08}


def stream(corpus: Corpus, seed: int = 1, **options: dict[str, int]) -> MixedStream:
    return MixedStream(corpus, WEIGHTS, LENGTH, seed, **options)


def chunk_of(corpus: Corpus, rows: Rows, row: int) -> int:
    """Which chunk of its domain a row is, found by its tokens."""
    tokens = corpus.train_tokens(list(corpus.domains)[rows.domain_B[row]])[:]
    starts = range(0, len(tokens) - LENGTH, LENGTH)
    (chunk,) = [n for n, start in enumerate(starts) if (tokens[start : start + LENGTH] == rows.inputs_BT[row]).all()]
    return chunk


@settings(deadline=None)
@given(st.lists(st.floats(1e-4, 1), min_size=1, max_size=12), st.integers(1, 400))
def test_every_prefix_keeps_the_weights_within_one_row(masses: list[float], rows: int) -> None:
    weights_K = np.array(masses) / sum(masses)
    domain_N, nth_N = Schedule(weights_K).rows(0, rows)
    given_NK = np.cumsum(domain_N[:, None] == np.arange(len(masses)), axis=0)
    exact_NK = np.arange(1, rows + 1)[:, None] * weights_K
    assert np.abs(given_NK - exact_NK).max() < 1
    assert (nth_N == given_NK[np.arange(rows), domain_N] - 1).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3 * BLOCK), min_size=2, max_size=6))
def test_a_schedule_is_the_same_in_whatever_parts_it_is_read(cuts: list[int]) -> None:
    weights_K = np.array([0.5, 0.3, 0.2])
    whole_2N = Schedule(weights_K).rows(0, 3 * BLOCK)
    schedule = Schedule(weights_K)
    for start, stop in pairwise(cuts):
        if start <= stop:
            for part_N, whole_N in zip(schedule.rows(start, stop), whole_2N, strict=True):
                assert (part_N == whole_N[start:stop]).all()


@given(st.integers(1, 3000), st.text(max_size=5))
@settings(max_examples=50, deadline=None)
def test_permuted_is_a_permutation(size: int, key: str) -> None:
    assert sorted(permute(np.arange(size), size, key)) == list(range(size))


def test_permutations_differ_and_look_random() -> None:
    one, two = permute(np.arange(5000), 5000, "one"), permute(np.arange(5000), 5000, "two")
    assert (one == two).mean() < 0.01
    for order in (one, two):
        assert abs(np.corrcoef(order, np.arange(5000))[0, 1]) < 0.05
        assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.05


@given(start=st.integers(0, 900), count=st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_any_rows_can_be_asked_for(corpus: Corpus, start: int, count: int) -> None:
    from_the_front, directly = stream(corpus).rows(0, start + count), stream(corpus).rows(start, count)
    assert (from_the_front.inputs_BT[start:] == directly.inputs_BT).all()
    assert (from_the_front.targets_BT[start:] == directly.targets_BT).all()
    assert (from_the_front.domain_B[start:] == directly.domain_B).all()


def test_targets_are_the_tokens_that_follow(corpus: Corpus) -> None:
    rows = stream(corpus).rows(0, 200)
    for row in np.flatnonzero(rows.domain_B < 2):
        tokens = corpus.train_tokens(["web", "code"][rows.domain_B[row]])
        start = chunk_of(corpus, rows, int(row)) * LENGTH
        assert (rows.targets_BT[row] == tokens[start + 1 : start + LENGTH + 1]).all()


def test_prompts_carry_no_loss(corpus: Corpus) -> None:
    rows = MixedStream(corpus, {"chat": 1.0}, LENGTH, seed=1).rows(0, 20)
    mask = corpus.train_loss_mask("chat")
    assert mask is not None
    for row in range(20):
        start = chunk_of(corpus, rows, row) * LENGTH
        assert ((rows.targets_BT[row] != IGNORED) == (mask[start + 1 : start + LENGTH + 1] == 1)).all()
    assert 0 < (rows.targets_BT == IGNORED).mean() < 1


def test_an_epoch_reads_every_chunk_once(corpus: Corpus) -> None:
    only_code = MixedStream(corpus, {"code": 1.0}, LENGTH, seed=1)
    chunks = (len(corpus.train_tokens("code")) - 1) // LENGTH
    orders = []
    for epoch in range(2):
        rows = only_code.rows(epoch * chunks, chunks)
        orders.append([chunk_of(corpus, rows, row) for row in range(chunks)])
        assert sorted(orders[-1]) == list(range(chunks))
    assert orders[0] != orders[1]


def test_zero_weights_never_appear(corpus: Corpus) -> None:
    rows = MixedStream(corpus, {"web": 0.0, "code": 0.5, "chat": 0.5}, LENGTH, seed=1).rows(0, 300)
    assert set(rows.domain_B) == {1, 2}


def test_realised_counts_what_the_rows_hold(corpus: Corpus) -> None:
    mixed = stream(corpus)
    tokens, epochs = mixed.realised(500)
    for number, name in enumerate(corpus.domains):
        given_rows = int((mixed.rows(0, 500).domain_B == number).sum())
        chunks = (len(corpus.train_tokens(name)) - 1) // LENGTH
        assert tokens[name] == given_rows * LENGTH
        assert epochs[name] == pytest.approx(given_rows / chunks)


def test_limited_domains_repeat_the_same_tokens_under_every_seed(corpus: Corpus) -> None:
    limit = {"web": 10 * LENGTH}
    seen = []
    for seed in (1, 2):
        mixed = stream(corpus, seed, available_tokens=limit)
        rows = mixed.rows(0, 100)
        seen.append([chunk_of(corpus, rows, int(row)) for row in np.flatnonzero(rows.domain_B == 0)])
        assert mixed.realised(100)[1]["web"] == pytest.approx(6.2)
        web, code = mixed.used_tokens["web"], mixed.used_tokens["code"]
        assert web == 10 * LENGTH and len(corpus.train_tokens("code")) - LENGTH <= code
    assert set(seen[0]) == set(seen[1]) and len(set(seen[0])) == 10
    assert seen[0] != seen[1]
    # A smaller limit keeps a part of what a larger one keeps.
    rows = stream(corpus, 1, available_tokens={"web": 5 * LENGTH}).rows(0, 100)
    assert {chunk_of(corpus, rows, int(row)) for row in np.flatnonzero(rows.domain_B == 0)} < set(seen[0])


def test_a_domain_with_less_than_asked_for_gives_what_it_has(corpus: Corpus) -> None:
    asked = 10 * corpus.domains["chat"].train_tokens
    assert stream(corpus, available_tokens={"chat": asked}).used_tokens == stream(corpus).used_tokens
    assert stream(corpus).used_tokens["chat"] < asked


def test_another_process_reads_the_same_rows(corpus: Corpus, tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
import numpy as np
from proxies.data.corpus import Corpus
from proxies.data.mixing import MixedStream
rows = MixedStream(Corpus.open(Path({str(corpus.directory)!r})), {WEIGHTS!r}, {LENGTH}, 1).rows(40, 60)
np.savez({str(tmp_path / "rows.npz")!r}, inputs=rows.inputs_BT, targets=rows.targets_BT, domain=rows.domain_B)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    there, here = np.load(tmp_path / "rows.npz"), stream(corpus).rows(40, 60)
    assert (there["inputs"] == here.inputs_BT).all()
    assert (there["targets"] == here.targets_BT).all()
    assert (there["domain"] == here.domain_B).all()


@pytest.mark.parametrize(
    ("weights", "length", "message"),
    [
        ({"web": 0.5, "nowhere": 0.5}, LENGTH, "nowhere"),
        ({"web": 0.5, "code": 0.4}, LENGTH, "sum to 0.9"),
        ({"web": 1.5, "code": -0.5}, LENGTH, "code: weight -0.5"),
        ({"web": 0.5, "chat": 0.5}, 5000, "domain chat has"),
    ],
)
def test_mistakes(corpus: Corpus, weights: dict[str, float], length: int, message: str) -> None:
    with pytest.raises(ProxyError, match=message):
        MixedStream(corpus, weights, length, seed=1)
