"""One thread for numerical libraries while small matrices are computed with.

A surrogate computes with matrices of some hundred rows, thousands of times. Threads take longer to wait for each other
than such a product takes, and wait by turning in circles: on shared cores a fit that takes 20 s of CPU took minutes.
Work is split over processes instead (mixopt.runs).
"""

from __future__ import annotations

import sys
from contextlib import ContextDecorator
from functools import cache
from threading import Lock
from types import TracebackType
from typing import Any


@cache
def _controller() -> Any:
    # Loaded before libraries are looked for: each of the two brings a BLAS. Commands that only read do without.
    import numpy  # noqa: F401
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _OneThread(ContextDecorator):
    """`with one_thread:` or `@one_thread`; within each other, and in several threads at a time.

    The number is the process's: it is put back when the last block ends. PyTorch has to be loaded before the block.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limits: Any = None
        self._of_torch = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._limits = _controller().limit(limits=1, user_api="blas")
                if torch := sys.modules.get("torch"):
                    self._of_torch = torch.get_num_threads()
                    torch.set_num_threads(1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limits.restore_original_limits()
                if self._of_torch:
                    sys.modules["torch"].set_num_threads(self._of_torch)
                    self._of_torch = 0


one_thread = _OneThread()
