"""What a text is written in: its script, by its letters, and a guess of its language, by its commonest words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

# First and last letter.
SCRIPTS = (
    ("Latin", 0x41, 0x24F),
    ("Greek", 0x370, 0x3FF),
    ("Cyrillic", 0x400, 0x52F),
    ("Armenian", 0x530, 0x58F),
    ("Hebrew", 0x590, 0x5FF),
    ("Arabic", 0x600, 0x77F),
    ("Devanagari", 0x900, 0x97F),
    ("Bengali", 0x980, 0x9FF),
    ("Tamil", 0xB80, 0xBFF),
    ("Thai", 0xE00, 0xE7F),
    ("Georgian", 0x10A0, 0x10FF),
    ("Latin", 0x1E00, 0x1EFF),
    ("Kana", 0x3040, 0x30FF),
    ("Han", 0x3400, 0x9FFF),
    ("Hangul", 0xAC00, 0xD7AF),
)
LANGUAGE_OF_SCRIPT = {
    "Greek": "el",
    "Armenian": "hy",
    "Hebrew": "he",
    "Arabic": "ar",
    "Devanagari": "hi",
    "Bengali": "bn",
    "Tamil": "ta",
    "Thai": "th",
    "Georgian": "ka",
    "Kana": "ja",
    "Han": "zh",
    "Hangul": "ko",
}
# Words that every text of a language has many of, and programs written in English words do not.
COMMON = {
    "en": "the of to and that be are it with as was which this you have",
    "de": "der die und das nicht ist den von zu ein eine mit auf werden wird dem des",
    "fr": "le la les des et est une du pas pour dans que sur au ne vous",
    "es": "el los de que y en un las del se por una con para no es",
    "it": "il di che non per un della una sono la con del è si gli le",
    "pt": "o de que não um uma para os do da em com se as dos ao",
    "nl": "de het een van niet en te dat is op voor met zijn wordt kan",
    "sv": "och att det som en är inte den för på med av till kan",
    "da": "og at det er ikke en den til på som af med for kan",
    "pl": "nie jest się na do że z w i dla od został przez plik",
    "cs": "se je na že pro není nebo v s od být k soubor jako",
    "tr": "bir ve için bu değil olarak ile daha dosya olan da de",
    "fi": "ei on ja se että oli ovat tai kun mutta joka tiedosto",
    "hu": "a az és nem hogy egy meg is fájl kell vagy lehet",
    "ro": "nu de în la cu este și pentru din un o care pe",
    "id": "tidak dan yang untuk dari di dengan ini adalah pada ke",
    "vi": "không của và là có cho được một các trong tập này",
    "ru": "не и в на для из с что как по это от файл к",
    "uk": "не і в на для з що та до як від файл у",
    "bg": "не на и за да от се в е с файл при",
}
# As a name says it.
# fmt: off
NAME_OF = {
    "ar": "arabic", "bg": "bulgarian", "bn": "bengali", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish", "fi": "finnish", "fr": "french", "he": "hebrew", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "ja": "japanese", "ka": "georgian", "ko": "korean",
    "nl": "dutch", "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sv": "swedish",
    "ta": "tamil", "th": "thai", "tr": "turkish", "uk": "ukrainian", "vi": "vietnamese", "zh": "chinese",
}
# fmt: on
WORD = re.compile(r"[^\W\d_]+")
LEAST_SHARE = 0.1  # of all words; code with comments has less
# Fewer may be a formula, or a few names.
FEWEST_LETTERS, FEWEST_WORDS = 8, 3
# Japanese is mostly written in Chinese characters.
LEAST_KANA = 0.1


def scripts_of(texts: Iterable[str]) -> dict[str, float]:
    """The share of letters in each script that is known, highest first."""
    letters = _letters(texts)
    return {script: times / letters.total() for script, times in letters.most_common()}


def signs_of(texts: Iterable[str]) -> str:
    """What to call a text without letters of a script that is known: emoji where most of its signs are, or signs."""
    kinds = Counter(unicodedata.category(sign) for text in texts for sign in text if not sign.isspace())
    return "emoji" if kinds["So"] > kinds.total() / 2 else "signs"


def languages_of(texts: Sequence[str]) -> dict[str, float]:
    """The share of texts in each language, by a guess of each; those without one are in no share."""
    found = Counter(language for text in texts if (language := language_of([text])) is not None)
    return {
        language: times / len(texts) for language, times in sorted(found.items(), key=lambda each: (-each[1], each))
    }


def language_of(texts: Iterable[str]) -> str | None:
    """A guess, as ISO 639 has it; None of code, of tables, of a few letters, and of what is not known."""
    texts = tuple(texts)
    letters = _letters(texts)
    if letters.total() < FEWEST_LETTERS:
        return None
    script = letters.most_common(1)[0][0]
    if letters["Kana"] > LEAST_KANA * letters.total() and script in ("Kana", "Han"):
        return "ja"
    if script in LANGUAGE_OF_SCRIPT:
        return LANGUAGE_OF_SCRIPT[script]
    # Single letters are names in code.
    words = Counter(word for text in texts for word in WORD.findall(text.lower()) if len(word) > 1 or word > "z")
    share = {name: sum(words[word] for word in common.split()) for name, common in COMMON.items()}
    best = max(sorted(share), key=lambda name: share[name])
    return best if words.total() >= FEWEST_WORDS and share[best] >= LEAST_SHARE * words.total() else None


def _letters(texts: Iterable[str]) -> Counter[str]:
    """How many letters there are of each script."""
    found: Counter[str] = Counter()
    for letter, times in Counter("".join(texts)).items():
        code = ord(letter)
        if letter.isalpha():
            script = next((name for name, first, last in SCRIPTS if first <= code <= last), None)
            if script is not None:
                found[script] += times
    return found
