"""What an exporter is given, what it says about itself, and how its files are read back.

    token shares ──amounts in what the trainer draws──▶ render ──▶ the trainer's file
    token shares ◀──times mean document length, per domain── read ◀──┘

Trainers differ in what a weight counts: documents of any length, sequences of one length, or passes over a domain.
Shares of sequences are shares of tokens; shares of documents are not, unless all documents are of one length; passes
are not, unless all domains are of one size.
"""

from __future__ import annotations

import csv
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Literal

from mixopt.base.errors import ConfigError
from mixopt.base.plain_yaml import NotPlain
from mixopt.base.shown import shown, shown_name
from mixopt.exports.locations import Locations
from mixopt.results.draws import Draws as Draws
from mixopt.settings.units import parse_number
from search.mixture import Mixture, counts

FAILURES = (ValueError, LookupError, TypeError, AttributeError, SyntaxError, ArithmeticError, csv.Error)
OTHER_FORMAT = "is it in another format? mixopt export --list shows all"

# Names with their weights, in a file's order; a name may stand there twice.
Weights = Iterable[tuple[str, float]]


@dataclass(frozen=True)
class Exportable:
    """A mixture, and what trainers need to know to draw it as it is meant.

    Attributes:
        draws: what the trainer draws by its weights.
        mean_document_tokens: by domain.
        tokens: of the run that the mixture is for, where that is known.
        max_epochs: how often the run may read a domain, for trainers that have to be told.
        own_max_epochs: the same of domains for which it is another number.
        provenance: where the mixture comes from, for formats that have room for it.
        supply: tokens that there are, by domain, where that is known.
        sequence_length: in tokens, of trainers that draw sequences, where that is known.
    """

    mixture: Mixture
    draws: Draws
    mean_document_tokens: Mapping[str, float]
    locations: Locations
    tokens: int | None = None
    max_epochs: float = 1.0
    seed: int = 0
    provenance: Mapping[str, str | int] = field(default_factory=dict)
    own_max_epochs: Mapping[str, float] = field(default_factory=dict)
    supply: Mapping[str, float] = field(default_factory=dict)
    sequence_length: int | None = None

    def most_epochs(self, domain: str) -> float:
        """How often the run may read a domain."""
        return self.own_max_epochs.get(domain, self.max_epochs)

    @property
    def unit_tokens(self) -> Mapping[str, float]:
        """Tokens that a weight of one stands for, by domain; none where a weight is a share of tokens."""
        return {Draws.DOCUMENTS: self.mean_document_tokens, Draws.PASSES: self.supply}.get(self.draws, {})

    @property
    def weights(self) -> dict[str, float]:
        """Of each domain that gets any, in what the trainer draws; they sum to one."""
        drawn = {domain: share for domain, share in self.mixture.as_dict().items() if share > 0}
        if self.draws in (Draws.DOCUMENTS, Draws.PASSES):
            drawn = {domain: share / self._unit(domain) for domain, share in drawn.items()}
        return Mixture.of(drawn).as_dict()

    def _unit(self, domain: str) -> float:
        tokens = self.unit_tokens.get(domain, 0.0)
        if tokens <= 0:
            what = "how many tokens it has" if self.draws is Draws.PASSES else "how long its documents are"
            raise ConfigError(
                f"domain {domain}: {what} is not known, and the weights of this format count {self.draws}",
                hint="count them: mixopt prepare, or say it in the study (domains.NAME.tokens); in Python supply or "
                "mean_document_tokens",
            )
        return tokens

    @property
    def passes(self) -> dict[str, float]:
        """How often the run reads each domain that gets any.

        Where the run's tokens are not known, of the longest run that reads no domain twice.
        """
        shares = {domain: share for domain, share in self.mixture.as_dict().items() if share > 0}
        once = {domain: share / self.supply_of(domain) for domain, share in shares.items()}
        tokens = self.tokens if self.tokens is not None else 1 / max(once.values())
        return {domain: part * tokens for domain, part in once.items()}

    def supply_of(self, domain: str) -> float:
        """Tokens that there are.

        Raises:
            ConfigError: that is not known.
        """
        tokens = self.supply.get(domain, 0.0)
        if tokens <= 0:
            raise ConfigError(
                f"domain {domain}: how many tokens it has is not known, and this format takes parts of domains",
                hint="count them: mixopt prepare, or say it in the study: domains.NAME.tokens; in Python: supply",
            )
        return tokens

    @property
    def tokens_there(self) -> float | None:
        """Of all domains together, where that is known."""
        known = self.supply.keys() >= set(self.mixture.domains)
        return sum(self.supply[name] for name in self.mixture.domains) if known else None

    @property
    def documents(self) -> int | None:
        """How many the run draws, where it draws documents; of a run that nobody told of, as many as there are."""
        tokens = self.tokens or self.tokens_there
        if tokens is None or self.draws is not Draws.DOCUMENTS:
            return None
        return round(tokens / sum(self.mean_document_tokens[name] * part for name, part in self.weights.items()))

    @property
    def weighted_places(self) -> dict[str, float]:
        """The same by place; a pass over a domain is one over each of its places."""
        if self.draws is Draws.PASSES:
            return {place: weight for domain, weight in self.weights.items() for place in self.locations.all(domain)}
        return {
            place: part
            for domain, weight in self.weights.items()
            for place, part in self.locations.split(domain, weight).items()
        }


