"""What this room raises when a store cannot be used as asked."""


class TrackingError(RuntimeError):
    """The store does not answer, or what it holds contradicts the request."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class TrackingAway(TrackingError):
    """The store does not answer, and may well come back."""


class TrackingRefused(TrackingError):
    """The store understood, and will most likely refuse again: permissions, a deleted run, a value that it rejects."""
