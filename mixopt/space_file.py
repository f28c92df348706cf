"""The limits on mixtures alone: the sections domains, groups and target of a study file, for runs that exist already.

A whole study file will do; its other sections are checked, and not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError

from mixopt.config import DomainSettings, Name, Paths, ProxySettings, StudyFile
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
        ConfigError: not YAML, or a setting that cannot be.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        what = " ".join(str(error).split())
        raise ConfigError(f"{path}: not YAML: {what}", hint="check indentation, colons and quotes") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: no settings in this file", hint="give domains: {name: {max: 0.5}, ...}")
    try:
        return SpaceFile.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(
                f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
                for problem in error.errors()
            ),
            hint="the settings are those of a study file, see docs/study-file.md",
        ) from error


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
