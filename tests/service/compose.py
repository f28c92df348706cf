"""docker-compose.yml as the tests read it: variables at their defaults, anchors merged."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"


@cache
def load() -> dict[str, Any]:
    """The file's content; not to be changed."""
    return read(FILE)


def read(file: Path) -> dict[str, Any]:
    """A compose file, with variables that have no default left empty."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", file.read_text())
    loaded: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+\?[^}]*\}", "", text))
    return loaded


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load()["services"]
    return found
