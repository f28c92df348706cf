"""How far an interval reaches: predictions err like Student's t, a few of them by far more than a normal allows.

A standard deviation is stated so that 80% of the errors lie within what a normal distribution of it says; of Student's
t with TAIL degrees of freedom 95% then lie within 2.23 of them, not 1.96. Scores that were held out choose the scale
(search.surrogates.blend), so the middle of the errors sets it, and the tail is in the form.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

TAIL = 5.0
SCALED_AT = 0.8


@lru_cache
def reach(level: float) -> float:
    """Half the width of the interval that holds a share `level` of the errors, in standard deviations."""
    from scipy.special import stdtrit

    middle, wanted = ((1 + share) / 2 for share in (SCALED_AT, level))
    return NormalDist().inv_cdf(middle) * float(stdtrit(TAIL, wanted)) / float(stdtrit(TAIL, middle))
