"""The default embedding: alike texts lie close, each text by itself, and what is saved is what is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxies.domains.embedding import Embedding
from proxies.domains.embedding.hashed_ngrams import TABLE, HashedNgrams
from proxies.errors import ProxyError
from tests.text import documents

KINDS = ("prose", "code", "sums")


@pytest.fixture(scope="module")
def embedding() -> HashedNgrams:
    return HashedNgrams.learn([text for kind in KINDS for text in documents(kind, 40)], width=16)


def test_texts_of_one_kind_lie_closer_than_those_of_others(embedding: Embedding) -> None:
    vectors = [embedding.embed(documents(kind, 60)[40:]) for kind in KINDS]
    within = min(float((each @ each.T).min()) for each in vectors)
    across = max(float((vectors[i] @ vectors[j].T).max()) for i in range(3) for j in range(i))
    assert within > across


def test_what_all_texts_share_makes_none_alike() -> None:
    licence = "Permission is hereby granted, free of charge, to any person who obtains a copy of this software. " * 3
    kinds = [[licence + text for text in documents(kind, 30)] for kind in ("prose", "code")]
    vectors = HashedNgrams.learn([text for texts in kinds for text in texts], width=16).embed
    assert float((vectors(kinds[0]) @ vectors(kinds[1]).T).mean()) < 0


def test_two_texts_are_enough_to_tell_them_apart() -> None:
    one, other = HashedNgrams.learn(["abc", "one two three"]).embed(["abc", "one two three"])
    assert one @ other < 0


def test_vectors_have_length_1_and_what_width_says(embedding: Embedding) -> None:
    vectors = embedding.embed(["", "one", "日本語の文 \0 ends", "x" * 50_000])
    assert vectors.shape == (4, embedding.width)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert embedding.embed([]).shape == (0, embedding.width)


@given(st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_a_text_has_one_vector_whatever_stands_beside_it(embedding: HashedNgrams, texts: list[str]) -> None:
    alone = np.concatenate([embedding.embed([text]) for text in texts])
    np.testing.assert_array_equal(embedding.embed(texts), alone)


def test_the_same_texts_and_seed_teach_the_same(embedding: HashedNgrams) -> None:
    texts = [text for kind in KINDS for text in documents(kind, 40)]
    assert HashedNgrams.learn(texts, width=16).identity == embedding.identity
    assert HashedNgrams.learn(texts[1:], width=16).identity != embedding.identity


def test_what_is_saved_is_what_is_opened(embedding: HashedNgrams, tmp_path: Path) -> None:
    embedding.save(tmp_path / "embedding")
    opened = HashedNgrams.open(tmp_path / "embedding")
    assert opened.identity == embedding.identity
    np.testing.assert_array_equal(opened.embed(["a text"]), embedding.embed(["a text"]))


def test_a_damaged_file_is_not_taken_for_an_embedding(embedding: HashedNgrams, tmp_path: Path) -> None:
    embedding.save(tmp_path)
    (tmp_path / TABLE).write_bytes((tmp_path / TABLE).read_bytes()[:5000])
    with pytest.raises(ProxyError, match="embedding"):
        HashedNgrams.open(tmp_path)
    with pytest.raises(ProxyError, match="holds no embedding"):
        HashedNgrams.open(tmp_path / "elsewhere")


def test_it_takes_two_texts_with_words() -> None:
    with pytest.raises(ProxyError, match="of 1 texts"):
        HashedNgrams.learn(["alone"])
    with pytest.raises(ProxyError, match="empty"):
        HashedNgrams.learn(["", ""])
