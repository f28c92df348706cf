"""The journal: a death at any byte leaves whole entries, and they read back to the bit."""

from __future__ import annotations

import errno
import io
import itertools
import resource
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.fidelity import Fidelity
from search.mixture import Mixture
from search.trial import Failure, FailureKind, Measurement, Trial
from tests.tracking.strategies import failures, measurements, trials
from tracking.entries import Closed, Entry, Finished, Opened, Restarted, StudyMetrics, Written, entries_of
from tracking.errors import TrackingError
from tracking.journal import (
    SCHEMA,
    Journal,
    checked_lines,
    entries_in,
    last_written,
    read,
    read_header,
    read_record,
    subject_in,
)
from tracking.record import Record, Subject

DATA = Path(__file__).parents[1] / "data"
SUBJECT = Subject("a study", {"seed": 0, "domains": {"web": {"max": 0.5}}}, "corpus")


def entries(trial: Trial, outcome: Measurement | Failure) -> list[Entry]:
    return [
        Opened(trial, 1_700_000_000_000, (2.5, 0.1)),
        Restarted(trial, 2, "the worker died"),
        Closed(trial, outcome, 1.5 if isinstance(outcome, Measurement) else None),
        StudyMetrics({"progress/completed": 1.0}, 1, 1_700_000_000_000, {"mixopt.search_seconds": "2.5"}),
        Written("mixopt.answer", {"mixture": {"web": 0.1 + 0.2}}, "answer.json"),
        Finished(),
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(trial=trials, outcome=st.one_of(measurements, failures))
def test_what_is_appended_reads_back(tmp_path: Path, trial: Trial, outcome: Measurement | Failure) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, SUBJECT, [])
    for entry in entries(trial, outcome):
        journal.append(entry)
    journal.close()
    assert list(read(path)) == entries(trial, outcome)


@pytest.fixture
def written(tmp_path: Path, one_trial: Trial) -> Path:
    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, SUBJECT, [])
    for entry in entries(one_trial, Failure(FailureKind.DIVERGED, "loss 1e9")):
        journal.append(entry)
    journal.close()
    return path


def test_the_last_value_of_a_key_is_found_without_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, SUBJECT, [])
    assert last_written(path, "mixopt.answer") is None
    for number in (1, 2):
        journal.append(Written("mixopt.answer", {"number": number}, "answer.json"))
        journal.append(Written("mixopt.other", {"number": -number}, "other.json"))
    journal.close()
    assert last_written(path, "mixopt.answer") == {"number": 2}
    with path.open("ab") as file:
        file.write(b'{"written":"mixopt.answer","data":{"number":3')
    assert last_written(path, "mixopt.answer") == {"number": 2}, "what is being written is no entry"
    path.write_bytes(path.read_bytes().replace(b'"number":2', b'"number":9'))
    with pytest.raises(TrackingError, match="damaged"):
        last_written(path, "mixopt.answer")


@pytest.fixture
def one_trial() -> Trial:
    return Trial(Mixture.of({"web": 0.3, "code": 0.7}), Fidelity("dense", 10_000, 65_536, 1e9), seed=0)


