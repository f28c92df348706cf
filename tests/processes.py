"""Processes that tests start, watch and kill, and ports for them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress

import psutil

LOOPBACK = "127.0.0.1"
DEAD_WITHIN_SECONDS = 3.0


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]


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
