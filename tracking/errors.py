"""What this room raises when a store cannot be used as asked."""

from __future__ import annotations

from search.errors import ExplainedError


class TrackingError(ExplainedError, RuntimeError):
    """The store does not answer, or what it holds contradicts the request."""


class TrackingAway(TrackingError):
    """The store does not answer, and may well come back."""


class TrackingRefused(TrackingError):
    """The store understood, and will most likely refuse again: permissions, a deleted run, a value that it rejects."""
