"""What others wrote, as it is shown: on one line, without what a terminal would obey, and no longer than is read."""

from __future__ import annotations

import re
import reprlib
from typing import Any

# Of a line that says what is wrong and what to do about it.
LONGEST_LINE = 300
# Of what is wrong, at least, where what to do about it is long.
SHORTEST_MESSAGE = 120
# Of a value, or a name, within a line.
LONGEST_VALUE = 60
# Of mistakes in one file: whoever mends these sees the others next.
MOST_LINES = 20

# Control characters, both halves of a surrogate, and marks that end a line or turn its direction.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")

# By which a terminal changes colours, as Ray writes them into tracebacks.
COLOURS = re.compile("\x1b\\[[0-9;]*m")

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = LONGEST_VALUE
_short.maxdict = _short.maxlist = _short.maxtuple = 4
_short.maxlevel = 3


def escaped(text: str, keep: str = "") -> str:
    r"""A text whose control characters are written out: \x1b.

    Args:
        keep: characters that are left as they are.
    """
    return UNSEEN.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


def without_colours(text: str) -> str:
    """A text without what only a terminal would make colours of."""
    return COLOURS.sub("", text)


def shown(value: Any) -> str:
    """A value as Python writes it, shortened."""
    return shortened(escaped(_short.repr(value)), LONGEST_VALUE)


def shown_name(name: object) -> str:
    """A name as it is, shortened and escaped."""
    return shortened(escaped(str(name)[: 10 * LONGEST_VALUE]), LONGEST_VALUE)


def shortened(text: str, most: int) -> str:
    """A text of at most `most` characters: of a longer one its beginning and its end."""
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 5]} ... {text[len(text) - end :]}"


def error_line(message: str, hint: str = "") -> str:
    """What is wrong and what to do about it, on one line of at most LONGEST_LINE characters."""
    # Nobody reads, and nothing has to go through, more than that.
    message, hint = (shortened(text, 10 * LONGEST_LINE) for text in (message, hint))
    message, hint = escaped(message), escaped(hint)
    if not hint:
        return shortened(message, LONGEST_LINE)
    # The hint is what helps, so the message gives way first.
    hint = shortened(hint, LONGEST_LINE - min(len(message), SHORTEST_MESSAGE) - 2)
    return f"{shortened(message, LONGEST_LINE - len(hint) - 2)}; {hint}"
