"""What a study's text amounts to: what `mixopt prepare --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Part, Result


class DomainTokens(Part):
    """What was read of one domain."""

    documents: int
    train_tokens: int
    validation_tokens: int
    """Of the held-out documents that the search ranks mixtures by."""
    confirmation_tokens: int = 0
    """Of those that the confirmation is measured on; 0 where it has none of its own."""
    mean_document_tokens: float
    dropped_empty: int
    """Documents without text."""
    dropped_contaminated: int
    """Training documents that are in the validation split as well."""


class CorpusSummary(Result):
    """The tokens of a study."""

    schema_version: Literal[1] = 1
    directory: str
    fingerprint: str
    vocabulary: int
    domains: Mapping[str, DomainTokens]
    evaluation_sets: tuple[str, ...]
