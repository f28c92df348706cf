"""From a study's answer to a trainer's file, and back; and whether the domains last for the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from mixopt.answer import answer_so_far
from mixopt.config import StudyFile
from mixopt.errors import ConfigError
from mixopt.exporters import EXPORTERS, Draws, Exportable, Exporter, exporter, mixture_in
from mixopt.exporters.places import Places, places_by_pattern, places_in
from mixopt.files import text_in
from mixopt.recording import recorded
from mixopt.tables import plain_table
from mixopt.units import parse_count, show_count
from search.errors import SearchError
from search.mixture import Mixture, counts

# An answer that takes all that it may take is not refused for its last digit.
ROUNDING = 1e-6
EXPORTED = "give one that mixopt export, or you, wrote"


def places(domains: Iterable[str], location: str | None, locations: Path | None) -> Places:
    """Where the trainer finds the domains: as a file says, or by one pattern for all; by default their names.

    Raises:
        ConfigError: both are given, or one is wrong.
    """
    if location is not None and locations is not None:
        raise ConfigError("--location and --locations both say where the domains are", hint="give one of them")
    if locations is not None:
        return places_in(locations, domains)
    return places_by_pattern("{domain}" if location is None else location, domains)


def drawn(exporter: Exporter, chosen: str | None) -> Draws:
    """What the weights count.

    Raises:
        ConfigError: the trainer does not draw that.
    """
    if chosen is None:
        return exporter.draws[0]
    if chosen not in exporter.draws:
        raise ConfigError(
            f"--draws {chosen}: {exporter.name} does not draw {chosen}, but {' or '.join(exporter.draws)}",
            hint="choose one of these, or leave it out",
        )
    return Draws(chosen)


def budget(tokens: int | str | None) -> int | None:
    """
    Raises:
        ConfigError: that is no number of tokens.
    """
    try:
        return None if tokens is None else parse_count(tokens)
    except ValueError as error:
        raise ConfigError(f"--tokens: {error}") from None


def mixture_of(document: Mapping[str, Any], path: Path | None) -> Mixture:
    """The mixture in a file that mixopt wrote, or else the answer."""
    if path is None:
        return Mixture.of(document["mixture"])
    by_name = places_by_pattern("{domain}", document["domains"])
    plain = exporter(path.suffix[1:] if path.suffix in (".json", ".csv") else "yaml")
    return _mixture_in_file(plain, path, "file of a mixture", Draws.TOKENS, {}, by_name)


def imported(exporter: Exporter, config: Path, file: StudyFile, draws: Draws, places: Places) -> Mixture:
    """
    Raises:
        ConfigError: it is not of that format, or names what no domain is; or documents are drawn, and the study,
            which knows their mean length, has not run yet.
    """
    lengths = mean_document_tokens(answer_so_far(file, recorded(file))) if draws is Draws.DOCUMENTS else {}
    return _mixture_in_file(exporter, config, "configuration", draws, lengths, places)


def _mixture_in_file(
    exporter: Exporter, path: Path, what: str, draws: Draws, lengths: Mapping[str, float], places: Places
) -> Mixture:
    text = text_in(path, what, EXPORTED)
    try:
        return mixture_in(exporter, text, draws, lengths, places)
    except (ConfigError, SearchError) as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None


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
            budget(tokens) or file.target.tokens,
            file.target.max_epochs if max_epochs is None else max_epochs,
        )

    def text(self, document: Mapping[str, Any], mixture: Mixture) -> str:
        """The trainer's file, of the answer or of another mixture of the study.

        Args:
            document: that of mixopt.answer.

        Raises:
            ConfigError: a domain would be repeated too often, or the format cannot say this mixture.
        """
        self._check_epochs(document, mixture)
        # What was found out about the answer says nothing about another mixture.
        answered = mixture == Mixture.of(document["mixture"])
        verdict = document["verdict"] if answered else "another mixture than the answer of this study"
        return self.exporter.render(
            Exportable(
                mixture,
                self.draws,
                mean_document_tokens(document),
                self.places,
                self.tokens,
                self.max_epochs,
                self.file.seed,
                {"verdict": verdict, **document["provenance"]},
            )
        )

    def epochs(self, document: Mapping[str, Any], mixture: Mixture) -> Table | None:
        """What each domain gives in the run, where its tokens are known."""
        if self.tokens is None:
            return None
        table = plain_table("domain", ">weight", ">tokens", ">there are", ">epochs")
        for name, wanted in counts(mixture, self.tokens).items():
            supply = document["domains"][name]["tokens"]
            table.add_row(
                name, f"{mixture[name]:.2%}", show_count(wanted), show_count(supply), f"{wanted / supply:.2f}"
            )
        return table

    def _check_epochs(self, document: Mapping[str, Any], mixture: Mixture) -> None:
        if self.tokens is None:
            return
        for name, wanted in counts(mixture, self.tokens).items():
            supply = document["domains"][name]["tokens"]
            repeated = wanted / supply
            if repeated > self.max_epochs * (1 + ROUNDING):
                raise ConfigError(
                    f"domain {name} would be read {repeated:.3g} times in {show_count(self.tokens)} tokens: it has "
                    f"{show_count(supply)}, the mixture takes {mixture[name]:.2%}, and the most is {self.max_epochs:g}",
                    hint="lower --tokens, raise --max-epochs, or give target.tokens in the study, which keeps the "
                    "answer inside the supply",
                )


def mean_document_tokens(document: Mapping[str, Any]) -> dict[str, float]:
    return {name: domain["mean_document_tokens"] for name, domain in document["domains"].items()}


def formats() -> list[dict[str, Any]]:
    """What `mixopt export --list` says, for programs."""
    return [
        {
            "format": each.name,
            "weights_count": list(each.draws),
            "read_back_by": "places" if each.by_place else "domains",
            "suffix": each.suffix,
            "describes": each.describes,
        }
        for each in EXPORTERS.values()
    ]


def formats_table() -> Table:
    table = plain_table("format", "weights count", "for")
    for each in EXPORTERS.values():
        table.add_row(each.name, " or ".join(each.draws), each.describes)
    return table
