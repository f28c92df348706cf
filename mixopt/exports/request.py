"""From a study's answer to a trainer's file, and back; and whether the domains last for the run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mixopt.base.errors import ConfigError
from mixopt.base.version import VERSION
from mixopt.exports.formats import Draws, Exportable, Exporter, exporter
from mixopt.exports.locations import Locations, locations_by_pattern, read_locations
from mixopt.exports.mixtures import Known
from mixopt.exports.receipt import Export, Source, exported, without_nothing
from mixopt.exports.repeats import is_beyond, most_of, require_few_repeats, shown_times, supplies_in, told_repeats
from mixopt.results.export import Supply
from mixopt.settings.schema import StudyFile
from mixopt.settings.units import parse_count, show_count
from search.mixture import Mixture

TOO_OFTEN = (
    "lower --tokens, raise --max-epochs or give --allow-repeats; target.tokens keeps the study's answer inside its "
    "supply, domains.{domain}.tokens says how much there is beside a sample"
)


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
        leave_out: whether domains are left out that the trainer's grid rounds to nothing.
        sequence_length: in tokens, of the sequences that the trainer draws.
    """

    file: StudyFile
    exporter: Exporter
    draws: Draws
    locations: Locations
    tokens: int | None
    max_epochs: float | None
    allow_repeats: bool = False
    leave_out: bool = False
    sequence_length: int | None = None

    @classmethod
    def of(
        cls,
        file: StudyFile,
        format: str,
        *,
        location: str | None = None,
        locations: Path | None = None,
        draws: str | None = None,
        tokens: int | str | None = None,
        max_epochs: float | None = None,
        allow_repeats: bool = False,
        leave_out: bool = False,
        sequence_length: int | None = None,
    ) -> ExportRequest:
        """From the options of `mixopt export`.

        Raises:
            ConfigError: one is wrong.
        """
        chosen = exporter(format)
        if sequence_length is not None and sequence_length < 1:
            raise ConfigError(f"sequence-length {sequence_length} is none", hint="give it in tokens, such as 4096")
        return cls(
            file,
            chosen,
            choose_draws(chosen, draws),
            resolve_locations(file.domains, location, locations),
            run_tokens(tokens) or file.target.tokens,
            None if max_epochs is None else _above_0(max_epochs),
            allow_repeats,
            leave_out,
            sequence_length,
        )

    @property
    def _most_epochs(self) -> dict[str, float]:
        """How often the run may read each domain: as an option says, or the study for it or for all."""
        if self.max_epochs is not None:
            return dict.fromkeys(self.file.domains, self.max_epochs)
        for_all = self.file.target.max_epochs
        return {
            name: for_all if each.max_epochs is None else each.max_epochs for name, each in self.file.domains.items()
        }

    def supplies(self, known: Known, mixture: Mixture) -> list[Supply]:
        """What each domain gives in the run; nothing where its tokens are not known."""
        return supplies_in(self.tokens, mixture, known.tokens, self._most_epochs)

    def cautions(self, known: Known, mixture: Mixture) -> list[str]:
        """A sentence for each domain that is read more often than it may, and for what else there is to know."""
        run = show_count(self.tokens or 0)
        found = [
            f"domain {each.domain} is read {shown_times(each)} times in {run} tokens, and "
            f"{most_of(each):g} times is the most: --allow-repeats lets it"
            for each in self.supplies(known, mixture)
            if is_beyond(each)
        ]
        shares = self._drawn(known, mixture).mixture.as_dict()
        found += [
            f"domain {name} is left out: {run} tokens hold none of its share, {share:.2g}"
            for name, share in mixture.as_dict().items()
            if share > 0 == shares[name]
        ]
        if (
            self.exporter.same_part
            and self.tokens
            and (epochs := max(self._exportable(known, mixture).passes.values())) > 1
        ):
            found.append(
                f"{self.exporter.name} reads the same part of each domain in each of {math.ceil(epochs)} epochs, and "
                "never the rest of it"
            )
        if self.exporter.until_exhausted and (passes := self._drawn_in_a_pass(known, mixture)):
            found.append(
                f"{self.exporter.name} reads until every domain is read through, which is about {show_count(passes)} "
                f"tokens by these weights{f', and the run {run}' if self.tokens else ''}: end it there, by max_steps"
            )
        answer = known.answer
        if answer is not None and not answer.ended and mixture.same_as(Mixture.of(answer.mixture)):
            unsure = "" if answer.confirmed else ", unconfirmed"
            found.append(f"study {self.file.study} has not ended: this is its answer so far{unsure}")
        return found

    def _drawn_in_a_pass(self, known: Known, mixture: Mixture) -> float:
        """Tokens until the last domain is read through; 0 where that is not known."""
        if not known.tokens.keys() >= set(mixture.domains):
            return 0.0
        # Of what is left out, a trainer that reads until every domain is read through knows nothing.
        shares = {name: share for name, share in self._drawn(known, mixture).mixture.as_dict().items() if share > 0}
        return max((known.tokens[name] / share for name, share in shares.items()), default=0.0)

    def _drawn(self, known: Known, mixture: Mixture) -> Exportable:
        """What is exported of a mixture: without domains that the grid rounds to nothing, where these are left out."""
        exportable = self._exportable(known, mixture)
        return without_nothing(self.exporter, exportable) if self.leave_out else exportable

    def export(self, known: Known, mixture: Mixture) -> Export:
        """The trainer's file with its receipt, of the answer or of another mixture of the study.

        Raises:
            ConfigError: a domain would be repeated too often, or the format cannot say this mixture or would draw
                nothing of a domain; or documents are drawn, and how long they are is not known before the text is
                prepared.
        """
        self.require_lengths(known)
        if not self.allow_repeats:
            require_few_repeats(self.supplies(known, mixture), self.tokens, TOO_OFTEN)
        return exported(
            self.exporter,
            self._exportable(known, mixture),
            self._source(known, mixture),
            self.leave_out,
            self._most_epochs,
            self.allow_repeats,
        )

    def require_lengths(self, known: Known) -> None:
        """
        Raises:
            ConfigError: documents are drawn, and how long they are is not known.
        """
        if self.draws is not Draws.DOCUMENTS or known.document_tokens:
            return
        others = [draws for draws in self.exporter.draws if draws is not Draws.DOCUMENTS]
        if not self.file.executor.is_foreign:
            raise ConfigError(
                f"{self.exporter.name} draws documents, and how long they are is not known yet",
                hint=f"count them: mixopt prepare {self.file.file}",
            )
        raise ConfigError(
            f"{self.exporter.name} draws documents, and how long they are a study with executor.kind: "
            f"{self.file.executor.kind} does not know",
            hint=f"--draws {others[0]}, where documents are packed before they are drawn"
            if others
            else "choose a format that draws something else: mixopt export --list",
        )

    def _source(self, known: Known, mixture: Mixture) -> Source:
        answer = known.answer
        if answer is None:
            return Source("a mixture that somebody gave; this study has no answer yet", self.file.study)
        # What was found out about the answer says nothing about another mixture.
        is_answer = mixture.same_as(Mixture.of(answer.mixture))
        pools = answer.inventory
        return Source(
            answer.verdict if is_answer else "another mixture than the answer of this study",
            self.file.study,
            answer if is_answer else None,
            answer.provenance.inventory if pools is None else pools.fingerprint,
            "" if pools is None else f"{show_count(pools.tokens)} tokens in {len(pools.domains)} domains",
        )

    def _exportable(self, known: Known, mixture: Mixture) -> Exportable:
        repeats = told_repeats(self.supplies(known, mixture), self._most_epochs)
        provenance: dict[str, str | int] = {"mixopt": VERSION, "study": self.file.study, "seed": self.file.seed}
        if known.answer is not None:
            provenance = known.answer.provenance.model_dump(exclude_none=True)
        return Exportable(
            mixture,
            self.draws,
            known.document_tokens,
            self.locations,
            self.tokens,
            max(repeats.values()),
            self.file.seed,
            {"verdict": self._source(known, mixture).verdict, **provenance},
            repeats,
            known.tokens,
            self.sequence_length,
        )
