"""The program `mixopt`, from its first moment: it takes seconds to load what it needs, and may be interrupted then."""

from __future__ import annotations

from mixopt.base.interrupt import leaving_at_once


def main() -> None:
    with leaving_at_once():
        from mixopt.cli.main import main as command_line
    command_line()
