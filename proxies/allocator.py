"""Memory that is freed and soon needed again stays with the process."""

from __future__ import annotations

import ctypes
import platform

# Parameter numbers of mallopt(3), from glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Tell glibc's malloc never to return memory to the system; elsewhere do nothing.

    By default each large tensor is mapped anew at every step and its pages are zeroed and faulted in: about a
    fifth of a small model's step. The setting holds for the whole process and cannot be taken back, so call it
    in processes that do nothing but train.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**26)):
        accepted = mallopt(parameter, value)
        assert accepted, f"mallopt({parameter}, {value})"
