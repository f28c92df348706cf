"""What a text is written in."""

from __future__ import annotations

import pytest

from proxies.domains.languages import (
    COMMON,
    LANGUAGE_OF_SCRIPT,
    NAME_OF,
    language_of,
    languages_of,
    scripts_of,
    signs_of,
)

SENTENCES = {
    ("en", "Latin"): "The house that you have seen was one of the oldest of this town, and it is still in use.",
    ("de", "Latin"): "Das Haus ist nicht das älteste der Stadt, und die Leute werden auf dem Markt mit ihm bekannt.",
    ("fr", "Latin"): "La maison est une des plus anciennes de la ville et les gens ne sont pas pressés sur le marché.",
    ("es", "Latin"): "La casa es una de las más antiguas del pueblo y los vecinos no se van por la noche.",
    ("ru", "Cyrillic"): "Это не самый старый дом в городе, и на нём как из камня, что для нас по пути.",
    ("el", "Greek"): "Το σπίτι είναι παλιό.",
    ("ja", "Kana"): "この家はとても古いです。",
    ("zh", "Han"): "这座房子是城里最古老的。",
    ("ko", "Hangul"): "이 집은 아주 오래되었다.",
}


@pytest.mark.parametrize(("expected", "text"), SENTENCES.items(), ids=[language for language, _ in SENTENCES])
def test_a_sentence_in_a_language(expected: tuple[str, str], text: str) -> None:
    assert (language_of([text]), next(iter(scripts_of([text])))) == expected


def test_code_has_no_language_and_numbers_no_script() -> None:
    assert language_of(["for i in range(n):\n    if x is None or y not in z:\n        return self.f(i)"]) is None
    assert scripts_of(["1 2 3 + 4"]) == {}
    assert language_of([""]) is None


@pytest.mark.parametrize("text", ["a b c", "x = \u03b1 + \u03b2", "\u0430 \u0431 \u0432", "de", "\u65e5"])
def test_a_handful_of_letters_is_no_language(text: str) -> None:
    assert language_of([text]) is None


def test_letters_are_counted_by_script() -> None:
    assert scripts_of(["abc \u0431\u0432"]) == {"Latin": 0.6, "Cyrillic": 0.4}


def test_texts_of_several_languages_are_counted_by_language() -> None:
    german, russian = (text for (language, _), text in SENTENCES.items() if language in ("de", "ru"))
    assert languages_of([german, russian, russian, "1 2 3"]) == {"ru": 0.5, "de": 0.25}


def test_every_language_that_is_guessed_has_a_name() -> None:
    assert set(NAME_OF) == {*COMMON, *LANGUAGE_OF_SCRIPT.values()}


def test_signs_that_are_no_letters() -> None:
    assert (signs_of(["\U0001f600 \U0001f680"]), signs_of(["1 + 2"])) == ("emoji", "signs")
