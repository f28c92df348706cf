"""Where mixopt prints: answers to standard output, everything else to standard error."""

from __future__ import annotations

from rich.console import Console

# What is printed holds paths and patterns, whose [a-z] is no markup.
out = Console(highlight=False, markup=False)


# Progress and errors: standard output carries the answer alone, so that `--json` can be piped.
err = Console(stderr=True, highlight=False, markup=False)
