"""`mixopt check` through trainers' own samplers: what they draw from an export is as its receipt says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.install import CLIENTS, ROOT, folder, is_installed

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("client", CLIENTS)
def test_what_a_trainers_sampler_draws_is_as_the_receipt_says(client: str, tmp_path: Path) -> None:
    if not is_installed(client):
        pytest.skip(f"{CLIENTS[client][0]} is not installed: python -m tests.clients.install")
    subprocess.run(
        [sys.executable, "-m", "tests.clients.checked", client, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder(client))},
        check=True,
    )
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["as_asked"], found["verdict"]
    assert found["total_variation"] < 0.03
    assert {row["domain"]: row["asked"] for row in found["domains"]} == {"a": 0.5, "b": 0.2, "c": 0.3}
