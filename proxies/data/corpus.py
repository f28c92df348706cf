"""Preparing a corpus: raw text into token shards on a disk, with a manifest that says what they are.

    tokenizer-<inputs>.json       given, or trained on a sample of the domains by the recipe whose number is in <inputs>
    domains/<name>/               one folder per domain: training shards, two held-out shards, state.json
    evaluations/<name>/           one folder an extra evaluation set: two held-out shards, state.json
    manifest.json                 written last: a corpus without it is not finished

Two sets are held out of every source: one that the search ranks mixtures by, and one for the confirmation, of documents
that chose nothing. No training shard in the manifest holds a document that any of them holds, and no set of a
confirmation one that any set of the search holds: where one did, the manifest names a `.clean` copy without it. Folders
of sources that are no longer named stay until somebody deletes them.

Versions before 0.2 held out one set, and learned tokenizers by another recipe. What they began in a folder goes on so,
with the same tokens and fingerprint: a study that runs must not change its text.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from proxies.data.format import FORMAT, read_json, write_json
from proxies.data.intake import (
    Intake,
    IntakeState,
    OnProgress,
    Progress,
    Tokenisers,
    is_finished,
    made_by_earlier_version,
    take_in,
)
from proxies.data.manifest import MANIFEST, Corpus, DomainSummary, bytes_of_groups
from proxies.data.shards import Shard, ShardWriter, TokenType
from proxies.data.sources import Source, SourceFile, check_readable, documents, find_files
from proxies.data.tokenizer import LEARNING, CorpusTokenizer, load_tokenizer, train_tokenizer
from proxies.errors import ProxyError
from proxies.lock import LockHeld, locked
from proxies.storage import remove_partial, write_whole

__all__ = ["Corpus", "CorpusSettings", "Progress", "find_prepared", "prepare"]

CLEAN = ".clean"

# Starting worker processes costs seconds, in which one process reads about this much.
SMALL_CORPUS = 2_000_000  # bytes
PART = 1 << 24  # bytes that are read at once
# To read and digest so many bytes may take a second, of a slow disk.
SHOWN_FROM = 1 << 27
TOKENIZER_SAMPLE = 10_000_000  # characters, over all domains
MATCH_SAMPLE = 100_000  # characters of each domain
SAMPLED_FILES = 16  # of each domain, evenly spaced

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class CorpusSettings:
    """How raw text becomes a corpus.

    Attributes:
        tokenizer_file: a tokenizer.json; None trains a byte-level BPE.
        vocabulary: tokens of a trained tokenizer.
        validation_tokens: size of each held-out set, at most, in whole documents. Of documents that are longer
            than 65,536 characters in whole pieces: others of its pieces may be trained on.
        validation_share: of a domain's tokens, at most, that each of its two sets has; one document is always held
            out.
        workers: processes that tokenise; None uses all cores.
    """

    tokenizer_file: str | None = None
    vocabulary: int = 4096
    validation_tokens: int = 65_536
    validation_share: float = 0.1
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.validation_tokens <= 0:
            raise ProxyError(f"validation_tokens {self.validation_tokens} must be above 0")
        if not 0 < self.validation_share < 1:
            raise ProxyError(f"validation_share {self.validation_share} must lie between 0 and 1")
        if self.workers is not None and self.workers <= 0:
            raise ProxyError(f"workers {self.workers} must be above 0", hint="leave it out to use all cores")


def _quiet(progress: Progress) -> None:
    """Nobody watches."""


def prepare(
    domains: Sequence[Source],
    evaluations: Sequence[Source],
    settings: CorpusSettings,
    directory: Path,
    on_progress: OnProgress = _quiet,
) -> Corpus:
    """Tokenises `domains` and `evaluations` into `directory`, or opens what an earlier call made of the same.

    A call that was killed, or found no room, is continued by the next one. Changed files or settings: the
    sources that they concern are read again. Files that only lie elsewhere, or were copied, are read to be compared.

    Raises:
        ProxyError: the sources or the tokenizer are no good, the disk is full, or another process is at work here.
    """
    sources = [*domains, *evaluations]
    _check_names(domains, evaluations)
    directory.mkdir(parents=True, exist_ok=True)
    with _alone_in(directory), told_when_full(directory):
        files = {source.name: find_files(source) for source in sources}
        inputs = _inputs(domains, evaluations, settings, files)
        corpus = _unchanged(directory, inputs)
        corpus = corpus or _moved(directory, domains, evaluations, settings, files, inputs, on_progress)
        if corpus is not None:
            corpus.verify_content(_counted("check the tokens", corpus.compared_bytes, on_progress))
            return corpus

        remove_partial(directory)
        tokenizer, tokenizer_file = _tokenizer(domains, settings, files, directory, on_progress)
        confirmation = not _made_by_earlier_version(directory)
        intakes = [
            _intake(source, files[source.name], settings, tokenizer, evaluation_only, confirmation)
            for evaluation_only, group in ((False, domains), (True, evaluations))
            for source in group
        ]
        unread = [intake for intake in intakes if not is_finished(intake, directory, tokenizer.dtype)]
        for intake in unread:
            check_readable(intake.source, intake.files)

        (directory / MANIFEST).unlink(missing_ok=True)  # only now: a mistake in a source costs no good corpus
        with Tokenisers(tokenizer, _workers(settings, unread)) as tokenisers:
            states = {intake.source.name: take_in(intake, directory, tokenisers, on_progress) for intake in intakes}

        count = sum(len(states[source.name].shards) for source in domains)
        on_shard = _counted("decontaminate", count, on_progress, "shards")
        searched = _hashes([state.held_out for state in states.values()], directory)
        second = [state.confirmation for state in states.values() if state.confirmation is not None]
        held_out = np.concatenate([searched, _hashes(second, directory)])
        held_out_entries = {
            name: _held_out_entry(state, searched, directory, tokenizer.dtype, confirmation)
            for name, state in states.items()
        }
        domain_entries = {
            source.name: held_out_entries[source.name]
            | _domain_entry(
                source,
                states[source.name],
                held_out_entries[source.name],
                held_out,
                directory,
                tokenizer.dtype,
                on_shard,
            )
            for source in domains
        }
        evaluation_entries = {source.name: held_out_entries[source.name] for source in evaluations}
        manifest: dict[str, Any] = {
            "inputs": inputs,
            "text": {
                "shape": _shape(domains, evaluations, settings, files),
                "sha256": _content(files, "remember the text", on_progress),
            },
            "fingerprint": _fingerprint(tokenizer, domain_entries, evaluation_entries),
            "tokenizer": tokenizer_file,
            "vocabulary": tokenizer.vocabulary,
            "end_of_text_id": tokenizer.end_of_text_id,
            "dtype": tokenizer.dtype.str,
            "domains": domain_entries,
            "evaluations": evaluation_entries,
        }
        _add_portraits(manifest, directory, tokenizer, on_progress)
        write_json(directory / MANIFEST, manifest)
    return Corpus.open(directory)


def find_prepared(
    domains: Sequence[Source], evaluations: Sequence[Source], settings: CorpusSettings, directory: Path
) -> Corpus | None:
    """What `prepare` would open without any work; None where it has something to do. Writes nothing.

    Raises:
        ProxyError: a source cannot be found.
    """
    _check_names(domains, evaluations)
    if not (directory / MANIFEST).exists():
        return None
    files = {source.name: find_files(source) for source in (*domains, *evaluations)}
    return _unchanged(directory, _inputs(domains, evaluations, settings, files))


def leftovers(directory: Path) -> Iterator[tuple[Path, str]]:
    """What a finished corpus in `directory` has no use for, and why; nothing where there is none. To be called while
    nobody prepares one there."""
    try:
        corpus = Corpus.open(directory)
    except ProxyError:
        return
    extra = corpus.evaluation_sets[len(corpus.domains) :]
    for group, names in (("domains", corpus.domains), ("evaluations", extra)):
        used = {quote(name, safe="") for name in names}
        for folder in sorted((directory / group).glob("*")):
            if folder.name not in used and not folder.is_symlink():
                yield folder, "of a source that the corpus has no more; it is read again where it is named again"
    for tokenizer in sorted(directory.glob("tokenizer-*.json")):
        if tokenizer != corpus.tokenizer_file:
            yield tokenizer, "of a corpus that was here before"


def _check_names(domains: Sequence[Source], evaluations: Sequence[Source]) -> None:
    if not domains:
        raise ProxyError("a corpus without a domain", hint="name at least one")
    names = [source.name for source in (*domains, *evaluations)]
    for name in names:
        if names.count(name) > 1:
            raise ProxyError(
                f"{name} names two sources", hint="every domain is an evaluation set too; give each its own name"
            )


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(directory / ".lock"))
        except LockHeld as error:
            raise ProxyError(
                f"another process prepares a corpus in {directory}: {error.holder}",
                hint="wait for it, or choose another directory",
            ) from error
        yield


@contextmanager
def told_when_full(directory: Path) -> Iterator[None]:
    """A full disk, or quota, is the user's to mend.

    Raises:
        ProxyError: there was no room in the block.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise ProxyError(
            f"no room left to write in {directory}: {error.strerror}",
            hint="free some space and start again: it goes on after what is finished",
        ) from error


