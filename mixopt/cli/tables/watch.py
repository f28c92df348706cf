"""What `mixopt watch` shows: the same as `mixopt status`, drawn, or as lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from mixopt.base.console import Hanging, note
from mixopt.cli.tables.status import (
    PHASES,
    at,
    best_line,
    counted,
    done,
    job_lines,
    lately_table,
    outcome,
    standing,
)
from mixopt.cli.tables.table import asked_for_by
from mixopt.results.jobs import Job, JobAlone, JobWithTrials
from mixopt.results.status import BestSoFar, EndedTrial, Status, StatusFields
from mixopt.settings.units import show_duration

BAR_WIDTH = 20
PLOT_HEIGHT = 6
PLOT_WIDTH = 60
# Lines that everything but the trials in training takes, as a rule.
OTHER_LINES = 20
LATELY = 3
MOST_SHARES = 6


@dataclass
class View:
    """What is drawn; whoever looks puts something newer in its place.

    Attributes:
        trouble: why what is seen is that of before; None where it is not.
    """

    seen: Status | JobWithTrials | JobAlone
    trouble: str | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        seen = self.seen
        if isinstance(seen, Job):
            yield from job_lines(seen)
        if isinstance(seen, JobAlone):
            yield note(seen.note)
        else:
            yield from _drawn(seen, max(console.size.height - OTHER_LINES, 2))
        if self.trouble is not None:
            yield note(f"{self.trouble}; shown is what was known before")
        if getattr(seen, "activity", None) != "ended":
            yield Text("Ctrl-C leaves; the study goes on", style="dim")


def _drawn(status: StatusFields, most_training: int) -> Iterator[RenderableType]:
    yield from standing(status)
    yield from best_line(status.best)
    yield Text()
    yield _bars(status, most_training)
    if status.best is not None and Curve(status.best).is_worth_a_look:
        yield Text()
        yield Curve(status.best)
    if status.lately:
        yield Text()
        yield lately_table(status.lately[-LATELY:])
    failed = status.trials.failed.total
    if failed:
        yield Text(f"{failed} {'trial has' if failed == 1 else 'trials have'} failed", style="red")


def _bars(status: StatusFields, most: int) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for _ in range(4):
        table.add_column(no_wrap=True, overflow="ellipsis")
    if (progress := status.progress) is not None:
        name, ended = PHASES[status.phase] if status.phase else "", f"{progress.ended}/{progress.expected} trials"
        table.add_row(Text(name, style="bold"), _bar(progress.ended, progress.expected), ended)
    for each in status.training[:most]:
        left = "" if each.seconds_left is None else f"{show_duration(each.seconds_left)} left"
        who = f"{each.trial[:6]} {asked_for_by(each.origin)}"
        table.add_row(who, _bar(each.trained or 0, each.tokens), done(each), left)
    more = len(status.training) - most
    return Group(table, Text(f"and {more} more in training")) if more > 0 else table


def _bar(completed: float, total: float) -> Text:
    """Without colours, or Unicode, what is done differs from what is left as well."""
    filled = min(int(BAR_WIDTH * completed / total), BAR_WIDTH) if total else BAR_WIDTH
    return Text.assemble(("\u2588" * filled, "cyan"), ("\u2500" * (BAR_WIDTH - filled), "dim"))


@dataclass(frozen=True)
class Curve:
    """The best so far over the trials of the target, and the best baseline as a line."""

    best: BestSoFar

    @property
    def is_worth_a_look(self) -> bool:
        """Whether there is more than one value to be seen."""
        return len({each.objective for each in self.best.improvements} | {self.best.baseline_objective}) > 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        best, plain = self.best, options.ascii_only
        known = [each.objective for each in best.improvements]
        values = [*known, *([] if best.baseline_objective is None else [best.baseline_objective])]
        top, bottom = max(values), min(values)
        labels = [f"{top:.4f}", f"{bottom:.4f}"]
        margin = max(map(len, labels))
        width = max(min(options.max_width - margin - 2, PLOT_WIDTH), 10)

        def row_of(value: float) -> int:
            return round((top - value) / (top - bottom) * (PLOT_HEIGHT - 1)) if top > bottom else PLOT_HEIGHT - 1

        cells = [[" "] * width for _ in range(PLOT_HEIGHT)]
        if best.baseline_objective is not None:
            cells[row_of(best.baseline_objective)] = ["-" if plain else "\u2500"] * width
        for column in range(width):
            trials = 1 + column * (best.of - 1) / max(width - 1, 1)
            value = [each.objective for each in best.improvements if each.after <= trials + 1e-9][-1]
            cells[row_of(value)][column] = "*" if plain else "\u2022"
        for row, line in enumerate(cells):
            label = labels[0] if row == 0 else labels[1] if row == PLOT_HEIGHT - 1 else ""
            yield Text(f"{label:>{margin}} {''.join(line)}", no_wrap=True)
        beside = f", line: {best.baseline}" if best.baseline else ""
        yield Text(f"{'':>{margin}} the best of 1 to {best.of} trials{beside}", style="dim", no_wrap=True)


def changes(before: Status | JobWithTrials | JobAlone | None, seen: Status | JobWithTrials | JobAlone) -> list[str]:
    """What is new, a line each."""
    said = []
    if isinstance(seen, Job) and (not isinstance(before, Job) or before.state != seen.state):
        said.append(f"study {seen.study}: {seen.job} is {seen.state.lower()}")
    if isinstance(seen, JobAlone):
        return said + ([seen.note] if not isinstance(before, JobAlone) or before.note != seen.note else [])
    was = before if isinstance(before, StatusFields) else None
    if was is None or (was.activity, was.driver) != (seen.activity, seen.driver):
        said.append(f"study {seen.study} {at(seen)}")
    if seen.phase not in (None, "ended") and (was is None or was.phase != seen.phase):
        said.append(f"{PHASES[seen.phase]}{counted(seen)}")
    said += [text for name in ("doing", "waits") if (text := getattr(seen, name)) and getattr(was, name, None) != text]
    known = set() if was is None else {each.trial for each in was.lately}
    # Of what ended before anybody looked, the last few.
    ended = [each for each in seen.lately if each.trial not in known]
    said += [_line(each, seen) for each in (ended[-LATELY:] if was is None else ended)]
    if seen.best is not None and was is not None and (was.best is None or was.best.trial != seen.best.trial):
        said += [f"best so far: {seen.best.objective:.4f} ({seen.best.trial[:6]}, {seen.best.origin})"]
    return said


def _line(trial: EndedTrial, status: StatusFields) -> str:
    failures = {each.trial: f"{each.kind}: {each.message}" for each in status.failures}
    what = outcome(trial).plain
    if trial.state == "failed":
        what = f"failed: {failures.get(trial.trial, '')}"
    elif trial.objective is not None:
        what = f"objective {what}"
    parts = [f"{trial.trial[:6]} {trial.origin}", trial.proxy, what, show_duration(trial.seconds)]
    if (progress := status.progress) is not None:
        parts.insert(0, f"[{progress.ended}/{progress.expected}]")
    return "  ".join(parts)


def end(seen: Status | JobWithTrials | JobAlone, called: str) -> RenderableType:
    """What is said when there is nothing more to watch: the answer's first lines, where it is one."""
    if isinstance(seen, JobAlone):
        return Group(*job_lines(seen), note(seen.note))
    if seen.answer is None or seen.activity != "ended":
        if seen.activity == "ended":
            said = f"study {seen.study} has ended without an answer; mixopt logs {called} shows what happened"
        else:
            said = f"nobody runs study {seen.study} any more, and it is not at its end; mixopt logs {called} shows why"
        return Group(*(job_lines(seen) if isinstance(seen, Job) else ()), Hanging("", said))
    shares = sorted(seen.answer.mixture.items(), key=lambda each: -each[1])
    largest = ", ".join(f"{name} {share:.1%}" for name, share in shares[:MOST_SHARES])
    more = f", {len(shares) - MOST_SHARES} more" if len(shares) > MOST_SHARES else ""
    return Group(
        Text(f"\nThe answer of study {seen.study}", style="bold"),
        Hanging("", f"{largest}{more}"),
        Hanging("", seen.answer.verdict, "bold"),
        Text(f"all of it: mixopt best {called}"),
    )
