"""What takes room and is needed no more: what `mixopt prune --json` prints."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Part, Result


class Removable(Part):
    """A file or folder that nobody needs."""

    path: str
    bytes: int
    why: str
    """Why it can go, and how it would come back."""


class Kept(Part):
    """A place that was left alone."""

    path: str
    why: str


class Pruned(Result):
    """What can go, and whether it went."""

    schema_version: Literal[1] = 1
    directory: str
    removed: bool
    items: tuple[Removable, ...]
    kept: tuple[Kept, ...]
    bytes: int
    """Of all items."""
