"""Near-duplicates are found about as often as the theory of bands says, and the first of several stays."""

from __future__ import annotations

import numpy as np
import pytest

from proxies.domains.duplicates import BANDS, NONE, Duplicates, band_keys, find_duplicates, text_hashes


def duplicates(texts: list[str]) -> Duplicates:
    hashes = text_hashes(texts)
    keys = np.column_stack([hashes, band_keys(texts, hashes)])
    return find_duplicates(lambda number: keys[:, number], len(texts))


def words(count: int, seed: int) -> list[str]:
    return [f"w{number}" for number in np.random.default_rng(seed).integers(0, 10**6, count)]


def test_the_first_of_several_stays() -> None:
    text = " ".join(words(200, 0))
    found = duplicates([text, "something else", text, f"{text} more", "something else"])
    assert found.of_N.tolist() == [NONE, NONE, 0, 0, 1]
    assert found.exact_N.tolist() == [False, False, True, False, True]


def test_case_and_signs_do_not_tell_documents_apart_and_numbers_do() -> None:
    found = duplicates(["On 3 May, all of us went home.", "on 3 may all of us -- went home!", "1 2 3 4 5", "1 2 3 4 6"])
    assert found.of_N.tolist() == [NONE, 0, NONE, NONE]
    assert not found.exact_N.any()


def test_short_documents_are_near_to_the_same_text_alone() -> None:
    assert not duplicates(["a b c", "a b d", "", "..."]).repeats_N.any()


@pytest.mark.parametrize(("changed", "least", "most"), [(1, 0.9, 1.0), (40, 0.0, 0.15)])
def test_pairs_are_found_by_their_similarity(changed: int, least: float, most: float) -> None:
    """One word of two hundred changed is a Jaccard similarity of .95 of five-word sequences, forty words one of .2."""
    texts = []
    for pair in range(100):
        one = words(200, pair)
        other = list(one)
        for place in np.random.default_rng(pair).choice(200, changed, replace=False):
            other[place] = "changed"
        texts += [" ".join(one), " ".join(other)]
    assert least <= duplicates(texts).repeats_N.mean() * 2 <= most


def test_a_pair_in_parts_is_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(words(30, number % 20)) for number in range(50)]
    whole = duplicates(texts)
    monkeypatch.setattr("proxies.domains.duplicates.SORTED_AT_ONCE", 7)
    np.testing.assert_array_equal(duplicates(texts).of_N, whole.of_N)
    assert whole.repeats_N.sum() == 30
    assert BANDS == 10
