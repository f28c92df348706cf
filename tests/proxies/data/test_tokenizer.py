"""Tokenizers are trained the same every time, and one that does not fit the text is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from proxies.data.tokenizer import (
    END_OF_TEXT,
    CorpusTokenizer,
    content_hash,
    load_tokenizer,
    train_tokenizer,
)
from proxies.errors import ProxyError
from tests.proxies.data.conftest import sentences

TEXTS = sentences(100, seed=1)


@pytest.fixture(scope="module")
def trained() -> CorpusTokenizer:
    return train_tokenizer(TEXTS, 400)


def word_level(words: list[str], **special: str) -> str:
    vocabulary = {word: number for number, word in enumerate([*special.values(), *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=special["unknown"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer.to_str()


def test_training_is_repeatable(trained: CorpusTokenizer) -> None:
    assert train_tokenizer(TEXTS, 400).hash == trained.hash
    assert train_tokenizer(TEXTS, 399).hash != trained.hash
    assert trained.vocabulary == 400
    assert trained.dtype == np.uint16


def test_documents_end_with_the_end_of_text_and_come_back_whole(trained: CorpusTokenizer) -> None:
    texts = ["plain text", "漢字 🙂\n\ttabs", f"the letters {END_OF_TEXT} in a text are no end"]
    decoder = Tokenizer.from_str(trained.definition)
    for text, document in zip(texts, trained.encode([(None, text) for text in texts]), strict=True):
        ids = document.tokens_N.tolist()
        assert ids[-1] == trained.end_of_text_id
        assert trained.end_of_text_id not in ids[:-1]
        assert decoder.decode(ids[:-1], skip_special_tokens=False) == text
        assert (document.prompt_tokens, document.loss_bytes) == (0, len(text.encode()))


def test_prompts_share_no_token_with_completions(trained: CorpusTokenizer) -> None:
    (pair,) = trained.encode([("äsk ", "answer")])
    (prompt, completion) = trained.encode([(None, "äsk "), (None, "answer")])
    assert pair.tokens_N.tolist() == [*prompt.tokens_N[:-1], *completion.tokens_N]
    assert pair.prompt_tokens == len(prompt.tokens_N) - 1
    assert (pair.loss_bytes, pair.text_bytes) == (6, 11)


def test_white_space_does_not_change_the_content_hash() -> None:
    assert content_hash("a  b\n") == content_hash(" a b")
    assert content_hash("Q? A") != content_hash("Q? B")


def test_a_pair_has_the_content_hash_of_the_same_text(trained: CorpusTokenizer) -> None:
    pair, text = trained.encode([("Q?", "A"), (None, "Q? A\n")])
    assert pair.hash == text.hash


def test_the_end_of_text_of_deepseek_is_known() -> None:
    end = "<\N{FULLWIDTH VERTICAL LINE}end\N{LOWER ONE EIGHTH BLOCK}of\N{LOWER ONE EIGHTH BLOCK}sentence"
    end += "\N{FULLWIDTH VERTICAL LINE}>"
    assert CorpusTokenizer(word_level(["hello"], unknown="<unk>", end=end)).end_of_text == end


def test_a_tokenizer_that_fits_is_accepted(trained: CorpusTokenizer) -> None:
    trained.check_matches("web", TEXTS)
    # A different language, but every byte has a token.
    trained.check_matches("web", ["漢字" * 50])


def test_a_tokenizer_that_lowercases_is_accepted() -> None:
    words = ["hello", "world", ",", "cafe"]
    pieces = {word: number for number, word in enumerate(["[UNK]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    CorpusTokenizer(tokenizer.to_str()).check_matches("web", ["Hello, World", "Café"])


def test_too_many_unknown_tokens() -> None:
    tokenizer = CorpusTokenizer(word_level(["hello"], unknown="<unk>", end="</s>"))
    assert tokenizer.end_of_text == "</s>"
    with pytest.raises(ProxyError, match=r"web: .*does not match the text: 50.0% of 100") as caught:
        tokenizer.check_matches("web", ["hello there"] * 50)
    assert "tokenizer_file" in caught.value.hint


def test_text_that_does_not_come_back() -> None:
    tokenizer = Tokenizer(models.BPE({"a": 0, "<eos>": 1}, []))  # letters without a token vanish
    with pytest.raises(ProxyError, match="9 of 10 sampled documents come back changed"):
        CorpusTokenizer(tokenizer.to_str()).check_matches("web", ["aaa", *["abc"] * 9])


def test_files_that_are_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match=r"none.json is not there"):
        load_tokenizer(str(tmp_path / "none.json"))
    (tmp_path / "broken.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(ProxyError, match=r"broken.json is no tokenizer"):
        load_tokenizer(str(tmp_path / "broken.json"))
    (tmp_path / "endless.json").write_text(word_level(["hello"], unknown="<unk>"))
    with pytest.raises(ProxyError, match=r"endless.json has no end-of-text token"):
        load_tokenizer(str(tmp_path / "endless.json"))


def test_a_vocabulary_too_small_for_bytes() -> None:
    with pytest.raises(ProxyError, match="vocabulary of 100"):
        train_tokenizer(TEXTS, 100)


def test_text_without_spaces_is_learned_from_in_parts() -> None:
    """As a whole, 150,000 letters would take ten times as long."""
    letters = "".join(Random(0).choices("ACDEFGHIKLMNPQRSTVWY", k=150_000))
    begun = time.process_time()
    tokenizer = train_tokenizer([letters], 2000)
    assert time.process_time() - begun < 5
    assert tokenizer.vocabulary == 2000
    [document] = tokenizer.encode([(None, letters)])
    assert len(document.tokens_N) < 75_000