def _inputs(
    domains: Sequence[Source],
    evaluations: Sequence[Source],
    settings: CorpusSettings,
    files: Mapping[str, Sequence[SourceFile]],
) -> str:
    tokenizer = load_tokenizer(settings.tokenizer_file).hash if settings.tokenizer_file else None
    groups = [[_described(source, files[source.name]) for source in group] for group in (domains, evaluations)]
    return _sha256(asdict(settings) | {"workers": None}, tokenizer, groups)


def _described(source: Source, files: Sequence[SourceFile]) -> object:
    return [asdict(source), [asdict(file) for file in files]]


def _sha256(*parts: object) -> str:
    return hashlib.sha256(json.dumps([FORMAT, *parts], sort_keys=True).encode()).hexdigest()


def _unchanged(directory: Path, inputs: str) -> Corpus | None:
    """The corpus in `directory`, if it was made of these inputs and its shards are there in full length."""
    corpus = _whole(directory)
    return corpus if corpus is not None and corpus.inputs == inputs else None


def _whole(directory: Path) -> Corpus | None:
    """The corpus in `directory`, if its shards are there in full length."""
    try:
        corpus = Corpus.open(directory)
        corpus.verify()
    except ProxyError:  # prepared again, whatever it lacks
        return None
    return corpus


