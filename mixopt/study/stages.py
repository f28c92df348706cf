"""Progress of what comes before the loop: bars for preparing text, or for fits."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    Progress,
    TaskID,
)

from mixopt.base.console import note
from mixopt.settings.units import show_count
from mixopt.study.progress import _columns


class Stages(AbstractContextManager["Stages"]):
    """Bars for the stages of preparation, one after the other; a line for each where the cursor cannot move."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            *_columns(),
            console=console,
            disable=not console.is_terminal,
        )
        self._stage: TaskID | None = None
        self._name = ""
        self._began = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        self._progress.stop()

    def advance(self, stage: str, done: int, total: int | None, unit: str) -> None:
        """How far a stage is; `total` is None where it is not known."""
        if self._stage is None or stage != self._name:
            self._finish()
            self._name, self._began = stage, time.monotonic()
            self._stage = self._progress.add_task(stage, total=total, done="", left=None)
            if not self._console.is_terminal:
                self._console.print(stage, highlight=False)
        elapsed = time.monotonic() - self._began
        left = elapsed * (total - done) / done if total and done else None
        rate = f" · {show_count(done / elapsed)} {unit}/s" if elapsed > 1 else ""
        of_all = f"/{show_count(total)}" if total else ""
        shown = f"{show_count(done)}{of_all} {unit}{rate}" if done else ""
        self._progress.update(self._stage, completed=done, total=total, done=shown, left=left)

    def say(self, line: str) -> None:
        """A line above the bars."""
        self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def say_note(self, text: str) -> None:
        """A note above the bars."""
        self._progress.console.print(note(text), soft_wrap=True)

    def _finish(self) -> None:
        """The stage before is over, whatever its total was estimated at."""
        if self._stage is not None:
            self._progress.update(self._stage, completed=1, total=1, left=None)
