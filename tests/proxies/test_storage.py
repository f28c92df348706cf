"""A file is there whole or not at all, and nobody can have it written elsewhere."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from proxies.storage import PARTIAL, open_whole, remove_partial, write_whole


def test_a_file_that_could_not_be_finished_leaves_the_old_one_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    write_whole(path, b"old")
    with pytest.raises(ZeroDivisionError), open_whole(path) as file:
        file.write(b"half of the new")
        raise ZeroDivisionError
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"answer.json": b"old"}


def test_while_it_is_written_the_old_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    write_whole(path, b"old")
    with open_whole(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_a_link_under_the_files_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "study.yaml"
    path.symlink_to(victim)  # dangling, so that it does not seem to be there
    write_whole(path, b"study: small")
    assert not victim.exists()
    assert not path.is_symlink()


def test_two_that_write_at_once_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    with open_whole(path) as first, open_whole(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() in (b"first", b"second")
    assert list(tmp_path.iterdir()) == [path]


def test_one_that_is_there_is_kept_where_it_is_not_to_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_whole(path, b"old")
    with pytest.raises(FileExistsError), open_whole(path, mode=0o600, replace=False) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_its_permissions_are_those_of_any_new_file_or_those_asked_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "open", b"")
        with open_whole(tmp_path / "secret", mode=0o600):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "domains").mkdir()
    (tmp_path / "domains" / f".0123456789abcdef{PARTIAL}").touch()
    write_whole(tmp_path / "domains" / "whole", b"")
    remove_partial(tmp_path)
    assert [each.name for each in (tmp_path / "domains").iterdir()] == ["whole"]


def test_a_full_disk_names_the_file_and_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_whole(path, bytes(2_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
