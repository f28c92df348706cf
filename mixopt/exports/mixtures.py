"""Mixtures in files: a trainer's configuration, a file that a person wrote, a point of the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mixopt.base.errors import ConfigError
from mixopt.base.files import text_in
from mixopt.exports.formats import Draws, Exporter, amounts_in, exporter, mixture_in
from mixopt.exports.locations import Locations, locations_by_pattern
from mixopt.results.answer import Answer
from mixopt.settings.schema import StudyFile
from mixopt.study.answer import answer_so_far
from mixopt.study.corpus import find_corpus
from mixopt.study.record import HasNotRun, read_record
from search.errors import SearchError
from search.mixture import Mixture
from tracking.record import Record

EXPORTED = "give one that mixopt export, or you, wrote"


# Shares in a file are rounded, and in percent perhaps; beyond that a domain was forgotten.
OFF = 0.01


def mixture_in_file(path: Path, domains: Iterable[str]) -> Mixture:
    """The mixture in a YAML, JSON or CSV file: shares of tokens, as mixopt writes them, or `domain: weight`.

    Raises:
        ConfigError: there is none in it, it names what no domain is, or its shares do not sum to 1 or 100.
    """
    format = exporter(path.suffix[1:] if path.suffix in (".json", ".csv") else "yaml")
    text = text_in(path, "file of a mixture", EXPORTED)
    with _said_of(path):
        amounts = amounts_in(format, text, Draws.TOKENS, {}, locations_by_pattern("{domain}", domains))
        total = sum(amounts.values())
        if min(abs(total / whole - 1) for whole in (1, 100)) > OFF:
            raise ConfigError(f"its shares sum to {total:.4g}, not to 1", hint="give each domain its share")
        return Mixture.of(amounts)


def on_front(answer: Answer, number: int) -> Mixture:
    """A mixture of the Pareto front, counted from 1 as `mixopt best` shows it.

    Raises:
        ConfigError: there is no front, or it is shorter.
    """
    front = answer.recommendation.front
    if not front:
        raise ConfigError(
            "the study's answer has no Pareto front", hint="set objective.kind: pareto, or leave out front"
        )
    if number > len(front):
        raise ConfigError(f"front {number}: the front has {len(front)} mixtures", hint="mixopt best shows them")
    return Mixture.of(front[number - 1].mixture)


def read_trainer_file(format: Exporter, config: Path, file: StudyFile, draws: Draws, locations: Locations) -> Mixture:
    """What a trainer's file means: shares of tokens, over the domains of a study.

    Raises:
        ConfigError: it is not of that format, or names what no domain is; or documents are drawn, and the study,
            which knows their mean length, was neither prepared nor run here.
        SearchError: the same, where too few trials have completed for an answer.
    """
    units: Mapping[str, float] = {}
    if draws is Draws.DOCUMENTS:
        units = _lengths_here(file)
    elif draws is Draws.PASSES:
        units = _supplies_here(file)
    text = text_in(config, "configuration", EXPORTED)
    with _said_of(config):
        return mixture_in(format, text, draws, units, locations)


def _lengths_here(file: StudyFile) -> dict[str, float]:
    """Mean tokens of a document, by domain, as the study's text or else its answer has them."""
    corpus = None if file.executor.is_foreign else find_corpus(file)
    if corpus is not None:
        return {name: domain.mean_document_tokens for name, domain in corpus.domains.items()}
    return document_lengths(_answer(file))


def _supplies_here(file: StudyFile) -> Mapping[str, int]:
    """Tokens of each domain, as the study's file or its text has them, or else its answer."""
    supplies = Known.before(file).tokens
    if not supplies.keys() >= set(file.domains):
        supplies = {name: domain.tokens for name, domain in _answer(file).domains.items()}
    return supplies


def _answer(file: StudyFile) -> Answer:
    return answer_so_far(file, read_record(file, apart_from="inventory"))


def document_lengths(answer: Answer) -> dict[str, float]:
    """Mean tokens of a document, by domain."""
    return {
        name: domain.mean_document_tokens
        for name, domain in answer.domains.items()
        if domain.mean_document_tokens is not None
    }


@dataclass(frozen=True)
class Known:
    """What an export knows of a study: its domains, and its answer where it has one.

    Attributes:
        tokens: the supply of each domain; of those for which it is known.
        document_tokens: mean tokens of a document, by domain; of none before the text is prepared.
        answer: None before the study has one.
    """

    tokens: Mapping[str, int]
    document_tokens: Mapping[str, float]
    answer: Answer | None = None

    @classmethod
    def of(cls, answer: Answer) -> Known:
        return cls({name: each.tokens for name, each in answer.domains.items()}, document_lengths(answer), answer)

    @classmethod
    def before(cls, file: StudyFile) -> Known:
        """Of a study that has no answer yet: what the file says, and its text where that is prepared."""
        corpus = None if file.executor.is_foreign else find_corpus(file)
        counted = {} if corpus is None else {name: each.train_tokens for name, each in corpus.domains.items()}
        said = {name: each.tokens for name, each in file.domains.items() if each.tokens is not None}
        lengths = {} if corpus is None else {name: each.mean_document_tokens for name, each in corpus.domains.items()}
        return cls(counted | said, lengths)


def known_now(file: StudyFile, needs_answer: bool) -> tuple[Known, Record | None]:
    """What is known of a study, and its record where it has one.

    Raises:
        ConfigError, SearchError: there is no answer, and one is needed.
    """
    try:
        record = read_record(file, apart_from="inventory")
        return Known.of(answer_so_far(file, record)), record
    except (HasNotRun, SearchError):
        if needs_answer:
            raise
        return Known.before(file), None


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """Mistakes in a file name it."""
    try:
        yield
    except (ConfigError, SearchError) as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None
