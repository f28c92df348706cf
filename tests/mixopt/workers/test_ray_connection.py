"""How a driver comes to a Ray cluster, where that is not to be had as usual."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest
import ray

from mixopt.base.errors import ClusterLost
from mixopt.workers import ray_connection
from mixopt.workers.ray_connection import connect, private_folder
from mixopt.workers.ray_folders import LONGEST_FOLDER
from tests.processes import free_port

TOKEN = "a token of this test that is long enough"


def test_an_address_that_nothing_listens_at_is_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    began = time.monotonic()
    with pytest.raises(
        ClusterLost, match=r"no Ray cluster answers at executor.address 127\.0\.0\.1:\d+: nothing listens"
    ):
        connect(f"127.0.0.1:{free_port()}")
    assert time.monotonic() - began < 5, "Ray itself tries for minutes"


@pytest.mark.parametrize(("length", "usual"), [(LONGEST_FOLDER, True), (LONGEST_FOLDER + 9, False), (120, False)])
def test_rays_files_are_private_and_lie_where_names_are_short(
    monkeypatch: pytest.MonkeyPatch, length: int, usual: bool
) -> None:
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    place = place.rename(f"/tmp/{'x' * (length - len('/tmp/'))}")
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    with private_folder() as folder:
        assert (folder.parent == place) is usual
        assert len(str(folder.parent)) <= LONGEST_FOLDER
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    place.rmdir()


def test_a_ray_that_does_not_start_is_tried_again_and_then_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_connection, "PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    # Nonsense in Ray's own settings stands for whatever keeps it from starting.
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", "nonsense")
    with pytest.raises(ClusterLost, match=r"Ray does not start on this machine \(3 times tried\): ") as caught:
        connect(None)
    assert "\n" not in caught.value.message
    assert not ray.is_initialized()
    assert os.environ["RAY_AUTH_TOKEN"] == TOKEN
