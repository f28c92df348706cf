"""What the weights of a trainer's configuration count."""

from __future__ import annotations

from enum import StrEnum


class Draws(StrEnum):
    """What a trainer draws by its weights."""

    TOKENS = "tokens"
    SEQUENCES = "sequences"  # of one length, and so tokens
    DOCUMENTS = "documents"
    PASSES = "passes"  # over a domain: how often it is read, or what part of it


# What stands in a file about what its weights count.
WEIGHTS_COUNT = {
    Draws.TOKENS: "tokens",
    Draws.SEQUENCES: "sequences of one length, and so tokens",
    Draws.DOCUMENTS: "documents: shares of tokens, divided by the mean length of a domain's documents",
    Draws.PASSES: "passes over a domain, 0.5 for half of it: tokens that it gives, divided by the tokens that it has",
}
