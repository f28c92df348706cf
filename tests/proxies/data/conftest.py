"""Small text pools on a disk, and one small corpus for all tests that only read."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from proxies.data.corpus import Corpus, CorpusSettings, prepare
from proxies.data.sources import Source

SETTINGS = CorpusSettings(vocabulary=300, validation_tokens=2000, workers=1)


def sentences(count: int, seed: int, words: int = 30) -> list[str]:
    """Different texts, the same for the same seed."""
    generator = random.Random(seed)
    vocabulary = ["".join(generator.choices("abcdefgh", k=generator.randint(2, 6))) for _ in range(200)]
    return [f"{seed}.{number} " + " ".join(generator.choices(vocabulary, k=words)) for number in range(count)]


def write_jsonl(path: Path, texts: Iterable[object], field: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({field: text}) + "\n" for text in texts), encoding="utf-8")
    return path


def source(name: str, *paths: Path, **options: object) -> Source:
    return Source(name, tuple(str(path) for path in paths), **options)  # type: ignore[arg-type]


def texts_of(corpus: Corpus, ids: np.ndarray) -> list[str]:
    """The documents in a run of tokens."""
    tokenizer = Tokenizer.from_file(str(corpus.tokenizer_file))
    ends = np.flatnonzero(ids == corpus.end_of_text_id)
    return [tokenizer.decode(part[part != corpus.end_of_text_id].tolist()) for part in np.split(ids, ends + 1)[:-1]]


def train_texts(corpus: Corpus, domain: str) -> list[str]:
    return texts_of(corpus, corpus.train_tokens(domain)[:])


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Three domains of about 12,000, 6,000 and 1,200 tokens; `chat` has prompts without loss."""
    folder = tmp_path_factory.mktemp("pools")
    write_jsonl(folder / "web.jsonl", sentences(200, seed=1))
    write_jsonl(folder / "code.jsonl", sentences(100, seed=2))
    chat = [{"ask": f"question {text}", "answer": text[::-1]} for text in sentences(20, seed=3, words=10)]
    (folder / "chat.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in chat))
    domains = [
        source("web", folder / "web.jsonl"),
        source("code", folder / "code.jsonl"),
        source("chat", folder / "chat.jsonl", prompt_field="ask", completion_field="answer"),
    ]
    return prepare(domains, [], SETTINGS, folder / "corpus")
