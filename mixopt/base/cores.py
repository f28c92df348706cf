"""How many processor cores this process may use."""

from __future__ import annotations

import os
import sys


def cores() -> int:
    """Those that it is confined to, as in a container or under taskset, where the system can tell; or else all."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
