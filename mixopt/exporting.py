"""From a study's answer to a trainer's file, and back; and whether the domains last for the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixopt.answer import answer_so_far
from mixopt.assemble import find_corpus
from mixopt.config import StudyFile
from mixopt.errors import ConfigError
from mixopt.exporters import Draws, Exportable, Exporter, amounts_in, exporter, mixture_in
from mixopt.exporters.places import Places, places_by_pattern, places_in
from mixopt.files import text_in
from mixopt.recording import recorded
from mixopt.units import parse_count, show_count
from search.errors import SearchError
from search.mixture import ROUNDING, Mixture, counts

EXPORTED = "give one that mixopt export, or you, wrote"
# Formats that take lines after a #.
WITH_COMMENTS = (".yaml", ".py")
WEIGHTS_COUNT = {
    Draws.TOKENS: "tokens",
    Draws.SEQUENCES: "sequences of one length, and so tokens",
    Draws.DOCUMENTS: "documents: shares of tokens, divided by the mean length of a domain's documents",
}
# Shares in a file are rounded, and in percent perhaps; beyond that a domain was forgotten.
OFF = 0.01


def places(domains: Iterable[str], location: str | None, locations: Path | None) -> Places:
    """Where the trainer finds the domains: as a file says, or by one pattern for all; by default their names.

    Raises:
        ConfigError: both are given, or one is wrong.
    """
    if location is not None and locations is not None:
        raise ConfigError("location and locations both say where the domains are", hint="give one of them")
    if locations is not None:
        return places_in(locations, domains)
    return places_by_pattern("{domain}" if location is None else location, domains)


def drawn(format: Exporter, chosen: str | None) -> Draws:
    """What the weights count.

    Raises:
        ConfigError: the trainer does not draw that.
    """
    if chosen is None:
        return format.draws[0]
    if chosen not in format.draws:
        raise ConfigError(
            f"{format.name} does not draw {chosen}, but {' or '.join(format.draws)}",
            hint="choose one of these for draws, or leave it out",
        )
    return Draws(chosen)


def run_tokens(tokens: int | str | None) -> int | None:
    """Of the run that the mixture is for.

    Raises:
        ConfigError: that is no number of tokens.
    """
    try:
        return None if tokens is None else parse_count(tokens)
    except ValueError as error:
        raise ConfigError(f"tokens: {error}") from None


def mixture_in_file(path: Path, domains: Iterable[str]) -> Mixture:
    """The mixture in a YAML, JSON or CSV file: shares of tokens, as mixopt writes them, or `domain: weight`.

    Raises:
        ConfigError: there is none in it, it names what no domain is, or its shares do not sum to 1 or 100.
    """
    format = exporter(path.suffix[1:] if path.suffix in (".json", ".csv") else "yaml")
    text = text_in(path, "file of a mixture", EXPORTED)
    with _said_of(path):
        amounts = amounts_in(format, text, Draws.TOKENS, {}, places_by_pattern("{domain}", domains))
        total = sum(amounts.values())
        if min(abs(total / whole - 1) for whole in (1, 100)) > OFF:
            raise ConfigError(f"its shares sum to {total:.4g}, not to 1", hint="give each domain its share")
        return Mixture.of(amounts)


def on_front(document: Mapping[str, Any], number: int) -> Mixture:
    """A mixture of the Pareto front, counted from 1 as `mixopt best` shows it.

    Raises:
        ConfigError: there is no front, or it is shorter.
    """
    front = document["recommendation"]["front"]
    if not front:
        raise ConfigError(
            "the study's answer has no Pareto front", hint="set objective.kind: pareto, or leave out front"
        )
    if number > len(front):
        raise ConfigError(f"front {number}: the front has {len(front)} mixtures", hint="mixopt best shows them")
    return Mixture.of(front[number - 1]["mixture"])


def imported(format: Exporter, config: Path, file: StudyFile, draws: Draws, places: Places) -> Mixture:
    """What a trainer's file means: shares of tokens, over the domains of a study.

    Raises:
        ConfigError: it is not of that format, or names what no domain is; or documents are drawn, and the study,
            which knows their mean length, was neither prepared nor run here.
        SearchError: the same, where too few trials have completed for an answer.
    """
    lengths = _document_lengths(file) if draws is Draws.DOCUMENTS else {}
    text = text_in(config, "configuration", EXPORTED)
    with _said_of(config):
        return mixture_in(format, text, draws, lengths, places)


def _document_lengths(file: StudyFile) -> dict[str, float]:
    """Mean tokens of a document, by domain."""
    corpus = find_corpus(file)
    if corpus is not None:
        return {name: domain.mean_document_tokens for name, domain in corpus.domains.items()}
    return _lengths_in(answer_so_far(file, recorded(file)))


def _lengths_in(document: Mapping[str, Any]) -> dict[str, float]:
    return {name: domain["mean_document_tokens"] for name, domain in document["domains"].items()}


def _above_0(max_epochs: float) -> float:
    if max_epochs <= 0:
        raise ConfigError(f"max-epochs {max_epochs:g} leaves nothing to read", hint="give a number above 0")
    return max_epochs


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """Mistakes in a file name it."""
    try:
        yield
    except (ConfigError, SearchError) as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None


@dataclass(frozen=True)
class Supply:
    """What a domain gives in a run, and what there is of it, in tokens."""

    domain: str
    share: float
    taken: int
    there: int

    @property
    def epochs(self) -> float:
        return self.taken / self.there


@dataclass(frozen=True)
class Order:
    """An export of a study as somebody asks for it, checked before anything is read from the store.

    Attributes:
        tokens: of the run that the mixture is for, where that is known.
        max_epochs: how often the run may read a domain.
    """

    file: StudyFile
    exporter: Exporter
    draws: Draws
    places: Places
    tokens: int | None
    max_epochs: float

    @classmethod
    def of(
        cls,
        file: StudyFile,
        format: str,
        location: str | None,
        locations: Path | None,
        draws: str | None,
        tokens: int | str | None,
        max_epochs: float | None,
    ) -> Order:
        """From the options of `mixopt export`.

        Raises:
            ConfigError: one is wrong.
        """
        chosen = exporter(format)
        return cls(
            file,
            chosen,
            drawn(chosen, draws),
            places(file.domains, location, locations),
            run_tokens(tokens) or file.target.tokens,
            _above_0(file.target.max_epochs if max_epochs is None else max_epochs),
        )

    def supplies(self, document: Mapping[str, Any], mixture: Mixture) -> list[Supply]:
        """What each domain gives in the run; nothing where its tokens are not known.

        Args:
            document: that of mixopt.answer.
        """
        if self.tokens is None:
            return []
        return [
            Supply(name, mixture[name], taken, document["domains"][name]["tokens"])
            for name, taken in counts(mixture, self.tokens).items()
        ]

    def text(self, document: Mapping[str, Any], mixture: Mixture) -> str:
        """The trainer's file, of the answer or of another mixture of the study.

        Args:
            document: that of mixopt.answer.

        Raises:
            ConfigError: a domain would be repeated too often, or the format cannot say this mixture.
        """
        supplies = self.supplies(document, mixture)
        if supplies:
            each = max(supplies, key=lambda supply: supply.epochs)
            if each.epochs > self.max_epochs * (1 + ROUNDING):
                raise ConfigError(
                    f"domain {each.domain} would be read {each.epochs:.3g} times in {show_count(self.tokens or 0)} "
                    f"tokens: it has {show_count(each.there)}, the mixture takes {each.share:.2%}, and the most is "
                    f"{self.max_epochs:g}",
                    hint="lower tokens, raise max-epochs, or make these the study's target.tokens: then its answer "
                    "keeps inside the supply",
                )
        # What was found out about the answer says nothing about another mixture.
        answered = mixture.same_as(Mixture.of(document["mixture"]))
        verdict = document["verdict"] if answered else "another mixture than the answer of this study"
        text = self.exporter.render(
            Exportable(
                mixture,
                self.draws,
                _lengths_in(document),
                self.places,
                self.tokens,
                self.max_epochs,
                self.file.seed,
                {"verdict": verdict, **document["provenance"]},
            )
        )
        if self.exporter.suffix not in WITH_COMMENTS or self.exporter.name == "yaml":  # which says it in its fields
            return text
        return f"# By mixopt, study {self.file.study}: {verdict}.\n# Weights count {WEIGHTS_COUNT[self.draws]}.\n{text}"
