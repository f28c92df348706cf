"""Processes that tests start, watch and kill, and ports for them."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from itertools import count as counting

import psutil

LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 32_768)
DEAD_WITHIN_SECONDS = 3.0

_asked = counting()


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, none of them twice in a process.

    Some are used only seconds later, so they are not among those that the system gives to whoever asks for any (from
    32768 on, Ray's workers ask for many); and each process begins at a place of its own.
    """
    found: list[int] = []
    while len(found) < count:
        port = PORTS[(os.getpid() * 89 + next(_asked)) % len(PORTS)]
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            found.append(port)
    return found


def free_port() -> int:
    [port] = free_ports(1)
    return port


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that it has started, in groups of their own too; none where it has ended."""
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def kill(processes: Sequence[psutil.Process]) -> None:
    """As a machine that loses its power does: at once, without a word."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=DEAD_WITHIN_SECONDS)


def named(process: int) -> str:
    """The command line of a process; empty where it has ended."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(psutil.Process(process).cmdline())
    return ""
