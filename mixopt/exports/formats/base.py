"""What an exporter is given, what it says about itself, and how its files are read back.

    token shares ──amounts in what the trainer draws──▶ render ──▶ the trainer's file
    token shares ◀──times mean document length, per domain── read ◀──┘

Trainers differ in what a weight counts: documents of any length, or sequences of one length. Shares of sequences are
shares of tokens; shares of documents are not, unless all documents are of one length.
"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mixopt.base.errors import ConfigError
from mixopt.base.plain_yaml import NotPlain
from mixopt.base.shown import shown, shown_name
from mixopt.exports.locations import Locations
from mixopt.results.export import Draws as Draws
from mixopt.settings.units import parse_number
from search.mixture import Mixture

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
        tokens_there: of all domains together, where that is known.
        max_epochs: how often the run may read a domain, for trainers that have to be told.
        own_max_epochs: the same of domains for which it is another number.
        provenance: where the mixture comes from, for formats that have room for it.
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
    tokens_there: int | None = None

    def most_epochs(self, domain: str) -> float:
        """How often the run may read a domain."""
        return self.own_max_epochs.get(domain, self.max_epochs)

    @property
    def weights(self) -> dict[str, float]:
        """Of each domain that gets any, in what the trainer draws; they sum to one."""
        drawn = {domain: share for domain, share in self.mixture.as_dict().items() if share > 0}
        if self.draws is Draws.DOCUMENTS:
            drawn = {domain: share / self.mean_document_tokens[domain] for domain, share in drawn.items()}
        return Mixture.of(drawn).as_dict()

    @property
    def documents(self) -> int | None:
        """How many the run draws, where it draws documents; of a run that nobody told of, as many as there are."""
        tokens = self.tokens or self.tokens_there
        if tokens is None or self.draws is not Draws.DOCUMENTS:
            return None
        return round(tokens / sum(self.mean_document_tokens[name] * part for name, part in self.weights.items()))

    @property
    def weighted_places(self) -> dict[str, float]:
        """The same by place."""
        return {
            place: part
            for domain, weight in self.weights.items()
            for place, part in self.locations.split(domain, weight).items()
        }


class Exporter(ABC):
    """One trainer's format.

    Attributes:
        name: as in `mixopt export --format`.
        describes: the trainer, and where the text goes.
        draws: what weights can count there; the first unless somebody says otherwise.
        suffix: of a file that holds it.
        by_place: a file is read back by the places that it names, not by the domains.
        until_exhausted: it draws until every domain is read through, and its file cannot say where to end.
    """

    name: ClassVar[str]
    describes: ClassVar[str]
    draws: ClassVar[tuple[Draws, ...]]
    suffix: ClassVar[str]
    by_place: ClassVar[bool] = True
    until_exhausted: ClassVar[bool] = False

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
    mean_document_tokens: Mapping[str, float],
    locations: Locations,
) -> Mixture:
    """The mixture that a trainer's file means: shares of tokens, over the domains that have places.

    Raises:
        ConfigError: the text is not of this format, or names what no domain is.
        SearchError: all weights are 0.
    """
    return Mixture.of(amounts_in(exporter, text, draws, mean_document_tokens, locations))


def amounts_in(
    exporter: Exporter,
    text: str,
    draws: Draws,
    mean_document_tokens: Mapping[str, float],
    locations: Locations,
) -> dict[str, float]:
    """The same as it stands there: in proportion to tokens, of whatever sum.

    Raises:
        ConfigError: the text is not of this format, or names what no domain is.
    """
    amounts = dict.fromkeys(locations.of, 0.0)
    for name, weight in _weights(exporter, text):
        domain = locations.domain(name) if exporter.by_place else name
        if domain not in amounts:
            raise ConfigError(f"no domain {shown_name(name)}", hint=f"the study has {', '.join(amounts)}")
        amounts[domain] += weight * (mean_document_tokens[domain] if draws is Draws.DOCUMENTS else 1.0)
    return amounts


def _weights(exporter: Exporter, text: str) -> list[tuple[str, float]]:
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
