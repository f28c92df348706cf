"""A model in a folder of this machine, read by Transformers; small, and of random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from proxies.domains.embedding.opening import open_embedding
from proxies.errors import ProxyError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("model")
    words = ["[PAD]", "[UNK]", "the", "river", "ran", "def", "return"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        str(place)
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(str(place))
    return place


def test_texts_get_vectors_of_length_1_that_do_not_depend_on_their_neighbours(folder: Path) -> None:
    embedding = open_embedding(folder)
    texts = ["the river ran", "def return", "", "the " * 2000]
    vectors = embedding.embed(texts)
    assert vectors.shape == (4, embedding.width) == (4, 16)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors[[0, 1, 3]], axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(embedding.embed(texts[:1]), vectors[:1], atol=1e-4)
    assert embedding.identity == open_embedding(folder).identity
    assert embedding.identity.startswith("transformer-")
    assert embedding.embed([]).shape == (0, 16)


def test_a_folder_that_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "none"}))
    with pytest.raises(ProxyError, match="cannot be read as a model"):
        open_embedding(tmp_path)
    with pytest.raises(ProxyError, match="holds no embedding"):
        open_embedding(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("1_Pooling/config.json", '{"pooling_mode_max_tokens": true}', "pooling by pooling_mode_max_tokens"),
        (
            "1_Pooling/config.json",
            '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}',
            "pooling by pooling_mode_cls_token, pooling_mode_mean_tokens",
        ),
        ("1_Pooling/config.json", '{"pooling_mode_cls', "config.json is damaged"),
        ("modules.json", '[{"type": "sentence_transformers.models.Dense"}]', "with a module Dense"),
        ("modules.json", "{}", "modules.json is no list"),
    ],
)
def test_a_model_that_makes_its_vectors_in_another_way_is_refused(
    folder: Path, tmp_path: Path, file: str, content: str, says: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / file).parent.mkdir(exist_ok=True)
    (other / file).write_text(content)
    with pytest.raises(ProxyError, match=says):
        open_embedding(other)


def test_the_first_token_or_the_mean_as_the_model_says(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "1_Pooling").mkdir()
    (other / "modules.json").write_text('[{"type": "sentence_transformers.models.Pooling"}]')
    vectors = []
    for first in (False, True):
        modes = {"word_embedding_dimension": 16} | {
            "pooling_mode_cls_token": first,
            "pooling_mode_mean_tokens": not first,
        }
        (other / "1_Pooling" / "config.json").write_text(json.dumps(modes))
        vectors.append(open_embedding(other).embed(["the river ran"]))
    np.testing.assert_array_equal(vectors[0], open_embedding(folder).embed(["the river ran"]))
    assert not np.allclose(vectors[0], vectors[1])
