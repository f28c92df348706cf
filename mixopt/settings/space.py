"""The limits on mixtures alone: the sections domains, groups and target of a study file, for runs that exist already.

A whole study file will do; its other sections are checked, and not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mixopt.base.errors import ConfigError
from mixopt.settings.levels import spelled_out
from mixopt.settings.reading import over_leaves, text_of, validate
from mixopt.settings.schema import MOST_NAMES, DomainSettings, Name, Paths, ProxySettings, StudyFile
from search.space import DomainLimits, Group, Space


@dataclass(frozen=True)
class Bounds:
    """The smallest and the largest share of a domain; `tokens`, its supply, where that is given.

    Attributes:
        max_epochs: how often the target may repeat it. None: as the limits say for all.
    """

    least: float
    most: float
    tokens: int | None
    max_epochs: float | None = None


@dataclass(frozen=True)
class Limits:
    """The mixtures that may be the answer, as somebody gave them.

    Attributes:
        source: what messages call them: a file, or "space".
        target_tokens: of the run that the mixture is for: no domain is then repeated more than `max_epochs` times, or
            its own.
        target_params: of that run.
        levels: the domains in each domain with parts.
    """

    source: str
    domains: Mapping[str, Bounds]
    groups: tuple[Group, ...]
    target_tokens: int | None
    max_epochs: float | None
    target_params: int | None = None
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, space: Space) -> Limits:
        """Those of a space, which gives every domain's tokens."""
        return cls(
            "space",
            {each.name: Bounds(each.minimum, each.maximum, each.tokens, each.max_epochs) for each in space.limits},
            space.groups,
            space.target_tokens,
            space.max_epochs,
        )

    @property
    def space(self) -> Space:
        """The space within the limits.

        Raises:
            ConfigError: a domain's tokens are not given.
            SearchError: the limits leave no mixture.
        """
        limits = []
        for name, each in self.domains.items():
            if each.tokens is None:
                raise ConfigError(
                    f"{self.source}: domains.{name}.tokens is not given", hint="give the tokens of every domain"
                )
            limits.append(DomainLimits(name, each.tokens, each.least, each.most, each.max_epochs))
        return Space(tuple(limits), self.groups, self.target_tokens, self.max_epochs)


class _Pool(DomainSettings):
    """A domain whose text is not needed."""

    paths: Paths = Field([])
    parts: Annotated[dict[str, _Pool], Field(min_length=1, max_length=MOST_NAMES)] | None = None  # type: ignore[assignment]


class _Sections(StudyFile):
    """How a file of limits is read: as a study file that may leave out what concerns no mixture."""

    study: Name = "space"
    # Any name that a table's column can have.
    domains: Annotated[dict[str, _Pool], Field(min_length=1, max_length=MOST_NAMES)]  # type: ignore[assignment]
    proxies: dict[Name, ProxySettings] = Field({})


def read(path: Path) -> Limits:
    """The limits in a file.

    Raises:
        ConfigError: one line for each mistake, as in study files.
    """
    tree, root = validate(text_of(path), path, _Sections)
    file = spelled_out(over_leaves(tree, root, path))
    return Limits(
        str(path),
        {
            name: Bounds(each.min, each.max, each.tokens, each.max_epochs)
            if each.pin is None
            else Bounds(each.pin, each.pin, each.tokens, each.max_epochs)
            for name, each in file.domains.items()
        },
        tuple(Group(name, tuple(each.domains), each.min, each.max) for name, each in file.groups.items()),
        file.target.tokens,
        file.target.max_epochs,
        file.target.params,
        {level.name: level.domains for level in file.levels},
    )


def check_domains(limits: Limits, domains: Sequence[str]) -> None:
    """
    Raises:
        ConfigError: the runs have other domains than the limits.
    """
    if odd := sorted(set(domains) ^ set(limits.domains)):
        where = "the runs, but not in this file" if odd[0] in domains else "this file, but not in the runs"
        raise ConfigError(
            f"{limits.source}: domain {odd[0]} is in {where}",
            hint="name the same domains, {} sets no limit; or say what became of them with --renamed and --split",
        )


def space_of(file: StudyFile, supply: Mapping[str, int], with_supply: bool = True) -> Space:
    """The space over `supply` tokens per domain; they limit the shares only `with_supply`."""
    limits = []
    for name, domain in file.domains.items():
        least, most = (domain.min, domain.max) if domain.pin is None else (domain.pin, domain.pin)
        limits.append(DomainLimits(name, supply[name], least, most, domain.max_epochs))
    groups = tuple(Group(name, tuple(group.domains), group.min, group.max) for name, group in file.groups.items())
    target = file.target.tokens if with_supply else None
    return Space(tuple(limits), groups, target, file.target.max_epochs)


def has_supply(file: StudyFile) -> bool:
    """Whether a study file itself says how many tokens each domain has."""
    return all(domain.tokens for domain in file.domains.values())


def space_declared(file: StudyFile) -> Space:
    """The mixtures that a study file allows, as far as it says without its text: what the supply limits is not known
    where a domain's tokens are to be counted.

    Raises:
        SearchError: the limits leave no mixture.
    """
    supply = {name: domain.tokens or 1 for name, domain in file.domains.items()}
    return space_of(file, supply, with_supply=has_supply(file))