def _moved(
    directory: Path,
    domains: Sequence[Source],
    evaluations: Sequence[Source],
    settings: CorpusSettings,
    files: Mapping[str, Sequence[SourceFile]],
    inputs: str,
    on_progress: OnProgress,
) -> Corpus | None:
    """The corpus in `directory`, if it was made of the same text where that lay before; now it is this text's."""
    corpus = _whole(directory)
    if corpus is None or corpus.text.get("sha256") is None:
        return None
    if corpus.text["shape"] != _shape(domains, evaluations, settings, files):
        return None
    if corpus.text["sha256"] != _content(files, "compare the text", on_progress):
        return None
    manifest = read_json(directory / MANIFEST)
    assert manifest is not None, "it was opened"
    write_json(directory / MANIFEST, manifest | {"inputs": inputs})
    return Corpus.open(directory)


def _shape(
    domains: Sequence[Source],
    evaluations: Sequence[Source],
    settings: CorpusSettings,
    files: Mapping[str, Sequence[SourceFile]],
) -> str:
    """A digest of what a corpus is made of but for the content: the same where files only lie in another folder."""

    def described(source: Source) -> object:
        mine = files[source.name]
        local = [file.url for file in mine if file.is_local]
        shared = len(os.path.commonpath([Path(url).parent for url in local])) if local else 0
        names = [[file.url[shared:], file.size] if file.is_local else asdict(file) for file in mine]
        return [asdict(source) | {"paths": None}, names]

    tokenizer = load_tokenizer(settings.tokenizer_file).hash if settings.tokenizer_file else None
    how = asdict(settings) | {"workers": None, "tokenizer_file": None}
    return _sha256(how, tokenizer, [[described(source) for source in each] for each in (domains, evaluations)])


def _counted(stage: str, total: int, on_progress: OnProgress, unit: str = "bytes") -> Callable[[int], None]:
    """What is told how much more of a stage is done; bytes that are read in a moment are no stage to show."""
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        if unit != "bytes" or total >= SHOWN_FROM:
            on_progress(Progress(stage, done, total, unit))

    advance(0)
    return advance


def _content(files: Mapping[str, Sequence[SourceFile]], stage: str, on_progress: OnProgress) -> str | None:
    """A digest of what the local files of all sources hold; None where one of them changes meanwhile."""
    digest = hashlib.sha256()
    local = [file for each in files.values() for file in each if file.is_local]
    on_bytes = _counted(stage, sum(file.size or 0 for file in local), on_progress)
    try:
        for file in local:
            of_file = hashlib.sha256()
            with Path(file.url).open("rb") as stream:
                while part := stream.read(PART):
                    of_file.update(part)
                    on_bytes(len(part))
            digest.update(of_file.digest())
            if not file.is_as_it_was:
                return None
    except OSError:
        return None
    return digest.hexdigest()


