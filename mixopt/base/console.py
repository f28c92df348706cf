"""Where mixopt prints: answers to standard output, everything else to standard error.

What is printed may hold names and values that others wrote: control characters in them are shown, not obeyed, and
characters that the terminal's encoding lacks are written out.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.segment import Segment

from mixopt.base.shown import escaped


class _Escaped:
    """What `renderable` prints, its text escaped; the styles around it are ours."""

    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._renderable, options):
            yield segment if segment.control else Segment(escaped(segment.text, keep="\n"), segment.style)


class EscapeAll(RenderHook):
    """For `Console.push_render_hook`: no control character in what is printed reaches the terminal."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Escaped(each) for each in renderables]


def _console(to_errors: bool) -> Console:
    # What is printed holds paths and patterns, whose [a-z] is no markup.
    console = Console(stderr=to_errors, highlight=False, markup=False)
    console.push_render_hook(EscapeAll())
    return console


out = _console(to_errors=False)


# Progress and errors: standard output carries the answer alone, so that `--json` can be piped.
err = _console(to_errors=True)


def degrade() -> None:
    """From now on, characters that a terminal's encoding lacks are written out; they would end the program else."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
