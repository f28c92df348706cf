"""What a text is made of: the share of letters in it, less half that of lines that are menus or cut off.

After the rules of Gopher (J. Rae et al., arXiv 2112.11446, 2021, appendix A.1.1) and C4 (C. Raffel et al., JMLR 2020,
section 2.2): good pages are mostly words, their lines begin without bullets and end as sentences do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proxies.quality.base import LOOKED_AT, Scorer

BULLETS = ("•", "*", "-", "|", "»", "›")
CUT_OFF = ("…", "...", "|", "»", ">")
# A line with fewer words is no sentence.
FEW_WORDS = 3


class Characters(Scorer):
    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([_letters(text[:LOOKED_AT]) - _menus(text[:LOOKED_AT]) / 2 for text in texts], dtype=np.float64)


def _letters(text: str) -> float:
    """The share of letters in what is not white space."""
    bare = "".join(text.split())
    return sum(map(str.isalpha, bare)) / len(bare) if bare else 0.0


def _menus(text: str) -> float:
    """The share of characters in lines that begin with a bullet, end cut off, or have too few words for a sentence."""
    odd, every = 0, 0
    for line in map(str.strip, text.splitlines()):
        every += len(line)
        if line.startswith(BULLETS) or line.endswith(CUT_OFF) or len(line.split()) < FEW_WORDS:
            odd += len(line)
    return odd / every if every else 0.0
