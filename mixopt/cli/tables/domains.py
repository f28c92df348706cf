"""What `mixopt domains` shows a person."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mixopt.base.console import note
from mixopt.cli.tables.table import plain_table
from mixopt.results.domains import FoundDomains
from mixopt.results.refined import RefinedStudy
from mixopt.settings.units import show_count
from proxies.domains.finding import DOCUMENTS_EACH, DOMAINS, usual_count

WORTH_A_NOTE = 0.01  # of the documents


def domains_table(found: FoundDomains) -> RenderableType:
    sorted_into = f"{found.documents - found.dropped:,} documents in {len(found.domains)} domains"
    left = [f"{found.dropped:,} duplicates dropped"] * bool(found.dropped)
    left += [f"{found.empty:,} empty ones left out"] * bool(found.empty)
    return Group(
        _parts_table(found),
        Text("; ".join([sorted_into, *left]), style="bold"),
        Text(f"wrote {found.study} and {found.page}; next: mixopt validate {found.study}, mixopt plan {found.study}"),
    )


def _parts_table(found: FoundDomains) -> Table:
    table = plain_table("domain", ">documents", ">share", ">mean bytes", "language", ">repeats", "its own words")
    table.columns[0].no_wrap = True  # names are copied into study files
    for name, domain in found.domains.items():
        repeats = domain.exact_duplicates + domain.near_duplicates + domain.near_duplicates_elsewhere
        table.add_row(
            name,
            f"{domain.documents:,}",
            f"{domain.share:.1%}",
            show_count(domain.mean_bytes),
            domain.spoken,
            f"{repeats:,}",
            ", ".join(domain.terms[:6]),
        )
    return table


def refined_view(refined: RefinedStudy) -> RenderableType:
    parts: list[RenderableType] = []
    for name, found in refined.split.items():
        parts += [Text(f"{name}:", style="bold"), _parts_table(found), Text(f"more about them: {found.page}\n")]
    parts += [Text(f"{new}: {', '.join(old)}, together") for new, old in refined.merged.items()]
    if refined.runs is not None:
        counted = f"{refined.counted_runs} of the {refined.earlier_runs} runs of {refined.made_from} will count"
        rest = refined.earlier_runs - refined.counted_runs
        why = "of the confirmation" + ", or mixed merged domains otherwise than their tokens are" * bool(refined.merged)
        parts.append(Text(f"{counted}, from {refined.runs}" + f"; the others are {why}" * bool(rest)))
    parts.append(Text(f"wrote {refined.study}; next: mixopt plan {refined.study}"))
    return Group(*parts, *(note(each) for each in refined.notes))


def skipped_note(found: FoundDomains) -> str | None:
    """That not all of the heap is in the pools."""
    if not found.skipped:
        return None
    more = found.skipped - len(found.first_skipped)
    what = (
        "1 bad record, or rest of a file, was"
        if found.skipped == 1
        else (f"{found.skipped:,} bad records, or rests of files, were")
    )
    named = "; ".join([*found.first_skipped, *([f"and {more:,} more"] if more else [])])
    return f"{what} left out: {named}"


def unread_note(found: FoundDomains) -> str | None:
    """That there are files of which nothing is in the pools."""
    if not found.unread:
        return None
    files = "1 file" if found.unread == 1 else f"{found.unread:,} files"
    return f"{files} not read: {', '.join(found.unread_endings)}"


def fewer_note(found: FoundDomains, asked: int | None, fine: int) -> str | None:
    """That there are fewer domains than were asked for, or than nobody asked for otherwise, and why."""
    fewer = f"{len(found.domains)} domains and not {asked or DOMAINS}, as"
    if why := found.why_fewer(asked or usual_count(found.sampled, fine)):
        return f"{fewer} {why}"
    if asked is not None or len(found.domains) >= DOMAINS:
        return None
    if len(found.domains) == fine:
        return f"{fewer} --fine {fine} leaves no more"
    return (
        f"{fewer} there are {found.sampled:,} documents that differ, {DOCUMENTS_EACH} or more for each; --count asks "
        "for another number"
    )


def repeats_note(found: FoundDomains) -> str | None:
    """That there is text which the final run would see more often than its epochs say."""
    repeats = sum(
        domain.exact_duplicates + domain.near_duplicates + domain.near_duplicates_elsewhere
        for domain in found.domains.values()
    )
    if found.dropped or repeats < WORTH_A_NOTE * found.documents:
        return None
    return (
        f"{repeats:,} of {found.documents:,} documents repeat another, exactly or nearly: an epoch of their pools "
        "shows that text more than once. --drop-duplicates leaves them out."
    )
