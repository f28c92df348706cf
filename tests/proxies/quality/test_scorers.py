"""Each scorer finds what it is for, and scores a text by itself, whatever stands beside it."""

from typing import get_args

import numpy as np
import pytest

from proxies.data.sources import Source
from proxies.errors import ProxyError
from proxies.quality.base import Scorer, sample
from proxies.quality.scores import LEARNING, Score, ScorerName, scorer_of
from tests.proxies.quality.texts import good, menu, sentences, shuffled

COUNT = 40
GOOD = good(COUNT, "pool")
BAD = {
    "shuffled": [shuffled(text, "order") for text in good(COUNT, "others")],
    "menus": [menu(str(place)) for place in range(COUNT)],
    "repeated": [(sentences(2, f"again {place}") + "\n") * 8 for place in range(COUNT)],
    "noise": ["".join(map(chr, np.random.default_rng(place).integers(33, 126, 600))) for place in range(COUNT)],
}
REFERENCE = good(60, "reference")


@pytest.fixture(scope="module")
def scorers() -> dict[ScorerName, Scorer]:
    pool = sample([*GOOD, *(text for texts in BAD.values() for text in texts[: COUNT // 4])])
    return {
        name: scorer_of(Score(name, good=_good(name)), pool, REFERENCE if name in LEARNING else [], seed=0)
        for name in get_args(ScorerName)
    }


def _good(name: ScorerName) -> Source | None:
    return Source("good", ("good.jsonl",)) if name in LEARNING else None


def above(scorer: Scorer, bad: list[str]) -> float:
    """How often a good text scores above a bad one; half where they are alike."""
    good_N, bad_N = scorer.score(GOOD), scorer.score(bad)
    return float(np.mean((good_N[:, None] > bad_N) + 0.5 * (good_N[:, None] == bad_N)))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("compressibility", "menus"),
        ("compressibility", "repeated"),
        ("compressibility", "noise"),
        ("density", "repeated"),
        ("repetition", "menus"),
        ("repetition", "repeated"),
        ("characters", "menus"),
        ("characters", "noise"),
        ("language_model", "shuffled"),
        ("language_model", "noise"),
        ("classifier", "shuffled"),
        ("classifier", "menus"),
        ("classifier", "noise"),
    ],
)
def test_good_text_scores_above_what_the_scorer_is_for(
    scorers: dict[ScorerName, Scorer], name: ScorerName, kind: str
) -> None:
    assert above(scorers[name], BAD[kind]) > 0.9


@pytest.mark.parametrize("name", get_args(ScorerName))
def test_every_text_has_a_finite_score_of_its_own(scorers: dict[ScorerName, Scorer], name: ScorerName) -> None:
    texts = ["a", "\n", "🙂" * 3, "word " * 30_000, "\0\x01", *GOOD[:3]]
    together = scorers[name].score(texts)
    assert np.isfinite(together).all()
    alone = [float(scorers[name].score([text])[0]) for text in texts]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)


def test_what_is_learned_is_the_same_again(scorers: dict[ScorerName, Scorer]) -> None:
    again = scorer_of(Score("language_model", good=_good("language_model")), [], REFERENCE, seed=0)
    np.testing.assert_array_equal(again.score(GOOD), scorers["language_model"].score(GOOD))


def test_a_document_of_the_pool_is_not_found_bad_for_being_known(scorers: dict[ScorerName, Scorer]) -> None:
    """The pool is as good as the good set: which documents were learned from must not show."""
    pool, fresh = good(80, "half"), good(80, "fresh")
    classifier = scorer_of(Score("classifier", good=_good("classifier")), pool, good(80, "good"), seed=0)
    apart = classifier.score(pool).mean() - classifier.score(fresh).mean()
    assert abs(apart) < 0.5 * classifier.score(fresh).std()


def test_a_sample_is_the_same_in_any_order_and_bounded() -> None:
    texts = [*GOOD, *GOOD, *BAD["menus"], " "]
    assert sample(texts, 20) == sample(reversed(texts), 20)
    assert len(set(sample(texts, 20))) == 20
    assert set(sample(texts)) == {*GOOD, *BAD["menus"]}


@pytest.mark.parametrize(
    ("name", "pool", "reference", "message"),
    [
        ("classifier", GOOD, GOOD[:3], "the good set has 3 texts, too few"),
        ("classifier", GOOD[:5], REFERENCE, "half of the pool has"),
        ("language_model", [], GOOD[:2], "too few for a language model"),
    ],
)
def test_too_little_to_learn_from(name: ScorerName, pool: list[str], reference: list[str], message: str) -> None:
    with pytest.raises(ProxyError, match=message):
        scorer_of(Score(name, good=_good(name)), pool, reference, seed=0)
