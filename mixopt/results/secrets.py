"""Which secrets were made: what `mixopt secrets --json` prints."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Result


class SecretFiles(Result):
    """The files that were written; those that were there already are not among them."""

    schema_version: Literal[1] = 1
    files: tuple[str, ...]
