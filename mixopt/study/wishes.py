"""What people ask of a study while it runs, from another process: one word in a file beside its journal.

    mixopt pause ──word──▶ asked ◀──looks, twice a second── the driver

The file is written whole, whoever sees the study's folder can write it, and the last word counts. A driver that comes
to an end takes it away; one that dies leaves it to the one that its supervisor starts in its place. Who starts a study
by hand wants it to go on: what was asked before is forgotten.

For a study on a cluster `python -m mixopt.study.wishes WORD STUDY [DIRECTORY]` writes it there.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mixopt.settings.environment import DIRECTORY_VARIABLE, RESTARTED_VARIABLE, studies_folder
from proxies import lock
from proxies.storage import write_whole

if TYPE_CHECKING:
    from mixopt.results.status import Activity

FILE = "asked"
# What a supervisor holds, from when it knows the folder to the study's end.
SUPERVISOR = "supervisor"
LOOK_SECONDS = 0.5
CANCELLED_WITHIN_SECONDS = 60.0
# A study that is stopped in good order makes its answer first.
ANSWER_WITHIN_SECONDS = 900.0


class Wish(StrEnum):
    """What may be asked; `mixopt resume` takes a pause back."""

    PAUSE = "pause"
    """Train what runs to its end, begin nothing, and wait."""
    STOP = "stop"
    """End what runs, which keeps its checkpoints, and answer from what is there."""
    CONFIRM = "stop-and-confirm"
    """As a budget that is spent: train what runs to its end, and confirm the answer."""
    CANCEL = "cancel"
    """End at once, as by Ctrl-C."""


def ask(folder: Path, wish: Wish | None) -> None:
    """Ask something of the study in this folder, or, with None, take back what was asked."""
    if wish is None:
        (folder / FILE).unlink(missing_ok=True)
    else:
        write_whole(folder / FILE, f"{wish}\n".encode())


def asked(folder: Path) -> Wish | None:
    """What is asked of the study in this folder; None where it is nothing, or no word that is known here."""
    try:
        return Wish((folder / FILE).read_text(encoding="utf-8", errors="replace").strip())
    except (FileNotFoundError, ValueError):
        return None


def activity(wish: Wish | None, trains: bool) -> Activity:
    """What a driver is at of which this is asked; `trains`: whether it still trains anything."""
    match wish:
        case None:
            return "running"
        case Wish.PAUSE:
            return "pausing" if trains else "paused"
        case _:
            return "stopping"


def driver(folder: Path) -> str | None:
    """Who runs the study in this folder, in words; None where nobody does."""
    return lock.holder(folder / "lock")


def runner(folder: Path) -> str | None:
    """Who runs the study, or, between two drivers, the supervisor that is about to start it again; None for nobody."""
    return driver(folder) or _supervisor(folder)


def has_ended(folder: Path, run_by: str) -> bool:
    """Whether `run_by`, who was its runner, is so no more, and nobody starts it again."""
    return driver(folder) != run_by and _supervisor(folder) is None


def _supervisor(folder: Path) -> str | None:
    holder = lock.holder(folder / SUPERVISOR)
    return None if holder is None else f"the supervisor ({holder})"


class Wishes(AbstractContextManager["Wishes"]):
    """What is asked of a driver while it runs; it holds the folder's lock.

    Args:
        on_cancel: called once, in a thread, as soon as somebody cancels the study, whatever it does then.

    Attributes:
        latest: what was asked last; None where the study is to go on.
    """

    def __init__(self, folder: Path, on_cancel: Callable[[], None] = lambda: None) -> None:
        self.latest: Wish | None = None
        self._folder = folder
        self._on_cancel = on_cancel
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="wishes", daemon=True)

    def __enter__(self) -> Self:
        if RESTARTED_VARIABLE not in os.environ:
            ask(self._folder, None)
        self.latest = asked(self._folder)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if error is None or isinstance(error, KeyboardInterrupt):
            ask(self._folder, None)

    def _look_on(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self.latest = asked(self._folder)
            except OSError:
                continue  # a volume that is away for a moment; whoever writes the journal has the same trouble
            if self.latest is Wish.CANCEL:
                self._on_cancel()
                return


def main(arguments: list[str]) -> str | None:
    """Returns what is wrong, if something is."""
    word, study, *directory = arguments
    if not directory and DIRECTORY_VARIABLE not in os.environ:
        return f"{DIRECTORY_VARIABLE} is not set on the cluster's head"
    home = studies_folder(*directory)
    folder = home / study
    if runner(folder) is None:
        return f"nobody runs study {study} in {home} at this moment; ask again once it has begun"
    ask(folder, None if word == "resume" else Wish(word))
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
