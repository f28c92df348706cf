"""What commands print: each answer as plain data for programs, and the same as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from mixopt.cli.tables.table import plain_table
from mixopt.settings.units import show_count, show_duration

if TYPE_CHECKING:
    pass

BAR_WIDTH = 16


def corpus_table(document: dict[str, Any]) -> RenderableType:
    table = plain_table("domain", ">documents", ">train tokens", ">validation tokens", ">tokens/document", "dropped")
    for name, domain in document["domains"].items():
        dropped = [
            f"{domain[key]} {what}"
            for key, what in (("dropped_empty", "empty"), ("dropped_contaminated", "also in validation"))
            if domain[key]
        ]
        table.add_row(
            name,
            str(domain["documents"]),
            show_count(domain["train_tokens"]),
            show_count(domain["validation_tokens"]),
            f"{domain['mean_document_tokens']:.0f}",
            ", ".join(dropped),
        )
    return Group(table, Text(f"corpus {document['fingerprint'][:12]}, vocabulary {document['vocabulary']}"))


def plan_table(document: dict[str, Any]) -> RenderableType:
    table = plain_table("proxy", "kind", ">parameters", ">tokens", ">FLOPs", ">search", ">confirm", ">tokens/s")
    for proxy in document["proxies"]:
        speed = proxy["tokens_per_second"]
        table.add_row(
            proxy["proxy"],
            proxy["kind"],
            show_count(proxy["params"]),
            show_count(proxy["tokens"]),
            f"{proxy['flops']:.2g}",
            str(proxy["search_trials"]),
            str(proxy["confirmation_trials"]),
            show_count(speed) if speed else "-",
        )
    gpu_hours = f"{document['gpu_hours']:.2g} GPU hours ({document['gpu_hours_are']})"
    tokens, flops = show_count(document["total_tokens"]), f"{document['total_flops']:.2g}"
    lines = [f"at most {document['trials']} trials, {tokens} tokens, {flops} FLOPs"]
    if document["wall_seconds"] is not None:
        lines.append(
            f"about {show_duration(document['wall_seconds'])} with {document['slots']} at a time: "
            f"{show_duration(document['training_seconds'])} of training, measured on {document['device']}; {gpu_hours}"
        )
        lines += [
            f"one GPU trains {proxy['pack']['members']} of {proxy['proxy']} side by side, at "
            f"{show_count(proxy['pack']['tokens_per_second'])} tokens/s together: executor.pack"
            for proxy in document["proxies"]
            if proxy["pack"]
        ]
    else:
        lines.append(f"time not measured (--no-probe); {gpu_hours}")
    return Group(table, Text("\n".join(lines)), *_notes(document["notes"]))


def status_table(document: dict[str, Any]) -> RenderableType:
    proxies = sorted({proxy for state in document["trials"].values() for proxy in state["by_proxy"]})
    table = plain_table("trials", *(f">{proxy}" for proxy in proxies), ">all")
    for state, counts in document["trials"].items():
        table.add_row(state, *(str(counts["by_proxy"].get(proxy, 0)) for proxy in proxies), str(counts["total"]))
    lines = [f"{document['flops']:.3g} FLOPs in {show_duration(document['training_seconds'])} of training"]
    if document["restarts"]:
        lines.append(f"trials went on from a checkpoint {document['restarts']} times, after their worker had died")
    lines += [
        f"failed: {each['trial']} ({each['origin']}): {each['kind']}: {each['message']}"
        for each in document["failures"]
    ]
    answer = document["answer"]
    lines.append(f"answer: {answer['verdict']}" if answer else "no answer yet")
    return Group(table, Text("\n".join(lines)))


def job_status_table(document: dict[str, Any]) -> RenderableType:
    """Of a submitted study: its job, and its trials where they can be seen."""
    lines = [f"study {document['study']}: {document['job']} is {document['state'].lower()}"]
    lines += [f"{key} {document[key]}" for key in ("started", "ended") if document[key]]
    if document["attempts"] > 1:
        lines.append(f"submitted {document['attempts']} times")
    # Where it failed, Ray's explanation ends with its log, whose last line tells why.
    explanation, _, log = document["message"].partition(", last available logs")
    lines += [line for line in (explanation, *log.splitlines()[-1:]) if line]
    if document["trials"] is None:
        return Group(Text("\n".join(lines)), *_notes([document["note"]]))
    return Group(Text("\n".join(lines)), status_table(document))


def jobs_table(document: dict[str, Any]) -> RenderableType:
    if not document["studies"]:
        return Text("no study was submitted")
    table = plain_table("study", "state", ">attempts", "started (UTC)", "ended (UTC)")
    for job in document["studies"]:
        moments = [(job[key] or "")[: len("2026-01-31T12:00")].replace("T", " ") for key in ("started", "ended")]
        table.add_row(job["study"], job["state"].lower(), str(job["attempts"]), *moments)
    return table


def answer_table(document: dict[str, Any]) -> RenderableType:
    with_epochs = any(domain["epochs"] is not None for domain in document["domains"].values())
    columns = ["domain", ">tokens", ">proportional", ">answer", "", *([">epochs"] if with_epochs else [])]
    table = plain_table(*columns, title=f"The answer of study {document['study']}")
    for name, domain in document["domains"].items():
        table.add_row(
            name,
            show_count(domain["tokens"]),
            f"{domain['proportional']:.1%}",
            Text(f"{domain['weight']:.1%}", style="bold"),
            Text("█" * round(domain["weight"] * BAR_WIDTH) or "▏" * (domain["weight"] > 0), style="cyan"),
            *([f"{domain['epochs']:.2f}"] if with_epochs else []),
        )
    parts: list[RenderableType] = [table]
    if document["recommendation"]["front"]:
        parts.append(_front_table(document["recommendation"]["front"]))
    if document["confirmation"]:
        parts.append(_confirmation_table(document))
    parts.append(Text(document["verdict"], style="bold"))
    if not document["confirmation"]:
        parts += _prediction(document["recommendation"])
    return Group(*parts, *_notes(document["notes"]))


def _prediction(recommendation: dict[str, Any]) -> list[RenderableType]:
    """What the surrogate expects of the proposed mixture, in sentences."""
    sentences = []
    if recommendation["beats"]:
        chances = ", ".join(f"{name} {chance:.0%}" for name, chance in recommendation["beats"].items())
        sentences.append(f"the proposed mixture's chance of beating a baseline, by the regression: {chances}")
    if recommendation["flat"]:
        sentences.append(f"domains whose share, changed alone, hardly matters: {', '.join(recommendation['flat'])}")
    return [Text(sentence) for sentence in sentences]


def _front_table(front: list[dict[str, Any]]) -> RenderableType:
    """Some mixtures of the Pareto front, one column each: predicted losses, then shares."""
    title = "\nMixtures that none is predicted to beat in every loss (mixopt export --front NUMBER): losses, shares"
    table = plain_table("loss", *(f">{number}" for number in range(1, len(front) + 1)), title=title)
    table.collapse_padding = True
    for metric in front[0]["predicted"]:
        table.add_row(metric, *(f"{point['predicted'][metric]:.4g}" for point in front))
    table.add_row(Text("share", style="bold"))
    for domain in front[0]["mixture"]:
        table.add_row(domain, *(f"{point['mixture'][domain]:.1%}" for point in front))
    return table


def _confirmation_table(document: dict[str, Any]) -> RenderableType:
    """Every confirmed mixture and its distance from the proportional one."""
    outcomes = [*document["confirmation"]["candidates"], *document["confirmation"]["baselines"]]
    unit = document["objective"]["unit"].replace("_", " ")
    table = plain_table("confirmed", ">objective", ">against proportional", ">seeds", title=f"\nConfirmation ({unit})")
    for outcome in sorted(outcomes, key=lambda each: (each["mean"] is None, each["mean"])):
        margin = "" if outcome["margin"] is None else f" ± {outcome['margin']:.4f}"
        table.add_row(
            Text(
                outcome["label"],
                style="bold" if outcome["label"] == document["confirmation"]["winner"]["label"] else "",
            ),
            "failed" if outcome["mean"] is None else f"{outcome['mean']:.4f}",
            "" if outcome["difference"] is None else f"{outcome['difference']:+.4f}{margin}",
            str(len(outcome["values"])),
        )
    return table


def _notes(notes: list[str]) -> list[RenderableType]:
    return [Text(f"note: {note}", style="yellow") for note in notes]
