"""What an exporter is given, and what it must say about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from search.mixture import Mixture


@dataclass(frozen=True)
class Exportable:
    """A mixture, and what trainers need to know to draw it as it is meant.

    Attributes:
        mean_document_tokens: by domain; for trainers that draw documents rather than tokens.
        locations: by domain; what the trainer is told to read.
        provenance: where the mixture comes from, for formats that have room for it.
    """

    mixture: Mixture
    mean_document_tokens: Mapping[str, float]
    locations: Mapping[str, str]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def token_shares(self) -> dict[str, float]:
        """Shares of training tokens; domains that get none are left out."""
        return {domain: weight for domain, weight in self.mixture.as_dict().items() if weight > 0}

    @property
    def document_shares(self) -> dict[str, float]:
        """Shares of drawn documents that give those shares of tokens: a share divided by the mean length."""
        drawn = {domain: share / self.mean_document_tokens[domain] for domain, share in self.token_shares.items()}
        return Mixture.of(drawn).as_dict()


class Exporter(ABC):
    """One trainer's format.

    Attributes:
        name: as in `mixopt export --format`.
        weights_mean: what the trainer draws by these weights.
        describes: one line for `mixopt export --list`.
    """

    name: ClassVar[str]
    weights_mean: ClassVar[Literal["tokens", "sequences", "documents"]]
    describes: ClassVar[str]

    @abstractmethod
    def render(self, exportable: Exportable) -> str:
        """The configuration, as text that ends in a line break."""
