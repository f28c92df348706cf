"""Samples of a study's text as points, and the mixture of its pools nearest to what it is judged on.

Shapes: K pools, J evaluation sets that count, P points of each, E dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from proxies.data.corpus import Corpus
from proxies.data.portrait import embed
from search.mixture import Mixture
from search.objective import Objective
from search.space import Space
from search.transport import mixture_distance, nearest_mixture

# The baseline that this is.
TRANSPORT = "transport"


@dataclass(frozen=True)
class Samples:
    """Windows of text as points (proxies/data/portrait.py), the same number of each, whenever they are drawn."""

    corpus: Corpus
    space: Space
    objective: Objective

    @cached_property
    def pools_KPE(self) -> Float[np.ndarray, "K P E"]:
        """Of the training text of each domain, in the space's order."""
        tokenizer = self.corpus.tokenizer()
        return np.array([embed(self.corpus.texts(name, tokenizer)) for name in self.space.domains])

    @cached_property
    def sets_JPE(self) -> Float[np.ndarray, "J P E"]:
        """Of each evaluation set of the objective, in its order."""
        tokenizer = self.corpus.tokenizer()
        return np.array([embed(self.corpus.evaluation_texts(name, tokenizer)) for name in self.objective.metrics])

    @property
    def nearest(self) -> Mixture:
        """The feasible mixture whose text is nearest to what the objective is measured on, by its weights."""
        return nearest_mixture(self.space, self.pools_KPE, self.sets_JPE, self.objective.emphasis_M)

    def distance(self, mixture: Mixture) -> float:
        """Of a mixture's text from what the objective is measured on."""
        weights_K = mixture.reordered(self.space.domains).array
        return mixture_distance(weights_K, self.pools_KPE, self.sets_JPE, self.objective.emphasis_M)
