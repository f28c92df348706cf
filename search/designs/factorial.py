"""A two-level design around one mixture: which domains should have more, and which less, seen with few runs.

R. L. Plackett and J. P. Burman, "The Design of Optimum Multifactorial Experiments", Biometrika 33(4), 1946: every run
multiplies each share by a step up or down, so that all runs together, with the mixture itself, say of every domain what
they would if it were changed alone, as well as if it had all the runs to itself.

Shapes: N runs, D domains.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# Added to every share, so that a domain that has nothing can be given something.
LEAST = 0.003


def signs(domains: int) -> Float[np.ndarray, "N D"]:
    """Rows of -1 and 1, [N, D], N at least `domains`; their columns are orthogonal with a row of -1, the centre's.

    R. E. A. C. Paley's construction: the quadratic residues of a prime that is one less than a multiple of four, and
    all their rotations.
    """
    prime = next(number for number in range(max(domains, 3), 10 * domains + 10) if _serves(number))
    residues = {place**2 % prime for place in range(1, prime)}
    first_D = np.array([1.0 if place in residues or place == 0 else -1.0 for place in range(prime)])
    rows_ND: Float[np.ndarray, "N D"] = np.array([np.roll(first_D, turn)[:domains] for turn in range(prime)])
    return rows_ND


def _serves(number: int) -> bool:
    return number % 4 == 3 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


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
