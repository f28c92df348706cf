"""Small pools of text with different voices, the same on every machine."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

WORDS = {
    "prose": "the river ran slowly past old houses while evening light fell on quiet water and nobody spoke",
    "code": "def return for in if else self. () : = [i] import None True lambda yield",
    "sums": "1 2 3 4 5 6 7 8 9 0 + - = ( ) * 12 24 48 96",
}


@cache
def documents(domain: str, count: int, words: int = 120) -> tuple[str, ...]:
    """Documents of a domain: its words in a random order with repetitions that a small model can learn."""
    generator = np.random.default_rng(list(domain.encode()))
    vocabulary = WORDS[domain].split()
    transitions = generator.dirichlet(np.full(len(vocabulary), 0.2), size=len(vocabulary))
    texts = []
    for _ in range(count):
        word = int(generator.integers(len(vocabulary)))
        chosen = []
        for _ in range(words):
            word = int(generator.choice(len(vocabulary), p=transitions[word]))
            chosen.append(vocabulary[word])
        texts.append(" ".join(chosen))
    return tuple(texts)


def write_jsonl(folder: Path, counts: dict[str, int]) -> None:
    """One JSONL file per domain."""
    folder.mkdir(parents=True, exist_ok=True)
    for domain, count in counts.items():
        lines = [json.dumps({"text": text}) for text in documents(domain, count)]
        (folder / f"{domain}.jsonl").write_text("\n".join(lines) + "\n")
