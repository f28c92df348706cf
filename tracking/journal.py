"""The journal of a study: what its driver decided and learned, in order, on the disk before the driver goes on.

    loop.py ──entry──▶ journal.jsonl ──Recorder──▶ MLflow: runs to look at, and the journal as one compressed artifact
                            │            (waits where MLflow is away)
                            └──read()──▶ whoever asks, and a driver that begins where another died

The journal is the record of the study; everything else can be made from it. One line of JSON per entry, each with the
CRC-32 of all lines up to it, so that a line that was changed, removed, repeated or moved is noticed. A line that a
death cut off is no entry: it is removed when the journal is opened again. `journal.sent` counts the entries that MLflow
has; entries may be sent twice, which changes nothing there.
"""

from __future__ import annotations

import json
import os
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Self

from search.trial import Trial
from tracking.entries import Entry, Opened, entry_from_plain, entry_to_plain
from tracking.errors import TrackingError
from tracking.record import Record, Subject
from tracking.whole_file import open_whole

JOURNAL = "journal.jsonl"  # its name in the folder of its study
SCHEMA = 4
# Of 0.2 while it was made: each checksum is of its own line alone.
UNCHAINED = 3
# Of versions before 0.2: no checksums, and a subject that is only a digest.
SCHEMA_BEFORE = 2
WITH_THAT_VERSION = "read it with that version of mixopt"
WITHOUT_IT = "remove it: the study then resumes from what MLflow has"
# What is raised by reading what nobody has written.
WRONG = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
CHECKSUM = b',"crc":"'
NOT_AS_WRITTEN = "its checksum is not that of what it says, or a line before it is gone"


class DamagedJournal(TrackingError):
    """A line of a journal is not what was written."""


@dataclass(frozen=True)
class Header:
    """The first line of a journal.

    Attributes:
        id: of this very journal: MLflow remembers which was the last to write to it.
        digest: in the place of the subject's settings, in journals of versions before 0.2.
        line: as it stands in the file.
    """

    schema: int
    id: str
    subject: Subject
    digest: str | None = None
    line: bytes = b""

    def chain(self) -> _Chain:
        """What the lines after it are checked by."""
        return _Chain(self.schema, _checksum_of(self.line))


@dataclass(frozen=True)
class Checked:
    """A journal of which each line is what was written.

    Attributes:
        entries: how many it has.
        last: the checksum of its last line, and so of all of them, hexadecimal; "" of versions that wrote none.
    """

    text: bytes
    entries: int
    last: str


@dataclass
class _Chain:
    """Checks the lines of a journal of this schema, one after the other; `last` is the checksum of the one before."""

    schema: int
    last: int

    def is_next(self, line: bytes) -> bool:
        """Whether the line is what was written after the one before."""
        if self.schema == SCHEMA_BEFORE:
            return True
        text, mark, checksum = line.rpartition(CHECKSUM)
        right = zlib.crc32(text + b"}", self.last if self.schema == SCHEMA else 0)
        self.last = right
        return bool(mark) and checksum == _shown(right)

    def plain(self, line: bytes) -> dict[str, Any]:
        """
        Raises:
            ValueError: it is no JSON, or not what was written.
        """
        if not self.is_next(line):
            raise ValueError(NOT_AS_WRITTEN)
        return _json(line)


