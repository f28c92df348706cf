"""Names of domains, by what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from mixopt.results.domains import FoundDomain
from proxies.domains.describing import Description, describe
from proxies.domains.survey import Sampled
from tests.proxies.domains.test_languages import SENTENCES

OF = {language: text for (language, _), text in SENTENCES.items()}
UKRAINIAN = "Це не найстаріший будинок у місті, і на ньому як із каменю, що та для нас від файл."


def described(*domains: list[str]) -> tuple[Description, ...]:
    texts = [(text, number) for number, domain in enumerate(domains) for text in domain]
    sample = [Sampled(place, place, text, f"line {place}", len(text.encode())) for place, (text, _) in enumerate(texts)]
    return describe(sample, np.ones((len(texts), 2)), np.array([number for _, number in texts]), len(domains))


def found_domain(**what: object) -> FoundDomain:
    known = dict.fromkeys(("documents", "bytes", "share", "mean_bytes", "exact_duplicates"), 0)
    about = {"terms": (), "near_duplicates": 0, "near_duplicates_elsewhere": 0, "typical": (), "path": "a"}
    return FoundDomain.model_validate({**known, **about, "script": "Latin", **what})


def test_other_languages_than_the_usual_one_are_names() -> None:
    japanese, chinese = [f"{OF['ja']} lu"] * 2, [f"{OF['zh']} git vim"] * 2
    found = described([OF["en"]] * 9, japanese, chinese, ["\U0001f600 \U0001f680"] * 2, [OF["el"]])
    assert [each.name for each in found][1:] == ["japanese", "chinese", "emoji", "greek"]
    assert "english" not in found[0].name


def test_several_domains_of_a_language_have_a_word_of_their_own_each() -> None:
    names = [each.name for each in described([OF["en"]] * 9, [f"{OF['ja']} lu"], [f"{OF['ja']} git"])]
    assert names[1:] == ["japanese_lu", "japanese_git"]


def test_a_name_does_not_say_its_language_twice() -> None:
    found = described([OF["en"]] * 9, [f"{OF['de']} german lu"] * 2, [f"{OF['de']} git"] * 2)
    assert found[1].terms[0] == "german"
    assert [each.name for each in found[1:]] == ["german_lu", "german_git"]


@pytest.mark.parametrize(
    ("scripts", "says"),
    [({"Latin": 0.52, "Cyrillic": 0.48}, "Latin 52%, Cyrillic 48%"), ({"Latin": 0.9, "Greek": 0.1}, "Latin")],
)
def test_a_table_says_how_much_is_in_a_script(scripts: dict[str, float], says: str) -> None:
    assert found_domain(language=None, languages={}, scripts=scripts).spoken == says


def test_a_domain_of_two_languages_says_both() -> None:
    found = described([OF["en"]] * 9, [OF["ru"], UKRAINIAN])[1]
    assert found.name in ("russian_ukrainian", "ukrainian_russian")
    assert found.languages == {"ru": 0.5, "uk": 0.5}


@pytest.mark.parametrize(
    ("language", "languages", "says"),
    [
        ("uk", {"uk": 0.5, "ru": 0.46, "bg": 0.04}, "uk 50%, ru 46%"),
        ("uk", {"uk": 0.8, "ru": 0.2}, "uk"),
        ("en", {}, "en"),
        (None, {}, "Latin"),
    ],
)
def test_a_table_says_how_much_is_in_a_language(language: str | None, languages: dict[str, float], says: str) -> None:
    assert found_domain(language=language, languages=languages).spoken == says
