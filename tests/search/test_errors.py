"""What others' errors say, in a line that fits."""

from __future__ import annotations

import pytest

from search.errors import first_line


@pytest.mark.parametrize(
    ("error", "most", "line"),
    [
        (ValueError("one\ntwo"), None, "one"),
        (ValueError("\n one\ntwo"), 3, "one"),
        (ValueError("x" * 500), None, "x" * 500),
        (ValueError("x" * 500), 160, "x" * 160 + "..."),
        (ConnectionError(), 160, "ConnectionError"),
    ],
)
def test_the_first_line_of_an_error(error: Exception, most: int | None, line: str) -> None:
    assert first_line(error, most) == line
