"""What is known of a study's pools: counted in the prepared text, or, where another trainer has it, declared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from mixopt.settings.schema import StudyFile
from proxies.data.corpus import Corpus


@dataclass(frozen=True)
class Pool:
    """
    Attributes:
        counted: training tokens in its text; None where nothing was counted.
        documents, mean_document_tokens: None where nobody counted.
        content: digest of its tokens.
    """

    counted: int | None = None
    documents: int | None = None
    mean_document_tokens: float | None = None
    content: str | None = None


@dataclass(frozen=True)
class Pools:
    """
    Attributes:
        fingerprint: of what the study is about: another one makes its trials incomparable.
    """

    fingerprint: str
    domains: Mapping[str, Pool]

    @classmethod
    def counted(cls, corpus: Corpus) -> Pools:
        """Those of the text that mixopt has prepared."""
        return cls(
            corpus.fingerprint,
            {
                name: Pool(domain.train_tokens, domain.documents, domain.mean_document_tokens, corpus.content(name))
                for name, domain in corpus.domains.items()
            },
        )

    @classmethod
    def declared(cls, file: StudyFile) -> Pools:
        """Those of which the study file says how many tokens there are."""
        said = json.dumps({name: domain.tokens for name, domain in file.domains.items()})
        return cls(hashlib.sha256(said.encode()).hexdigest(), {name: Pool() for name in file.domains})
