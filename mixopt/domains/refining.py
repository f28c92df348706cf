"""What `mixopt domains STUDY --split web=6` does: pools split into parts or merged, and a study over them.

STUDY-<name>.yaml                        beside the old study file, so that all paths in it hold
OUTPUT/<domain>/text/<part>/             the pools of the parts
OUTPUT/<domain>/domains.html             what the parts are
OUTPUT/runs.csv                          the old study's runs
OUTPUT/held-out/<domain>.jsonl           documents that the old study measured a domain's loss on
OUTPUT/refined.json                      what --json prints; written last
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from mixopt.base.errors import ConfigError
from mixopt.base.files import check_folder, write_text
from mixopt.domains.finding import PAGE, find_into, lying_in, result_of, with_embedding, written_of
from mixopt.domains.output_folder import WORK, check_mine, end, gone_on_with
from mixopt.domains.page import page_of
from mixopt.domains.refined_file import Earlier, Part, Refinement, check, most_of, refined_text
from mixopt.results.domains import FoundDomains
from mixopt.results.refined import RefinedStudy
from mixopt.results.run_table import Row
from mixopt.runs.table import METRIC, read_all
from mixopt.runs.trials import csv_text, run_rows
from mixopt.settings.editing import with_commands_on
from mixopt.settings.reading import parse
from mixopt.settings.schema import StudyFile
from mixopt.study.corpus import domain_sources
from mixopt.study.objective import objective_of
from mixopt.study.record import HasNotRun, measured_corpus, not_prepared, read_record
from mixopt.study.stages import Stages
from proxies.data.corpus import Corpus, told_when_full
from proxies.data.held_out import measured_on
from proxies.data.sources import Source, find_files
from proxies.domains.clusters import NoDomains, TooFew
from proxies.domains.describing import LONGEST_NAME
from proxies.domains.finding import MOST_DOMAINS, Search, inputs_of
from search.reuse import Changes, mixed_as_merged

RESULT, RUNS, HELD_OUT = "refined.json", "runs.csv", "held-out"


def refinement(split: Sequence[str], merge: Sequence[str]) -> Refinement:
    """What the options ask for: `web=6` and `news,blogs=press`.

    Raises:
        ConfigError: one of them says something else.
    """
    parts: dict[str, int] = {}
    merged: dict[str, tuple[str, ...]] = {}
    for text in split:
        name, _, count = text.partition("=")
        if not (name and count.isdecimal()):
            raise ConfigError(f"--split {text} does not say how many parts", hint="write --split web=6, two at least")
        if not 2 <= int(count) <= MOST_DOMAINS:
            raise ConfigError(f"--split {text}: that many parts are not to be had", hint=f"ask for 2 to {MOST_DOMAINS}")
        if name in parts:
            raise ConfigError(f"--split {name}={parts[name]} and --split {text} are of one domain", hint="give one")
        parts[name] = int(count)
    for text in merge:
        names, sign, new = text.rpartition("=")
        old = tuple(name.strip() for name in names.split(","))
        if not (sign and new):
            raise ConfigError(f"--merge {text} does not say the new name", hint="write --merge news,blogs=press")
        if len(set(old)) < 2 or len(set(old)) < len(old) or not all(old):
            raise ConfigError(f"--merge {text} does not name two domains", hint="write --merge news,blogs=press")
        if new in merged:
            raise ConfigError(f"--merge {text}: {new} is given twice", hint="give each new domain another name")
        merged[new] = old
    return Refinement(parts, merged)


def refine(
    file: StudyFile, asked: Refinement, output: Path, search: Callable[[int], Search], console: Console
) -> RefinedStudy:
    """Refine the pools of a study, or go on where an earlier call was killed.

    Args:
        search: how so many parts are found.
        console: shows how far it is.

    Raises:
        ConfigError, ProxyError, TrackingError: it cannot be done with this study, the folder is no good, or the disk
            is full.
    """
    check_folder(output, f"--output {output}")
    check(file, asked)
    check_mine(output, RESULT)
    name = f"{file.study}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', output.absolute().name)}"
    path = file.file.with_name(f"{file.file.stem}-{output.absolute().name}.yaml")
    searches = {each: search(count) for each, count in asked.split.items()}
    rows, corpus = _runs(file)
    # With stand-ins for what is not known yet: mistakes show before the work.
    stand_ins = {each: _stand_ins(count) for each, count in asked.split.items()}
    parse(refined_text(file, asked, stand_ins, name, None if corpus is None else _stand_in(file, asked)), path)

    searches = {each: with_embedding(found, console) for each, found in searches.items()}
    sources = {each.name: _whole(each) for each in domain_sources(file) if each.name in asked.split}
    files = {each: find_files(source) for each, source in sources.items()}
    inputs = _digest(
        [file.text, sorted(asked.split.items()), sorted(asked.merged.items()), rows],
        [inputs_of(source, files[each], searches[each]) for each, source in sources.items()],
    )
    if (known := _finished(output, path, inputs)) is not None:
        return known
    if path.exists() and not (output / WORK).exists():
        raise ConfigError(f"{path} is there already", hint="choose another name for --output, or remove it")
    with told_when_full(output), gone_on_with(output, inputs) as work, Stages(console) as stages:
        found: dict[str, FoundDomains] = {}
        for each, source in sources.items():
            folder = output / each
            try:
                parts = find_into(folder, source, files[each], searches[each], work / each, stages)
            except NoDomains as error:
                hint = f"ask for fewer parts with --split {each}=N" if isinstance(error, TooFew) else error.hint
                raise NoDomains(f"domain {each}: {error.message}", hint=hint) from error
            found[each] = result_of(parts, folder, inputs).model_copy(update={"study": str(path)})
            write_text(folder / PAGE, page_of(found[each], parts))
        earlier = None if corpus is None else _earlier(file, asked, rows, corpus, output)
        pools_of = {each: _parts(file, result) for each, result in found.items()}
        text = with_commands_on(refined_text(file, asked, pools_of, name, earlier), file.file.name, path.name)
        parse(text, path)
        write_text(path, text)
        result = RefinedStudy(
            study=str(path),
            name=name,
            made_from=file.study,
            inputs=inputs,
            split=found,
            merged={new: tuple(old) for new, old in asked.merged.items()},
            runs=None if earlier is None else str(output / RUNS),
            earlier_runs=len(rows),
            counted_runs=0 if earlier is None else _counted(asked, earlier, output / RUNS),
            held_out={} if earlier is None else {each: str(_held_out(output, each)) for each in earlier.held_out},
            notes=(*_fewer(asked, found), *_notes(file, asked, earlier)),
        )
        write_text(output / RESULT, result.json_text() + "\n")
    return result


def _fewer(asked: Refinement, found: Mapping[str, FoundDomains]) -> Iterator[str]:
    """What to say of domains that fell into fewer parts than were asked for."""
    for name, count in asked.split.items():
        if why := found[name].why_fewer(count):
            yield f"{name}: {len(found[name].domains)} parts and not {count}, as {why}"


def _runs(file: StudyFile) -> tuple[list[Row], Corpus | None]:
    """The rows of the study's runs, and the corpus that they were measured on; none where it has not run."""
    try:
        record = read_record(file)
    except HasNotRun:
        record = None
    rows = [] if record is None else run_rows(record.history, file.objective.unit)
    if record is None or not rows:
        if file.reuse.runs is not None:
            raise ConfigError(
                f"study {file.study} has no runs of its own, and reuses those of another",
                hint="run it first, or take reuse out of its file",
            )
        return [], None
    corpus = measured_corpus(file, record)
    if corpus is None:
        raise not_prepared(file, "refine it where it ran")
    return rows, corpus


