"""Processes that tests watch and kill."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def descendants(ancestor: int) -> list[int]:
    """All processes that a process started, and those that these did."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    found = {ancestor}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {ancestor})


def kill_tree(ancestor: int) -> None:
    """kill -9 of a process and of all that it started, in groups of their own too."""
    for process in [*descendants(ancestor), ancestor]:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def named(process: int) -> str:
    """The command line of a process; empty where it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""
