"""The program `mixopt`, from its first moment to its last."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from contextlib import suppress
from typing import NoReturn

from mixopt.base.interrupt import INTERRUPTED, leaving_at_once


def main() -> None:
    """It takes seconds to load what the command line needs, and may be interrupted then."""
    with leaving_at_once():
        from mixopt.cli.main import main as command_line
    try:
        command_line()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _leave()
        raise


def _leave() -> NoReturn:
    """End a program that was interrupted, all but the taking apart of the interpreter.

    Everything of ours is closed by now, in the order in which it was opened. But an exception that came anywhere may
    have left threads of libraries at work (a compiler's, Ray's), which crash where the interpreter is taken apart
    around them; and Python itself ends by SIGINT, without the status that it was given, where the exception passed
    through code that a library had generated.
    """
    with suppress(Exception):
        atexit._run_exitfuncs()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it may be gone
            stream.flush()
    os._exit(INTERRUPTED)
