"""Warm-up, stable, decay: a learning rate that rises, stays, and falls to zero at the end (2404.06395).

While it stays, the loss after t tokens is that of a run planned for t tokens (less its decay): one run measures
several fidelities. A cosine, which falls all the time, would not allow this.
"""

from __future__ import annotations


def learning_rate_share(step: int, steps: int, *, warmup_share: float, decay_share: float) -> float:
    """The share of the peak learning rate for step 0, 1, ..., steps - 1: above 0, at most 1."""
    rising = (step + 1) / max(1.0, warmup_share * steps)
    falling = (steps - step) / max(1.0, decay_share * steps)
    return min(1.0, rising, falling)
