"""Which scores a pool's texts get: the kinds by name, and what each has to know beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from proxies.data.sources import Source
from proxies.errors import ProxyError
from proxies.quality.base import Scorer

ScorerName = Literal["compressibility", "density", "repetition", "characters", "language_model", "classifier"]
Best = Literal["high", "low"]
# What learns from a set that is known to be good.
LEARNING: frozenset[ScorerName] = frozenset({"language_model", "classifier"})
# What looks at a sample of the pool before it scores.
COMPARING: frozenset[ScorerName] = frozenset({"compressibility", "classifier"})


@dataclass(frozen=True)
class Score:
    """One score, by a scorer or read from a field of the records.

    Attributes:
        scorer, field: one of the two.
        best: of a field: whether large numbers are good ones.
        good: texts that are known to be good, where the scorer learns from some.
        weight: in the mean of several scores' ranks.
    """

    scorer: ScorerName | None = None
    field: str | None = None
    best: Best = "high"
    good: Source | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if (self.scorer is None) == (self.field is None):
            raise ProxyError("a score is by a scorer, or read from a field", hint="give one of the two")
        if self.scorer is not None and (self.scorer in LEARNING) != (self.good is not None):
            does = "needs a set of good text" if self.good is None else "learns from no good set"
            raise ProxyError(f"{self.scorer} {does}", hint="give good with language_model and classifier alone")

    @property
    def name(self) -> str:
        return self.scorer or self.field or ""


def scorer_of(score: Score, pool: Sequence[str], good: Sequence[str], seed: int) -> Scorer:
    """
    Args:
        pool: a sample of it; empty where the scorer does not compare.
        good: empty where it does not learn.

    Raises:
        ProxyError: there is too little to learn from.
    """
    assert score.scorer is not None, "a field needs no scorer"
    return _MAKERS[score.scorer](pool, good, seed)


# Each imported where it is used: scikit-learn and torch take seconds.
def _compressibility(pool: Sequence[str], good: Sequence[str], seed: int) -> Scorer:
    from proxies.quality.compressibility import Compressibility

    return Compressibility.of(pool)


def _density(pool: Sequence[str], good: Sequence[str], seed: int) -> Scorer:
    from proxies.quality.compressibility import Compressibility

    return Compressibility(0.0, typical=False)


def _repetition(pool: Sequence[str], good: Sequence[str], seed: int) -> Scorer:
    from proxies.quality.repetition import Repetition

    return Repetition()


def _characters(pool: Sequence[str], good: Sequence[str], seed: int) -> Scorer:
    from proxies.quality.characters import Characters

    return Characters()


def _language_model(pool: Sequence[str], good: Sequence[str], seed: int) -> Scorer:
    from proxies.quality.language_model import LanguageModel

    return LanguageModel(good, seed)


def _classifier(pool: Sequence[str], good: Sequence[str], seed: int) -> Scorer:
    from proxies.quality.classifier import Classifier

    return Classifier(pool, good)


_MAKERS: Mapping[ScorerName, Callable[[Sequence[str], Sequence[str], int], Scorer]] = {
    "compressibility": _compressibility,
    "density": _density,
    "repetition": _repetition,
    "characters": _characters,
    "language_model": _language_model,
    "classifier": _classifier,
}
