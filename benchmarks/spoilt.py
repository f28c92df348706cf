"""Text that is spoilt on purpose, in the ways in which crawled text is: what a score of quality should find.

shuffled       the words of a document in any order
boilerplate    menus, notices and buttons between and in place of most of its lines
truncated      every line cut off within it, as in lists of teasers
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from search.randomness import generator

BOILERPLATE = (
    "Home | About us | Contact | Privacy policy | Terms of use",
    "Accept all cookies    Manage preferences    Learn more »",
    "Share this: Facebook Twitter LinkedIn WhatsApp E-mail Print",
    "Sign up for our newsletter! Enter your e-mail address: [Subscribe]",
    "« Previous  1 2 3 4 5 ... 27  Next »",
    "Copyright © 2019-2024. All rights reserved. Powered by our CMS.",
    "Related posts: 10 things you did not know | Top deals of the week | Read more...",
    "Log in to leave a comment. 0 comments. Sort by: newest first",
    "Skip to main content   Toggle navigation   Search   Cart (0)",
    "Click here to download the app now and get 20% off your first order!!!",
)
# Of the lines of a document so many are kept between boilerplate.
KEPT_LINES = 0.3


def shuffled(text: str, rng: np.random.Generator) -> str:
    words = text.split()
    return " ".join(words[place] for place in rng.permutation(len(words)))


def boilerplate(text: str, rng: np.random.Generator) -> str:
    lines = []
    for line in text.splitlines():
        lines += [line] if rng.random() < KEPT_LINES else [BOILERPLATE[rng.integers(len(BOILERPLATE))]]
    return "\n".join(lines)


def truncated(text: str, rng: np.random.Generator) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join(f"{line[: int(len(line) * rng.uniform(0.2, 0.6))]}..." for line in lines)


SPOIL: Mapping[str, Callable[[str, np.random.Generator], str]] = {
    "shuffled": shuffled,
    "boilerplate": boilerplate,
    "truncated": truncated,
}


def read_texts(file: Path) -> list[str]:
    """Of compressed JSON lines, in an order of their own."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    rng = generator("order of texts", file.name)
    return [texts[place] for place in rng.permutation(len(texts))]


def write_texts(file: Path, texts: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
