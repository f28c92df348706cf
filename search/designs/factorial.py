"""A two-level design around one mixture: which domains should have more, and which less, seen with few runs.

Every run multiplies each share by a step up or down, in the pattern of a row of a Hadamard matrix (R. L. Plackett and
J. P. Burman, "The Design of Optimum Multifactorial Experiments", Biometrika 33(4), 1946), so that all runs together say
of every domain what they would if it were changed alone. Rows come in pairs of opposite signs: curvature does not pass
for a slope.

Shapes: N runs, D domains.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# Added to every share, so that a domain that has nothing can be given something.
LEAST = 0.003


def signs(domains: int, count: int) -> Float[np.ndarray, "N D"]:
    """The first `count` rows, each after its opposite, [N, D]; they repeat once all are used."""
    from scipy.linalg import hadamard

    order = 4
    while order <= domains:
        order *= 2
    # The first column is constant.
    rows_ND = hadamard(order)[:, 1 : domains + 1].astype(float)
    paired_ND = np.stack([rows_ND, -rows_ND], axis=1).reshape(-1, domains)
    pattern_ND: Float[np.ndarray, "N D"] = paired_ND[np.arange(count) % len(paired_ND)]
    return pattern_ND


def around(
    centre_D: Float[np.ndarray, " D"], step: float, signs_ND: Float[np.ndarray, "N D"]
) -> Float[np.ndarray, "N D"]:
    """Mixtures around one, [N, D], feasible or not.

    Args:
        step: of the logarithm of a share.
    """
    raised_ND = (centre_D + LEAST) * np.exp(step * signs_ND)
    around_ND: Float[np.ndarray, "N D"] = raised_ND / raised_ND.sum(axis=1, keepdims=True)
    return around_ND
