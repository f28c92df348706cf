"""Where a trainer finds each domain: one place by a pattern, or what a file says.

web: /data/web_text_document                                  # one place
code: {/data/code_a: 3B, /data/code_b: 1B}                    # several, with their sizes in tokens or bytes
books: [/data/books/part0.npy, /data/books/part1.npy]         # several, for formats that take them without weights
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, RootModel

from mixopt.base.errors import ConfigError
from mixopt.base.files import text_in
from mixopt.base.shown import shown
from mixopt.settings.passwords import remedy
from mixopt.settings.reading import validate
from mixopt.settings.units import Amount
from search.urls import holds_password


@dataclass(frozen=True)
class Locations:
    """Where the trainer finds each domain.

    Attributes:
        of: by domain its places, each with its size in any unit; None where no size is known.
    """

    of: Mapping[str, Mapping[str, float | None]]

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for domain, places in self.of.items():
            for place in places:
                if holds_password(place):
                    raise ConfigError(
                        f"the place of {domain} holds a password, which would stand in the trainer's file",
                        hint=f"give the place without it; {remedy(place)}",
                    )
                if place in seen:
                    raise ConfigError(
                        f"{place} is the place of both {seen[place]} and {domain}", hint="give each domain its own"
                    )
                seen[place] = domain

    def all(self, domain: str) -> list[str]:
        return list(self.of[domain])

    def split(self, domain: str, amount: float) -> dict[str, float]:
        """An amount of the domain divided over its places by their sizes.

        Raises:
            ConfigError: there are several, and the size of one is not known.
        """
        sizes = self.of[domain]
        if len(sizes) == 1:
            return dict.fromkeys(sizes, amount)
        known = {place: size for place, size in sizes.items() if size is not None}
        if len(known) < len(sizes):
            raise ConfigError(
                f"domain {domain} has {len(sizes)} places, and this format wants a weight for each",
                hint="give their sizes, in tokens or bytes, as `place: size`",
            )
        total = sum(known.values())
        return {place: amount * size / total for place, size in known.items()}

    def domain(self, place: str) -> str:
        """
        Raises:
            ConfigError: no domain has it.
        """
        for domain, places in self.of.items():
            if place in places:
                return domain
        raise ConfigError(f"{place} is no domain's place", hint="say where each domain is: location, or locations")


def _with_sizes(value: Any) -> Any:
    if isinstance(value, str):
        return {value: None}
    if isinstance(value, list) and all(isinstance(place, str) for place in value):
        return dict.fromkeys(value)
    if isinstance(value, dict):
        return value
    raise ValueError(f"{shown(value)} is no place; write a path, a list of paths, or {{path: size}}")


Sizes = Annotated[dict[str, Amount | None], BeforeValidator(_with_sizes), Field(min_length=1)]


class LocationsFile(RootModel[dict[str, Sizes]]):
    model_config = ConfigDict(frozen=True)


def locations_by_pattern(pattern: str, domains: Iterable[str]) -> Locations:
    """`{domain}` in the pattern stands for the domain's name.

    Raises:
        ConfigError: it does not stand there.
    """
    if "{domain}" not in pattern:
        raise ConfigError(
            f"location {pattern} names one place for all domains", hint="write {domain} where its name goes"
        )
    return Locations({domain: {pattern.replace("{domain}", domain): None} for domain in domains})


def read_locations(path: Path, domains: Iterable[str]) -> Locations:
    """
    Raises:
        ConfigError: the file is not as above, or does not name exactly these domains.
    """
    text = text_in(path, "file of places", "write in it `domain: place`, a line per domain")
    file, _ = validate(text, path, LocationsFile)
    names = list(domains)
    if odd := sorted(set(names) ^ set(file.root)):
        what = "has no place in this file" if odd[0] in names else "is no domain of the study"
        raise ConfigError(f"{path}: {odd[0]} {what}", hint=f"the domains are {', '.join(names)}")
    return Locations({name: file.root[name] for name in names})
