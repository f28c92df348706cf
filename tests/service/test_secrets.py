"""What `mixopt secrets` writes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mixopt.base.errors import ConfigError
from mixopt.cluster.secrets import RANDOM_BYTES, write_secrets
from mixopt.workers.ray_token import SHORTEST_TOKEN
from tests.service.compose import ROOT

WITH_SECRETS = ROOT / "deploy" / "bin" / "with-secrets"


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_secrets_are_strong_and_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "secrets"
    written = write_secrets(folder)
    assert {path.name for path in written} == set(RANDOM_BYTES) == set(contents(folder))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in written} == {0o600}
    assert len(set(contents(folder).values())) == len(written)
    assert len(contents(folder)["ray_token"]) >= SHORTEST_TOKEN
    assert contents(folder) != contents(write_secrets(tmp_path / "others")[0].parent)


def test_what_exists_is_never_changed(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    write_secrets(folder)
    before = contents(folder)
    (folder / "ray_token").unlink()
    (folder / "mlflow_password").write_text("chosen by hand")
    assert write_secrets(folder) == [folder / "ray_token"]
    after = contents(folder)
    assert after["mlflow_password"] == "chosen by hand"
    assert after["postgres_password"] == before["postgres_password"]
    assert write_secrets(folder) == []


def test_an_empty_secret_is_not_taken_for_one(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    write_secrets(folder)
    (folder / "ray_token").write_text("")
    with pytest.raises(ConfigError, match="ray_token: this secret is empty"):
        write_secrets(folder)


@pytest.mark.parametrize("content", ["", "\n"])
def test_no_service_starts_with_an_empty_secret(tmp_path: Path, content: str) -> None:
    (tmp_path / "good").write_text("a password")
    (tmp_path / "bad").write_text(content)
    started = with_secrets(tmp_path, "GOOD=good", "BAD=bad")
    assert started.returncode == 1
    assert started.stderr == "with-secrets: the secret bad is empty\n"
    assert started.stdout == ""


def test_a_service_gets_its_secrets_in_its_environment(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("a 'pass\"word $HOME")
    assert with_secrets(tmp_path, "GOOD=good").stdout == "a 'pass\"word $HOME\n"


def with_secrets(folder: Path, *secrets: str) -> subprocess.CompletedProcess[str]:
    """A command that says the secret GOOD, started as the services are."""
    command = [str(WITH_SECRETS), *secrets, "--", "printenv", "GOOD"]
    environment = {"PATH": os.defpath, "SECRETS_FOLDER": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="others may enter"):
        write_secrets(tmp_path)
    assert contents(tmp_path) == {}