def _earlier(file: StudyFile, asked: Refinement, rows: Sequence[Row], corpus: Corpus, output: Path) -> Earlier:
    """Write what the old study leaves: its runs, and what its changed domains were measured on."""
    renamed = {METRIC + name: METRIC + asked.before(file, name) for name in asked.changed}
    write_text(output / RUNS, csv_text([{renamed.get(key, key): cell for key, cell in row.items()} for row in rows]))
    (output / HELD_OUT).mkdir(exist_ok=True)
    judged_by = _judged_by(file, asked)
    for source in domain_sources(file):
        if source.name in judged_by:
            write_text(_held_out(output, source.name), "".join(_lines(corpus, source)))
    tokens = {name: file.domains[name].tokens or corpus.domains[name].train_tokens for name in asked.changed}
    return Earlier(
        runs=_seen_from(file, output / RUNS),
        held_out={name: _seen_from(file, _held_out(output, name)) for name in judged_by},
        tokenizer=_seen_from(file, corpus.tokenizer_file),
        tokens=tokens,
    )


def _counted(asked: Refinement, earlier: Earlier, table: Path) -> int:
    """How many of the runs in a table are evidence for the new study; those of the confirmation are none."""
    merged = {new: {name: earlier.tokens[name] for name in old} for new, old in asked.merged.items()}
    try:
        runs, _ = read_all(table)
    except ConfigError:  # too few to be read as runs, as reuse will say
        return 0
    return mixed_as_merged(runs, Changes(merged=merged))


