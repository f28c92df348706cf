"""What there is of each domain: what an answer rests on, and what its epochs are counted by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Self

from mixopt.results.base import Part

# Of a fingerprint, hexadecimal.
DIGITS = 12


class DomainInventory(Part):
    """What there is of one domain."""

    tokens: int
    """Its supply: what the study file says, or else as counted."""
    declared: bool
    """Whether the study file says it."""
    counted: int | None = None
    """Training tokens in its text, of which a sample may have been read; null where nothing was counted."""
    documents: int | None = None
    content: str | None = None
    """Digest of its tokens, training and validation, wherever they lie."""


class Inventory(Part):
    """The pools as they were counted and declared."""

    fingerprint: str
    """Of all that is said here: the same for the same pools, wherever they lie."""
    domains: Mapping[str, DomainInventory]

    @classmethod
    def of(cls, domains: Mapping[str, DomainInventory]) -> Self:
        said = {name: domain.plain() for name, domain in domains.items()}
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        return cls(fingerprint=digest[:DIGITS], domains=domains)

    @property
    def tokens(self) -> int:
        """Of all domains."""
        return sum(domain.tokens for domain in self.domains.values())
