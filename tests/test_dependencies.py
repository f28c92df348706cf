"""What pyproject.toml asks for, and the versions that were chosen for it, go together."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent


def declared() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for group in (project["dependencies"], *project["optional-dependencies"].values()):
        yield from (each for each in map(Requirement, group) if each.name != "mixopt")


def pinned(file: str) -> dict[str, Version]:
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / file).read_text(), flags=re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in pins}


@pytest.mark.parametrize("requirement", sorted(set(declared()), key=str), ids=str)
def test_there_is_a_pin_within_the_bounds(requirement: Requirement) -> None:
    assert pinned("constraints.txt")[canonicalize_name(requirement.name)] in requirement.specifier, "make lock"


@pytest.mark.parametrize("requirement", sorted(set(declared()), key=str), ids=str)
def test_a_bound_is_a_lower_one(requirement: Requirement) -> None:
    """A library that asks for one version exactly can be installed beside few others."""
    assert {each.operator for each in requirement.specifier} <= {">="}


def test_images_get_the_versions_that_are_tested_each_with_its_hashes() -> None:
    tested = pinned("constraints.txt")
    images = pinned("requirements.lock")
    assert images == {name: tested[name] for name in images}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["service"]])
    # Which build of torch an image gets, pip's index decides.
    assert {canonicalize_name(each.name) for each in asked} - {"torch", "mixopt"} <= images.keys(), "make lock"
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text())
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)
