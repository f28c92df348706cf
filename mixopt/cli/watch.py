"""A study as it goes, from another terminal: `mixopt watch`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from mixopt.base.console import err, out
from mixopt.base.interrupt import INTERRUPTED
from mixopt.cli import cluster
from mixopt.cli.arguments import STUDY, Address
from mixopt.settings.schema import STUDY_FILE
from search.errors import ExplainedError

if TYPE_CHECKING:
    from mixopt.results.jobs import JobAlone, JobWithTrials
    from mixopt.results.status import Status

    Seen = Status | JobWithTrials | JobAlone

app = typer.Typer()

LOOK_SECONDS = 1.0
# What somebody else has to be asked for.
ASK_SECONDS = 5.0
# To look takes no more than this part of the time: a long journal is read as a whole.
LOOKING_SHARE = 0.2
# A driver that died may be started again by its supervisor.
GONE_SECONDS = 10.0
# Of what ended between two looks; a line each, where nothing can be drawn.
MOST_LINES = 1000
NO_ANSWER = 1  # exit status


@app.command(
    epilog="Examples:\n\nmixopt watch study.yaml\n\nmixopt watch my-study --address http://head:8265",
    rich_help_panel=STUDY,
)
def watch(study: cluster.StudyOrName = str(STUDY_FILE), address: Address = None) -> None:
    """Watch a study until it ends: what runs, the best so far, the time left; Ctrl-C leaves, and the study goes on.

    Where the output is no terminal, a line for each change. Exit status 1 where it did not end with an answer.
    """
    try:
        last = _shown(study, address) if out.is_terminal else _told(study, address)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    _show_end(last, study)
    if not has_answer(last):
        raise typer.Exit(NO_ANSWER)


def _shown(study: str, address: str | None) -> Seen:
    """Drawn again and again. Returns what was seen last."""
    from rich.live import Live

    from mixopt.cli.tables.watch import View

    with err.status("looking"):
        looks = _looks(study, address)
        seen, trouble = next(looks)
    view = View(seen, trouble)
    try:
        with Live(view, console=out, refresh_per_second=2):
            for view.seen, view.trouble in looks:
                pass
    finally:
        out.show_cursor()  # also where Ctrl-C came while the first picture was drawn
    return view.seen


def _told(study: str, address: str | None) -> Seen:
    """As lines. Returns what was seen last."""
    from mixopt.cli.tables.watch import changes

    before: Seen | None = None
    said: str | None = None
    for seen, trouble in _looks(study, address):
        for line in changes(before, seen):
            out.print(line, soft_wrap=True)
        if trouble is not None and trouble != said:
            err.print(trouble, soft_wrap=True)
        before, said = seen, trouble
    assert before is not None, "the first look is always told"
    return before


def _looks(study: str, address: str | None) -> Iterator[tuple[Seen, str | None]]:
    """What is seen, until the study has ended or nobody runs it, and why it is that of before, where it is.

    Raises:
        ConfigError, TrackingError: already the first look sees nothing.
    """
    seen: Seen | None = None
    gone_since: float | None = None
    while True:
        began, trouble = time.monotonic(), None
        try:
            seen = cluster.look(study, address, MOST_LINES)
        except ExplainedError as error:
            if seen is None:
                raise
            trouble = error.message
        assert seen is not None
        yield seen, trouble
        now = time.monotonic()
        if trouble is None and is_over(seen):
            return
        gone_since = (gone_since or now) if trouble is None and is_gone(seen) else None
        if gone_since is not None and now - gone_since > GONE_SECONDS:
            return
        took, least = now - began, LOOK_SECONDS if getattr(seen, "driver", None) else ASK_SECONDS
        time.sleep(max(LOOK_SECONDS if gone_since else least, took / LOOKING_SHARE))


def is_over(seen: Seen) -> bool:
    state = getattr(seen, "state", None)
    return getattr(seen, "activity", None) == "ended" or state in ("SUCCEEDED", "FAILED", "STOPPED")


def is_gone(seen: Seen) -> bool:
    """Whether nobody runs it, though it is not at its end."""
    return getattr(seen, "activity", None) == "interrupted"


def has_answer(seen: Seen) -> bool:
    if getattr(seen, "state", "SUCCEEDED") != "SUCCEEDED":
        return False
    return seen.trials is None or (seen.activity == "ended" and seen.answer is not None)


def _show_end(seen: Seen, study: str) -> None:
    from mixopt.cli.tables.watch import end

    out.print(end(seen, study), soft_wrap=not out.is_terminal)
