"""Like the good set or like the pool: a linear classifier on hashed words and pairs of words.

As fastText's (A. Joulin et al., arXiv 1607.01759, 2016), with which web text is filtered (J. Li et al., DataComp-LM,
arXiv 2406.11794, 2024): words and pairs of neighbours are hashed into a table, and a logistic regression tells texts of
the good set from texts of the pool; no embedding lies between. A document's score is the logarithm of its odds.

The pool's sample is split in two halves by hash, and a document is scored by the model that the other half taught: one
that had learned that this very document is of the pool would find it bad.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proxies.errors import ProxyError
from proxies.quality.base import LOOKED_AT, Scorer, hashed

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression

BUCKETS = 1 << 18
# Words, and each sign by itself.
TOKENS = r"\w+|[^\w\s]"
FEWEST_GOOD = 10
# Inverse strength of the penalty on weights: hashed tables have many more weights than texts.
LOOSENESS = 10.0
STEPS = 300


class Classifier(Scorer):
    """
    Raises:
        ProxyError: the good set or the pool has too few texts.
    """

    def __init__(self, pool: Sequence[str], good: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        self._table: HashingVectorizer = HashingVectorizer(
            n_features=BUCKETS, ngram_range=(1, 2), token_pattern=TOKENS, alternate_sign=False, norm="l2"
        )
        halves: list[list[str]] = [[], []]
        for text in pool:
            halves[hashed(text) % 2].append(text)
        for texts, what in ((good, "the good set"), (halves[0], "half of the pool"), (halves[1], "half of the pool")):
            if len(texts) < FEWEST_GOOD:
                raise ProxyError(
                    f"{what} has {len(texts)} texts, too few to learn from",
                    hint=f"give the classifier {FEWEST_GOOD} or more, or choose another scorer",
                )
        # Scored by the other half's.
        self._models = [self._fitted(halves[1], good), self._fitted(halves[0], good)]

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        shown = [text[:LOOKED_AT] for text in texts]
        table = self._table.transform(shown)
        odds_2N = np.array([model.decision_function(table) for model in self._models])
        half_N = np.array([hashed(text) % 2 for text in shown])
        return np.asarray(odds_2N[half_N, np.arange(len(shown))], dtype=np.float64)

    def _fitted(self, pool: Sequence[str], good: Sequence[str]) -> LogisticRegression:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=LOOSENESS, class_weight="balanced", max_iter=STEPS)
        is_good_N = np.repeat([0, 1], [len(pool), len(good)])
        return model.fit(self._table.transform([*pool, *good]), is_good_N)
