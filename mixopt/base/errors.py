"""User mistakes, whatever room they are noticed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mixopt.base.shown import MOST_LINES, error_line
from proxies.errors import ProxyError
from search.errors import ExplainedError


class ConfigError(ExplainedError, ValueError):
    """Something in the study file, or about the state that it refers to, is wrong."""


class Mistakes(ConfigError):
    """Several at once, a line for each that says where it is and what to do about it.

    Attributes:
        lines: the first of them, and a last one where there are more.
    """

    def __init__(self, lines: Sequence[str], found: int | None = None) -> None:
        """`found`: how many there are, where that is more than `lines` has."""
        self.lines = tuple(error_line(line) for line in lines[:MOST_LINES])
        if max(found or 0, len(lines)) > len(self.lines):
            self.lines += ("there are more mistakes in this file; mend these first",)
        super().__init__("\n".join(self.lines))


def all_at_once(checks: Iterable[Callable[[], object]]) -> None:
    """Make every check, and tell all that they find together.

    Raises:
        Mistakes: several are wrong; where it is one alone, what that raised.
    """
    found: list[ExplainedError | ProxyError] = []
    for check in checks:
        try:
            check()
        except (ExplainedError, ProxyError) as mistake:
            found.append(mistake)
    if len(found) == 1:
        raise found[0]
    if found:
        raise Mistakes(list(dict.fromkeys(line for mistake in found for line in error_lines(mistake))))


class ClusterLost(ConfigError):
    """The cluster went away, or has no room yet, and may well come back: whoever waits may try again."""


def error_lines(mistake: ExplainedError | ProxyError) -> tuple[str, ...]:
    """A mistake as it is shown: a line of at most 300 characters, or one for each of several mistakes."""
    return mistake.lines if isinstance(mistake, Mistakes) else (error_line(mistake.message, mistake.hint),)
