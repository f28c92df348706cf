"""Raw files into documents: JSON lines, plain text, Parquet and Arrow, on a disk, behind a URL or on the hub.

Everything is read as a stream by `datasets`, one file after the other. JSON lines are streamed as lines and
parsed here: `datasets` would infer one type for every field of the file, while only the text fields matter and
the others may hold anything, and its errors do not name the line. The lines of .zst files are decompressed here
too: `datasets` would not notice that one is cut off.
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import logging
import os
import posixpath
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from proxies.data.diagnose import READ_ERRORS, located, open_text
from proxies.errors import ProxyError, Unreadable
from proxies.storage import url_options

if TYPE_CHECKING:
    from datasets import IterableDataset

DEFAULT_FIELD = "text"

# Longer texts are cut into pieces: no validation set could hold a book of 100 MB. Pairs of prompt and completion
# stay whole.
LONGEST_PIECE = 65_536  # characters
# Of a file of text; a record, or a file without line breaks, may be a large book.
LONGEST_LINE = 1 << 28  # characters
# Of a file of text that is read as a whole; a longer one is as many documents as it has such parts.
LONGEST_TEXT = 1 << 24  # characters
BLOCK = 1 << 16  # characters that are read at once

Kind = Literal["json", "text", "parquet", "arrow", "hub"]

# fmt: off
TEXT_ENDINGS = (
    ".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".html", ".htm", ".xml", ".csv", ".tsv", ".log",
    ".yaml", ".yml", ".toml", ".py", ".pyi", ".js", ".ts", ".jsx", ".tsx", ".c", ".h", ".cc", ".cpp", ".hpp", ".cs",
    ".java", ".kt", ".go", ".rs", ".rb", ".php", ".swift", ".scala", ".r", ".jl", ".lua", ".pl", ".sh", ".sql", ".css",
)
# fmt: on
KIND_OF_ENDING: dict[str, Kind] = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    **dict.fromkeys(TEXT_ENDINGS, "text"),
}

# Fields of lists of {role, content}.
TURNS = ("messages", "conversations", "conversation", "turns")
# Fields in a message.
MOST_NAMED = 12
# Of files that hold records beyond doubt, one a line or as a table.
RECORD_ENDINGS = (".jsonl", ".ndjson", ".parquet", ".arrow")
READABLE = f"{', '.join(RECORD_ENDINGS)}, .json, .txt, .md and other text"  # for messages


@dataclass(frozen=True)
class Source:
    """Where the documents of one domain or evaluation set come from.

    Attributes:
        name: the domain or evaluation set.
        paths: files, folders, globs, fsspec URLs (s3://...), or hub names ("hf:owner/name", "hf:owner/name@config").
        text_field: the field of a record that holds the text; not used for text files, which are one document each.
        prompt_field, completion_field: given together in place of `text_field`: loss on the completion only.
        split: of hub names and of folders saved from a DatasetDict.
        max_tokens: a sample: reading stops with the piece of a document that reaches it. The files are then read in
            an order hashed from their names, so that the sample is not one crawl or one language; within a file it
            is the beginning. None reads everything, in the order of the names.
    """

    name: str
    paths: tuple[str, ...]
    text_field: str = DEFAULT_FIELD
    prompt_field: str | None = None
    completion_field: str | None = None
    split: str = "train"
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if not self.paths:
            raise ProxyError(f"{self.name}: no path is given", hint="name at least one file, folder or hub name")
        if (self.prompt_field is None) != (self.completion_field is None):
            raise ProxyError(
                f"{self.name}: prompt_field {self.prompt_field} and completion_field {self.completion_field}",
                hint="give both, or neither",
            )
        if self.max_tokens is not None and self.max_tokens <= 0:
            raise ProxyError(f"{self.name}: max_tokens {self.max_tokens} must be above 0")

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a record that are read."""
        if self.prompt_field is not None and self.completion_field is not None:
            return (self.prompt_field, self.completion_field)
        return (self.text_field,)


@dataclass(frozen=True)
class SourceFile:
    """One file, or one hub data set.

    Attributes:
        url: as fsspec opens it.
        size: bytes on the disk; None where unknown.
        stamp: changes when the content does (size and time of change, ETag, commit).
    """

    url: str
    kind: Kind
    size: int | None
    stamp: str

    @property
    def is_local(self) -> bool:
        """Whether it is a file of this machine's file system."""
        return self.kind != "hub" and "://" not in self.url

    @property
    def is_as_it_was(self) -> bool:
        """Of a local file: whether it has not changed since it was found."""
        return self.stamp == _stamp(os.stat(self.url))  # noqa: PTH116 - as in `_file`

    @property
    def compressed(self) -> bool:
        return self.url.endswith((".gz", ".zst"))


@dataclass(frozen=True, slots=True)
class Position:
    """A place between (pieces of) documents: so many of file number `file` lie before it, and all files before."""

    file: int = 0
    document: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A text, or a prompt and its completion.

    Attributes:
        text: at most LONGEST_PIECE characters: of a longer document, a piece.
        last: whether the document ends here: False for all pieces but its last.
        end: the position right after it.
    """

    text: str
    prompt: str | None
    last: bool
    end: Position

    @property
    def empty(self) -> bool:
        return not self.text.strip()


@dataclass(frozen=True, slots=True)
class Record:
    """A document as its file has it.

    Attributes:
        text: all of it; of a file of text that is longer than LONGEST_TEXT, a part.
        fields: everything that the file says of it, the text included.
        place: file, and line or row.
        end: the position right after it.
    """

    text: str
    fields: Mapping[str, Any]
    place: str
    end: Position

    @property
    def empty(self) -> bool:
        return not self.text.strip()

    def line(self, **more: Any) -> bytes:
        """The record as a line of JSON, with more fields."""
        fields = {**self.fields, **more}
        try:
            return json.dumps(fields, ensure_ascii=False, default=str).encode() + b"\n"
        except UnicodeEncodeError:  # half a character in a field that is no text
            return json.dumps(fields, default=str).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Bad:
    """In the place of a record that is bad, or of the rest of a file that cannot be read further.

    Attributes:
        reason: file, line or row, and what is wrong.
        end: the position right after it.
    """

    reason: str
    end: Position


class _Below(NamedTuple):
    """What a path names.

    Attributes:
        files: that are read.
        beside: in the same folders, not read as records lie beside them.
        unknown: of no kind that is read.
        broken: of links to nothing, what is wrong with each.
    """

    files: list[SourceFile]
    beside: list[str]
    unknown: list[str]
    broken: list[str]


def find_files(source: Source, skip_bad: bool = False) -> tuple[SourceFile, ...]:
    """The files that `source` names, each once, in the order in which they are read.

    Args:
        skip_bad: leave out links to nothing, see `broken_links`.

    Raises:
        Unreadable: one is a link to nothing.
        ProxyError: a path matches nothing, has an ending that is not known, or cannot be reached.
    """
    found: dict[str, SourceFile] = {}
    for path in source.paths:
        if path.startswith("hf:"):
            found[path] = _hub_file(source, path)
            continue
        below = _files_at(source, path)
        if below.broken and not skip_bad:
            raise Unreadable(below.broken[0], hint="remove the link, or bring back what it leads to")
        found |= {file.url: file for file in below.files}
    # A link to a file that is there as well is the same text once.
    real = {url: os.path.realpath(url) if "://" not in url and not url.startswith("hf:") else url for url in found}
    first = {real[url]: url for url in sorted(found, key=lambda url: (real[url] != url, url), reverse=True)}
    urls = sorted(first.values())
    if source.max_tokens is not None:
        # Left out, so that where a pool lies does not change its sample. By characters: these are no paths only.
        shared = len(os.path.commonprefix(urls))  # noqa: RUF071
        urls.sort(key=lambda url: hashlib.sha256(url[shared:].encode()).digest())
    return tuple(found[url] for url in urls)


def beside_records(source: Source) -> list[str]:
    """The files on this machine, in the folders of `source`, that are not read, as records lie beside them.

    Raises:
        ProxyError: see `find_files`.
    """
    found = _found_here(source)
    # Another path may name one of them.
    read = {file.url for below in found for file in below.files}
    return sorted({path for below in found for path in below.beside} - read)


def unread(source: Source) -> list[str]:
    """The files on this machine, in the folders of `source`, that are not read: those, and what has another ending.

    Raises:
        ProxyError: see `find_files`.
    """
    found = _found_here(source)
    read = {file.url for below in found for file in below.files}
    return sorted({path for below in found for path in (*below.beside, *below.unknown)} - read)


def broken_links(source: Source) -> list[str]:
    """Of links to nothing among the files on this machine that `source` names, what is wrong with each.

    Raises:
        ProxyError: see `find_files`.
    """
    return sorted({reason for below in _found_here(source) for reason in below.broken})


def _found_here(source: Source) -> list[_Below]:
    return [_files_at(source, path) for path in source.paths if "://" not in path and not path.startswith("hf:")]


def would_read(source: Source, path: Path) -> bool:
    """Whether `source` names a file that comes to be at `path`, on this machine, or a folder that it is in."""
    whole, real = path.absolute(), path.resolve()
    for named in source.paths:
        if "://" in named or named.startswith("hf:"):
            continue
        if glob.has_magic(named) and not Path(named).exists():
            wanted = re.compile(glob_translate(str(Path(named).absolute())))
            if any(wanted.match(str(each)) for place in (whole, real) for each in (place, *place.parents)):
                return True
        elif real.is_relative_to(os.path.realpath(named)):
            return True
    return False


def check_readable(source: Source, files: Iterable[SourceFile]) -> None:
    """Reads the first record of each file of records: most mistakes show before any expensive work.

    Raises:
        ProxyError: see `documents`.
    """
    for file in files:
        if file.kind != "text":
            next(_read(source, file), None)


def text_fields(source: Source, file: SourceFile, skip_bad: bool = False) -> tuple[str, ...]:
    """The fields of the first record of a file that hold text, whatever `source` wants of it; none of a text file.

    Args:
        skip_bad: take the first record that has such a field.

    Raises:
        Unreadable: the file is broken.
    """
    if file.kind == "text":
        return ()
    try:
        if file.kind == "parquet":
            return tuple(name for name, is_text in _parquet_columns(file).items() if is_text)
        for _, record in _records(source, file, skip_bad=skip_bad):
            if isinstance(record, Mapping) or not skip_bad:
                found = tuple(name for name, value in record.items() if isinstance(value, str))
                if found or not skip_bad:
                    return found
        return ()
    except (*READ_ERRORS, AttributeError) as error:
        raise error if isinstance(error, ProxyError) else located(error, source.name, file.url) from error


def without_field(source: Source, file: SourceFile, looked_at: int = 100) -> tuple[str, ...]:
    """The fields that the first records of a file have, where none of these has the text's field; else none.

    Where the file cannot be read, none: whoever reads it will say so.
    """
    if file.kind == "text":
        return ()
    seen: dict[str, None] = {}
    try:
        if file.kind == "parquet":
            seen = dict.fromkeys(_parquet_columns(file))
        else:
            for _, record in islice(_records(source, file, skip_bad=True), looked_at):
                if isinstance(record, Mapping):
                    seen |= dict.fromkeys(map(str, record))
    except (*READ_ERRORS, ProxyError):
        return ()
    return () if source.text_field in seen else tuple(seen)


def documents(source: Source, files: tuple[SourceFile, ...], start: Position = Position()) -> Iterator[Document]:
    """All documents from `start` on, long ones in pieces, empty ones included.

    Raises:
        ProxyError: a file is broken or lacks a field; the message names file and line or row.
    """
    for number in range(start.file, len(files)):
        skipped = start.document if number == start.file else 0
        for index, (prompt, text, last) in enumerate(islice(_read(source, files[number]), skipped, None), skipped):
            yield Document(text, prompt, last, Position(number, index + 1))


def records(source: Source, files: tuple[SourceFile, ...], start: Position = Position()) -> Iterator[Record]:
    """All documents from `start` on, whole, with their other fields, empty ones included.

    Raises:
        Unreadable: as `documents`.
    """
    for number in range(start.file, len(files)):
        file, skipped = files[number], start.document if number == start.file else 0
        for index, found in enumerate(islice(_whole(source, file), skipped, None), skipped):
            if isinstance(found, Unreadable):
                raise found
            yield Record(*found, Position(number, index + 1))


def good_and_bad_records(
    source: Source, files: tuple[SourceFile, ...], start: Position = Position()
) -> Iterator[Record | Bad]:
    """The same, going on after what is bad."""
    for number in range(start.file, len(files)):
        file, skipped = files[number], start.document if number == start.file else 0
        try:
            for index, found in enumerate(islice(_whole(source, file, skip_bad=True), skipped, None), skipped):
                end = Position(number, index + 1)
                yield Bad(found.message, end) if isinstance(found, Unreadable) else Record(*found, end)
        except Unreadable as error:
            yield Bad(f"{error.message}; nothing after that is read of it", Position(number + 1))


def _whole(
    source: Source, file: SourceFile, skip_bad: bool = False
) -> Iterator[tuple[str, Mapping[str, Any], str] | Unreadable]:
    """Text, fields and place of each record of a file; of a bad one what is wrong with it.

    Raises:
        Unreadable: the file cannot be read further, or not `skip_bad` and a line of it is none.
    """
    try:
        yield from _whole_texts(source, file) if file.kind == "text" else _whole_records(source, file, skip_bad)
    except ProxyError:
        raise
    except READ_ERRORS as error:
        raise located(error, source.name, file.url) from error


def _whole_texts(source: Source, file: SourceFile) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    part: list[str] = []
    for piece, last in _pieces(_lines(file)):
        part.append(piece)
        if last or len(part) * LONGEST_PIECE >= LONGEST_TEXT:
            text = "".join(part)
            yield text, {source.text_field: text}, file.url
            part = []


def _whole_records(
    source: Source, file: SourceFile, skip_bad: bool
) -> Iterator[tuple[str, Mapping[str, Any], str] | Unreadable]:
    for place, record in _records(source, file, whole=True, skip_bad=skip_bad):
        try:
            text = _text(source, file, place, record, source.text_field)
        except Unreadable as error:
            yield error
        else:
            yield text, record, f"{file.url} {place}"


def _files_at(source: Source, path: str) -> _Below:
    found = _Below([], [], [], [])
    try:
        fs, root = fsspec.core.url_to_fs(path, **url_options(path))
        there = fs.isdir(root) or fs.exists(root) or _is_broken_link(fs, root)
        for match in [root] if there else _matches(fs, root):
            chosen, left, other = _paths_below(source, fs, match) if fs.isdir(match) else ([match], [], [])
            for each in chosen:
                if _is_broken_link(fs, each):
                    link = f"{source.name}: {each} is a link to {Path(each).readlink()}, which is not there"
                    found.broken.append(link)
                else:
                    found.files.append(_file(source, fs, each))
            found.beside.extend(left)
            found.unknown.extend(other)
    except ProxyError:
        raise
    except ImportError as error:
        hint = "install that package beside mixopt"
        raise ProxyError(f"{source.name}: cannot open {path}: {error}", hint=hint) from error
    except Exception as error:  # every file system has its own; the cause stays attached
        reason = " ".join(str(error).split())
        raise ProxyError(f"{source.name}: cannot list {path}: {reason}", hint="check address and access") from error
    if not found.files and not found.broken:
        raise ProxyError(f"{source.name}: no file matches {path}", hint="check the path")
    return found


def _is_broken_link(fs: fsspec.AbstractFileSystem, path: str) -> bool:
    return isinstance(fs, LocalFileSystem) and Path(path).is_symlink() and not Path(path).exists()


def _matches(fs: fsspec.AbstractFileSystem, pattern: str) -> list[str]:
    """What a pattern matches; brackets in the name of a folder that is there, above its first star, are no pattern."""
    if not glob.has_magic(pattern):
        return []
    if not isinstance(fs, LocalFileSystem):
        return sorted(fs.glob(pattern))
    folder = pattern
    while not Path(folder).is_dir():
        folder = posixpath.dirname(folder)
    if not glob.has_magic(folder):
        return sorted(fs.glob(pattern))
    rest = pattern.removeprefix(folder).lstrip("/")
    depth = None if "**" in rest else rest.count("/") + 1
    wanted = re.compile(glob_translate(rest))
    found = fs.find(folder, maxdepth=depth, withdirs=True)
    return sorted(path for path in found if wanted.match(path.removeprefix(folder).lstrip("/")))


def _paths_below(source: Source, fs: fsspec.AbstractFileSystem, root: str) -> tuple[list[str], list[str], list[str]]:
    """As `_records_alone`, of all below a folder that can be read; and what cannot, by its ending."""
    root = root.rstrip("/")
    if fs.exists(f"{root}/dataset_dict.json"):
        root = f"{root}/{source.split}"
        if not fs.isdir(root):
            raise ProxyError(f"{source.name}: no split {source.split} in {posixpath.dirname(root)}", hint="set split")
    paths = sorted(path for path in fs.find(root) if "/." not in path.removeprefix(root))
    # save_to_disk lays two files about the data beside the data.
    saved = {posixpath.dirname(path) for path in paths if path.endswith("/dataset_info.json")}
    about = {f"{folder}/{name}" for folder in saved for name in ("state.json", "dataset_info.json")}
    readable = [path for path in paths if path not in about and _ending(path) in KIND_OF_ENDING]
    if not readable:
        raise ProxyError(f"{source.name}: no text below {root}", hint=f"readable: {READABLE}")
    unknown = [path for path in paths if path not in about and _ending(path) not in KIND_OF_ENDING]
    return *_records_alone(readable), unknown


def _records_alone(paths: list[str]) -> tuple[list[str], list[str]]:
    """Of the files in a folder those that are read, and those that only say something about them.

    Beside records a README.md is no document of the pool; and beside files of one record a line, or tables, a .json
    file is no pool but a description of one.
    """
    for kinds in (RECORD_ENDINGS, (".json",)):
        chosen = [path for path in paths if _ending(path) in kinds]
        if chosen:
            return chosen, [path for path in paths if _ending(path) not in kinds]
    return paths, []


def _file(source: Source, fs: fsspec.AbstractFileSystem, path: str) -> SourceFile:
    kind = KIND_OF_ENDING.get(_ending(path))
    if kind is None:
        raise ProxyError(
            f"{source.name}: {path} has an ending that is not known",
            hint=f"readable are {READABLE}, and these with .gz or .zst",
        )
    if kind in ("parquet", "arrow") and path.endswith((".gz", ".zst")):
        raise ProxyError(f"{source.name}: {path} is compressed a second time", hint="decompress it")
    if kind == "text" and source.prompt_field is not None:
        raise ProxyError(
            f"{source.name}: {path} is plain text and has no field {source.prompt_field}", hint="leave prompt_field out"
        )
    if kind == "text" and source.text_field != DEFAULT_FIELD:
        raise ProxyError(
            f"{source.name}: {path} is one document of plain text and has no field {source.text_field}",
            hint="leave text out; or write what is a table as .jsonl or .parquet, a record a line",
        )
    local = isinstance(fs, LocalFileSystem)
    if "[" in path and not local:
        raise ProxyError(f"{source.name}: {path} has a [ in its name", hint="rename it: it is taken for an address")
    if local:
        found = os.stat(path)  # noqa: PTH116 - of ten thousand files, paths would take as long as the rest
        if not stat.S_ISREG(found.st_mode):
            raise ProxyError(f"{source.name}: {path} is a pipe or a device", hint="write the text into a file")
        return SourceFile(path, kind, found.st_size, _stamp(found))
    return SourceFile(fs.unstrip_protocol(path), kind, fs.info(path).get("size"), fs.ukey(path))


def _stamp(found: os.stat_result) -> str:
    return f"{found.st_size} {found.st_mtime_ns}"


def _ending(path: str) -> str:
    return posixpath.splitext(path.removesuffix(".gz").removesuffix(".zst"))[1].lower()


def _read(source: Source, file: SourceFile) -> Iterator[tuple[str | None, str, bool]]:
    """Prompt (or None) and text of each piece of one file, and whether a document ends with it."""
    try:
        if file.kind == "text":
            for piece, last in _pieces(_lines(file)):
                yield None, piece, last
            return
        for place, record in _records(source, file):
            texts = [_text(source, file, place, record, field) for field in source.fields]
            if len(texts) == 2:
                yield texts[0], texts[1], True
            elif len(texts[0]) <= LONGEST_PIECE:
                yield None, texts[0], True
            else:
                for piece, last in _pieces(texts[0].splitlines(keepends=True)):
                    yield None, piece, last
    except ProxyError:
        raise
    except READ_ERRORS as error:
        raise located(error, source.name, file.url) from error


def _records(
    source: Source, file: SourceFile, whole: bool = False, skip_bad: bool = False
) -> Iterator[tuple[str, Any]]:
    """Each record with its place in the file, for messages; with the fields that are read, or the whole of it.

    Args:
        skip_bad: in the place of a line that is no record comes what is wrong with it, see `_text`.
    """
    if file.kind == "json":
        yield from _json_records(source, file, skip_bad)
        return
    if file.kind == "hub":
        rows = iter(_hub_builder(source, file.url).as_streaming_dataset(split=source.split))
    else:
        options: dict[str, Any] = {}
        if file.kind == "parquet":
            columns = _parquet_columns(file)
            for field in source.fields:
                if field not in columns:
                    raise _no_field(f"{source.name}: {file.url}", field, columns)
            # Small batches: a row group may be larger than memory, and the other columns stay unread.
            options = {"columns": list(columns if whole else source.fields), "batch_size": 1024}
        rows = iter(_stream(file, **options))
    for number, row in enumerate(rows, 1):
        yield f"row {number}", row


def _parquet_columns(file: SourceFile) -> dict[str, bool]:
    """The names of the columns, and whether each holds text."""
    import pyarrow.parquet

    with fsspec.open(file.url, **url_options(file.url)) as opened:
        schema = pyarrow.parquet.read_schema(opened)
    types = pyarrow.types
    return {each.name: types.is_string(each.type) or types.is_large_string(each.type) for each in schema}


def _json_records(source: Source, file: SourceFile, skip_bad: bool) -> Iterator[tuple[str, Any]]:
    begun = False
    for number, line in enumerate(_lines(file, "surrogateescape" if skip_bad else "strict"), 1):
        if not line.strip():
            continue
        if not begun and line.lstrip().startswith("["):
            yield from _list_records(source, file)
            return
        begun = True
        place = f"line {number}"
        try:
            if skip_bad and not _is_utf8(line):
                raise Unreadable(f"{source.name}: {file.url} {place} is not UTF-8")
            record = _parsed(source, file, f" {place}", line)
        except Unreadable as error:
            if not skip_bad:
                raise
            record = error
        yield place, record


def _is_utf8(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:  # a byte that was escaped
        return False
    return True


def _list_records(source: Source, file: SourceFile) -> Iterator[tuple[str, Any]]:
    """The records of a file that is one JSON list, which has to be read as a whole."""
    whole, length = io.StringIO(), 0
    for line in _lines(file):
        length += whole.write(line)
        if length > LONGEST_LINE:
            raise Unreadable(
                f"{source.name}: {file.url} is one JSON list of more than {LONGEST_LINE:,} characters",
                hint="write one record a line, which is read line by line",
            )
    for index, record in enumerate(_parsed(source, file, "", whole.getvalue()), 1):
        yield f"record {index}", record


def _parsed(source: Source, file: SourceFile, place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        # Of a line that is named, what is left to say is the place in it.
        where = f"character {error.colno}" if place else f"line {error.lineno}, character {error.colno}"
        what = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
        raise Unreadable(
            f"{source.name}: {file.url}{place} is not JSON: {what} at {where}",
            hint="every line is one JSON object, or the whole file one JSON list",
        ) from error
    except ValueError as error:
        raise Unreadable(
            f"{source.name}: {file.url}{place} holds a number of thousands of digits", hint="take the record out"
        ) from error
    except RecursionError as error:
        raise Unreadable(
            f"{source.name}: {file.url}{place} holds JSON nested too deeply to be read", hint="take the record out"
        ) from error


def _text(source: Source, file: SourceFile, place: str, record: Mapping[str, Any] | Unreadable, field: str) -> str:
    """The text in `field`; a null counts as an empty text."""
    if isinstance(record, Unreadable):
        raise record
    where = f"{source.name}: {file.url} {place}"
    if not isinstance(record, Mapping):
        raise Unreadable(f"{where} is {_kind_of(record)}, not an object", hint=f'write {{"{field}": "..."}}')
    if field not in record:
        raise _no_field(where, field, record)
    value = record[field]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(
            f"{where}: field {field} holds {_kind_of(value)}, not text",
            hint=_other_fields(field, record),
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Unreadable(
            f"{where}: field {field} holds half a character (a lone surrogate) at character {error.start}",
            hint="write the record again with a whole character there",
        ) from error
    return value


def _no_field(where: str, field: str, fields: Iterable[str]) -> Unreadable:
    return Unreadable(f"{where} has no field {field}", hint=_other_fields(field, fields))


def _other_fields(field: str, fields: Iterable[str]) -> str:
    """What to do where a field is missing or holds no text."""
    names = list(fields)
    if field.partition(".")[0] in names and "." in field:
        return "fields within others are not read: write the text into a field of its own"
    if set(names) & set(TURNS) and not set(names) & {DEFAULT_FIELD, "prompt"}:
        return "turns of a conversation are not read: write each into one field of text, or as prompt and completion"
    if names == [field]:
        return "write it as text, or leave the record out"
    some = ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
    return f"name the text's field; the record has {some}"


def _kind_of(value: object) -> str:
    """As JSON calls it."""
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case Mapping():
            return "an object"
        case list():
            return "a list"
    return type(value).__name__


def _lines(file: SourceFile, errors: str = "strict") -> Iterator[str]:
    """The lines of a file of text, each with its line break, which is "\\n" for all kinds.

    Args:
        errors: what becomes of bytes that are not UTF-8.

    Raises:
        ValueError: one is longer than LONGEST_LINE, as it is in a few compressed bytes that unpack to gigabytes.
    """
    first = True
    with open_text(file.url, errors) as text:
        while block := text.read(BLOCK):
            if not block.endswith("\n"):
                rest = text.readline(LONGEST_LINE)
                if len(rest) == LONGEST_LINE and not rest.endswith("\n"):
                    raise ValueError(f"it has a line of more than {LONGEST_LINE:,} characters")
                block += rest
            # A StringIO ends lines at "\n" alone, as the file does by now.
            yield from io.StringIO(block.removeprefix("\ufeff") if first else block)
            first = False


def _pieces(lines: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """`lines` put together again into texts of at most LONGEST_PIECE characters, and whether each is the last."""
    piece: list[str] = []
    length = 0
    for line in lines:
        for start in range(0, len(line), LONGEST_PIECE):
            part = line[start : start + LONGEST_PIECE]
            if length + len(part) > LONGEST_PIECE:
                yield "".join(piece), False
                piece, length = [], 0
            piece.append(part)
            length += len(part)
    yield "".join(piece), True


def _stream(file: SourceFile, **options: Any) -> IterableDataset:
    # The builders themselves: load_dataset asks the hub to count a download, for local files too.
    from datasets.packaged_modules.arrow.arrow import Arrow
    from datasets.packaged_modules.parquet.parquet import Parquet

    builder = {"arrow": Arrow, "parquet": Parquet}[file.kind]
    # What it logs as an error, it raises as well.
    logging.getLogger(builder.__module__).setLevel(logging.CRITICAL)
    # The cache would get one lock file for each file that is read.
    with tempfile.TemporaryDirectory() as cache:
        built = builder(data_files=glob.escape(file.url), cache_dir=cache, **options)
        return built.as_streaming_dataset(split="train")


def _hub_file(source: Source, path: str) -> SourceFile:
    return SourceFile(path, "hub", None, str(_hub_builder(source, path).hash))


def _hub_builder(source: Source, path: str) -> Any:
    import datasets

    name, _, configuration = path.removeprefix("hf:").partition("@")
    try:
        return datasets.load_dataset_builder(name, configuration or None)
    except Exception as error:  # the hub's client has no common base class; the cause stays attached
        raise ProxyError(
            f"{source.name}: cannot open {path}: {' '.join(str(error).split())}",
            hint="check the name, the configuration after @, the network, and HF_TOKEN where access is restricted",
        ) from error
