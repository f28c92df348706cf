"""What this room raises when its input, not its code, is wrong; and what such errors have in common."""

from __future__ import annotations

from search.urls import fit_to_show

LONGEST_REASON = 160  # characters, of what others say: HTTP clients put their whole state into their errors


class ExplainedError(Exception):
    """One line that says what is wrong, and one that says what to do about it; of the rooms that know this one.

    No URL in them holds a password.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = fit_to_show(message)
        self.hint = fit_to_show(hint)
        super().__init__(self.message)


def first_line(error: BaseException, most: int | None = None) -> str:
    """What an error of others says, without what follows; its class where it says nothing.

    Args:
        most: characters; what is longer is cut. None for all of it.
    """
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line if most is None or len(line) <= most else f"{line[:most]}..."


class SearchError(ExplainedError, ValueError):
    """A user's mistake."""


class TooFewMixtures(SearchError):
    """A regression on so few would say nothing."""
