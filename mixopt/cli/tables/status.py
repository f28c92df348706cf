"""How far a study is, as a person sees it: `mixopt status`, and what `mixopt watch` shows again and again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mixopt.base.console import Hanging, note
from mixopt.cli.tables.reused import reused_table
from mixopt.cli.tables.table import asked_for_by, plain_table
from mixopt.results.jobs import Job, JobAlone, JobList, JobWithTrials
from mixopt.results.status import Activity, BestSoFar, EndedTrial, NoiseFloor, Phase, StatusFields, TrialInTraining
from mixopt.settings.units import show_count, show_duration
from search.objective import UNITS
from search.problem import BASELINE

# What stands in Ray's explanation before the end of a log.
LOGS = ", last available logs"
# Noise that rests on fewer degrees of freedom may well be half or twice what it seems.
ROUGH = 5
# A driver that moves is not silent for so long, in its folder or in MLflow.
SILENT_SECONDS = 60.0
# Of trials in training, and of failures; the others are in mixopt trials.
MOST_TRAINING = 8
MOST_FAILURES = 5
ACTIVITIES: Mapping[Activity, str] = MappingProxyType(
    {
        "running": "is being run",
        "pausing": "is pausing: what runs is trained to its end, then it waits for mixopt resume",
        "paused": "is paused: it waits for mixopt resume",
        "stopping": "is stopping",
        "waiting": "waits for its trials to be asked for (mixopt ask) and told of (mixopt tell)",
        "interrupted": "is not being run, and not at its end",
        "ended": "has ended",
    }
)
PHASES: Mapping[Phase, str] = MappingProxyType(
    {
        "starting": "starting",
        "preparing": "preparing the text",
        "search": "search",
        "confirming": "confirming",
        "finishing": "finishing: the answer is there",
        "ended": "ended",
    }
)


def status_table(status: StatusFields, called: str = "study.yaml") -> RenderableType:
    """
    Args:
        called: how the study is named to commands.
    """
    parts: list[RenderableType] = [*standing(status), *best_line(status.best)]
    if status.training:
        parts += [Text(), training_table(status.training)]
    if status.lately and status.activity != "ended":
        parts += [Text(), lately_table(status.lately)]
    parts += [Text(), _counts_table(status), Text(), *_spent(status)]
    parts += [*failures(status, called), *queue_lines(status)]
    verdict = [Hanging("answer: ", status.answer.verdict)] if status.answer else [Text("no answer yet")]
    return Group(
        *parts, *verdict, *reused_table(status.reused), *map(note, status.slower), *map(note, status.pool_changes)
    )


def standing(status: StatusFields) -> list[RenderableType]:
    """Who runs it, what that is at, how far it is, and as of when all this is known."""
    lines: list[RenderableType] = [Text(f"study {status.study} {at(status)}{_age(status)}", style="bold")]
    if status.phase not in (None, "ended"):
        lines.append(Hanging("", f"{PHASES[status.phase]}{counted(status)}"))
    if status.doing:
        lines.append(Hanging("at the moment: ", status.doing))
    if status.waits:
        lines.append(Hanging("waits: ", status.waits, "yellow"))
    if status.mlflow_away is not None:
        lines.append(Hanging("", status.mlflow_away, "yellow"))
    if (silent := _silent_seconds(status)) is not None:
        silence = f"its driver has said nothing for {show_duration(silent)}"
        lines.append(note(f"{silence}: it stands still, or cannot be seen from here"))
    return lines


def at(status: StatusFields) -> str:
    if status.activity is None:
        return "is recorded"
    by = f" by {status.driver}" if status.driver and status.activity == "running" else ""
    return f"{ACTIVITIES[status.activity]}{by}"


def _age(status: StatusFields) -> str:
    age = age_seconds(status.known_at)
    if age is None:
        return ""
    return f", {'last recorded' if status.activity in ('ended', 'interrupted', None) else 'as of'} {ago(age)}"


def _silent_seconds(status: StatusFields) -> float | None:
    """For how long the driver said nothing, where it should have."""
    age = age_seconds(status.known_at)
    goes_on = status.activity in ("running", "pausing", "stopping")
    return age if goes_on and age is not None and age > SILENT_SECONDS else None


def age_seconds(moment: str | None) -> float | None:
    """How long ago a moment was; by clocks that do not agree, it may be yet to come."""
    return None if moment is None else max(time.time() - datetime.fromisoformat(moment).timestamp(), 0.0)


def ago(seconds: float) -> str:
    return "just now" if seconds < 1.5 else f"{show_duration(seconds)} ago"


def counted(status: StatusFields) -> str:
    found = status.progress
    if found is None:
        return ""
    said = f": {found.ended} of at most {found.expected} trials have ended"
    if status.activity in ("interrupted", "paused"):
        return said
    if found.tokens_per_second is not None:
        said += f", {show_count(found.tokens_per_second)} tokens/s"
    if found.seconds_left is not None:
        said += f", at most {show_duration(found.seconds_left)} left"
        if found.seconds_left_in_all and show_duration(found.seconds_left_in_all) != show_duration(found.seconds_left):
            said += f" ({show_duration(found.seconds_left_in_all)} with the confirmation)"
    return said


def best_line(best: BestSoFar | None) -> list[RenderableType]:
    """The best so far beside the best baseline, and how much of that one run each could show."""
    if best is None:
        return []
    said = f"{best.objective:.4f} {UNITS[best.unit]} ({best.trial[:6]}, {best.origin})"
    if not best.allowed:
        said += ", worse than allowed in a metric, as all are"
    if best.origin == f"{BASELINE}{best.baseline}":
        said += f"; none of {best.of} trials was lower than this baseline"
    elif best.difference is not None and best.baseline is not None:
        way = "below" if best.difference < 0 else "above"
        said += f", {abs(best.difference):.4f} {way} {best.baseline}, the best baseline"
        if best.resolves is not None:
            said += f" (one run each; such show {best.resolves:.4f} or more)"
        else:
            said += " (one run each; their noise is not known yet)"
    return [Hanging("best so far: ", said)]


def training_table(trials: tuple[TrialInTraining, ...], most: int = MOST_TRAINING) -> RenderableType:
    table = plain_table("in training", "asked for by", "proxy", ">done", ">tokens/s", ">left")
    for each in trials[:most]:
        table.add_row(
            each.trial[:6],
            asked_for_by(each.origin),
            each.proxy,
            done(each),
            "" if each.tokens_per_second is None else show_count(each.tokens_per_second),
            "" if each.seconds_left is None else show_duration(each.seconds_left),
        )
    more = len(trials) - most
    return Group(table, Text(f"and {more} more")) if more > 0 else table


def done(trial: TrialInTraining) -> str:
    of = f"of {show_count(trial.tokens)}"
    return f"? {of}" if trial.trained is None else f"{trial.trained / trial.tokens:.0%} {of}"


def lately_table(trials: tuple[EndedTrial, ...]) -> Table:
    table = plain_table("ended last", "asked for by", "proxy", "outcome", ">took", ">when")
    for each in reversed(trials):
        age = age_seconds(each.ended)
        table.add_row(
            each.trial[:6],
            asked_for_by(each.origin),
            each.proxy,
            outcome(each),
            show_duration(each.seconds),
            "" if age is None else ago(age),
        )
    return table


def outcome(trial: EndedTrial) -> Text:
    if trial.state == "failed":
        return Text("failed", style="red")
    if trial.state == "stopped":
        return Text("stopped as hopeless")
    return Text("measured" if trial.objective is None else f"{trial.objective:.4f}")


def _counts_table(status: StatusFields) -> Table:
    proxies = sorted({proxy for count in status.trials.by_name.values() for proxy in count.by_proxy})
    table = plain_table("trials", *(f">{proxy}" for proxy in proxies), ">all")
    for state, count in status.trials.by_name.items():
        table.add_row(state, *(str(count.by_proxy.get(proxy, 0)) for proxy in proxies), str(count.total))
    return table


def _spent(status: StatusFields) -> list[RenderableType]:
    said = [f"{status.flops:.3g} FLOPs in {show_duration(status.training_seconds)} of training"]
    if status.time_budget is not None:
        said.append(_of_the_time(status.search_seconds or 0.0, status.time_budget, status))
    if status.restarts:
        said.append(f"trials went on from a checkpoint {status.restarts} times, after their worker had died")
    if status.noise is not None:
        said.append(_noise(status.noise))
    return [Hanging("", each) for each in said]


def _of_the_time(seconds: float, budget: float, status: StatusFields) -> str:
    """How much of `budget.time` the search has taken, and how far the rest will reach."""
    said = f"the search has taken {show_duration(seconds)} of the {show_duration(budget)} that budget.time gives it"
    found = status.progress
    if seconds >= budget or status.phase != "search" or found is None or not found.seconds_left:
        return said
    left = found.expected - found.ended
    fit = int(left * min(1.0, (budget - seconds) / found.seconds_left))
    return said if fit == left else f"{said}: about {found.ended + fit} of its {found.expected} trials fit into that"


def _noise(noise: NoiseFloor) -> str:
    rough = ", a rough guess yet" if noise.freedom < ROUGH else ""
    return (
        f"a run of one mixture is off by {noise.objective.run_sd:.4f} ({noise.mixtures} mixtures with several "
        f"seeds{rough}), on these documents: {noise.seeds} seeds show differences from {noise.resolves:.4f} up, "
        f"{noise.seeds_for_half} would show half of that"
    )


def failures(status: StatusFields, called: str) -> list[RenderableType]:
    """What failed, and how to see more of it."""
    told = [
        Hanging("failed: ", f"{each.trial} ({each.origin}): {each.kind}: {each.message}", "red")
        for each in status.failures[-MOST_FAILURES:]
    ]
    if not told:
        return []
    more = len(status.failures) - len(told)
    others = f"; {more} more: mixopt trials {called} --failed" if more > 0 else ""
    return [*told, Hanging("        ", f"see why: mixopt logs {called} --trial {status.failures[-1].trial}{others}")]


def queue_lines(status: StatusFields) -> list[RenderableType]:
    """What was queued and is not trained, and why; how much of the rest there is."""
    lines: list[RenderableType] = [
        Hanging("queued: ", f"{each.named} {'failed' if each.state == 'failed' else 'is not trained'}: {each.why}")
        for each in status.queue
        if each.state in ("failed", "left_out")
    ]
    counts = Counter(each.state for each in status.queue if each.state not in ("failed", "left_out"))
    if counts:
        lines.append(Hanging("queued: ", ", ".join(f"{count} {state}" for state, count in counts.items())))
    return lines


def job_status_table(job: JobWithTrials | JobAlone, called: str = "study.yaml") -> RenderableType:
    """Of a submitted study: its job, and its trials where they can be seen."""
    parts: list[RenderableType] = [*job_lines(job)]
    if isinstance(job, JobAlone):
        return Group(*parts, note(job.note))
    return Group(*parts, status_table(job, called))


def job_lines(job: Job) -> list[RenderableType]:
    lines = [f"study {job.study}: {job.job} is {job.state.lower()}"]
    lines += [f"{what} {moment}" for what, moment in (("started", job.started), ("ended", job.ended)) if moment]
    if job.attempts > 1:
        lines.append(f"submitted {job.attempts} times")
    # Where it failed, Ray's explanation ends with its log, whose last line tells why.
    explanation, _, log = job.message.partition(LOGS)
    lines += [line for line in (explanation, *log.splitlines()[-1:]) if line]
    return [Text(line) for line in lines]


def jobs_table(jobs: JobList) -> RenderableType:
    if not jobs.studies:
        return Text("no study was submitted")
    reasons = [_reason(job) for job in jobs.studies]
    why = ["why"] if any(reasons) else []
    table = plain_table("study", "state", ">attempts", "started (UTC)", "ended (UTC)", *why)
    for job, reason in zip(jobs.studies, reasons, strict=True):
        moments = [(moment or "")[: len("2026-01-31T12:00")].replace("T", " ") for moment in (job.started, job.ended)]
        table.add_row(job.study, job.state.lower(), str(job.attempts), *moments, *([reason] if why else []))
    return table


def _reason(job: Job) -> str:
    """Why a study failed: Ray's explanation ends with its log, whose last line tells."""
    explanation, _, log = job.message.partition(LOGS)
    return "" if job.state != "FAILED" else next(reversed(log.strip().splitlines()), explanation)
