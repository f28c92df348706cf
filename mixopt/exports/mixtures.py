"""Mixtures in files: a trainer's configuration, a file that a person wrote, a point of the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mixopt.base.errors import ConfigError
from mixopt.base.files import text_in
from mixopt.exports.formats import Draws, Exporter, amounts_in, exporter, mixture_in
from mixopt.exports.locations import Locations, locations_by_pattern
from mixopt.results.answer import Answer
from mixopt.settings.schema import StudyFile
from mixopt.study.answer import answer_so_far
from mixopt.study.corpus import find_corpus
from mixopt.study.record import read_record
from search.errors import SearchError
from search.mixture import Mixture

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
    lengths = _lengths_here(file) if draws is Draws.DOCUMENTS else {}
    text = text_in(config, "configuration", EXPORTED)
    with _said_of(config):
        return mixture_in(format, text, draws, lengths, locations)


def _lengths_here(file: StudyFile) -> dict[str, float]:
    """Mean tokens of a document, by domain, as the study's text or else its answer has them."""
    corpus = find_corpus(file)
    if corpus is not None:
        return {name: domain.mean_document_tokens for name, domain in corpus.domains.items()}
    return document_lengths(answer_so_far(file, read_record(file, apart_from="inventory")))


def document_lengths(answer: Answer) -> dict[str, float]:
    """Mean tokens of a document, by domain."""
    return {name: domain.mean_document_tokens for name, domain in answer.domains.items()}


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """Mistakes in a file name it."""
    try:
        yield
    except (ConfigError, SearchError) as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None
