"""That a study file is right: what `mixopt validate --json` prints."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Result


class Validity(Result):
    """A study file that is right; one that is wrong is an error."""

    schema_version: Literal[1] = 1
    valid: Literal[True] = True
    study: str
    corpus_checked: bool
    """Whether the limits were checked against counted tokens."""
    notes: tuple[str, ...] = ()
    """What is only seen when the study starts."""