def _made_by_earlier_version(directory: Path) -> bool:
    """Whether the corpus that is, or was being, prepared here has one held-out set for each source."""
    if (directory / MANIFEST).exists():
        try:
            return not Corpus.open(directory).has_confirmation_sets
        except ProxyError:
            pass  # damaged: the states below know it too
    return any(made_by_earlier_version(state.parent) for state in directory.glob("*/*/state.json"))


def _tokenizer(
    domains: Sequence[Source],
    settings: CorpusSettings,
    files: Mapping[str, tuple[SourceFile, ...]],
    directory: Path,
    on_progress: OnProgress,
) -> tuple[CorpusTokenizer, str]:
    """The tokenizer, and the name of the file in `directory` that keeps it for the next start."""
    if settings.tokenizer_file is not None:
        tokenizer = load_tokenizer(settings.tokenizer_file)
        name = f"tokenizer-{tokenizer.hash[:12]}.json"
        for source in domains:
            tokenizer.check_matches(source.name, list(_sample(source, files[source.name], MATCH_SAMPLE)))
    else:
        learned_from = [settings.vocabulary, [_described(source, files[source.name]) for source in domains]]
        names = [_learned_name(learned_from, recipe) for recipe in range(LEARNING, 0, -1)]
        name = names[0]
        # What was begun here goes on with the tokenizer that it has, also where this version would learn another.
        for known in names:
            if (directory / known).exists():
                return load_tokenizer(str(directory / known)), known
        on_progress(Progress("train tokenizer", 0, 1, "tokenizer"))
        share = TOKENIZER_SAMPLE // len(domains)
        texts = (text for source in domains for text in _sample(source, files[source.name], share))
        tokenizer = train_tokenizer(texts, settings.vocabulary)
        on_progress(Progress("train tokenizer", 1, 1, "tokenizer"))
    write_whole(directory / name, tokenizer.definition.encode())
    return tokenizer, name


def _learned_name(learned_from: Sequence[object], recipe: int) -> str:
    """The file of a tokenizer that was learned by a recipe of this number; the first had none in its name."""
    digest = _sha256(*learned_from, *([recipe] if recipe > 1 else []))
    return f"tokenizer-{digest[:12]}.json"


def _sample(source: Source, files: tuple[SourceFile, ...], characters: int) -> Iterator[str]:
    """About so many characters of a source, from the beginnings of evenly spaced files."""
    chosen = files[:: math.ceil(len(files) / SAMPLED_FILES)]
    for file in chosen:
        left = characters // len(chosen)
        for document in documents(source, (file,)):
            if left <= 0:
                break
            if not document.empty:
                text = (document.prompt or "") + document.text
                left -= len(text)
                yield text


def _intake(
    source: Source,
    files: tuple[SourceFile, ...],
    settings: CorpusSettings,
    tokenizer: CorpusTokenizer,
    evaluation_only: bool,
    confirmation: bool,
) -> Intake:
    # Of what is only evaluated on, each of two sets may have half.
    share = (0.5 if confirmation else 1.0) if evaluation_only else settings.validation_share
    made_of = [_described(source, files), tokenizer.hash, settings.validation_tokens, share, evaluation_only]
    return Intake(
        source,
        files,
        # Quoted, since a name may hold any character, even a slash.
        folder=f"{'evaluations' if evaluation_only else 'domains'}/{quote(source.name, safe='')}",
        held_out_tokens=settings.validation_tokens,
        held_out_share=share,
        evaluation_only=evaluation_only,
        confirmation=confirmation,
        inputs=_sha256(*made_of, *(["confirmation"] if confirmation else [])),
    )


def _workers(settings: CorpusSettings, unread: Sequence[Intake]) -> int:
    from joblib import cpu_count  # which heeds a container's quota

    files = [file for intake in unread for file in intake.files]
    if all(file.size is not None for file in files) and sum(file.size or 0 for file in files) < SMALL_CORPUS:
        return 1
    return settings.workers or int(cpu_count())


def _without(shard: Shard, unwanted: NDArray[np.uint64], directory: Path, dtype: TokenType) -> Shard | None:
    """The shard without the documents of these content hashes: itself, a clean copy, or None if nothing is left."""
    keep_N = ~np.isin(shard.documents_N2(directory)[:, 0], unwanted)
    if keep_N.all():
        return shard
    if not keep_N.any():
        return None
    with ShardWriter(directory, shard.name + CLEAN, dtype, shard.masked) as writer:
        writer.copy(shard, keep_N)
        return writer.close()


