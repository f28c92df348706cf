"""How much a text says: what is left of it after zlib, beside what is left of others of its length.

Text that repeats itself, tables and menus leave little, noise and strings of letters without sense leave much, and
short texts more than long ones, as there is less to refer to. So the logarithm of the share that is left is compared
with a line in the logarithm of the length, fitted to a sample of the pool.

typical     minus the distance from that line: both ends are suspect
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
# A line through fewer texts says nothing: they are compared with their median alone.
FEWEST_FOR_A_LINE = 8


@dataclass(frozen=True)
class Compressibility(Scorer):
    """
    Attributes:
        slope, offset: of the line, by the natural logarithm of bytes.
        typical: which kind.
    """

    slope: float
    offset: float
    typical: bool

    @classmethod
    def of(cls, pool: Sequence[str], typical: bool) -> Compressibility:
        """
        Args:
            pool: a sample of it.
        """
        points = np.array([_left(text) for text in pool if text])
        if len(points) < FEWEST_FOR_A_LINE or np.ptp(points[:, 0]) == 0:
            return cls(0.0, float(np.median(points[:, 1])) if len(points) else 0.0, typical)
        slope = float(np.polyfit(points[:, 0], points[:, 1], 1)[0])
        return cls(slope, float(np.median(points[:, 1] - slope * points[:, 0])), typical)

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        points_N2 = np.array([_left(text) for text in texts], dtype=np.float64).reshape(-1, 2)
        above_N = points_N2[:, 1] - self.slope * points_N2[:, 0] - self.offset
        return np.asarray(-np.abs(above_N) if self.typical else above_N, dtype=np.float64)


def _left(text: str) -> tuple[float, float]:
    """Logarithms of a text's bytes, and of the share of them that is left."""
    content = text[:LOOKED_AT].encode() or b" "
    return math.log(len(content)), math.log(len(zlib.compress(content, LEVEL)) / len(content))
