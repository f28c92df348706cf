"""What a person sees while a study works: live bars in a terminal, a line for each trial elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from mixopt.settings.units import show_count, show_duration
from mixopt.workers.messages import TrialProgress, TrialRestart
from search.fidelity import Fidelity
from search.problem import Standing
from search.seeds import is_of_search
from search.trial import Failure, Measurement, Trial


class Watcher(AbstractContextManager["Watcher"]):
    """Told of everything that happens; this one keeps quiet."""

    def begin(self, phase: str, expected: Counter[Fidelity], done: Counter[Fidelity]) -> None:
        """A phase of at most so many trials begins, or goes on after those that are done."""

    def launched(self, trial: Trial) -> None: ...

    def progressed(self, event: TrialProgress) -> None: ...

    def restarted(self, event: TrialRestart) -> None: ...

    def remark(self, text: str) -> None:
        """Something that a careful reader wants to know."""

    def waits(self, why: str | None) -> None:
        """Until something else is said, the study waits for machines, and this is why; None: no longer."""

    def paused(self, seconds: float) -> None:
        """A pause of so long has ended, in which nothing was trained."""

    def closed(self, trial: Trial, outcome: Measurement | Failure, standing: Standing | None) -> None: ...

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Around what takes a while and trains nothing."""
        yield

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Several(Watcher):
    """Tells several watchers; whoever made them enters and leaves them."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def begin(self, phase: str, expected: Counter[Fidelity], done: Counter[Fidelity]) -> None:
        for watcher in self._watchers:
            watcher.begin(phase, expected, done)

    def launched(self, trial: Trial) -> None:
        for watcher in self._watchers:
            watcher.launched(trial)

    def progressed(self, event: TrialProgress) -> None:
        for watcher in self._watchers:
            watcher.progressed(event)

    def restarted(self, event: TrialRestart) -> None:
        for watcher in self._watchers:
            watcher.restarted(event)

    def remark(self, text: str) -> None:
        for watcher in self._watchers:
            watcher.remark(text)

    def waits(self, why: str | None) -> None:
        for watcher in self._watchers:
            watcher.waits(why)

    def paused(self, seconds: float) -> None:
        for watcher in self._watchers:
            watcher.paused(seconds)

    def closed(self, trial: Trial, outcome: Measurement | Failure, standing: Standing | None) -> None:
        for watcher in self._watchers:
            watcher.closed(trial, outcome, standing)

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        with ExitStack() as all_of_them:
            for watcher in self._watchers:
                all_of_them.enter_context(watcher.busy(what))
            yield


class _TimeLeft(ProgressColumn):
    """Time left, from the tasks' own `left` field."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        return Text("" if left is None else f"{show_duration(left)} left", style="cyan")


def _columns() -> list[ProgressColumn]:
    return [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        _TimeLeft(),
    ]


class Pace:
    """Time left of a phase, from the FLOPs of its trials: they differ in cost far more than in FLOPs a second.

    Args:
        phase: search or confirm.
        done: of the trials that are expected, those from before the phase began.
    """

    def __init__(self, phase: str, expected: Counter[Fidelity], done: Counter[Fidelity]) -> None:
        self.expected = expected.total()
        self._is_search = phase == "search"
        self._left = expected - done
        self._began: float | None = None
        self._done_flops = 0.0

    @property
    def done(self) -> int:
        """Trials, those from before the phase began included."""
        return self.expected - self._left.total()

    def launched(self) -> None:
        """The first trial begins: what came before, such as compiling, is no trial's time."""
        self._began = self._began or time.monotonic()

    def paused(self, seconds: float) -> None:
        """So long nothing was trained, and nothing was to be."""
        if self._began is not None:
            self._began += seconds

    def counts(self, trial: Trial) -> bool:
        """Whether it is one of the phase's own: a confirmation that was interrupted goes on while the search begins."""
        return is_of_search(trial.seed) == self._is_search

    def close(self, trial: Trial) -> None:
        if self.counts(trial) and self._left[trial.fidelity] > 0:
            self._left[trial.fidelity] -= 1
        self._done_flops += trial.fidelity.flops

    def seconds(self, partly: float = 0.0) -> float | None:
        """Seconds left, at most; `partly` FLOPs of the running trials are done as well."""
        left = sum(fidelity.flops * count for fidelity, count in self._left.items())
        return self.seconds_for(max(left - partly, 0.0), partly)

    def seconds_for(self, flops: float, partly: float = 0.0) -> float | None:
        """Seconds that so many FLOPs take at this pace; None before anything is known of it."""
        done = self._done_flops + partly
        if done <= 0 or self._began is None:
            return None
        return flops * (time.monotonic() - self._began) / done


