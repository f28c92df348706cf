"""SIGTERM, which does what Ctrl-C does."""

from __future__ import annotations

import signal


def interrupt(*_: object) -> None:
    """The signal's handler.

    Raises:
        KeyboardInterrupt: always.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: what follows is the way out
    raise KeyboardInterrupt
