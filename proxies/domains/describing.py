"""What a domain is about, for a person: its own words, typical documents, language; and a name."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from jaxtyping import Float, Int

from proxies.domains.languages import NAME_OF, WORD, language_of, languages_of, scripts_of, signs_of
from proxies.domains.survey import Sampled

TERMS = 10
TYPICAL = 5
IN_NAME = 3
SPOKEN = 0.3  # of the documents: a language that a name says
LONGEST_TERM = 20  # characters
LONGEST_NAME = 40  # of its terms, as many as fit
# Documents of a domain whose words are counted, and by whose letters a language is guessed; spread over its sample.
COUNTED, GUESSED_BY = 500, 50
# A word in so small a share of other domains' documents says no more than one that is in none.
RARE = 0.01
PLAIN = re.compile(rf"[a-z0-9]{{2,{LONGEST_TERM}}}")


@dataclass(frozen=True)
class Description:
    """
    Attributes:
        name: of letters, digits and "_", unlike those of other domains.
        terms: words that its documents have and others lack, most telling first.
        typical: the documents that lie nearest to its middle.
        language: ISO 639, a guess; None of code and tables.
        languages: the share of its documents in each, by a guess of each document, highest first.
        scripts: such as Latin: the share of its letters in each, highest first.
    """

    name: str
    terms: tuple[str, ...]
    typical: tuple[Sampled, ...]
    language: str | None
    languages: Mapping[str, float]
    scripts: Mapping[str, float]


def describe(
    sample: Sequence[Sampled], vectors_NE: Float[np.ndarray, "N E"], domain_N: Int[np.ndarray, " N"], count: int
) -> tuple[Description, ...]:
    """Each of `count` domains, by those of the sample that are in it."""
    members = [np.flatnonzero(domain_N == domain) for domain in range(count)]
    terms = _terms([[sample[number].text for number in _spread(mine, COUNTED)] for mine in members])
    found: list[Description] = []
    guessed_by = [[sample[number].text for number in _spread(mine, GUESSED_BY)] for mine in members]
    languages = [language_of(texts) for texts in guessed_by]
    common = _commonest(languages, members)
    for domain, (mine, texts) in enumerate(zip(members, guessed_by, strict=True)):
        language, scripts, shares = languages[domain], scripts_of(texts), languages_of(texts)
        script = next(iter(scripts), None)
        if language is None or language == common:
            parts = _words(terms[domain])[:IN_NAME] or [NAME_OF.get(language or "", script or signs_of(texts)).lower()]
        else:
            spoken = [each for each, share in shares.items() if share >= SPOKEN] or [language]
            parts = [NAME_OF[each] for each in spoken[:IN_NAME]]
            if languages.count(language) > 1:
                parts += [word for word in _words(terms[domain]) if word not in parts][:1]
        name = _name(parts, [other.name for other in found])
        closeness_N = vectors_NE[mine] @ vectors_NE[mine].mean(axis=0)
        typical = tuple(sample[number] for number in mine[np.argsort(-closeness_N, kind="stable")[:TYPICAL]])
        found.append(Description(name, terms[domain], typical, language, shares, scripts))
    return tuple(found)


def _spread(members: Int[np.ndarray, " M"], most: int) -> Int[np.ndarray, " S"]:
    """At most so many of them, evenly spaced."""
    spread: Int[np.ndarray, " S"] = members[:: max(1, -(-len(members) // most))]
    return spread


def _terms(texts: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Of each domain the words that are in many of its documents, and in few of the others'."""
    counts = [
        Counter(word for text in mine for word in set(WORD.findall(text.lower())) if 1 < len(word) <= LONGEST_TERM)
        for mine in texts
    ]
    shares = [
        {word: times / len(mine) for word, times in found.items()} for found, mine in zip(counts, texts, strict=True)
    ]
    total: defaultdict[str, float] = defaultdict(float)
    for share in shares:
        for word, part in share.items():
            total[word] += part
    chosen = []
    for share in shares:
        others = max(1, len(shares) - 1)

        def telling(word: str, share: dict[str, float] = share, others: int = others) -> float:
            elsewhere = (total[word] - share[word]) / others
            return share[word] * log((share[word] + RARE) / (elsewhere + RARE))

        # Of equals the first in the alphabet.
        chosen.append(tuple(sorted(share, key=lambda word: (-telling(word), word))[:TERMS]))
    return chosen


def _commonest(languages: Sequence[str | None], members: Sequence[Int[np.ndarray, " M"]]) -> str | None:
    """The language that most documents of the domains with one are in; None where no domain has one."""
    documents = Counter[str]()
    for language, mine in zip(languages, members, strict=True):
        if language is not None:
            documents[language] += len(mine)
    return max(sorted(documents), key=lambda language: documents[language], default=None)


def _words(terms: Sequence[str]) -> list[str]:
    """Those that can be in a name, each once."""
    return list(dict.fromkeys(folded for term in terms if PLAIN.fullmatch(folded := _folded(term))))


def _name(parts: list[str], taken: Sequence[str]) -> str:
    """Unlike those that are taken."""
    room = LONGEST_NAME - len("_1000")
    while len("_".join(parts)) > room:
        parts.pop()
    name = "_".join(parts)
    number = 2
    while name in taken:
        name = f"{'_'.join(parts)}_{number}"
        number += 1
    return name


def _folded(term: str) -> str:
    """Without accents."""
    apart = unicodedata.normalize("NFKD", term)
    return "".join(letter for letter in apart if not unicodedata.combining(letter))
