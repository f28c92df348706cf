"""Mixtures that somebody wants trained, and what became of each: part of a study's status, `Study.queue`."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Part, Shares


class QueuedMixture(Part):
    """A mixture that was queued for the study to train."""

    mixture: Shares
    note: str
    """Why, in the words of whoever asked."""
    asked: str
    """When, in UTC, ISO 8601."""
    state: Literal["waiting", "training", "trained", "failed", "left_out"]
    """Waiting: the search takes it before its next trial. Left out: it is not trained, and `why` tells the reason."""
    trial: str | None
    """Its trial; null where it has none."""
    why: str | None = None
    """Why it failed, or is left out, and what would have it trained all the same."""

    @property
    def named(self) -> str:
        return f"the queued mixture {self.note!r}" if self.note else f"the mixture queued at {self.asked}"
