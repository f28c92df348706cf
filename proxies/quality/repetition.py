"""How little a text repeats itself: minus the share of its letters in lines, and in word triples, that stood before.

After the repetition rules of Gopher (J. Rae et al., arXiv 2112.11446, 2021, appendix A.1.1), as one number in place of
thresholds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proxies.quality.base import LOOKED_AT, Scorer

WORD = re.compile(r"\w+|[^\w\s]")
GRAM = 3
# Longer texts repeat their triples sooner: triples are counted in windows of so many words.
WINDOW = 200


class Repetition(Scorer):
    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([0.0 - _lines(text[:LOOKED_AT]) - _grams(text[:LOOKED_AT]) for text in texts], dtype=np.float64)


def _lines(text: str) -> float:
    """The share of characters in lines that stood before."""
    seen, again, every = set(), 0, 0
    for line in map(str.strip, text.splitlines()):
        again += len(line) if line in seen else 0
        every += len(line)
        seen.add(line)
    return again / every if every else 0.0


def _grams(text: str) -> float:
    """The share of triples of words that stood before in their window, by their letters."""
    words = WORD.findall(text)
    again, every = 0, 0
    for start in range(0, len(words), WINDOW):
        seen = set()
        for place in range(start, min(start + WINDOW, len(words)) - GRAM + 1):
            gram = tuple(words[place : place + GRAM])
            letters = sum(map(len, gram))
            again += letters if gram in seen else 0
            every += letters
            seen.add(gram)
    return again / every if every else 0.0
