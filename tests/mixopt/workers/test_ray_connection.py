"""How a driver comes to a Ray cluster, where that is not to be had as usual."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import ray

from mixopt.base.errors import ClusterLost
from mixopt.workers import ray_connection
from mixopt.workers.ray_connection import LONGEST_FOLDER, connect, short_folder
from tests.processes import free_port

TOKEN = "a token of this test that is long enough"


def test_an_address_that_nothing_listens_at_is_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    began = time.monotonic()
    with pytest.raises(
        ClusterLost, match=r"no Ray cluster answers at executor.address 127\.0\.0\.1:\d+: nothing listens"
    ):
        connect(f"127.0.0.1:{free_port()}", None)
    assert time.monotonic() - began < 5, "Ray itself tries for minutes"


@pytest.mark.parametrize(("length", "usual"), [(LONGEST_FOLDER, True), (LONGEST_FOLDER + 9, False), (120, False)])
def test_a_folder_whose_name_is_too_long_for_sockets_is_not_used(
    monkeypatch: pytest.MonkeyPatch, length: int, usual: bool
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * (length - 1))
    folder = short_folder()
    if usual:
        assert folder is None
    else:
        assert folder is not None and len(str(folder)) <= LONGEST_FOLDER
        assert folder.stat().st_mode & 0o077 == 0, "it is private"
        folder.rmdir()


def test_a_ray_that_does_not_start_is_tried_again_and_then_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file in the place of its folder stands for whatever keeps Ray from starting."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(ray_connection, "PAUSE_SECONDS", 0.0)
    (tmp_path / "file").touch()
    with pytest.raises(ClusterLost, match=r"Ray does not start on this machine \(3 times tried\): ") as caught:
        connect(None, tmp_path / "file")
    assert "\n" not in caught.value.message
    assert not ray.is_initialized()
