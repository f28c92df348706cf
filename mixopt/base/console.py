"""Where mixopt prints: answers to standard output, everything else to standard error.

What is printed may hold names and values that others wrote: control characters in them are shown, not obeyed, and
characters that the terminal's encoding lacks are written out.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.segment import Segment
from rich.style import Style

from mixopt.base.shown import escaped

# What is drawn, and stands in sentences, for terminals whose encoding may lack it.
PLAIN = str.maketrans({"\u00b1": "+-", "\u00b7": "-", "\u2026": "~", "\u2022": "*"})
PLAIN |= str.maketrans({"\u2588": "#", "\u258f": "|", "\u2500": "-", "\u2501": "="})


class _Escaped:
    """What `renderable` prints, its text escaped; the styles around it are ours."""

    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        plain = {} if console.encoding.lower().startswith("utf") else PLAIN
        for segment in console.render(self._renderable, options):
            if not segment.control:
                segment = Segment(escaped(segment.text, keep="\n").translate(plain), segment.style)
            yield segment


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


class Hanging:
    """A text with a head, wrapped at the terminal's width and indented below its beginning.

    Where there is no terminal, at 80 columns: what goes into a file is read by people as well. There no word is broken,
    for a path or an address that is longer may be looked for; in a terminal, whatever is beyond its width is lost.
    """

    def __init__(self, head: str, text: str, style: str = "") -> None:
        self._head = head
        self._text = text
        self._style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        style, indent = Style.parse(self._style), " " * len(self._head)
        # Control characters that are written out take room, so that comes first.
        width = max(options.max_width - len(self._head), 10)
        lines = _wrapped(escaped(self._text, keep="\n"), width, breaking=console.is_terminal)
        for number, line in enumerate(lines):
            yield Segment((indent if number else self._head) + line, style)
            yield Segment.line()


def _wrapped(text: str, width: int, breaking: bool) -> Iterator[str]:
    """Its words in lines of so many cells; of a word that is longer its parts, or all of it."""
    for paragraph in text.split("\n"):
        words, line = paragraph.split(), ""
        if breaking:
            words = [part for word in words for part in chop_cells(word, width)]
        for word in words:
            if line and cell_len(line) + 1 + cell_len(word) > width:
                yield line
                line = word
            else:
                line = f"{line} {word}" if line else word
        yield line


def note(text: str) -> Hanging:
    """Something that a careful reader wants to know."""
    return Hanging("note: ", text, "yellow")


def say_note(text: str) -> None:
    """A note beside an answer."""
    err.print(note(text), soft_wrap=True)


def degrade() -> None:
    """From now on, characters that a terminal's encoding lacks are written out; they would end the program else."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
