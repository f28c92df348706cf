"""Which seeds trials have: the search's own, those of its repeated runs, and those of the confirmation.

Seeds are shared: the same seed does the same to every mixture, as far as it does it to all alike, so that comparisons
within a seed are free of it. What a seed does to one mixture alone is the noise of every choice, and new seeds are the
only way to be rid of it.
"""

from __future__ import annotations

# Of every mixture that the search tries.
SEARCH_SEED = 0
# Of the confirmation: 1, 2, ...
MOST_CONFIRMATIONS = 1000


def is_of_search(seed: int) -> bool:
    """Whether the search may learn from a trial with this seed; those of the confirmation choose nothing."""
    return seed == SEARCH_SEED or seed > MOST_CONFIRMATIONS


def of_repeat(number: int) -> int:
    """Of the search's repeated runs of one mixture, from 1 on."""
    return MOST_CONFIRMATIONS + number


def of_confirmation(count: int) -> range:
    return range(SEARCH_SEED + 1, SEARCH_SEED + 1 + count)
