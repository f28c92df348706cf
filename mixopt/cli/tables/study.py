"""What the commands of a study show a person: their results as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from rich.console import Group, RenderableType
from rich.text import Text

from mixopt.cli.tables.table import epochs_of, plain_table
from mixopt.results.answer import Answer, Confirmation, MetricDifference
from mixopt.results.corpus import CorpusSummary
from mixopt.results.jobs import Job, JobAlone, JobList, JobWithTrials
from mixopt.results.plan import PlanEstimate
from mixopt.results.recommendation import FrontPoint, Recommendation
from mixopt.results.status import Activity, StatusFields
from mixopt.settings.units import show_count, show_duration
from search.problem import PROPORTIONAL

BAR_WIDTH = 16
# What stands in Ray's explanation before the end of a log.
LOGS = ", last available logs"
# More metrics are in the report.
MOST_METRICS = 12
# Noise that rests on fewer degrees of freedom may well be half or twice what it seems.
ROUGH = 5
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


def corpus_table(corpus: CorpusSummary) -> RenderableType:
    table = plain_table(
        *("domain", ">documents", ">train tokens", ">validation tokens", ">confirmation tokens"),
        *(">tokens/document", "dropped"),
    )
    for name, domain in corpus.domains.items():
        dropped = {"empty": domain.dropped_empty, "also in validation": domain.dropped_contaminated}
        table.add_row(
            name,
            str(domain.documents),
            show_count(domain.train_tokens),
            show_count(domain.validation_tokens),
            show_count(domain.confirmation_tokens),
            f"{domain.mean_document_tokens:.0f}",
            ", ".join(f"{count} {what}" for what, count in dropped.items() if count),
        )
    return Group(table, Text(f"corpus {corpus.fingerprint[:12]}, vocabulary {corpus.vocabulary}"))


def plan_table(plan: PlanEstimate) -> RenderableType:
    table = plain_table("proxy", "kind", ">parameters", ">tokens", ">FLOPs", ">search", ">confirm", ">tokens/s")
    for proxy in plan.proxies:
        speed = proxy.tokens_per_second
        table.add_row(
            proxy.proxy,
            proxy.kind,
            show_count(proxy.params),
            show_count(proxy.tokens),
            f"{proxy.flops:.2g}",
            str(proxy.search_trials),
            str(proxy.confirmation_trials),
            show_count(speed) if speed else "-",
        )
    gpu_hours = "" if plan.gpu_hours is None else f"{plan.gpu_hours:.2g} GPU hours ({plan.gpu_hours_are})"
    tokens, flops = show_count(plan.total_tokens), f"{plan.total_flops:.2g}"
    lines = [f"at most {plan.trials} trials, {tokens} tokens, {flops} FLOPs"]
    if plan.wall_seconds is not None and plan.training_seconds is not None:
        lines.append(
            f"about {show_duration(plan.wall_seconds)} with {plan.slots} at a time: "
            f"{show_duration(plan.training_seconds)} of training, measured on {plan.device}; {gpu_hours}"
        )
        lines += [
            f"one GPU trains {proxy.pack.members} of {proxy.proxy} side by side, at "
            f"{show_count(proxy.pack.tokens_per_second)} tokens/s together: executor.pack"
            for proxy in plan.proxies
            if proxy.pack
        ]
    elif plan.device is not None:
        lines.append(f"time not measured (--no-probe); {gpu_hours}")
    return Group(table, Text("\n".join(lines)), *_planned_domains(plan), *_notes(plan.notes))


def _planned_domains(plan: PlanEstimate) -> list[RenderableType]:
    """What each domain gives in the final run, by the proportional mixture and at most."""
    if plan.target_tokens is None:
        return []
    title = f"\nEpochs in the final run of {show_count(plan.target_tokens)} tokens"
    table = plain_table("domain", ">tokens", ">proportional", ">epochs", ">at most", ">epochs then", title=title)
    for name, domain in plan.domains.items():
        table.add_row(
            name,
            show_count(domain.tokens),
            f"{domain.proportional:.1%}",
            "" if domain.epochs is None else f"{domain.epochs:.2f}",
            f"{domain.most:.1%}",
            "" if domain.epochs_of_most is None else epochs_of(domain.epochs_of_most, domain.max_epochs),
        )
    return [table]


def status_table(status: StatusFields) -> RenderableType:
    proxies = sorted({proxy for count in status.trials.by_name.values() for proxy in count.by_proxy})
    table = plain_table("trials", *(f">{proxy}" for proxy in proxies), ">all")
    for state, count in status.trials.by_name.items():
        table.add_row(state, *(str(count.by_proxy.get(proxy, 0)) for proxy in proxies), str(count.total))
    lines = [f"{status.flops:.3g} FLOPs in {show_duration(status.training_seconds)} of training"]
    if status.activity is not None:
        by = f" by {status.driver}" if status.driver and status.activity == "running" else ""
        lines.insert(0, f"study {status.study} {ACTIVITIES[status.activity]}{by}")
    if status.mlflow_away is not None:
        lines.insert(1, status.mlflow_away)
    if status.restarts:
        lines.append(f"trials went on from a checkpoint {status.restarts} times, after their worker had died")
    if (noise := status.noise) is not None:
        rough = ", a rough guess yet" if noise.freedom < ROUGH else ""
        lines.append(
            f"a run of one mixture is off by {noise.objective.run_sd:.4f} ({noise.mixtures} mixtures with several "
            f"seeds{rough}), on these documents: {noise.seeds} seeds show differences from {noise.resolves:.4f} up, "
            f"{noise.seeds_for_half} would show half of that"
        )
    lines += [f"failed: {each.trial} ({each.origin}): {each.kind}: {each.message}" for each in status.failures]
    lines.append(f"answer: {status.answer.verdict}" if status.answer else "no answer yet")
    return Group(table, Text("\n".join(lines)), *_notes(status.pool_changes))


def job_status_table(job: JobWithTrials | JobAlone) -> RenderableType:
    """Of a submitted study: its job, and its trials where they can be seen."""
    lines = [f"study {job.study}: {job.job} is {job.state.lower()}"]
    lines += [f"{what} {moment}" for what, moment in (("started", job.started), ("ended", job.ended)) if moment]
    if job.attempts > 1:
        lines.append(f"submitted {job.attempts} times")
    # Where it failed, Ray's explanation ends with its log, whose last line tells why.
    explanation, _, log = job.message.partition(LOGS)
    lines += [line for line in (explanation, *log.splitlines()[-1:]) if line]
    if isinstance(job, JobAlone):
        return Group(Text("\n".join(lines)), *_notes([job.note]))
    return Group(Text("\n".join(lines)), status_table(job))


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


def answer_table(answer: Answer) -> RenderableType:
    with_epochs = any(domain.epochs is not None for domain in answer.domains.values())
    columns = ["domain", ">tokens", ">proportional", ">answer", "", *([">epochs"] if with_epochs else [])]
    table = plain_table(*columns, title=f"The answer of study {answer.study}")
    for name, domain in answer.domains.items():
        table.add_row(
            name,
            show_count(domain.tokens),
            f"{domain.proportional:.1%}",
            Text(f"{domain.weight:.1%}", style="bold"),
            Text("█" * round(domain.weight * BAR_WIDTH) or "▏" * (domain.weight > 0), style="cyan"),
            *([epochs_of(domain.epochs, domain.max_epochs)] if domain.epochs is not None else []),
        )
    parts: list[RenderableType] = [table]
    if answer.recommendation.front:
        parts.append(_front_table(answer.recommendation.front))
    if answer.confirmation:
        parts.append(_confirmation_table(answer.confirmation, answer.objective.unit))
        if (trades := _trades_table(answer.confirmation)) is not None:
            parts.append(trades)
    parts.append(Text(answer.verdict, style="bold"))
    parts += _predicted_gain(answer)
    if not answer.confirmation:
        parts += _prediction(answer.recommendation)
    return Group(*parts, *_notes(answer.notes))


def _predicted_gain(answer: Answer) -> list[RenderableType]:
    """What the proposal was expected to gain, before anything was confirmed, and what it gained."""
    predictions = answer.predictions
    if predictions is None or not predictions.trusted or not predictions.gains or predictions.gains[0].is_baseline:
        return []
    first = predictions.gains[0]
    said = (
        f"predicted gain of the {first.label} mixture over {PROPORTIONAL}: {first.interval.mean:+.4f} "
        f"(95%: {first.interval.lower:+.4f} to {first.interval.upper:+.4f})"
    )
    if first.measured is not None:
        said += f"; confirmed {first.measured:+.4f}"
    return [Text(said)]


def _prediction(recommendation: Recommendation) -> list[RenderableType]:
    """What the surrogate expects of the proposed mixture, in sentences."""
    sentences = []
    if recommendation.beats:
        chances = ", ".join(f"{name} {chance:.0%}" for name, chance in recommendation.beats.items())
        sentences.append(f"the proposed mixture's chance of beating a baseline, by the regression: {chances}")
    if recommendation.flat:
        sentences.append(f"domains whose share, changed alone, hardly matters: {', '.join(recommendation.flat)}")
    return [Text(sentence) for sentence in sentences]


def _front_table(front: Sequence[FrontPoint]) -> RenderableType:
    """Some mixtures of the Pareto front, one column each: predicted losses, then shares."""
    title = "\nMixtures that none is predicted to beat in every loss (mixopt export --front NUMBER): losses, shares"
    table = plain_table("loss", *(f">{number}" for number in range(1, len(front) + 1)), title=title)
    table.collapse_padding = True
    for metric in front[0].predicted:
        table.add_row(metric, *(f"{point.predicted[metric]:.4g}" for point in front))
    table.add_row(Text("share", style="bold"))
    for domain in front[0].mixture:
        table.add_row(domain, *(f"{point.mixture[domain]:.1%}" for point in front))
    return table


def _confirmation_table(confirmation: Confirmation, unit: str) -> RenderableType:
    """Every confirmed mixture and its distance from the proportional one; what is nearly the same is one row."""
    title = f"\nConfirmation ({unit.replace('_', ' ')}, ± over {confirmation.over})"
    table = plain_table("confirmed", ">objective", ">against proportional", ">seeds", title=title)
    for outcome in sorted(confirmation.outcomes, key=lambda each: math.inf if each.mean is None else each.mean):
        margin = "" if outcome.margin is None else f" ± {outcome.margin:.4f}"
        table.add_row(
            Text(
                ", ".join((outcome.label, *outcome.also)),
                style="bold" if outcome.label == confirmation.winner.label else "",
            ),
            "failed" if outcome.mean is None else f"{outcome.mean:.4f}",
            "" if outcome.difference is None else f"{outcome.difference:+.4f}{margin}",
            str(len(outcome.values)),
        )
    return table


def _trades_table(confirmation: Confirmation) -> RenderableType | None:
    """What each candidate pays and gets: by family, and by metric where these are few; None where all are baselines."""
    outcomes = [each for each in confirmation.candidates if each.metrics]
    if not outcomes:
        return None
    first = outcomes[0]
    metrics = first.metrics if len(first.metrics) <= MOST_METRICS else {}
    title = "\nWhat it trades: loss less the baseline's (± 95%)"
    table = plain_table("", *(f">{outcome.label}" for outcome in outcomes), title=title)
    for family in first.families:
        table.add_row(f"family {family}", *(_traded(each.families[family]) for each in outcomes))
    for metric in sorted(metrics, key=lambda name: -first.metrics[name].difference):
        table.add_row(metric, *(_traded(each.metrics[metric]) for each in outcomes))
    return table if table.row_count else None


def _traded(found: MetricDifference) -> Text:
    margin = "" if found.margin is None else f" ± {found.margin:.4f}"
    refused = ", refused" if found.broken else ""
    return Text(f"{found.difference:+.4f}{margin}{refused}", style="red" if found.broken else "")


def _notes(notes: Iterable[str]) -> list[RenderableType]:
    return [Text(f"note: {note}", style="yellow") for note in notes]
