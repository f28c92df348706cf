"""How much a text says: what is left of it after zlib, beside what is left of others of its length.

Text that repeats itself, tables and menus leave little, noise and strings of letters without sense leave much, and
short texts more than long ones, as there is less to refer to: about length^-0.22, measured on the first 250 to 4,000
characters of prose, code and licences (-0.15 to -0.25). With this taken off, the logarithm of the share that is left is
compared with its median over the pool.

typical     minus the distance from the median: both ends are suspect
dense       how far above it: the more is said, the better
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxies.quality.base import LOOKED_AT, Scorer

LEVEL = 6  # zlib's own default
BY_LENGTH = -0.22


@dataclass(frozen=True)
class Compressibility(Scorer):
    """
    Attributes:
        usual: median of the pool, which makes no difference to dense.
        typical: which kind.
    """

    usual: float
    typical: bool

    @classmethod
    def of(cls, pool: Sequence[str]) -> Compressibility:
        """The typical kind.

        Args:
            pool: a sample of it.
        """
        return cls(float(np.median([_left(text) for text in pool] or [0.0])), typical=True)

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        above_N = np.array([_left(text) for text in texts], dtype=np.float64) - self.usual
        return np.asarray(-np.abs(above_N) if self.typical else above_N, dtype=np.float64)


def _left(text: str) -> float:
    """The logarithm of the share of a text's bytes that is left, beyond what is left of texts of its length."""
    content = text[:LOOKED_AT].encode() or b" "
    return math.log(len(zlib.compress(content, LEVEL)) / len(content)) - BY_LENGTH * math.log(len(content))