def test_a_death_at_any_byte_of_an_append_costs_that_entry_alone(written: Path, tmp_path: Path) -> None:
    content = written.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    for whole, (begin, end) in enumerate(itertools.pairwise(ends)):
        for cut in {begin, begin + 1, (begin + end) // 2, end - 1}:
            path = tmp_path / "cut.jsonl"
            path.write_bytes(content[:cut])
            assert len(list(read(path))) == whole
            journal = Journal(path)
            journal.append(Finished())
            journal.close()
            assert list(read(path)) == [*itertools.islice(read(written), whole), Finished()]


def test_a_journal_that_is_being_written_can_be_read(written: Path) -> None:
    before = list(read(written))
    with written.open("ab") as file:
        file.write(b'{"opened": {"wei')
        file.flush()
        assert list(read(written)) == before


def test_how_much_was_sent_is_remembered_and_belongs_to_one_journal(written: Path) -> None:
    journal = Journal(written)
    assert journal.sent == 0
    journal.mark_sent(3)
    assert Journal(written).sent == 3
    assert Journal.create(written, SUBJECT, list(read(written))).sent == 6
    sent = written.with_suffix(".sent").read_text()
    new = Journal.create(written, SUBJECT, [])
    written.with_suffix(".sent").write_text(sent)
    assert Journal(written).sent == 0, f"the count of another journal than {new.id}"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no journal's"),
        (b"\x89PNG\r\n", "no journal's"),
        (b'{"schema": 1, "id": "x", "subject": "y"}\n', "of schema 1, this version"),
        (b'{"schema": 2, "id": "x", "subject": "y"}\n{"closed": "abc", "failure": {}}\n', "journal.jsonl:2 is damaged"),
        (b'{"schema": 2, "id": "x", "subject": "y"}\n{"what": 1}\n', "of no known kind"),
    ],
)
def test_a_file_that_is_no_journal(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    with pytest.raises(TrackingError, match=says) as caught:
        list(read(path))
    assert "remove it" in caught.value.hint


def test_what_helps_where_a_copy_is_no_journal_is_said_by_its_reader() -> None:
    with pytest.raises(TrackingError) as caught:
        subject_in(BytesIO(b"[]\n"), "the copy", "look elsewhere")
    assert caught.value.hint == "look elsewhere"
    with pytest.raises(TrackingError) as caught:
        list(entries_in(BytesIO(b"[]\n"), "the copy", "look elsewhere"))
    assert caught.value.hint == "look elsewhere"


def test_a_journal_of_a_later_version_is_to_be_read_by_that_and_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"schema": 99, "id": "x"}\n')
    with path.open("rb") as copy, pytest.raises(TrackingError) as of_copy:
        subject_in(copy, "the copy", "look elsewhere")
    with pytest.raises(TrackingError, match="of schema 99, of a later version") as caught:
        list(read(path))
    assert caught.value.hint == of_copy.value.hint == "read it with that version of mixopt"


@given(st.lists(st.tuples(trials, st.one_of(st.none(), measurements, failures)), max_size=6))
def test_the_entries_of_a_history_lead_back_to_it(pairs: list[tuple[Trial, Measurement | Failure | None]]) -> None:
    asked = {trial.id: trial for trial, _ in pairs}
    steps: list[Entry] = [Opened(trial) for trial in asked.values()]
    steps += [Closed(trial, outcome) for trial, outcome in pairs if outcome is not None]
    history = Record.of(SUBJECT, steps).history
    assert Record.of(SUBJECT, entries_of(history)).history == history


def test_a_failed_trial_that_is_opened_again_is_running(one_trial: Trial) -> None:
    steps: list[Entry] = [Opened(one_trial), Closed(one_trial, Failure(FailureKind.ERROR, "x")), Opened(one_trial)]
    assert Record.of(SUBJECT, steps).history.running == (one_trial,)


def test_any_changed_byte_of_an_entry_is_noticed(written: Path) -> None:
    content = written.read_bytes()
    for place in range(len(content)):
        if content[place : place + 1] == b"\n":
            continue
        damaged = bytearray(content)
        damaged[place] ^= 4
        written.write_bytes(damaged)
        with pytest.raises(TrackingError, match=r"is damaged|no journal's|of schema"):
            list(read(written))


def test_a_line_that_is_gone_repeated_or_moved_is_noticed(written: Path) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    others = {
        "without one": [lines[:place] + lines[place + 1 :] for place in range(1, len(lines) - 1)],
        "one twice": [lines[: place + 1] + lines[place:] for place in range(1, len(lines))],
        "two swapped": [
            [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]] for place in range(1, len(lines) - 1)
        ],
    }
    for what, contents in others.items():
        for content in contents:
            written.write_bytes(b"".join(content))
            with pytest.raises(TrackingError, match="is damaged"):
                list(read(written))
            with pytest.raises(TrackingError, match="is damaged"):
                checked_lines(written)
            assert what


def test_what_is_appended_after_a_resume_stays_in_the_chain(written: Path) -> None:
    for _ in range(2):
        journal = Journal(written)
        journal.append(Finished())
        journal.close()
    assert list(read(written))[-2:] == [Finished(), Finished()]
    assert checked_lines(written).entries == len(list(read(written)))


