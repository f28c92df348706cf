"""A proxy's hidden states: alike texts lie close, each text by itself, and what is kept is what is opened."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from proxies.data.tokenizer import train_tokenizer
from proxies.domains.embedding import hidden_states
from proxies.domains.embedding.opening import open_embedding
from proxies.errors import ProxyError
from proxies.pack import Pack
from proxies.recipe import recipe
from tests.proxies.models.kinds import KINDS as MODELS
from tests.proxies.models.kinds import small
from tests.text import documents

KINDS = ("prose", "code", "sums")
TEXTS = [text for kind in KINDS for text in documents(kind, 40)]


def kept(folder: Path, kind: str, seed: int = 0) -> Path:
    """A proxy of random weights: already these tell texts of other words apart."""
    tokenizer = train_tokenizer(TEXTS, 400)
    size = small(kind, tokenizer.vocabulary, 32)
    weights = Pack(recipe(size, 40_000), [seed]).weights(0)
    hidden_states.keep(folder, size, {name: each.numpy() for name, each in weights.items()}, tokenizer, TEXTS)
    return folder


@pytest.fixture(scope="module", params=MODELS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(tmp_path_factory.mktemp("proxy"), request.param)


def test_texts_of_one_kind_lie_closer_than_those_of_others(folder: Path) -> None:
    embedding = open_embedding(folder)
    centres = [embedding.embed(documents(kind, 60)[:40]).mean(axis=0) for kind in KINDS]
    for place, kind in enumerate(KINDS):
        near = embedding.embed(documents(kind, 60)[40:]) @ np.array(centres).T
        assert (near.argmax(axis=1) == place).all()


def test_texts_get_vectors_of_length_1_that_do_not_depend_on_their_neighbours(folder: Path) -> None:
    embedding = open_embedding(folder)
    texts = ["", "one", "日本語の文 \0 ends", "x" * 50_000, *TEXTS[:70]]
    vectors = embedding.embed(texts)
    assert vectors.shape == (len(texts), embedding.width)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate([embedding.embed([text]) for text in texts]), vectors, atol=1e-5)
    assert embedding.embed([]).shape == (0, embedding.width)


def test_the_end_of_a_text_counts_where_it_is_longer_than_a_row(folder: Path) -> None:
    embedding = open_embedding(folder)
    prose, code = " ".join(TEXTS[:10]), " ".join(TEXTS[40:50])
    both, alone = embedding.embed([prose + code, prose])
    assert float(both @ alone) < 0.999


def test_the_same_weights_are_the_same_embedding(folder: Path, tmp_path: Path) -> None:
    assert (
        open_embedding(kept(tmp_path / "one", "dense")).identity
        == open_embedding(kept(tmp_path / "1", "dense")).identity
    )
    assert open_embedding(kept(tmp_path / "2", "dense", seed=1)).identity != open_embedding(tmp_path / "1").identity


@pytest.mark.parametrize("name", [hidden_states.WEIGHTS, hidden_states.TOKENIZER])
def test_a_damaged_file_is_not_taken_for_a_proxy(name: str, tmp_path: Path) -> None:
    kept(tmp_path, "dense")
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:500])
    with pytest.raises(ProxyError, match="damaged"):
        open_embedding(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ProxyError, match="holds no proxy"):
        open_embedding(tmp_path)


def test_a_file_of_another_version_is_told(tmp_path: Path) -> None:
    about = json.loads((kept(tmp_path, "dense") / hidden_states.ABOUT).read_bytes())
    (tmp_path / hidden_states.ABOUT).write_text(json.dumps(about | {"format": 0}))
    with pytest.raises(ProxyError, match="another version"):
        open_embedding(tmp_path)
