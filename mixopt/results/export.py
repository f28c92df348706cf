"""A mixture as a trainer's configuration, and read back: what `mixopt export --json` and `mixopt import` print."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Part, Result, Shares
from mixopt.results.draws import Draws as Draws
from mixopt.results.inventory import Inventory
from mixopt.results.receipt import Receipt


class Supply(Part):
    """What a domain gives in a run, and what there is of it, in tokens."""

    domain: str
    share: float
    taken: int
    there: int
    max_epochs: float | None = None
    """How often the run may read it; null where an earlier version did not say."""

    @property
    def epochs(self) -> float:
        return self.taken / self.there


class ExportResult(Result):
    """A trainer's configuration."""

    schema_version: Literal[1] = 1
    format: str
    weights_count: Draws
    """What the trainer draws by the weights."""
    text: str
    supplies: tuple[Supply, ...]
    """By domain; none where the tokens of the run are not known."""
    inventory: Inventory | None = None
    """By which these are counted; null for answers of 0.1.0."""
    notes: tuple[str, ...] = ()
    """Domains that are read often, and pools that are no longer those that were measured."""
    receipt: Receipt | None = None
    """What the export says about itself, in its text too where the format has room for it; null before 0.2.0."""


class ExportFormat(Part):
    """What `mixopt export --list --json` says of each format."""

    format: str
    weights_count: tuple[Draws, ...]
    """What weights can count; the first unless somebody says otherwise."""
    read_back_by: Literal["places", "domains"]
    suffix: str
    describes: str


class ImportedMixture(Result):
    """What a trainer's configuration means; `export --mixture` and `compare` read it from a file."""

    schema_version: Literal[1] = 1
    weights_mean: Literal["shares of training tokens"] = "shares of training tokens"
    weights: Shares
