"""What a long benchmark keeps: nothing is lost when it is killed, and nothing half-written is believed."""

from pathlib import Path

import pytest

from benchmarks.kept import Kept


def test_what_was_added_is_there_for_the_next_process(tmp_path: Path) -> None:
    file = tmp_path / "kept.jsonl"
    Kept(file).add("a", {"loss": 1.5})
    assert Kept(file).get("a") == {"loss": 1.5}
    assert Kept(file).get("b") is None


@pytest.mark.parametrize("half", [b'{"key": "b", "val', b'{"key": "b", "value": 2}'])
def test_a_half_written_last_line_is_dropped_and_overwritten(tmp_path: Path, half: bytes) -> None:
    file = tmp_path / "kept.jsonl"
    Kept(file).add("a", 1)
    whole = file.read_bytes()
    file.write_bytes(whole + half)
    kept = Kept(file)
    assert kept.get("b") is None
    kept.add("c", 3)
    assert file.read_bytes().startswith(whole)
    assert file.read_bytes().count(b"\n") == len(Kept(file)) == 2
    assert (Kept(file).get("a"), Kept(file).get("b"), Kept(file).get("c")) == (1, None, 3)


def test_what_another_process_added_is_seen_and_not_overwritten(tmp_path: Path) -> None:
    one, other = Kept(tmp_path / "kept.jsonl"), Kept(tmp_path / "kept.jsonl")
    one.add("a", 1)
    other.add("b", 2)
    one.refresh()
    assert [one.get("a"), one.get("b")] == [other.get("a"), other.get("b")] == [1, 2]


def test_a_whole_line_of_something_else_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "kept.jsonl"
    file.write_text("not one of its lines\n")
    with pytest.raises(ValueError, match="no line of this file"):
        Kept(file)
