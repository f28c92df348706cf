"""What a study's driver is at this moment: a small file in the study's folder, for whoever looks from another terminal.

    driver ──says──▶ Teller ──once a second at most──▶ now.json     ──looks──▶ mixopt status, mixopt watch
                       └──────every ten seconds──────▶ a tag in MLflow, for those who do not see the folder

The journal knows what was decided and measured; phase, how far a running trial is and the time left only the driver
knows. It may be lost, nothing is decided by it, and a disk that takes no more of it ends no study. It counts only while
the driver that wrote it lives: the folder's lock tells.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from mixopt.results.base import Part
from mixopt.results.status import Phase, TrialInTraining
from mixopt.study.progress import Pace, Watcher
from mixopt.study.wishes import driver
from mixopt.workers.messages import TrialProgress, TrialRestart
from proxies.data.corpus import Progress
from search.errors import ExplainedError
from search.fidelity import Fidelity
from search.problem import Standing
from search.trial import Failure, Measurement, Trial
from tracking.whole_file import open_whole

log = logging.getLogger(__name__)

FILE = "now.json"
WRITE_SECONDS = 1.0
# Written anew so often where nothing has changed, so that its age tells whether the driver moves.
ANEW_SECONDS = 10.0
# To MLflow goes what changed in so long.
SHOW_SECONDS = 10.0
# Of running trials; of very many, a tag in MLflow would be too long.
MOST_TOLD = 20


class Now(Part):
    """What a driver says of itself."""

    driver: str
    """As the folder's lock names it."""
    at: float
    """When it said so, in seconds of Unix time, by its own clock."""
    phase: Phase
    doing: str | None = None
    waits: str | None = None
    ended: int | None = None
    expected: int | None = None
    seconds_left: float | None = None
    seconds_left_in_all: float | None = None
    tokens_per_second: float | None = None
    training: tuple[TrialInTraining, ...] = ()

    @classmethod
    def read(cls, text: str | bytes | None) -> Self | None:
        """What was written; None where it is nothing that this version knows."""
        try:
            return None if text is None else cls.model_validate_json(text)
        except ValidationError:
            return None


def now_of(folder: Path, by: str) -> Now | None:
    """What the driver of the study in this folder is at; None where it has not said.

    Args:
        by: who runs the study, as the folder's lock names it: what another one left does not count.
    """
    try:
        found = Now.read((folder / FILE).read_bytes())
    except OSError:
        return None
    return found if found is not None and found.driver == by else None


@dataclass
class _Open:
    """A trial in training, as far as its worker has told."""

    trial: Trial
    began: float
    tokens: int | None = None
    tokens_per_second: float | None = None

    @property
    def flops(self) -> float:
        """That it has been trained for."""
        return self.trial.fidelity.flops * (self.tokens or 0) / self.trial.fidelity.tokens

    def plain(self) -> TrialInTraining:
        total, speed = self.trial.fidelity.tokens, self.tokens_per_second
        left = (total - self.tokens) / speed if self.tokens is not None and speed else None
        return TrialInTraining(
            trial=self.trial.id,
            origin=self.trial.origin,
            proxy=self.trial.fidelity.proxy,
            seed=self.trial.seed,
            tokens=total,
            trained=self.tokens,
            tokens_per_second=speed,
            seconds=round(time.time() - self.began, 1),
            seconds_left=None if left is None else round(left, 1),
        )


