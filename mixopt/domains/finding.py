"""What `mixopt domains` does: documents sorted into pools, with a study file that uses them, and a page about them.

OUTPUT/text/<domain>/00000.jsonl.zst     the pools
OUTPUT/study.yaml                        a study over them, see heap_study.py
OUTPUT/domains.html                      what the domains are
OUTPUT/domains.json                      the same, as --json prints it; written last
OUTPUT/.work/                            what is remembered until then: a call that was killed is gone on with
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from mixopt.base.console import note
from mixopt.base.errors import ConfigError
from mixopt.base.files import check_folder, write_text
from mixopt.domains.heap_study import heap_study
from mixopt.domains.output_folder import check_mine, end, gone_on_with
from mixopt.domains.page import page_of
from mixopt.domains.study_proxy import is_study, proxy_of
from mixopt.results.domains import FoundDomain, FoundDomains, TypicalDocument
from mixopt.settings.new_study import TEXT_FIELDS
from mixopt.settings.reading import load
from mixopt.study.stages import Stages
from proxies.data.corpus import told_when_full
from proxies.data.intake import Progress
from proxies.data.sources import (
    DEFAULT_FIELD,
    MOST_NAMED,
    Source,
    SourceFile,
    broken_links,
    find_files,
    text_fields,
    unread,
    without_field,
)
from proxies.domains.chunks import NAMED
from proxies.domains.finding import Domain, Found, Search, find_domains, inputs_of
from proxies.errors import Unreadable

TEXT, STUDY, PAGE, RESULT = "text", "study.yaml", "domains.html", "domains.json"
SHOWN = 300  # characters of a typical document


def find(data: Iterable[str | Path], output: Path, search: Search, text: str | None, console: Console) -> FoundDomains:
    """Sort documents into domains, or go on where an earlier call was killed.

    Args:
        search: its embedding may be a study file too, whose proxy it is then.
        data: files, folders, globs, URLs or hub names; what lies in `output` is not of them.
        text: the field of records that holds the text; None: text, or what is called as text often is.
        console: shows how far it is.

    Raises:
        ConfigError, ProxyError: the documents, the settings or the folder are no good, or the disk is full.
    """
    try:
        return _found_in(data, output, search, text, console)
    except Unreadable as error:
        hint = f"{error.hint}; or leave out what cannot be used: --skip-bad"
        raise ConfigError(error.message, hint=hint) from error


def _found_in(
    data: Iterable[str | Path], output: Path, search: Search, text: str | None, console: Console
) -> FoundDomains:
    check_folder(output, f"--output {output}")
    source = Source("data", tuple(map(str, data)))
    files = _files(source, output, search.skip_bad)
    check_mine(output, RESULT)
    source = Source("data", source.paths, text or _field_of(source, files, search.skip_bad))
    if text is not None or source.text_field != DEFAULT_FIELD:
        files = _files(source, output, search.skip_bad)  # of plain text none has such a field
    if text is None and source.text_field != DEFAULT_FIELD:
        _say(console, f"text is taken from the field {source.text_field}; --text FIELD names another")
    _check_field(source, files, search.skip_bad, console)
    search = with_embedding(search, console)
    inputs = inputs_of(source, files, search)
    if (known := _finished(output, inputs)) is not None:
        return known
    with told_when_full(output), gone_on_with(output, inputs) as work, Stages(console) as stages:
        found = find_into(output, source, files, search, work, stages)
        left = [path for path in unread(source) if not _lies_in(path, output)]
        endings = tuple(sorted({Path(path).suffix or Path(path).name for path in left}))
        links = [each for each in broken_links(source) if search.skip_bad]
        result = result_of(found, output, inputs).model_copy(
            update={
                "unread": len(left),
                "unread_endings": endings,
                "skipped": found.skipped + len(links),
                "first_skipped": (*links, *found.first_skipped)[:NAMED],
            }
        )
        write_text(output / STUDY, _study(found, result, output, source.text_field))
        write_text(output / PAGE, page_of(result, found))
        write_text(output / RESULT, result.json_text() + "\n")
    return result


def with_embedding(search: Search, console: Console) -> Search:
    """The search with a folder as its embedding, where it names a study: that of its proxy, which may have to be
    trained first.

    Raises:
        ConfigError, SearchError, TrackingError, ProxyError: as `proxy_of`.
    """
    if not is_study(search.embedding):
        return search
    with Stages(console) as stages:
        return replace(search, embedding=proxy_of(load(search.embedding), stages))


def find_into(
    output: Path, source: Source, files: tuple[SourceFile, ...], search: Search, work: Path, stages: Stages
) -> Found:
    """Sort the documents of a source; the pools come into `output` once all are written.

    Args:
        work: a folder beside or above it, for what is remembered until then.
    """

    def advance(step: Progress) -> None:
        stages.advance(step.stage, step.done, step.total, step.unit)

    # Already moved by a call that was killed right after it.
    pools = output / TEXT if (output / TEXT).exists() else work / TEXT
    found = find_domains(source, files, search, pools, work, advance)
    if pools.parent == work:
        output.mkdir(exist_ok=True)
        pools.rename(output / TEXT)
    return found


def _field_of(source: Source, files: tuple[SourceFile, ...], skip_bad: bool) -> str:
    """Which field of the records holds the text, by the first that has any; that of texts where there are no records.

    Args:
        skip_bad: ask the next file where one cannot be read, or has no field of a name that texts have.
    """
    records = [file for file in files if file.kind != "text"]
    unclear: tuple[str, tuple[str, ...]] | None = None
    for file in records:
        try:
            fields = text_fields(source, file, skip_bad)
        except Unreadable:
            if not skip_bad:
                raise
            continue
        found = next((name for name in (DEFAULT_FIELD, *TEXT_FIELDS) if name in fields), None)
        if found is not None:
            return found
        if fields and unclear is None:
            unclear = (file.url, fields)
            if not skip_bad:
                break
    if unclear is not None:
        url, fields = unclear
        has = f"it has {', '.join(fields[:MOST_NAMED])}"
        raise ConfigError(f"{url}: which field holds the text? {has}", hint="name it: --text FIELD")
    if records:
        raise ConfigError(
            f"no file of records has a field with text in its first record, such as {records[0].url}",
            hint="name the field that holds it: --text FIELD",
        )
    return DEFAULT_FIELD


def _check_field(source: Source, files: tuple[SourceFile, ...], skip_bad: bool, console: Console) -> None:
    """Whether there are files of other fields: nothing of these is used, and one of them may be the one that is right.

    Raises:
        ConfigError: there are, and nobody said that what is bad is to be left out.
    """
    others = {file.url: fields for file in files if (fields := without_field(source, file))}
    if not others:
        return
    url, fields = next(iter(others.items()))
    has = f"has no field {source.text_field}, but {', '.join(fields[:MOST_NAMED])}"
    if not skip_bad:
        raise ConfigError(
            f"{url} {has}; text is taken from one field of all files",
            hint="name another with --text FIELD, or leave out what lacks it: --skip-bad",
        )
    more = "" if len(others) == 1 else f"; {len(others):,} files lack it"
    _say(console, f"{url} {has}: all of it is left out{more}. --text FIELD names another field")


def _say(console: Console, text: str) -> None:
    console.print(note(text), soft_wrap=True)


def _files(source: Source, output: Path, skip_bad: bool) -> tuple[SourceFile, ...]:
    """Those of the source but for what is written here: `mixopt domains .` writes into a folder of it."""
    return tuple(file for file in find_files(source, skip_bad) if not (file.is_local and _lies_in(file.url, output)))


def _lies_in(path: str, output: Path) -> bool:
    return Path(path).resolve().is_relative_to(output.resolve())


def _finished(output: Path, inputs: str) -> FoundDomains | None:
    """What an earlier call found with these inputs, where it came to its end and all that it wrote is there."""
    try:
        known = FoundDomains.model_validate_json((output / RESULT).read_bytes())
    except (OSError, ValidationError):
        return None
    found = lying_in(known, output, output / STUDY)
    if found.inputs != inputs or not all(map(Path.exists, written_of(found))):
        return None
    end(output)
    return found


def lying_in(found: FoundDomains, output: Path, study: Path) -> FoundDomains:
    """The same as seen from here: an earlier call may have been made elsewhere."""
    domains = {
        name: domain.model_copy(update={"path": str(output / TEXT / name)}) for name, domain in found.domains.items()
    }
    return found.model_copy(update={"study": str(study), "page": str(output / PAGE), "domains": domains})


def written_of(found: FoundDomains) -> list[Path]:
    """The files and folders that it names."""
    return [Path(found.study), Path(found.page), *(Path(domain.path) for domain in found.domains.values())]


def result_of(found: Found, output: Path, inputs: str) -> FoundDomains:
    """What was found, its pools in `output`."""
    written = max(1, sum(domain.bytes for domain in found.domains))
    by_share = sorted(found.domains, key=lambda domain: (-domain.bytes, domain.about.name))
    return FoundDomains(
        study=str(output / STUDY),
        page=str(output / PAGE),
        inputs=inputs,
        embedding=found.identity,
        documents=found.documents,
        empty=found.empty,
        skipped=found.skipped,
        first_skipped=found.first_skipped,
        dropped=found.documents - sum(domain.documents for domain in found.domains),
        sampled=found.sampled,
        fine_clusters=found.clusters.found,
        fine_clusters_kept=len(found.clusters.sizes_F),
        domains={domain.about.name: _domain(domain, output, written) for domain in by_share},
    )


def _domain(domain: Domain, output: Path, written: int) -> FoundDomain:
    about = domain.about
    return FoundDomain(
        path=str(output / TEXT / about.name),
        documents=domain.documents,
        bytes=domain.bytes,
        share=domain.bytes / written,
        mean_bytes=domain.bytes / max(1, domain.documents),
        terms=about.terms,
        language=about.language,
        languages=about.languages,
        script=next(iter(about.scripts), None),
        scripts=about.scripts,
        exact_duplicates=domain.exact,
        near_duplicates=domain.near_within,
        near_duplicates_elsewhere=domain.near_across,
        typical=tuple(TypicalDocument(text=each.text[:SHOWN], origin=each.place) for each in about.typical),
    )


def _study(found: Found, result: FoundDomains, output: Path, field: str) -> str:
    """The text of a study file over the pools."""
    named = {} if field == DEFAULT_FIELD else {"text": field}
    domains = {name: {"paths": f"{TEXT}/{name}", **named} for name in result.domains}
    sizes = {name: each.bytes for name, each in result.domains.items()}
    left = min(domain.left for domain in found.domains)
    return heap_study(domains, sizes, left, output / STUDY, PAGE)
