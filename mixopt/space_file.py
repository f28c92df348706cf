"""The limits on mixtures alone: the sections domains, groups and target of a study file, for runs that exist already.

A whole study file will do; its other sections are checked, and not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mixopt.config import DomainSettings, Name, Paths, ProxySettings, StudyFile, text_of, validated
from mixopt.errors import ConfigError


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


def read(path: Path) -> SpaceFile:
    """
    Raises:
        ConfigError: one line for each mistake, as in study files.
    """
    file, _ = validated(text_of(path), path, SpaceFile)
    return file


def check_domains(file: SpaceFile, path: Path, domains: Sequence[str]) -> None:
    """
    Raises:
        ConfigError: the runs have other domains than the file.
    """
    if odd := sorted(set(domains) ^ set(file.domains)):
        where = "the runs, but not in this file" if odd[0] in domains else "this file, but not in the runs"
        raise ConfigError(
            f"{path}: domain {odd[0]} is in {where}",
            hint="name the same domains, {} sets no limit; or say what became of them with --renamed and --split",
        )
