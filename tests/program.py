"""The program `mixopt`: in this process, which has its libraries loaded, or in one of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from mixopt.cli.main import main

# Put before its arguments, this starts the program.
COMMAND = [sys.executable, "-c", "from mixopt.program import main; main()"]
TIMEOUT_SECONDS = 500


@dataclass(frozen=True)
class Done:
    """What the program said, and the status with which it ended."""

    status: int
    stdout: str
    stderr: str


def mixopt(*arguments: object) -> Done:
    """The program in this process: loading its libraries takes longer than most of what it does."""
    stdout, stderr, status = io.StringIO(), io.StringIO(), 0
    command = ["mixopt", *map(str, arguments)]
    # What the program sets in its environment is gone with it.
    with patch.dict(os.environ), patch.object(sys, "argv", command), redirect_stdout(stdout), redirect_stderr(stderr):
        try:
            main()
        except SystemExit as end:
            assert isinstance(end.code, int), end.code
            status = end.code
    return Done(status, stdout.getvalue(), stderr.getvalue())


def started(*arguments: object) -> Done:
    """The program as a user starts it, in a process of its own."""
    command = [*COMMAND, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    return Done(ended.returncode, ended.stdout, ended.stderr)
