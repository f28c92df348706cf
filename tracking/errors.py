"""What this room raises when a store cannot be used as asked."""

from __future__ import annotations

from search.errors import ExplainedError


class TrackingError(ExplainedError, RuntimeError):
    """The store does not answer, or what it holds contradicts the request."""


class OtherSubject(TrackingError):
    """A study of this name was begun with another file, or on other text.

    Attributes:
        changed: the dotted names of the settings that differ; "corpus" for the text.
    """

    def __init__(self, message: str, hint: str = "", changed: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.changed = changed

    def concerns(self, *sections: str) -> bool:
        """Whether all that changed is in these sections of the study file."""
        return all(name.partition(".")[0] in sections for name in self.changed)


class WentOnElsewhere(TrackingError):
    """MLflow has trials of the study that the journal lacks from which it goes on; a new start has both."""


class TrackingAway(TrackingError):
    """The store does not answer, and may well come back."""


class TrackingRefused(TrackingError):
    """The store understood, and will most likely refuse again: permissions, a deleted run, a value that it rejects."""
