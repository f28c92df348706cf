"""From a study's answer to a trainer's file, and back; and whether the domains last for the run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mixopt.base.errors import ConfigError
from mixopt.base.version import VERSION
from mixopt.exports.formats import Draws, Exportable, Exporter, exporter
from mixopt.exports.locations import Locations, locations_by_pattern, read_locations
from mixopt.exports.mixtures import Known
from mixopt.results.export import Supply
from mixopt.settings.schema import StudyFile
from mixopt.settings.units import parse_count, show_count
from search.mixture import ROUNDING, Mixture, counts

# Formats that take lines after a #.
WITH_COMMENTS = (".yaml", ".py")
WEIGHTS_COUNT = {
    Draws.TOKENS: "tokens",
    Draws.SEQUENCES: "sequences of one length, and so tokens",
    Draws.DOCUMENTS: "documents: shares of tokens, divided by the mean length of a domain's documents",
}


def resolve_locations(domains: Iterable[str], location: str | None, locations: Path | None) -> Locations:
    """Where the trainer finds the domains: as a file says, or by one pattern for all; by default their names.

    Raises:
        ConfigError: both are given, or one is wrong.
    """
    if location is not None and locations is not None:
        raise ConfigError("location and locations both say where the domains are", hint="give one of them")
    if locations is not None:
        return read_locations(locations, domains)
    return locations_by_pattern("{domain}" if location is None else location, domains)


def choose_draws(format: Exporter, chosen: str | None) -> Draws:
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


def _above_0(max_epochs: float) -> float:
    if max_epochs <= 0:
        raise ConfigError(f"max-epochs {max_epochs:g} leaves nothing to read", hint="give a number above 0")
    return max_epochs


@dataclass(frozen=True)
class ExportRequest:
    """An export of a study as somebody asks for it, checked before anything is read from the store.

    Attributes:
        tokens: of the run that the mixture is for, where that is known.
        max_epochs: how often the run may read any domain; None: as the study says.
        allow_repeats: whether a domain may be read more often than it may.
    """

    file: StudyFile
    exporter: Exporter
    draws: Draws
    locations: Locations
    tokens: int | None
    max_epochs: float | None
    allow_repeats: bool = False

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
        allow_repeats: bool = False,
    ) -> ExportRequest:
        """From the options of `mixopt export`.

        Raises:
            ConfigError: one is wrong.
        """
        chosen = exporter(format)
        return cls(
            file,
            chosen,
            choose_draws(chosen, draws),
            resolve_locations(file.domains, location, locations),
            run_tokens(tokens) or file.target.tokens,
            None if max_epochs is None else _above_0(max_epochs),
            allow_repeats,
        )

    def most_epochs(self, domain: str) -> float:
        """How often the run may read a domain: as an option says, or the study for it or for all; 4 where none does."""
        if self.max_epochs is not None:
            return self.max_epochs
        if (own := self.file.domains[domain].max_epochs) is not None:
            return own
        return self.file.target.max_epochs

    def supplies(self, known: Known, mixture: Mixture) -> list[Supply]:
        """What each domain gives in the run; nothing where its tokens are not known."""
        if self.tokens is None or not known.tokens.keys() >= set(mixture.domains):
            return []
        return [
            Supply(
                domain=name,
                share=mixture[name],
                taken=taken,
                there=known.tokens[name],
                max_epochs=self.most_epochs(name),
            )
            for name, taken in counts(mixture, self.tokens).items()
        ]

    def cautions(self, known: Known, mixture: Mixture) -> list[str]:
        """A sentence for each domain that is read more often than it may, and for what else there is to know."""
        run = show_count(self.tokens or 0)
        found = [
            f"domain {each.domain} is read {each.epochs:.3g} times in {run} tokens, and "
            f"{self.most_epochs(each.domain):g} times is the most: --allow-repeats lets it"
            for each in self.supplies(known, mixture)
            if self._is_beyond(each)
        ]
        if self.draws is Draws.DOCUMENTS:
            found += [
                f"domain {name} is left out: {run} tokens hold less than one document of its share, {mixture[name]:.2g}"
                for name in self._never_drawn(known, mixture)
            ]
        if self.exporter.until_exhausted and (passes := self._drawn_in_a_pass(known, mixture)):
            found.append(
                f"{self.exporter.name} reads until every domain is read through, which is about {show_count(passes)} "
                f"tokens by these weights{f', and the run {run}' if self.tokens else ''}: end it there, by max_steps"
            )
        return found

    def _drawn_in_a_pass(self, known: Known, mixture: Mixture) -> float:
        """Tokens until the last domain is read through; 0 where that is not known."""
        if not known.tokens.keys() >= set(mixture.domains):
            return 0.0
        left_out = self._never_drawn(known, mixture)
        shares = {name: share for name, share in mixture.as_dict().items() if share > 0 and name not in left_out}
        return max((known.tokens[name] / share for name, share in shares.items()), default=0.0)

    def _never_drawn(self, known: Known, mixture: Mixture) -> list[str]:
        """The domains of which the run draws less than one document.

        A trainer that reads until every domain is read through would draw the others for ever.
        """
        if self.tokens is None or self.draws is not Draws.DOCUMENTS or not known.document_tokens:
            return []
        lengths = known.document_tokens
        return [name for name, share in mixture.as_dict().items() if 0 < share * self.tokens < lengths[name]]

    def text(self, known: Known, mixture: Mixture) -> str:
        """The trainer's file, of the answer or of another mixture of the study.

        Raises:
            ConfigError: a domain would be repeated too often, or the format cannot say this mixture; or documents are
                drawn, and how long they are is not known before the text is prepared.
        """
        if self.draws is Draws.DOCUMENTS and not known.document_tokens:
            raise ConfigError(
                f"{self.exporter.name} draws documents, and how long they are is not known yet",
                hint=f"count them: mixopt prepare {self.file.file}",
            )
        supplies = self.supplies(known, mixture)
        if supplies:
            # By how much it is beyond what it may be.
            each = max(supplies, key=lambda supply: supply.epochs / self.most_epochs(supply.domain))
            if self._is_beyond(each) and not self.allow_repeats:
                raise ConfigError(
                    f"domain {each.domain} would be read {each.epochs:.3g} times in {show_count(self.tokens or 0)} "
                    f"tokens: it has {show_count(each.there)}, the mixture takes {each.share:.2%}, and the most is "
                    f"{self.most_epochs(each.domain):g}",
                    hint="lower tokens, raise max-epochs or give --allow-repeats; target.tokens keeps the study's "
                    f"answer inside its supply, domains.{each.domain}.tokens says how much there is beside a sample",
                )
        # What was found out about the answer says nothing about another mixture.
        answer = known.answer
        verdict = "another mixture than the answer of this study"
        provenance: dict[str, str | int] = {"mixopt": VERSION, "study": self.file.study, "seed": self.file.seed}
        if answer is None:
            verdict = "a mixture that somebody gave; this study has no answer yet"
        else:
            provenance = answer.provenance.model_dump(exclude_none=True)
            if mixture.same_as(Mixture.of(answer.mixture)):
                verdict = answer.verdict
        repeats, left_out = self._repeats(supplies), self._never_drawn(known, mixture)
        if len(left_out) == sum(share > 0 for share in mixture.weights):
            raise ConfigError(
                f"{show_count(self.tokens or 0)} tokens hold less than one document of each domain's share",
                hint="give the tokens of the run that the mixture is for",
            )
        drawn = Mixture.of({name: 0.0 if name in left_out else share for name, share in mixture.as_dict().items()})
        text = self.exporter.render(
            Exportable(
                drawn,
                self.draws,
                known.document_tokens,
                self.locations,
                self.tokens,
                max(repeats.values()),
                self.file.seed,
                {"verdict": verdict, **provenance},
                repeats,
                sum(known.tokens.values()) or None,
            )
        )
        if self.exporter.suffix not in WITH_COMMENTS or self.exporter.name == "yaml":  # which says it in its fields
            return text
        head = [f"By mixopt, study {self.file.study}: {verdict}.", f"Weights count {WEIGHTS_COUNT[self.draws]}."]
        if answer is not None and (pools := answer.inventory) is not None:
            there = f"{show_count(pools.tokens)} tokens in {len(pools.domains)} domains"
            head.append(f"Epochs are counted by inventory {pools.fingerprint}: {there}.")
        return "".join(f"# {line}\n" for line in head) + text

    def _repeats(self, supplies: Sequence[Supply]) -> dict[str, float]:
        """How often the trainer is told that it may read each domain: often enough for this mixture."""
        most = {name: self.most_epochs(name) for name in self.file.domains}
        needed = {each.domain: float(math.ceil(each.epochs)) for each in supplies if each.epochs > most[each.domain]}
        return most | needed

    def _is_beyond(self, supply: Supply) -> bool:
        """Whether a domain is read more often than it may be."""
        return supply.epochs > self.most_epochs(supply.domain) * (1 + ROUNDING)