class Teller(Watcher):
    """Has what the driver is at written, by a thread of its own; a context, at whose end the file is gone.

    Told of everything that happens, as any watcher, and before that of what comes before the trials. The driver holds
    the folder's lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._driver = ""
        self._lock = threading.Lock()
        self._phase: Phase = "starting"
        self._doing: list[str] = []
        self._waits: str | None = None
        self._pace: Pace | None = None
        self._open: dict[str, _Open] = {}
        self._later_flops = 0.0
        self._show: Callable[[str], None] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="teller", daemon=True)

    def __enter__(self) -> Self:
        self._driver = driver(self._folder) or ""
        self._write(self._now())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        with suppress(OSError):
            (self._folder / FILE).unlink(missing_ok=True)

    def show_by(self, show: Callable[[str], None]) -> None:
        """From now on MLflow has it, too; what `show` raises the driver will see itself."""
        self._show = show

    def enters(self, phase: Phase) -> None:
        """A phase without trials; `busy` says more of it."""
        with self._lock:
            self._phase, self._pace, self._doing = phase, None, []
            self._open.clear()

    def prepares(self, step: Progress) -> None:
        """How far a stage of preparing the text is."""
        with self._lock:
            self._doing = [step.stage + (f", {min(step.done / step.total, 1):.0%}" if step.total else "")]

    def expects(self, later_flops: float) -> None:
        """So many FLOPs are trained after the search, at most."""
        self._later_flops = later_flops

    def begin(self, phase: str, expected: Counter[Fidelity], done: Counter[Fidelity]) -> None:
        with self._lock:
            self._phase = "confirming" if phase == "confirm" else "search"
            self._pace = Pace(phase, expected, done)

    def launched(self, trial: Trial) -> None:
        with self._lock:
            if self._pace is not None:
                self._pace.launched()
            self._open[trial.id] = _Open(trial, time.time())

    def progressed(self, event: TrialProgress) -> None:
        with self._lock:
            if (found := self._open.get(event.trial.id)) is not None:
                found.tokens, found.tokens_per_second = event.tokens, event.tokens_per_second

    def restarted(self, event: TrialRestart) -> None:
        with self._lock:
            if (found := self._open.get(event.trial.id)) is not None:
                found.tokens_per_second = None

    def waits(self, why: str | None) -> None:
        with self._lock:
            self._waits = why

    def paused(self, seconds: float) -> None:
        with self._lock:
            if self._pace is not None:
                self._pace.paused(seconds)

    def closed(self, trial: Trial, outcome: Measurement | Failure, standing: Standing | None) -> None:
        with self._lock:
            if self._pace is not None:
                self._pace.close(trial)
            self._open.pop(trial.id, None)

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        with self._lock:
            self._doing.append(what)
        try:
            yield
        finally:
            with self._lock:
                self._doing = [each for each in self._doing if each != what]

    def _now(self) -> Now:
        with self._lock:
            pace, training = self._pace, [each.plain() for each in self._open.values()]
            partly = sum(each.flops for each in self._open.values())
            left = None if pace is None else pace.seconds(partly)
            # What comes after a search is trained at the same pace.
            later = self._later_flops if self._phase == "search" else 0.0
            then = None if pace is None else pace.seconds_for(later, partly)
            speeds = [each.tokens_per_second for each in training if each.tokens_per_second is not None]
            return Now(
                driver=self._driver,
                at=time.time(),
                phase=self._phase,
                doing=self._doing[-1] if self._doing else None,
                waits=self._waits,
                ended=None if pace is None else pace.done,
                expected=None if pace is None else pace.expected,
                seconds_left=None if left is None else round(left, 1),
                seconds_left_in_all=None if left is None or then is None else round(left + then, 1),
                tokens_per_second=round(sum(speeds), 1) if speeds else None,
                training=tuple(training),
            )

    # What follows runs in the teller's thread.

    def _write_on(self) -> None:
        before, written, shown = None, -inf, -inf
        while not self._ended.wait(WRITE_SECONDS):
            try:
                now, moment = self._now(), time.monotonic()
            except Exception:
                # What is shown of a study is no reason to show nothing more of it.
                log.exception("what the driver is at cannot be told")
                continue
            if (said := _without_time(now)) != before or moment - written > ANEW_SECONDS:
                before, written = said, moment
                self._write(now)
            if self._show is not None and moment - shown > SHOW_SECONDS:
                shown = moment
                short = now.model_copy(update={"training": now.training[:MOST_TOLD]})
                with suppress(ExplainedError):
                    self._show(short.model_dump_json(exclude_none=True))

    def _write(self, now: Now) -> None:
        with suppress(OSError), open_whole(self._folder / FILE, durable=False) as file:
            file.write(now.model_dump_json(exclude_none=True).encode())


def _without_time(now: Now) -> Now:
    """Time goes on by itself: that alone is nothing new."""
    training = tuple(each.model_copy(update={"seconds": None}) for each in now.training)
    still = {"at": 0.0, "seconds_left": None, "seconds_left_in_all": None, "training": training}
    return now.model_copy(update=still)
