"""The log of a study, for whoever keeps it: what happened when, with tracebacks.

What a person watches is printed (mixopt/base/console.py), and what counts is in the journal. This is neither: it may be
lost, and a disk that takes no more of it ends no study.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal, get_args

from rich.console import Console

from mixopt.base.console import err
from mixopt.base.errors import ConfigError
from mixopt.base.shown import without_colours
from search.urls import fit_to_show

LOG_FILE = "mixopt.log"
ROOMS = ("mixopt", "proxies", "search", "tracking")
# Of the file, and of the one that came before it.
MOST_BYTES = 5_000_000
# From the least to the most serious.
Level = Literal["info", "warning", "error", "critical"]
# How an entry begins; the lines below it, such as a traceback, are its own.
ENTRY = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ([A-Z]+) ")
STANDARD_ERROR = 2  # its descriptor


class _Lines(logging.Formatter):
    """`2026-11-30T12:00:00Z WARNING mixopt.study.loop: what happened`, in UTC; no URL shows a password."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")

    def format(self, record: logging.LogRecord) -> str:
        return fit_to_show(without_colours(super().format(record)))


class _LogFile(RotatingFileHandler):
    def __init__(self, path: Path) -> None:
        self._complained = False
        super().__init__(path, maxBytes=MOST_BYTES, backupCount=1, encoding="utf-8")
        self.setFormatter(_Lines())

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding=self.encoding, opener=_without_links)

    def handleError(self, record: logging.LogRecord) -> None:
        if not self._complained:
            self._complained = True
            err.print(f"{self.baseFilename} cannot be written; the study goes on without a log", soft_wrap=True)


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


@contextmanager
def logging_to(folder: Path) -> Iterator[None]:
    """Have what the rooms log go to `mixopt.log` in a folder, which is there, while the block runs.

    Raises:
        ConfigError: the file is a link, which may lead to another's file.
    """
    path = folder / LOG_FILE
    try:
        file = _LogFile(path)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ConfigError(f"{path} is a symbolic link, and is not followed", hint="remove it") from error
    loggers = [logging.getLogger(room) for room in ROOMS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(file)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(file)
            logger.setLevel(level)
        with suppress(OSError):  # a disk that has no room for the last lines either
            file.close()


@dataclass(frozen=True)
class Excerpt:
    """What of a log is asked for.

    Attributes:
        level: entries that are at least so serious; None for all.
        tail: the last so many lines of these; None for all.
    """

    level: Level | None = None
    tail: int | None = None

    def of(self, log: str) -> str:
        lines = [*filter(self.shows(), log.splitlines(keepends=True))]
        return "".join(lines[-self.tail :] if self.tail else lines)

    def shows(self) -> Callable[[str], bool]:
        """Whether a line is shown, asked of one line of a log after the other."""
        levels, shown = [level.upper() for level in get_args(Level)], True
        wanted = levels[levels.index(self.level.upper()) :] if self.level else levels

        def is_shown(line: str) -> bool:
            nonlocal shown
            if (entry := ENTRY.match(line)) is not None:
                shown = entry[1] in wanted
            return shown

        return is_shown


@contextmanager
def others_to_log(folder: Path, console: Console) -> Iterator[None]:
    """While the block runs, what this process prints goes to the end of `mixopt.log` in a folder, whoever prints it:
    `console` alone, which prints to standard error, does so where it did.

    Ray writes what it has to say of dead processes to the descriptor itself, from threads that Python knows nothing of,
    the last of it as it ends this process: so the descriptor leads to the file, and no thread of ours has to copy it.
    """
    ours = sys.stderr
    if not isinstance(ours, TextIOWrapper) or ours.fileno() != STANDARD_ERROR:
        # Somebody has put another in its place, and has to tell us and others apart himself.
        with redirect_stdout(ours):
            yield
        return
    ours.flush()
    with (
        os.fdopen(os.dup(STANDARD_ERROR), "w", buffering=1, encoding=ours.encoding, errors=ours.errors) as screen,
        open(folder / LOG_FILE, "ab", opener=_without_links) as log,
        redirect_stdout(ours),
    ):
        os.dup2(log.fileno(), STANDARD_ERROR)
        console.file = screen
        try:
            yield
        finally:
            console.file = ours
            with suppress(OSError):  # the disk has no room for what others printed
                ours.flush()
            os.dup2(screen.fileno(), STANDARD_ERROR)