class Journal:
    """
    Attributes:
        id: as in its header.
        subject: what the study is about.
        sent: how many of its entries MLflow has.
        appended: how many of them were since it was opened.

    Raises:
        TrackingError: the file is no journal.
    """

    def __init__(self, path: Path) -> None:
        """Open the journal that `create` made, for the only process that writes to it."""
        self.path = path
        header = read_header(path)
        self.id = header.id
        self.subject = header.subject
        self.sent = _sent(path, header.id)
        # What comes next must not stick to a line that a death cut off.
        os.truncate(path, _whole_lines(path))
        self.appended = 0
        self._schema = header.schema
        self._last = _checksum_of(_last_line(path))
        self._cut_to: int | None = None  # so long is what is whole, where half a line after it could not be removed
        self._file = path.open("ab", buffering=0)  # of which nothing waits to be written when this is closed

    @classmethod
    def create(
        cls,
        path: Path,
        subject: Subject,
        sent: Iterable[Entry] = (),
        unsent: Iterable[Entry] = (),
        id: str | None = None,
    ) -> Self:
        """A new journal in the place of any other.

        Args:
            sent: entries that MLflow has already.
            unsent: those that it is to get.
            id: of the journal that it replaces, where it says the same. Default: a new one.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        header: dict[str, Any] = {"schema": SCHEMA, "id": id or uuid.uuid4().hex, "study": subject.study}
        header |= {"settings": subject.settings, "corpus": subject.corpus}
        count = 0
        last = 0
        with open_whole(path) as file:

            def write(plain: dict[str, Any]) -> None:
                nonlocal last
                line, last = _line(plain, last)
                file.write(line)

            write(header)
            for entry in sent:
                write(entry_to_plain(entry))
                count += 1
            for entry in unsent:
                write(entry_to_plain(entry))
        journal = cls(path)
        journal.mark_sent(count)
        return journal

    @classmethod
    def upgrade(cls, path: Path, subject: Subject) -> Self:
        """A journal of an earlier version, as this version writes them: the same entries under the same id."""
        before = cls(path)
        before.close()
        entries = list(read(path))
        return cls.create(path, subject, entries[: before.sent], entries[before.sent :], before.id)

    def append(self, entry: Entry) -> None:
        """Keep an entry; it is on the disk when this returns.

        Raises:
            OSError: with the journal's path; it is as it was, or will be before anything else is appended.
        """
        assert self._schema == SCHEMA, "an earlier version's is upgraded first"
        line, checksum = _line(entry_to_plain(entry), self._last)
        try:
            self._cut()
            self._cut_to = self._file.seek(0, os.SEEK_END)
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):  # on a volume that is away; then before the next entry
                self._cut()
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        # Between these three nothing can interrupt: what was appended is counted.
        self._cut_to = None
        self._last = checksum
        self.appended += 1

    def _cut(self) -> None:
        """Remove half a line, to which what comes next would stick.

        Raises:
            OSError: it cannot be removed.
        """
        if self._cut_to is not None:
            self._file.truncate(self._cut_to)
            self._cut_to = None

    def mark_sent(self, count: int) -> None:
        """MLflow has the first `count` entries. Where this is lost all are sent again, so a full disk is no trouble."""
        self.sent = count
        with suppress(OSError), open_whole(_sent_path(self.path), durable=False) as file:
            file.write(json.dumps({"id": self.id, "sent": count}).encode())

    def entries(self) -> Iterator[Entry]:
        return read(self.path)

    def close(self) -> None:
        self._file.close()


def read_header(path: Path) -> Header:
    """
    Raises:
        TrackingError: it is no journal, or one of another version of mixopt.
    """
    with path.open("rb") as file:
        return _header(file.readline(), path)


def read(path: Path) -> Iterator[Entry]:
    """The entries of a journal, the oldest first; it may be written to meanwhile.

    Raises:
        TrackingError: it is damaged.
    """
    with path.open("rb") as file:
        yield from entries_in(file, path)


def entries_in(file: BinaryIO, name: Path | str, hint: str = WITHOUT_IT) -> Iterator[Entry]:
    """As `read`, from an open file; `name` and `hint` stand in what is raised."""
    chain = _header(file.readline(), name, hint).chain()
    trials: dict[str, Trial] = {}
    for number, line in enumerate(file, start=2):
        if not line.endswith(b"\n"):
            return  # it is being written
        try:
            entry = entry_from_plain(chain.plain(line), trials)
        except WRONG as error:
            raise DamagedJournal(
                f"{name}:{number} is damaged ({str(error)[:100] or type(error).__name__})", hint=hint
            ) from error
        if isinstance(entry, Opened):
            trials[entry.trial.id] = entry.trial
        yield entry


def read_record(path: Path) -> Record:
    """What a journal says, all entries taken together.

    Raises:
        TrackingError: it is damaged.
    """
    return Record.of(read_header(path).subject, read(path))


def last_written(path: Path, key: str) -> Mapping[str, Any] | None:
    """The last value of a key, None where it has none, without a look at whatever else is recorded.

    Raises:
        TrackingError: the file is no journal, or that line is damaged.
    """
    begin = b'{"written":' + json.dumps(key).encode() + b","
    found: tuple[int, bytes, int] | None = None  # its number, itself, the checksum before it
    with path.open("rb") as file:
        header = _header(file.readline(), path)
        before = header.line
        for number, line in enumerate(file, start=2):
            if line.startswith(begin) and line.endswith(b"\n"):
                found = number, line, _checksum_of(before)
            before = line
    if found is None:
        return None
    number, line, last = found
    try:
        data: Mapping[str, Any] = _Chain(header.schema, last).plain(line)["data"]
    except WRONG as error:
        raise DamagedJournal(f"{path}:{number} is damaged ({str(error)[:100]})", hint=WITHOUT_IT) from error
    return data


def subject_in(file: BinaryIO, name: Path | str, hint: str = WITHOUT_IT) -> Subject:
    """What an open journal is about, as `entries_in`; the file stands at its beginning again."""
    subject = _header(file.readline(), name, hint).subject
    file.seek(0)
    return subject


def count_entries(path: Path) -> int:
    """How many entries a journal has, without one that is being written."""
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b"")) - 1


def count_unsent(path: Path) -> int:
    """How many of its entries MLflow does not have, as far as is known here.

    Raises:
        TrackingError: the file is no journal.
    """
    return max(0, count_entries(path) - _sent(path, read_header(path).id))


def goes_on_after(path: Path, entries: int, last: str) -> bool:
    """Whether a journal began with so many entries, of which `last` is the checksum; "": whether it has so many."""
    with path.open("rb") as file:
        line = next(islice(file, entries, None), b"")
    return line.endswith(b"\n") and (not last or f"{_checksum_of(line):08x}" == last)


def checked_lines(path: Path) -> Checked:
    """A journal as it is now, without a line that is being written.

    Raises:
        DamagedJournal: a line is not what was written.
    """
    text = path.read_bytes()
    text = text[: text.rfind(b"\n") + 1]
    lines = text.splitlines(keepends=True)  # of bytes: JSON has no other line ends
    chain = _header(lines[0] if lines else b"", path).chain()
    for number, line in enumerate(lines[1:], start=2):
        if not chain.is_next(line):
            raise DamagedJournal(f"{path}:{number} is damaged ({NOT_AS_WRITTEN})", WITHOUT_IT)
    return Checked(text, len(lines) - 1, f"{chain.last:08x}" if chain.schema == SCHEMA else "")


def _sent_path(path: Path) -> Path:
    return path.with_suffix(".sent")


def _sent(path: Path, id: str) -> int:
    """How many entries of the journal of this id were sent; 0 where that is not known."""
    try:
        sent = json.loads(_sent_path(path).read_text())
        # A death between the two renames of `create` leaves the count of the journal before.
        return max(0, int(sent["sent"])) if sent["id"] == id else 0
    except (OSError, *WRONG):
        return 0


def _shown(checksum: int) -> bytes:
    """What stands after CHECKSUM at the end of a line."""
    return f'{checksum:08x}"}}\n'.encode()


def _checksum_of(line: bytes) -> int:
    """The checksum that a line carries; 0 where it carries none."""
    try:
        return int(line.rpartition(CHECKSUM)[2].removesuffix(b'"}\n'), 16)
    except ValueError:
        return 0


def _line(plain: dict[str, Any], last: int) -> tuple[bytes, int]:
    """A line after the one with the checksum `last`, and its own checksum."""
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()
    checksum = zlib.crc32(text, last)
    return text[:-1] + CHECKSUM + _shown(checksum), checksum


def _json(line: bytes) -> dict[str, Any]:
    """
    Raises:
        ValueError: it is no JSON object.
    """
    plain = json.loads(line)
    if not isinstance(plain, dict):
        raise ValueError("it is no entry")
    return plain


def _header(line: bytes, name: Path | str, hint: str = WITHOUT_IT) -> Header:
    """
    Raises:
        TrackingError: it is no first line of a journal, or one of another version; `hint` says what then helps, where
            that is not a later version of mixopt.
    """
    try:
        plain = _json(line)
        schema = plain["schema"]
        if schema in (UNCHAINED, SCHEMA):
            if not _Chain(schema, 0).is_next(line):
                raise ValueError(NOT_AS_WRITTEN)
            id, study, settings, corpus = (plain[key] for key in ("id", "study", "settings", "corpus"))
            if all(isinstance(each, str) for each in (id, study, corpus)) and isinstance(settings, dict):
                return Header(schema, id, Subject(study, settings, corpus), line=line)
            raise TypeError("what it says is of another kind")
        if schema == SCHEMA_BEFORE:
            digest, _, corpus = plain["subject"].partition(" ")
            return Header(schema, str(plain["id"]), Subject("", None, corpus), digest, line)
        if schema > SCHEMA:
            hint = WITH_THAT_VERSION
            reason = f"it is of schema {schema}, of a later version of mixopt; this one writes {SCHEMA}"
        else:
            reason = f"it is of schema {schema}, this version of mixopt writes {SCHEMA}"
    except WRONG:
        reason = "its first line is no journal's"
    raise TrackingError(f"{name} cannot be read: {reason}", hint=hint)


def _whole_lines(path: Path) -> int:
    """How many bytes of the file are whole lines."""
    with path.open("rb") as file:
        return _after_newline(file, path.stat().st_size)


def _last_line(path: Path) -> bytes:
    """The last line of a file that ends with one."""
    end = path.stat().st_size
    with path.open("rb") as file:
        file.seek(_after_newline(file, end - 1))
        return file.read()


def _after_newline(file: BinaryIO, end: int) -> int:
    """Where the line begins that the byte before `end` is in, or after."""
    while end > 0:
        begin = max(0, end - 65_536)
        file.seek(begin)
        newline = file.read(end - begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0