class _Printing(Watcher):
    """What both kinds of watcher print as lines, and the pace that both show."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._pace = Pace("search", Counter(), Counter())

    def paused(self, seconds: float) -> None:
        self._pace.paused(seconds)

    def restarted(self, event: TrialRestart) -> None:
        self.remark(f"{describe(event.trial)}  start {event.start}, from its checkpoint: {event.reason}")

    def remark(self, text: str) -> None:
        self.console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


class LineWatcher(_Printing):
    """One line for each closed trial: for logs, and terminals that cannot move their cursor."""

    def begin(self, phase: str, expected: Counter[Fidelity], done: Counter[Fidelity]) -> None:
        self._pace = Pace(phase, expected, done)
        already = f", {self._pace.done} of them already done" if self._pace.done else ""
        self.console.print(f"{phase}: at most {self._pace.expected} trials{already}")

    def launched(self, trial: Trial) -> None:
        self._pace.launched()

    def closed(self, trial: Trial, outcome: Measurement | Failure, standing: Standing | None) -> None:
        self._pace.close(trial)
        left = self._pace.seconds()
        speed = None
        if isinstance(outcome, Measurement):
            speed = (outcome.stopped_at or trial.fidelity.tokens) / outcome.seconds
        parts = [
            f"[{self._pace.done}/{self._pace.expected}]" if self._pace.counts(trial) else "",
            describe(trial),
            describe_outcome(outcome, standing),
            f"{outcome.seconds:.1f} s",
            f"{show_count(speed)} tokens/s" if speed else "",
            f"{show_duration(left)} left" if left else "",
        ]
        self.console.print("  ".join(filter(None, parts)), markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        self.console.print(what)
        yield


class LiveWatcher(_Printing):
    """A bar for the phase, one below it for each running trial, and failures as lines above."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._progress = Progress(
            *_columns(),
            TextColumn("{task.fields[note]}"),
            console=console,
            # Of what others print nothing is shown among the bars.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._phase: TaskID | None = None
        self._bars: dict[str, TaskID] = {}
        self._best: dict[str, Standing] = {}
        self._partly: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, phase: str, expected: Counter[Fidelity], done: Counter[Fidelity]) -> None:
        self._best = {}
        self._pace = Pace(phase, expected, done)
        self._phase = self._progress.add_task(f"[bold]{phase}", total=self._pace.expected, done="", left=None, note="")
        self._refresh()

    def launched(self, trial: Trial) -> None:
        self._pace.launched()
        self._bars[trial.id] = self._progress.add_task(
            f"  {describe(trial)}", total=trial.fidelity.tokens, done="starts", left=None, note=""
        )

    def progressed(self, event: TrialProgress) -> None:
        trial = event.trial
        self._partly[trial.id] = trial.fidelity.flops * event.tokens / trial.fidelity.tokens
        self._progress.update(
            self._bars[trial.id],
            completed=event.tokens,
            done=f"{show_count(event.tokens)} tokens",
            left=(trial.fidelity.tokens - event.tokens) / max(event.tokens_per_second, 1e-9),
            note=f"loss {event.training_loss:.3f}  {show_count(event.tokens_per_second)} tokens/s",
        )
        self._refresh()

    def closed(self, trial: Trial, outcome: Measurement | Failure, standing: Standing | None) -> None:
        self._pace.close(trial)
        self._partly.pop(trial.id, None)
        self._progress.remove_task(self._bars.pop(trial.id))
        if isinstance(outcome, Failure):
            line = f"{describe(trial)} {describe_outcome(outcome, None)}"
            self.console.print(line, style="red", markup=False, highlight=False)
        elif standing is not None:
            proxy = trial.fidelity.proxy
            self._best[proxy] = min(standing, self._best.get(proxy, standing), key=lambda each: each.order)
        self._refresh()

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        task = self._progress.add_task(f"[bold]{what}", total=None, done="", left=None, note="")
        yield
        self._progress.remove_task(task)

    def _refresh(self) -> None:
        assert self._phase is not None, "begin comes first"
        self._progress.update(
            self._phase,
            completed=self._pace.done,
            done=f"{self._pace.done}/{self._pace.expected} trials",
            left=self._pace.seconds(sum(self._partly.values())),
            note="  ".join(f"best {proxy} {best.objective:.3f}" for proxy, best in self._best.items()),
        )


def describe(trial: Trial) -> str:
    return f"{trial.origin} · {trial.fidelity.proxy} · seed {trial.seed} · {trial.id[:6]}"


def describe_outcome(outcome: Measurement | Failure, standing: Standing | None) -> str:
    if isinstance(outcome, Failure):
        return f"failed: {outcome.kind.value}: {outcome.message}"
    if outcome.stopped_at is not None:
        return f"stopped as hopeless after {show_count(outcome.stopped_at)} tokens"
    if standing is None:
        return "done"
    return f"objective {standing.objective:.4f}" + ("" if standing.allowed else ", worse than allowed in a metric")


def watcher_for(console: Console) -> Watcher:
    return LiveWatcher(console) if console.is_terminal else LineWatcher(console)
