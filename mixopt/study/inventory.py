"""The inventory of a study's pools: as it was measured, and whether today's pools are still those.

What was measured is in the record, and travels with every answer. The files that it was counted in are remembered
beside the journal, by name, size and time of change, so that a change is seen without a token being counted.

    begin ──Inventory──▶ journal, MLflow, answer, exports
          ──names, sizes, times──▶ pools.json       compared by status, best, export and prepare
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mixopt.base.files import write_text
from mixopt.results.inventory import DomainInventory, Inventory
from mixopt.settings.schema import StudyFile
from mixopt.settings.units import show_count
from mixopt.study.corpus import domain_sources, find_corpus, open_corpus
from mixopt.study.pools import Pools
from proxies.data.corpus import Corpus
from proxies.data.sources import Source, find_files
from proxies.errors import ProxyError
from tracking import keys
from tracking.errors import OtherSubject
from tracking.record import Record

POOLS = "pools.json"
MOST_NAMED = 6
# Settings of a domain that say where its text lies and how much there is, and not what is asked of it.
SETTINGS = ("paths", "tokens", "sample")


def inventory_of(file: StudyFile, pools: Pools) -> Inventory:
    """What there is of each domain, counted and declared."""
    domains = {}
    for name, domain in file.domains.items():
        pool = pools.domains[name]
        tokens = domain.tokens or pool.counted
        assert tokens is not None, "checked with the file"
        domains[name] = DomainInventory(
            tokens=tokens,
            declared=domain.tokens is not None,
            counted=pool.counted,
            documents=pool.documents,
            content=pool.content,
        )
    return Inventory.of(domains)


def without_inventory(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The deciding settings of a study without those that say where its pools lie and what they hold."""
    domains = {
        name: {key: value for key, value in domain.items() if key not in SETTINGS}
        for name, domain in settings["domains"].items()
    }
    return {**settings, "domains": domains}


def measured_inventory(record: Record) -> Inventory | None:
    """The inventory that the study began with, as far as it is recorded; None where nothing of it is."""
    written, answer = record.written.get(keys.INVENTORY), record.written.get(keys.ANSWER)
    try:
        if written is not None:
            return Inventory.model_validate(written)
        if answer is None:
            return None
        # Versions before 0.2 recorded the supply with the answer, and nothing else.
        declared = {} if record.subject.settings is None else record.subject.settings["domains"]
        return Inventory.of(
            {
                name: DomainInventory(tokens=domain["tokens"], declared="tokens" in declared.get(name, {}))
                for name, domain in answer["domains"].items()
            }
        )
    except (ValidationError, KeyError, TypeError, AttributeError):
        return None  # what is damaged is said by whoever needs it


def remember_pools(file: StudyFile) -> None:
    """Keep the names, sizes and times of the files that are being measured, for `pool_changes`."""
    pools = {source.name: listed for source in domain_sources(file) if (listed := _listed(source)) is not None}
    with suppress(OSError):
        file.work_directory.mkdir(parents=True, exist_ok=True)
        write_text(file.work_directory / POOLS, json.dumps(pools))


def pool_changes(file: StudyFile, record: Record) -> tuple[str, ...]:
    """In sentences, how today's pools differ from those that were measured, and what to do; none where they do not.

    Nothing is counted: the study file, the files' names, sizes and times, and what `mixopt prepare` counted last, say
    it. What is not on this machine is not compared.
    """
    measured = measured_inventory(record)
    if measured is None:
        return ()
    today = _today(file, record.subject.corpus)
    then = _remembered(file)
    found = []
    for source in domain_sources(file):
        if source.name in measured.domains:
            files = _differences(then.get(source.name), source)
            said = _said(measured.domains[source.name], file.domains[source.name].tokens, files, source.name, today)
            found += [f"domain {source.name}: {said}"] if said else []
    if not found:
        return ()
    left = len(found) - MOST_NAMED
    more = [f"and {left} more domains have changed since they were measured"] if left > 0 else []
    return (
        *found[:MOST_NAMED],
        *more,
        f"the study answers for the pools that it measured; for today's: {how_to_reuse(file)}",
    )


def how_to_reuse(file: StudyFile) -> str:
    """How the runs of a study answer for pools that have changed since: the very lines."""
    unit = "" if file.objective.unit == "nats_per_token" else f" --unit {file.objective.unit}"
    name = f"{file.study}-runs.csv"
    return (
        f"mixopt runs {_from_here(file.file)} -o {_from_here(file.file.with_name(name))}{unit}, then give the file "
        f"another name under `study:`, and the line `reuse: {{runs: {name}}}`"
    )