@dataclass(frozen=True)
class Grid:
    """The whole numbers in which a trainer counts, and what they give each domain.

    Attributes:
        unit: what is counted; steps are a trainer's own, of a block that it repeats.
        counts: of each domain that was asked for; 0 where the grid rounds it to nothing.
        tokens: that each domain gives, in any unit.
    """

    unit: Literal["tokens", "sequences", "documents", "steps"]
    counts: Mapping[str, int]
    tokens: Mapping[str, float]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def shares(self) -> dict[str, float]:
        """Of tokens, realised; they sum to one."""
        total = math.fsum(self.tokens.values())
        return {domain: tokens / total if total else 0.0 for domain, tokens in self.tokens.items()}


class Carries(StrEnum):
    """Where an export's receipt is."""

    COMMENT = "comment"
    KEY = "key"
    BESIDE = "beside"


class Exporter(ABC):
    """One trainer's format.

    Attributes:
        name: as in `mixopt export --format`.
        describes: the trainer, and where the text goes.
        draws: what weights can count there; the first unless somebody says otherwise.
        suffix: of a file that holds it.
        by_place: a file is read back by the places that it names, not by the domains.
        until_exhausted: it draws until every domain is read through, and its file cannot say where to end.
        at_random: it draws at random, so that shares are met in the long run alone.
        whole: the file has whole numbers of documents, and is read back within one of them.
        same_part: in every epoch it reads the same part of a domain of which it does not read all.
        receipt: where the receipt of a file is.
    """

    name: ClassVar[str]
    describes: ClassVar[str]
    draws: ClassVar[tuple[Draws, ...]]
    suffix: ClassVar[str]
    by_place: ClassVar[bool] = True
    until_exhausted: ClassVar[bool] = False
    at_random: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    same_part: ClassVar[bool] = False
    receipt: ClassVar[Carries] = Carries.COMMENT

    @abstractmethod
    def render(self, exportable: Exportable) -> str:
        """The configuration, as text that ends in a line break.

        Raises:
            ConfigError: the format cannot say this mixture.
        """

    @abstractmethod
    def read(self, text: str) -> Weights:
        """The weights in such a text, of places if `by_place`, else of domains; one that stands twice has both.

        Raises:
            ConfigError: it is not of this format.
        """

    def grid(self, exportable: Exportable) -> Grid | None:
        """What the trainer counts in: unless it says otherwise, whole units of the run, the largest remainders first.

        None where that is not known, because nobody told the tokens of the run.
        """
        weights = exportable.weights
        if exportable.draws is Draws.DOCUMENTS:
            if exportable.documents is None or exportable.tokens is None:
                return None
            whole = counts(Mixture.of(weights), exportable.documents)
            return Grid(
                "documents", whole, {name: n * exportable.mean_document_tokens[name] for name, n in whole.items()}
            )
        if exportable.tokens is None:
            return None
        shares = {name: share for name, share in exportable.mixture.as_dict().items() if share > 0}
        # Of a share of tokens, too, a trainer reads whole sequences alone.
        length = None if exportable.draws is Draws.PASSES else exportable.sequence_length
        whole = counts(Mixture.of(shares), exportable.tokens // (length or 1))
        return Grid("sequences" if length else "tokens", whole, {name: n * (length or 1) for name, n in whole.items()})


def in_pairs(places: Sequence[Any], weights: Sequence[Any]) -> Weights:
    """Places with their weights, of formats that keep the two in lists of their own.

    Raises:
        ConfigError: one list is longer.
    """
    if len(places) != len(weights):
        raise ConfigError(f"{len(places)} places have {len(weights)} weights", hint="give each place its weight")
    return list(zip(places, weights, strict=True))


def mixture_in(
    exporter: Exporter,
    text: str,
    draws: Draws,
    unit_tokens: Mapping[str, float],
    locations: Locations,
) -> Mixture:
    """The mixture that a trainer's file means: shares of tokens, over the domains that have places.

    Args:
        unit_tokens: by domain, where weights count documents: the mean of one; where they count passes: its supply.

    Raises:
        ConfigError: the text is not of this format, or names what no domain is.
        SearchError: all weights are 0.
    """
    return Mixture.of(amounts_in(exporter, text, draws, unit_tokens, locations))


def amounts_in(
    exporter: Exporter,
    text: str,
    draws: Draws,
    unit_tokens: Mapping[str, float],
    locations: Locations,
) -> dict[str, float]:
    """The same as it stands there: in proportion to tokens, of whatever sum.

    Raises:
        ConfigError: the text is not of this format, or names what no domain is.
    """
    amounts = dict.fromkeys(locations.of, 0.0)
    for name, weight in weights_in(exporter, text):
        domain = locations.domain(name) if exporter.by_place else name
        if domain not in amounts:
            raise ConfigError(f"no domain {shown_name(name)}", hint=f"the study has {', '.join(amounts)}")
        if draws is Draws.PASSES:
            supply = unit_tokens[domain]
            amounts[domain] += weight * (locations.split(domain, supply)[name] if exporter.by_place else supply)
        else:
            amounts[domain] += weight * (unit_tokens[domain] if draws is Draws.DOCUMENTS else 1.0)
    return amounts


def weights_in(exporter: Exporter, text: str) -> list[tuple[str, float]]:
    """As they stand there.

    Raises:
        ConfigError: the text is not of this format.
    """
    try:
        weights = [(str(name), weight) for name, weight in exporter.read(text)]
    except NotPlain as error:
        place = f", line {error.line}" if error.line else ""
        raise ConfigError(f"this is no {exporter.name} file{place}: {error.message}", hint=OTHER_FORMAT) from error
    except ConfigError:
        raise
    # A text of another format fails in whatever way its reader happens to; too deep a text has no room to be parsed.
    except (*FAILURES, RecursionError, MemoryError) as error:
        raise ConfigError(f"this is no {exporter.name} file", hint=OTHER_FORMAT) from error
    if not weights:
        raise ConfigError(f"this {exporter.name} file has no weights", hint=OTHER_FORMAT)
    return [(name, _number(name, weight)) for name, weight in weights]


def _number(name: str, weight: Any) -> float:
    try:
        # YAML reads 1e-3, which has no point, as text.
        number = parse_number(weight)
        if number >= 0:
            return number
    except ValueError:
        pass
    raise ConfigError(f"{shown_name(name)}: {shown(weight)} is no weight", hint="weights are numbers, 0 or above")
