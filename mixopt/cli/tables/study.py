"""What the commands of a study show a person: their results as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from mixopt.base.console import Hanging, note
from mixopt.cli.tables.table import bar_of, epochs_of, flat_shares, plain_table, share_of
from mixopt.results.answer import Answer, Confirmation, DomainAnswer, LevelAnswer, MetricDifference, Outcome
from mixopt.results.corpus import CorpusSummary
from mixopt.results.plan import PlanEstimate
from mixopt.results.recommendation import FrontPoint, Recommendation
from mixopt.settings.levels import in_levels
from mixopt.settings.units import show_count, show_duration
from search.problem import BASELINE, PROPORTIONAL

# More metrics are in the report.
MOST_METRICS = 12


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
    gpu_hours = "" if plan.gpu_hours is None else f"; {plan.gpu_hours:.2g} GPU hours ({plan.gpu_hours_are})"
    tokens, flops = show_count(plan.total_tokens), f"{plan.total_flops:.2g}"
    lines = [f"at most {plan.trials} trials, {tokens} tokens, {flops} FLOPs"]
    if plan.wall_seconds is not None and plan.training_seconds is not None:
        lines.append(
            f"about {show_duration(plan.wall_seconds)} with {plan.slots} at a time: "
            f"{show_duration(plan.training_seconds)} of training, measured on {plan.device}{gpu_hours}"
        )
        lines += [
            f"one GPU trains {proxy.pack.members} of {proxy.proxy} side by side, at "
            f"{show_count(proxy.pack.tokens_per_second)} tokens/s together: executor.pack"
            for proxy in plan.proxies
            if proxy.pack
        ]
    elif plan.device is not None:
        lines.append(f"time not measured{gpu_hours}")
    elif gpu_hours:
        lines.append(gpu_hours.removeprefix("; "))
    return Group(table, *(Hanging("", line) for line in lines), *_planned_domains(plan), *_notes(plan.notes))


def _planned_domains(plan: PlanEstimate) -> list[RenderableType]:
    """What each domain gives in the final run, by the proportional mixture and at most."""
    if plan.target_tokens is None:
        return []
    title = f"\nEpochs in the final run of {show_count(plan.target_tokens)} tokens"
    table = plain_table("domain", ">tokens", ">proportional", ">epochs", ">at most", ">epochs then", title=title)
    for row in in_levels(plan.domains, {name: level.domains for name, level in plan.levels.items()}):
        if row.is_level:
            level = plan.levels[row.name]
            shares = (f"{level.proportional:.1%}", "", f"{level.most:.1%}", "")
            table.add_row(row.label, show_count(level.tokens), *shares)
            continue
        domain = plan.domains[row.name]
        table.add_row(
            row.label,
            show_count(domain.tokens),
            f"{domain.proportional:.1%}",
            "" if domain.epochs is None else f"{domain.epochs:.2f}",
            f"{domain.most:.1%}",
            "" if domain.epochs_of_most is None else epochs_of(domain.epochs_of_most, domain.max_epochs),
        )
    return [table]


def answer_table(answer: Answer) -> RenderableType:
    with_epochs = any(domain.epochs is not None for domain in answer.domains.values())
    columns = ["domain", ">tokens", ">proportional", ">answer", "", *([">epochs"] if with_epochs else [])]
    table = plain_table(*columns, title=f"The answer of study {answer.study}")
    for row in in_levels(answer.domains, {name: level.domains for name, level in answer.levels.items()}):
        found = answer.levels[row.name] if row.is_level else answer.domains[row.name]
        table.add_row(
            row.label,
            show_count(found.tokens),
            f"{found.proportional:.1%}",
            share_of(row, found.weight),
            bar_of(row, found.weight),
            *([_epochs(found)] if with_epochs else []),
        )
    parts: list[RenderableType] = [table]
    if answer.recommendation.front:
        parts.append(_front_table(answer.recommendation.front))
    if answer.confirmation:
        parts.append(_confirmation_table(answer.confirmation, answer.objective.unit))
        if (trades := _trades_table(answer.confirmation)) is not None:
            parts.append(trades)
    parts.append(Hanging("", answer.verdict, "bold"))
    parts += _predicted_gain(answer)
    if not answer.confirmation:
        parts += _prediction(answer.recommendation)
    return Group(*parts, *_notes(answer.notes))


def _epochs(found: DomainAnswer | LevelAnswer) -> str:
    if isinstance(found, LevelAnswer) or found.epochs is None:
        return ""
    return epochs_of(found.epochs, found.max_epochs)


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
    return [Hanging("", said)]


def _prediction(recommendation: Recommendation) -> list[RenderableType]:
    """What the surrogate expects of the proposed mixture, in sentences."""
    sentences = []
    if recommendation.beats:
        chances = ", ".join(f"{name} {chance:.0%}" for name, chance in recommendation.beats.items())
        sentences.append(f"the proposed mixture's chance of beating a baseline, by the regression: {chances}")
    if flat := flat_shares(recommendation):
        sentences.append(f"domains whose share, changed alone, hardly matters: {', '.join(flat)}")
    return [Hanging("", sentence) for sentence in sentences]


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
    """What the answer pays and gets, and what each candidate would: by family, and by metric where these are few.

    None where that is nothing: the answer is what all is compared with, and no other mixture was a candidate.
    """
    winner = confirmation.winner
    others = [each for each in confirmation.candidates if each.label != winner.label]
    outcomes = [each for each in (winner, *others) if _trades(each)]
    if not outcomes:
        return None
    first = outcomes[0]
    metrics = first.metrics if len(first.metrics) <= MOST_METRICS else {}
    what = "What it trades" if first is winner else "What others would trade"
    heads = [f"answer: {_name(each)}" if each is winner else _name(each) for each in outcomes]
    table = plain_table("", *(f">{head}" for head in heads), title=f"\n{what}: loss less the baseline's (± 95%)")
    for family in first.families:
        table.add_row(f"family {family}", *(_traded(each.families[family]) for each in outcomes))
    for metric in sorted(metrics, key=lambda name: -first.metrics[name].difference):
        table.add_row(metric, *(_traded(each.metrics[metric]) for each in outcomes))
    return table if table.row_count else None


def _trades(outcome: Outcome) -> bool:
    """Whether it is anything else than what it is compared with."""
    return any(found.difference for found in outcome.metrics.values())


def _name(outcome: Outcome) -> str:
    return outcome.label.removeprefix(BASELINE)


def _traded(found: MetricDifference) -> Text:
    margin = "" if found.margin is None else f" ± {found.margin:.4f}"
    refused = ", refused" if found.broken else ""
    return Text(f"{found.difference:+.4f}{margin}{refused}", style="red" if found.broken else "")


def _notes(notes: Iterable[str]) -> list[RenderableType]:
    return [note(each) for each in notes]