@pytest.mark.parametrize("schema", [2, 3])
def test_a_journal_of_an_earlier_version_is_read_and_goes_on(tmp_path: Path, schema: int) -> None:
    path = tmp_path / "journal.jsonl"
    lines = (DATA / "journal-3.jsonl").read_text().splitlines()
    if schema == 2:
        header = '{"schema":2,"id":"0123","subject":"digest corpus"}'
        lines = [header, *(line.rpartition(',"crc":')[0] + "}" for line in lines[1:])]
    path.write_text("\n".join(lines) + "\n")
    before = list(read(path))
    assert before and checked_lines(path).entries == len(before)
    id = read_header(path).id
    assert read_header(path).schema == schema
    journal = Journal.upgrade(path, SUBJECT)
    journal.append(Finished())
    journal.close()
    assert list(read(path)) == [*before, Finished()]
    assert (read_header(path).schema, read_header(path).id) == (SCHEMA, id)


def test_a_journal_of_schema_3_says_what_it_said(one_trial: Trial) -> None:
    path = DATA / "journal-3.jsonl"
    assert list(read(path)) == entries(one_trial, Failure(FailureKind.DIVERGED, "loss 1e9"))
    assert read_header(path).subject == SUBJECT
    assert last_written(path, "mixopt.answer") == {"mixture": {"web": 0.1 + 0.2}}


def test_a_line_of_deep_json_is_one_clear_error(written: Path) -> None:
    written.write_bytes(written.read_bytes() + b"[" * 100_000 + b"\n")
    with pytest.raises(TrackingError, match="is damaged"):
        list(read(written))


@pytest.mark.parametrize("content", ["[]", "", "{}", '{"id": 3}', '{"id": "x", "sent": "many"}', "[" * 100_000, "\x00"])
def test_a_lost_count_costs_nothing_but_sending_again(written: Path, content: str) -> None:
    written.with_suffix(".sent").write_text(content)
    journal = Journal(written)
    assert journal.sent == 0
    journal.close()


def test_a_full_disk_names_the_journal_and_leaves_it_whole(written: Path, one_trial: Trial) -> None:
    journal = Journal(written)
    before = written.read_bytes()
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        for _ in range(2):
            with pytest.raises(OSError, match="File too large") as caught:
                journal.append(Opened(one_trial))
            assert caught.value.filename == str(written)
            assert written.read_bytes() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    journal.append(Finished())
    journal.close()
    assert len(list(read(written))) == len(before.splitlines())


class Away(io.FileIO):
    """A file on a volume that goes away after half a line, and takes no orders until it is back."""

    away = False

    def write(self, content: Any) -> int:
        if self.away:
            raise OSError(errno.EIO, "Input/output error")
        self.away = True
        return super().write(bytes(content)[: len(content) // 2])

    def truncate(self, size: int | None = None) -> int:
        if self.away:
            raise OSError(errno.EIO, "Input/output error")
        return super().truncate(size)


def test_a_volume_that_goes_away_and_comes_back_leaves_no_half_line(written: Path, one_trial: Trial) -> None:
    journal, before = Journal(written), list(read(written))
    journal._file.close()
    journal._file = file = Away(written, "ab")
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error"):
            journal.append(Opened(one_trial))
    assert not written.read_bytes().endswith(b"\n")
    file.away = False
    journal._file = written.open("ab", buffering=0)
    file.close()
    journal.append(Finished())
    journal.close()
    assert list(read(written)) == [*before, Finished()]
    assert checked_lines(written).entries == len(before) + 1


def test_a_count_that_cannot_be_kept_stops_nothing(written: Path) -> None:
    journal = Journal(written)
    written.with_suffix(".sent").unlink(missing_ok=True)
    written.with_suffix(".sent").mkdir()
    (written.with_suffix(".sent") / "file").touch()
    journal.mark_sent(3)
    journal.append(Finished())
    assert journal.sent == 3
    journal.close()


def test_what_a_study_is_about_is_in_its_journal(written: Path) -> None:
    assert read_header(written).subject == SUBJECT
    assert read_record(written).subject == SUBJECT
