"""The limits on mixtures alone: the sections domains, groups and target of a study file, for runs that exist already.

A whole study file will do; its other sections are checked, and not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mixopt.base.errors import ConfigError
from mixopt.settings.reading import text_of, validated
from mixopt.settings.schema import DomainSettings, GroupSettings, Name, Paths, ProxySettings, StudyFile, TargetSettings
from search.space import DomainLimits, Group, Space


class Pool(DomainSettings):
    """A domain whose text is not needed."""

    paths: Paths = Field([])

    @property
    def bounds(self) -> tuple[float, float]:
        """Its smallest and largest share."""
        return (self.min, self.max) if self.pin is None else (self.pin, self.pin)


class SpaceFile(StudyFile):
    study: Name = "space"
    # Any name that a table's column can have.
    domains: Annotated[dict[str, Pool], Field(min_length=2)]  # type: ignore[assignment]
    proxies: dict[Name, ProxySettings] = Field({})

    @classmethod
    def of(cls, space: Space) -> SpaceFile:
        """The file that would say the same, which is called "space" in messages. A space is right by itself."""
        file = cls.model_construct(
            domains={
                each.name: Pool.model_construct(min=each.minimum, max=each.maximum, tokens=each.tokens)
                for each in space.limits
            },
            groups={
                each.name: GroupSettings.model_construct(domains=each.domains, min=each.minimum, max=each.maximum)
                for each in space.groups
            },
            target=TargetSettings.model_construct(tokens=space.target_tokens, max_epochs=space.max_epochs),
        )
        file._file = Path("space")
        return file

    @property
    def space(self) -> Space:
        """
        Raises:
            ConfigError: a domain's tokens are not given.
            SearchError: the limits leave no mixture.
        """
        limits = []
        for name, each in self.domains.items():
            if each.tokens is None:
                raise ConfigError(
                    f"{self.file}: domains.{name}.tokens is not given", hint="give the tokens of every domain"
                )
            limits.append(DomainLimits(name, each.tokens, *each.bounds))
        return Space(tuple(limits), self.group_limits, self.target.tokens, self.target.max_epochs)

    @property
    def group_limits(self) -> tuple[Group, ...]:
        return tuple(Group(name, tuple(each.domains), each.min, each.max) for name, each in self.groups.items())


def read(path: Path) -> SpaceFile:
    """
    Raises:
        ConfigError: one line for each mistake, as in study files.
    """
    file, _ = validated(text_of(path), path, SpaceFile)
    file._file = path
    return file


def check_domains(file: SpaceFile, domains: Sequence[str]) -> None:
    """
    Raises:
        ConfigError: the runs have other domains than the file.
    """
    if odd := sorted(set(domains) ^ set(file.domains)):
        where = "the runs, but not in this file" if odd[0] in domains else "this file, but not in the runs"
        raise ConfigError(
            f"{file.file}: domain {odd[0]} is in {where}",
            hint="name the same domains, {} sets no limit; or say what became of them with --renamed and --split",
        )
