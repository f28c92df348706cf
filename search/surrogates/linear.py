"""Ridge regression on shares and their logarithms: cheap, smooth, and hard to overfit.

The logarithm lets the first tokens of a domain count for more than the last.

Shapes: N mixtures, D domains, F = 2 D features.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from search.surrogates.ridge import Ridge

# Shares far below this count as nothing.
LOG_OFFSET = 1e-3


class Linear(Ridge):
    def features(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N F"]:
        return np.hstack([weights_ND, np.log(weights_ND + LOG_OFFSET)])
