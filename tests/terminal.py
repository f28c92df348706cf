"""The program in a terminal of its own, as somebody sees it who sits before one."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import ioctl

WIDTH, HEIGHT = 80, 30
COMMAND = [sys.executable, "-c", "from mixopt.cli.main import main; main()"]


class Terminal:
    """The program in a terminal of its own."""

    def __init__(self, *arguments: object, **environment: str) -> None:
        self._there, here = pty.openpty()
        ioctl(here, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=here,
            stdout=here,
            stderr=here,
            env={**plain, "TERM": "xterm-256color", **environment},
            start_new_session=True,
        )
        os.close(here)
        self.shown = ""

    def until(self, condition: Callable[[str], object], within: float = 120.0) -> None:
        deadline = time.monotonic() + within
        while not condition(self.shown):
            assert time.monotonic() < deadline, self.shown[-3000:]
            if not self._read():
                return

    def _read(self) -> bool:
        if not select.select([self._there], [], [], 0.2)[0]:
            return self.process.poll() is None
        try:
            found = os.read(self._there, 1 << 16)
        except OSError:  # the program has ended
            return False
        self.shown += found.decode()
        return bool(found)

    def types(self, text: str) -> None:
        os.write(self._there, text.encode())

    def ends(self, within: float = 120.0) -> int:
        deadline = time.monotonic() + within
        while self._read():
            assert time.monotonic() < deadline, self.shown[-3000:]
        return self.process.wait(timeout=20)

    @property
    def plain(self) -> str:
        """Without what moves the cursor and paints."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.shown)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._there)


@contextmanager
def terminal(*arguments: object, **environment: str) -> Iterator[Terminal]:
    opened = Terminal(*arguments, **environment)
    try:
        yield opened
    finally:
        opened.close()