@contextmanager
def hinting_at_reuse(file: StudyFile) -> Iterator[None]:
    """Where a study cannot go on because its pools, or what is asked of them, changed: how its runs still count."""
    try:
        yield
    except OtherSubject as error:
        if not error.concerns("domains", "groups", "target", "corpus", "order"):
            raise
        raise OtherSubject(
            error.message, f"restore it; or keep its runs: {how_to_reuse(file)}", error.changed
        ) from error


def _from_here(path: Path) -> str:
    """A path as it is typed: the shorter one, from this folder or from the root."""
    return min(str(path), os.path.relpath(path), key=len)


@dataclass(frozen=True)
class _Today:
    """What is known of today's text without counting.

    Attributes:
        corpus: as prepared last, where that is other text than was measured.
        is_current: whether it is today's text.
    """

    corpus: Corpus | None = None
    is_current: bool = False


def _today(file: StudyFile, measured: str) -> _Today:
    corpus = None if file.executor.is_foreign else open_corpus(file)
    if corpus is None or corpus.fingerprint == measured:
        return _Today()
    try:
        return _Today(corpus, find_corpus(file) is not None)
    except (ProxyError, OSError):  # the text is elsewhere
        return _Today(corpus)


def _said(measured: DomainInventory, declared: int | None, files: str | None, name: str, today: _Today) -> str:
    """What is different in one domain; empty where nothing is.

    Args:
        files: what became of them; empty where they are as they were, None where that is not known.
    """
    prepared = None if today.corpus is None else today.corpus.domains.get(name)
    counted = None if prepared is None else prepared.train_tokens
    # A tokenizer that was trained anew counts the same text otherwise, which is no change.
    other_text = (
        files != ""
        and today.corpus is not None
        and prepared is not None
        and measured.content is not None
        and today.corpus.content(name) != measured.content
    )
    now = declared or (counted if other_text or (measured.content is None and files != "") else None)
    parts = []
    if now is not None and now != measured.tokens:
        parts.append(f"{show_count(measured.tokens)} tokens measured, {show_count(now)} now")
    elif measured.declared != (declared is not None):
        said, says = ("declared", "does not say") if measured.declared else ("counted", "says")
        parts.append(f"its {show_count(measured.tokens)} tokens were {said}, and the study file {says} how many it has")
    elif files or other_text:
        parts.append(f"{show_count(measured.tokens)} tokens {'declared' if measured.declared else 'measured'}")
    if files:
        parts.append(files)
    elif other_text:
        parts.append("its text was prepared anew, and is another")
    if files and declared is None and not (other_text and today.is_current):
        parts.append("counted sizes unknown until mixopt prepare")
    return "; ".join(parts)


def _differences(then: Mapping[str, str] | None, source: Source) -> str | None:
    """How many files changed, came or went; empty where none did, None where they cannot be compared.

    Files that lie elsewhere as a whole are compared by their names below and sizes alone: copies have other times.
    """
    now = None if not then else _listed(source)
    if not then or not now:
        return None
    if not then.keys() & now.keys():
        then, now = ({name: stamp.partition(" ")[0] for name, stamp in _below(files).items()} for files in (then, now))
    changed = sum(now[name] != stamp for name, stamp in then.items() if name in now)
    counts = {"changed": changed, "new": len(now.keys() - then.keys()), "gone": len(then.keys() - now.keys())}
    said = [f"{count} {what}" for what, count in counts.items() if count]
    if said:
        first = next(count for count in counts.values() if count)
        said[0] = said[0].replace(" ", " files " if first > 1 else " file ")
    return ", ".join(said)


def _below(files: Mapping[str, str]) -> dict[str, str]:
    """By name below the folder that all of them are in."""
    names = list(files)
    folder = os.path.dirname(names[0]) if len(names) == 1 else os.path.commonpath(names)  # noqa: PTH120
    return {os.path.relpath(name, folder): stamp for name, stamp in files.items()}


def _listed(source: Source) -> dict[str, str] | None:
    """Size and time of change of each file, by its address; None where some lie elsewhere, or none are here."""
    if any("://" in path or path.startswith("hf:") for path in source.paths):
        return None
    try:
        return {file.url: file.stamp for file in find_files(source)}
    except (ProxyError, OSError):
        return None


def _remembered(file: StudyFile) -> dict[str, dict[str, str]]:
    try:
        pools = json.loads(Path(file.work_directory / POOLS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(pools, dict):
        return {}
    return {
        name: files
        for name, files in pools.items()
        if isinstance(files, dict) and all(isinstance(stamp, str) for stamp in files.values())
    }
