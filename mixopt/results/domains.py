"""The domains that a heap of documents falls into: what `mixopt domains --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from mixopt.results.base import Part, Result

MOST, WORTH_SAYING = 0.8, 0.1  # of the documents of a domain


class TypicalDocument(Part):
    """A document near the middle of its domain."""

    text: str
    """Its beginning."""
    origin: str
    """Its file, and line or row."""


class FoundDomain(Part):
    """One domain and its pool."""

    path: str
    """The pool: a folder of .jsonl.zst files."""
    documents: int
    """In the pool."""
    bytes: int
    """Of UTF-8 text in the pool."""
    share: float
    """Of the text of all pools."""
    mean_bytes: float
    """Of a document."""
    terms: tuple[str, ...]
    """Words that its documents have and those of other domains lack, most telling first."""
    language: str | None
    """ISO 639, a guess by common words; null of code and tables."""
    languages: Mapping[str, float] = Field(default_factory=dict)
    """The share of its documents in each, by a guess of each one of a sample, highest first; code is in none."""
    script: str | None
    """Of most letters, such as Latin or Han."""
    scripts: Mapping[str, float] = Field(default_factory=dict)
    """The share of letters in each, highest first."""
    exact_duplicates: int
    """Documents of this domain whose text an earlier document has."""
    near_duplicates: int
    """Those that are nearly an earlier document of this domain."""
    near_duplicates_elsewhere: int
    """Those that are nearly an earlier document of another domain."""
    typical: tuple[TypicalDocument, ...]

    @property
    def spoken(self) -> str:
        """Its language as a table says it, with shares where less than MOST of its documents are in it."""
        if self.language is None:
            return self.written or "-"
        return _with_shares(self.language, self.languages)

    @property
    def written(self) -> str | None:
        """Its script as a table says it, with shares where less than MOST of its letters are in it."""
        return None if self.script is None else _with_shares(self.script, self.scripts)


def _with_shares(most: str, shares: Mapping[str, float]) -> str:
    """The one that most are in, and which others there are where it has no large majority."""
    if not shares or max(shares.values()) >= MOST:
        return most
    named = [(name, share) for name, share in shares.items() if share >= WORTH_SAYING]
    return ", ".join(f"{name} {share:.0%}" for name, share in named) or most


class FoundDomains(Result):
    """Documents sorted into domains."""

    schema_version: Literal[1] = 1
    study: str
    """The study file that uses the pools."""
    page: str
    """The same for a person: descriptions, a map and a tree."""
    inputs: str
    """Digest of the documents and of all that decided the outcome."""
    embedding: str
    """Which one, with a digest of what it learned."""
    documents: int
    """With text, that were read."""
    empty: int
    """Without text; they are in no pool."""
    unread: int = 0
    """Files in the folders that were not read, by their endings, or as records lie beside them."""
    unread_endings: tuple[str, ...] = ()
    skipped: int = 0
    """Bad records that were left out, links to nothing, and rests of files that cannot be read."""
    first_skipped: tuple[str, ...] = ()
    """Where the first of them are, and what is wrong with them."""
    dropped: int
    """Duplicates that were left out of the pools."""
    sampled: int
    """Documents that embedding and clusters were learned from."""
    fine_clusters: int
    """That were found first."""
    fine_clusters_kept: int
    """That were large enough to be merged into domains."""
    domains: Mapping[str, FoundDomain]
    """By falling share."""

    def why_fewer(self, asked: int) -> str | None:
        """Why there are fewer domains than so many; None where there are not."""
        if len(self.domains) >= asked:
            return None
        small = "have too little text to be trained and measured on, and went to their neighbours"
        if self.fine_clusters >= asked:
            return f"the other groups of documents {small}"
        groups = f"the documents fall into {self.fine_clusters} groups"
        return groups + f", of which the smallest {small}" * (len(self.domains) < self.fine_clusters)
