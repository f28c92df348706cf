"""Good and bad text of a made-up language: sentences of a few hundred words, and what is made of them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

_SYLLABLES = ("ka", "lo", "mi", "ne", "ru", "sa", "te", "vo", "pi", "du")


def sentences(count: int, seed: str) -> str:
    """Each word tends to be followed by one of three others."""
    rng = random.Random(seed)
    words = [first + second for first in _SYLLABLES for second in _SYLLABLES]
    place, lines = rng.randrange(len(words)), []
    for _ in range(count):
        line = []
        for _ in range(rng.randint(6, 12)):
            place = (7 * place + rng.choice((1, 2, 3))) % len(words)
            line.append(words[place])
        lines.append(" ".join(line).capitalize() + ".")
    return " ".join(lines)


def shuffled(text: str, seed: str) -> str:
    words = text.split()
    random.Random(seed).shuffle(words)
    return " ".join(words)


def menu(seed: str) -> str:
    rng = random.Random(seed)
    return "\n".join(
        f"{rng.choice(('Home', 'About', 'Terms'))} | Next > | 12345 #{rng.randint(0, 9)}" for _ in range(30)
    )


def good(count: int, seed: str) -> list[str]:
    return [sentences(12, f"{seed} {place}") for place in range(count)]


def write_records(path: Path, texts: Sequence[str], **fields: Sequence[object]) -> Path:
    """JSON lines: the text, and of each other field its value, where that is not None."""
    with path.open("w") as file:
        for place, text in enumerate(texts):
            more = {name: values[place] for name, values in fields.items() if values[place] is not None}
            file.write(json.dumps({"text": text, **more}) + "\n")
    return path
