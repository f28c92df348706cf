"""What people see of trials that they train themselves."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from mixopt.base.console import note
from mixopt.cli.tables.table import plain_table
from mixopt.results.turns import AskedTrials, AttachedRuns, ToldTrials
from mixopt.settings.units import show_count

# Of a trial, by its domains of the largest shares.
MOST_NAMED = 3


def asked_table(asked: AskedTrials) -> RenderableType:
    if not asked.trials:
        return Text(_none(asked))
    table = plain_table("trial", "purpose", "proxy", ">tokens", ">seed", "shares")
    for trial in asked.trials:
        largest = sorted(trial.weights.items(), key=lambda share: -share[1])
        shown = ", ".join(f"{name} {share:.1%}" for name, share in largest[:MOST_NAMED])
        more = f", {len(largest) - MOST_NAMED} more" if len(largest) > MOST_NAMED else ""
        table.add_row(
            trial.trial, trial.purpose, trial.proxy, show_count(trial.tokens), str(trial.seed), f"{shown}{more}"
        )
    metrics = ", ".join(asked.trials[0].metrics)
    before = len(asked.trials) - asked.new
    return Group(
        table,
        *([note(_given_before(before, asked.client))] if before else []),
        Text(f"for {asked.client}; all shares: --json, or files: --output FOLDER"),
        Text(f"then: mixopt tell STUDY TRIAL --losses losses.json     (of {metrics})"),
    )


def _given_before(count: int, client: str) -> str:
    were = "1 trial was" if count == 1 else f"{count} trials were"
    return (
        f"{were} given to {client} before, and not told of yet: where another worker trains them, ask with a name of "
        "its own, --client NAME"
    )


def _none(asked: AskedTrials) -> str:
    if asked.halted is not None:
        verdict = f": {asked.verdict}" if asked.verdict else ""
        return f"study {asked.study} is {asked.halted}, and gives out no trials{verdict} (mixopt resume goes on)"
    if asked.ended:
        return f"nothing is left to train: {asked.verdict}"
    return f"nothing to train before others are told: {asked.others} trials are open for other clients"


def told_table(told: ToldTrials) -> RenderableType:
    lines = [f"recorded {len(told.recorded)}" + (f", {len(told.known)} known before" if told.known else "")]
    lines[0] += f"; {told.still_open} {'trial is' if told.still_open == 1 else 'trials are'} open"
    lines += [f"recorded as failed: {trial} ({why})" for trial, why in told.failed.items()]
    lines += [*told.left_out]
    if told.ended:
        lines.append(f"the study has its answer: {told.verdict}")
    return Text("\n".join(lines))


def attached_table(attached: AttachedRuns) -> RenderableType:
    known = f", {attached.known} were attached before" if attached.known else ""
    return Text("\n".join([f"{len(attached.attached)} runs are trials of the study now{known}", *attached.left_out]))
