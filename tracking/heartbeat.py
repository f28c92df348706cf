"""Who runs a study: one driver at a time, shown in MLflow by a number that grows.

A driver that sees the same folder is kept away by the folder's lock. One elsewhere, or with a copy of the folder, finds
the heartbeat of the other and stops before it trains anything. Who was cut off from MLflow for so long that another
took over finds that out with its next heartbeat, and stops. No clocks are compared, nothing has to be broken by hand.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tracking import keys
from tracking.errors import TrackingError
from tracking.mlflow_store import StudyRun

HEARTBEAT_SECONDS = 10.0
# A driver that has shown no heartbeat for so long is dead, or cut off, and finds out by its next one.
SILENT_SECONDS = 25.0


class TakenOver(TrackingError):
    """Another driver runs the study now."""


@dataclass(frozen=True)
class Driver:
    """A driver as the tag of its study shows it.

    Attributes:
        folder: with the journal.
        token: of this very driver.
    """

    host: str
    process: int
    folder: str
    token: str
    beats: int = 0

    @classmethod
    def here(cls, journal: Path) -> Driver:
        """This process, with this journal."""
        folder = str(journal.parent.resolve())
        return cls(socket.gethostname() or "?", os.getpid(), folder, secrets.token_hex(8))

    @classmethod
    def shown(cls, tag: str | None) -> Driver | None:
        """The driver that a tag names; None where it names none."""
        try:
            return cls(**json.loads(tag or "null"))
        except (ValueError, TypeError):
            return None

    @property
    def tag(self) -> str:
        return json.dumps(asdict(self))


def await_silence(run: StudyRun, journal: Path, remark: Callable[[str], None]) -> None:
    """Make sure that no other driver runs the study.

    Args:
        journal: that is, or will be, here: its folder is locked by this process.
        remark: told what is waited for.

    Raises:
        TakenOver: another one runs it.
    """
    last, here = Driver.shown(run.tags.get(keys.DRIVER)), Driver.here(journal)
    if last is None or (last.host, last.folder) == (here.host, here.folder):
        return
    remark(f"study {run.study} was last run on {last.host}: waiting whether its driver is alive")
    deadline = time.monotonic() + SILENT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(min(1.0, SILENT_SECONDS / 10))
        tags = run.current_tags()
        now = Driver.shown(tags.get(keys.DRIVER))
        if now is None:
            run.tags = tags  # it has ended since, and left more
            return
        if now != last:
            raise TakenOver(
                f"study {run.study} is being run by process {now.process} on {now.host}, in {now.folder}",
                hint="wait for it or end it there; mixopt status shows how far it is",
            )


@dataclass
class Heartbeat:
    """A thread of its own, so that no long request holds it up.

    Attributes:
        on_taken_over: told, in that thread, that another driver runs the study now; the thread then ends.
    """

    run: StudyRun
    driver: Driver
    on_taken_over: Callable[[TakenOver], None]
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        """Claim the study; from now on any other driver finds out that it is one too many."""
        self.run.set_tags({keys.DRIVER: self.driver.tag})
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """
        Raises:
            TakenOver: the study is another driver's now.
        """
        now = Driver.shown(self.run.current_tags().get(keys.DRIVER))
        if now is None or now.token != self.driver.token:
            where = "somewhere else" if now is None else f"on {now.host}, in {now.folder}"
            raise TakenOver(
                f"study {self.run.study} was taken over by another driver, {where}; this one stops",
                hint="what it recorded is kept here, and is sent where the study is run here again",
            )

    def end(self) -> None:
        """No more heartbeats; the study can be taken over once they are missed, at once where `release` follows."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def release(self) -> None:
        """Nobody runs the study."""
        self.check()
        self.run.set_tags({keys.DRIVER: ""})

    def _beat_on(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            try:
                self.check()
                self.driver = replace(self.driver, beats=self.driver.beats + 1)
                self.run.set_tags({keys.DRIVER: self.driver.tag})
            except TakenOver as error:
                self.on_taken_over(error)
                return
            except TrackingError:
                continue  # whoever sends entries has the same trouble, and tells
