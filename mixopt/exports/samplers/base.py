"""What a trainer's own sampler is given, and what it answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mixopt.base.errors import ConfigError
from mixopt.exports.judging import Counted


@dataclass(frozen=True)
class Source:
    """A place of a domain here, with its weight as the export says it."""

    domain: str
    place: str
    weight: float


@dataclass(frozen=True)
class Drawing:
    """
    Attributes:
        samples: how many are drawn.
        sequence_length: in tokens, where that is known.
    """

    sources: Sequence[Source]
    samples: int
    seed: int
    sequence_length: int | None

    @property
    def domains(self) -> list[str]:
        return list(dict.fromkeys(source.domain for source in self.sources))

    def counts(self, drawn: Iterable[int]) -> Mapping[str, float]:
        """Of each domain, from the numbers of the sources that were drawn."""
        times = Counter(drawn)
        found = dict.fromkeys(self.domains, 0.0)
        for number, source in enumerate(self.sources):
            found[source.domain] += times[number]
        return found

    def require(self, *suffixes: str) -> None:
        """
        Raises:
            ConfigError: a place is not here: none of these, behind its name, is.
        """
        for source in self.sources:
            missing = [suffix for suffix in suffixes if not Path(source.place + suffix).exists()]
            if missing and "://" not in source.place:
                raise ConfigError(
                    f"domain {source.domain}: there is no {source.place}{missing[0]} here",
                    hint="--data says where the data are: a pattern with {domain}, or a file with `domain: place`",
                )


__all__ = ["Counted", "Drawing", "Source"]
