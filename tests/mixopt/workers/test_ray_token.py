"""The cluster's token: found where Ray looks, refused where it is weak, and never printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mixopt.base.errors import ConfigError
from mixopt.workers.ray_token import Token, fresh_token, use_cluster_token

STRONG = "k" * 16 + "-secret-" + "z" * 16


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        # First set, so that what a test sets is taken back as well.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_token_is_found_where_ray_looks_in_its_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    for place, token in ((tmp_path / ".ray" / "auth_token", "h" * 40), (tmp_path / "named", "n" * 40)):
        place.write_text(token + "\n")
    assert use_cluster_token() == Token("h" * 40, str(tmp_path / ".ray" / "auth_token"))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "named"))
    assert use_cluster_token() == Token("n" * 40, str(tmp_path / "named"))
    monkeypatch.setenv("RAY_AUTH_TOKEN", STRONG)
    assert use_cluster_token() == Token(STRONG, "RAY_AUTH_TOKEN")
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_without_a_token_it_says_where_one_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no token") as caught:
        use_cluster_token()
    assert str(tmp_path / ".ray" / "auth_token") in caught.value.message
    assert "RAY_AUTH_TOKEN" in caught.value.hint


def test_a_named_file_that_cannot_be_read_is_not_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(STRONG)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be read"):
        use_cluster_token()


def test_a_weak_token_is_refused_and_none_is_ever_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hunter2")
    with pytest.raises(ConfigError, match="7 characters") as caught:
        use_cluster_token()
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"
    assert STRONG not in repr(Token(STRONG, "RAY_AUTH_TOKEN"))


def test_an_open_cluster_is_the_users_own_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert use_cluster_token() is None
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


def test_each_local_cluster_has_a_strong_token_of_its_own_and_leaves_the_users_in_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-the-user" * 4)
    seen = []
    for _ in range(2):
        with fresh_token():
            seen.append(os.environ["RAY_AUTH_TOKEN"])
            assert use_cluster_token() == Token(seen[-1], "RAY_AUTH_TOKEN")
    assert len({*seen, "of-the-user" * 4}) == 3
    assert use_cluster_token() == Token("of-the-user" * 4, "RAY_AUTH_TOKEN")


def test_ray_heeds_it_even_when_it_was_imported_before() -> None:
    program = """
import ray
from mixopt.workers.ray_token import fresh_token
from ray._raylet import AuthenticationMode, AuthenticationTokenLoader, get_authentication_mode
for _ in range(2):
    with fresh_token():
        shown = AuthenticationTokenLoader.instance().get_token_for_http_header()
        import os
        assert os.environ["RAY_AUTH_TOKEN"] in str(shown)
        assert get_authentication_mode() == AuthenticationMode.TOKEN
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_ray_that_ignores_tokens_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "ray-2.51.2.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: ray\nVersion: 2.51.2\n")
    program = "from mixopt.workers.ray_token import fresh_token; fresh_token().__enter__()"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert "ConfigError: Ray 2.51.2 ignores tokens" in done.stderr
