"""What an export says about itself, for whoever doubts it: what was asked, and what the trainer's grid gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Literal

from mixopt.results.answer import Answer
from mixopt.results.base import Part, Result
from mixopt.results.draws import Draws

# Of an answer's id, hexadecimal.
DIGITS = 10
# Of shares in an answer's id: two answers that a file cannot tell apart have the same.
DECIMALS = 9


class DomainReceipt(Part):
    """What was asked of one domain, and what it gets."""

    asked: float
    """Its share of the run's tokens."""
    realised: float | None
    """The share that the trainer's grid gives it; null where the grid is not known."""
    count: int | None
    """How many units of the grid are its; of a trainer that draws at random, how many are to be expected."""
    epochs: float | None
    """How often the run reads it; null where the run's tokens, or its supply, are not known."""
    max_epochs: float | None = None
    """How often it may be read; null where nobody says."""
    unit_tokens: float | None
    """Tokens of one unit, on average: of a document, or of a sequence; null where that is not known."""
    there: float | None
    """Its supply, in tokens, where that is known."""
    places: tuple[str, ...]
    """Where the trainer finds it."""


class Receipt(Result):
    """What an export carries: in the file where its format allows it, else in `NAME.receipt.json` beside it."""

    schema_version: Literal[1] = 1
    mixopt: str
    format: str
    study: str | None
    answer: str | None
    """The id of the answer: the same for the same mixture of the same study. Null where the mixture is another."""
    study_digest: str | None
    mlflow_run: str | None
    inventory: str | None
    """Fingerprint of the inventory that epochs are counted by."""
    verdict: str
    """Its first sentence."""
    weights_count: Draws
    """What the weights in the file count."""
    at_random: bool
    """Whether the trainer draws at random, so that shares are met in the long run alone."""
    tokens: int | None
    """Of the run, where that is known."""
    grid: Literal["tokens", "sequences", "documents", "steps"] | None
    """In what whole numbers the trainer counts domains; null where that is not known without the run's tokens."""
    units: int | None
    """Of the run, or of a block that repeats."""
    sequence_length: int | None
    seed: int
    total_variation: float | None
    """Between what was asked and what the grid gives, 0 to 1."""
    allow_repeats: bool = False
    """Whether somebody let domains be read more often than `max_epochs`."""
    domains: Mapping[str, DomainReceipt]


def first_sentence(text: str) -> str:
    """Up to its first full stop that ends a sentence; what stands in a file's comment has to be one line."""
    line = " ".join(text.split())
    head, stop, _ = line.partition(". ")
    return head + "." if stop else line.rstrip(".") + "."


def answer_id(answer: Answer) -> str:
    """A short name of an answer: of the study, and a digest of its settings, its record and its mixture."""
    said = {
        "study": answer.provenance.study_digest,
        "run": answer.provenance.mlflow_run,
        "mixture": {name: round(share, DECIMALS) for name, share in answer.mixture.items()},
    }
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    return f"{answer.study}-{digest[:DIGITS]}"
