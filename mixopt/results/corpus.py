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
