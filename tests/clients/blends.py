"""What a trainer's own code is asked to draw, in a process of its own, and what it answers.

Each domain's text is one token again and again, the domain's number, so that tokens tell where they come from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Blend:
    """
    Attributes:
        format: by its name.
        export: the file in it.
        lengths: by place, the tokens of each of its documents; a domain each, numbered from 1.
    """

    format: str
    export: str
    lengths: dict[str, int]

    @property
    def text(self) -> str:
        return Path(self.export).read_text(encoding="utf-8")

    def number(self, place: str) -> int:
        return list(self.lengths).index(place) + 1

    def document(self, place: str) -> NDArray[np.uint16]:
        return np.full(self.lengths[place], self.number(place), np.uint16)

    def counted(self, tokens: NDArray[np.integer]) -> list[int]:
        """Of each domain."""
        counts: list[int] = np.bincount(tokens, minlength=len(self.lengths) + 1).tolist()
        return counts[1:]


def ask(blends: list[Blend], question: Path) -> None:
    question.write_text(json.dumps([asdict(blend) for blend in blends]), encoding="utf-8")


def answer(draw: Callable[[Blend], list[int]]) -> None:
    """Tokens drawn, by domain, of each blend in the file named first; to the file named second."""
    question, tokens = map(Path, sys.argv[1:])
    blends = [Blend(**blend) for blend in json.loads(question.read_text(encoding="utf-8"))]
    tokens.write_text(json.dumps([draw(blend) for blend in blends]), encoding="utf-8")