def _judged_by(file: StudyFile, asked: Refinement) -> list[str]:
    """The changed domains whose held-out documents the objective is made of."""
    return [name for name in asked.changed if name in objective_of(file).metrics]


def _held_out(output: Path, domain: str) -> Path:
    return output / HELD_OUT / f"{domain}.jsonl"


def _lines(corpus: Corpus, source: Source) -> Iterator[str]:
    *prompt, text = source.fields
    for document in measured_on(corpus, source, find_files(source)):
        fields = {**dict.fromkeys(prompt, document.prompt), text: document.text}
        yield json.dumps(fields, ensure_ascii=False) + "\n"


def _whole(source: Source) -> Source:
    """All documents of a domain; what is learned from carries the loss."""
    text = source.text_field if source.completion_field is None else source.completion_field
    return Source(source.name, source.paths, text, split=source.split)


def _parts(file: StudyFile, found: FoundDomains) -> dict[str, Part]:
    return {
        name: Part(_seen_from(file, Path(part.path)), part.share)
        for name, part in found.domains.items()
        if part.documents
    }


def _stand_ins(count: int) -> Mapping[str, Part]:
    """With the longest names that parts can have."""
    return {f"{number}".rjust(LONGEST_NAME, "x"): Part(f"part{number}", 1 / count) for number in range(count)}


def _stand_in(file: StudyFile, asked: Refinement) -> Earlier:
    held_out = {name: f"{name}.jsonl" for name in _judged_by(file, asked)}
    return Earlier(RUNS, held_out, "tokenizer.json", dict.fromkeys(asked.changed, 1.0))


def _seen_from(file: StudyFile, path: Path) -> str:
    """A path as the study file names it: relative where it lies below its folder."""
    folder, whole = file.file.parent.absolute(), Path(os.path.normpath(path.absolute()))
    return str(whole.relative_to(folder)) if whole.is_relative_to(folder) else str(whole)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _finished(output: Path, study: Path, inputs: str) -> RefinedStudy | None:
    """What an earlier call wrote with these inputs, where it came to its end and all of it is there."""
    try:
        known = RefinedStudy.model_validate_json((output / RESULT).read_bytes())
    except (OSError, ValidationError):
        return None
    split = {name: lying_in(found, output / name, study) for name, found in known.split.items()}
    runs = None if known.runs is None else output / RUNS
    held_out = {name: _held_out(output, name) for name in known.held_out}
    written = [study, *held_out.values(), *([] if runs is None else [runs])]
    written += [path for found in split.values() for path in written_of(found)]
    if known.inputs != inputs or not all(map(Path.exists, written)):
        return None
    end(output)
    return known.model_copy(
        update={
            "study": str(study),
            "split": split,
            "runs": None if runs is None else str(runs),
            "held_out": {name: str(path) for name, path in held_out.items()},
        }
    )


def _notes(file: StudyFile, asked: Refinement, earlier: Earlier | None) -> Iterator[str]:
    if earlier is not None and file.reuse.runs is not None:
        yield f"the runs that {file.study} reused itself, of {file.reuse.runs}, are not in the new table"
    if asked.merged and earlier is not None:
        yield (
            "of the earlier runs those alone count that mixed merged domains as their tokens are; to use all, leave "
            "the domains as they are and name them in reuse.keep"
        )
    for new, old in asked.merged.items():
        limited = [name for name in old if file.domains[name].pin is None and file.domains[name].max < 1]
        if limited and most_of([file.domains[name] for name in old]) >= 1:
            named = ", ".join(f"max {file.domains[name].max:.6g} of {name}" for name in limited)
            holds = "holds" if len(limited) == 1 else "hold"
            yield f"{named} no longer {holds}: with the other domains in {new} it may have any share; give {new} a max"
    if earlier is None and asked.split and (file.objective.families or file.objective.kind == "worst_case"):
        yield "each part counts in the objective as a set of its own, where the whole counted once"