def _hashes(shards: Sequence[Shard], directory: Path) -> NDArray[np.uint64]:
    """The content hashes of all documents in these shards."""
    empty_N = np.empty(0, np.uint64)
    return np.concatenate([empty_N, *(shard.documents_N2(directory)[:, 0] for shard in shards)])


def _domain_entry(
    source: Source,
    state: IntakeState,
    held_out_entry: Mapping[str, Any],
    held_out_hashes: NDArray[np.uint64],
    directory: Path,
    dtype: TokenType,
    on_shard: Callable[[int], None],
) -> dict[str, Any]:
    """What the manifest says of one domain, besides its held-out sets."""
    shards = []
    for each in state.shards:
        shards.append(_without(each, held_out_hashes, directory, dtype))
        on_shard(1)
    train = [shard for shard in shards if shard is not None]
    train_pieces = sum(shard.documents for shard in train)
    if not train_pieces:
        raise ProxyError(
            f"domain {source.name} has {state.documents} document{'s' * (state.documents > 1)} and none to train on:"
            " each is held out for validation, or the same as one that is",
            hint="give it more documents, or split its text into several",
        )
    # One where the confirmation has no set of its own.
    sets = (held_out_entry, held_out_entry.get("confirmation", held_out_entry))
    held_out = {each["held_out"]["name"]: each["held_out"] for each in sets}
    summary = DomainSummary(
        documents=state.documents,
        train_tokens=sum(shard.tokens for shard in train),
        validation_tokens=state.held_out.tokens,
        bytes=state.text_bytes,
        dropped_empty=state.dropped_empty,
        dropped_contaminated=state.pieces - train_pieces - sum(shard["documents"] for shard in held_out.values()),
        mean_document_tokens=state.tokens / state.documents,
        confirmation_tokens=sum(shard["tokens"] for shard in held_out.values()) - state.held_out.tokens,
    )
    return {"summary": asdict(summary), "train": [asdict(shard) for shard in train]}


def _add_portraits(
    manifest: dict[str, Any], directory: Path, tokenizer: CorpusTokenizer, on_progress: OnProgress
) -> None:
    """What the text of each source is like, beside what is said of it."""
    corpus, entries = Corpus(directory, manifest), manifest["domains"] | manifest["evaluations"]
    on_source = _counted("look at samples", len(entries), on_progress, "sources")
    for name, entry in entries.items():
        entry["portrait"] = corpus.draw_portrait(name, tokenizer).plain()
        on_source(1)


def _held_out_entry(
    state: IntakeState, searched: NDArray[np.uint64], directory: Path, dtype: TokenType, confirmation: bool
) -> dict[str, Any]:
    """What the manifest says of the held-out sets of one source.

    Args:
        searched: content hashes of all documents that the search ranks mixtures by.
        confirmation: whether there are second sets at all.
    """
    entry = {"held_out": asdict(state.held_out), "loss_bytes": state.loss_bytes, "dropped_empty": state.dropped_empty}
    if not confirmation:
        return entry
    # Where too little text left no second set, or the search measures on all that is in it, the first is also that of
    # the confirmation.
    shard, loss_bytes_N = state.held_out, np.array(state.held_out_bytes)
    if state.confirmation is not None and (clean := _without(state.confirmation, searched, directory, dtype)):
        keep_N = ~np.isin(state.confirmation.documents_N2(directory)[:, 0], searched)
        shard, loss_bytes_N = clean, np.array(state.confirmation_bytes)[keep_N]
    searched_elsewhere = state.confirmation is not None and shard == state.held_out
    found = {"held_out": asdict(shard), "group_bytes": bytes_of_groups(loss_bytes_N)}
    return entry | {"confirmation": found | ({"searched_elsewhere": True} if searched_elsewhere else {})}


def _fingerprint(tokenizer: CorpusTokenizer, domains: Mapping[str, Any], evaluations: Mapping[str, Any]) -> str:
    """The same wherever the same domains hold the same shards of the same tokenizer."""

    def digests(entry: Mapping[str, Any]) -> list[str]:
        shards = [*entry.get("train", ()), entry["held_out"]]
        if "confirmation" in entry:
            shards.append(entry["confirmation"]["held_out"])
        return [shard["sha256"] for shard in shards]

    contents = [[[name, digests(entry)] for name, entry in group] for group in (domains.items(), evaluations.items())]
    return _sha256(tokenizer.hash, contents)
