"""Trials in this very process, one after the other: slow, and open to a debugger."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mixopt.workers.executor import Executor
from mixopt.workers.messages import Event, TrialEnd
from mixopt.workers.training import Job, compile_ahead, run_trials
from proxies.recipe import Recipe


class InProcess(Executor[Job]):
    slots = 1

    def __init__(self) -> None:
        self._current: Iterator[Event] | None = None

    def compile(
        self,
        recipe: Recipe,
        remark: Callable[[str], object] = lambda text: None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> str | None:
        return compile_ahead(recipe, members=1)

    def launch(self, job: Job) -> None:
        assert self._current is None, "one job at a time"
        self._current = run_trials([job])

    def events(self) -> Iterator[Event]:
        if self._current is not None:
            event = next(self._current)
            if isinstance(event, TrialEnd):
                self._current = None
            yield event

    def close(self) -> None:
        self._current = None
