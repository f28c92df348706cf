"""Ray's token: whoever has it runs code on the cluster, so it is always asked for, and never printed.

Where RAY_AUTH_MODE is unset, Ray decides by itself, differently from call to call, whether to show a token; here it is
set before anything connects. The token comes from where Ray itself looks: RAY_AUTH_TOKEN, the file that
RAY_AUTH_TOKEN_PATH names, ~/.ray/auth_token, the first that is there.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from mixopt.base.errors import ConfigError

MODE_VARIABLE = "RAY_AUTH_MODE"
TOKEN_VARIABLE = "RAY_AUTH_TOKEN"
TOKEN_FILE_VARIABLE = "RAY_AUTH_TOKEN_PATH"
TOKEN_FILE = Path(".ray") / "auth_token"  # in the home folder

# An older one ignores RAY_AUTH_MODE, and leaves a cluster open that is meant to be guarded.
FIRST_WITH_TOKENS = (2, 52)

# Ray takes a token of three characters.
SHORTEST_TOKEN = 32


@dataclass(frozen=True)
class Token:
    """A cluster's token, and where it was found, for messages."""

    value: str = field(repr=False)
    place: str

    def __post_init__(self) -> None:
        if len(self.value) < SHORTEST_TOKEN:
            raise ConfigError(
                f"the Ray token in {self.place} has {len(self.value)} characters, fewer than {SHORTEST_TOKEN}",
                hint="start the cluster with a strong one: mixopt secrets FOLDER writes it",
            )


def use_cluster_token() -> Token | None:
    """Have this process show its token to the clusters that it connects to; None where the user opened them to all.

    Raises:
        ConfigError: there is no token, or one that can be guessed.
    """
    if os.environ.get(MODE_VARIABLE, "").lower() == "disabled":
        return None
    token = _find_token()
    _use_tokens()
    return token


@contextmanager
def fresh_token() -> Iterator[None]:
    """Guard the local cluster that this process is about to start with a token that only its children get; afterwards
    the user's own is in its place again."""
    before = {name: os.environ.get(name) for name in (TOKEN_VARIABLE, MODE_VARIABLE)}
    os.environ[TOKEN_VARIABLE] = secrets.token_urlsafe(SHORTEST_TOKEN)
    try:
        _use_tokens()
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _use_tokens() -> None:
    if tuple(map(int, version("ray").split(".")[:2])) < FIRST_WITH_TOKENS:
        raise ConfigError(
            f"Ray {version('ray')} ignores tokens, so that anybody could use the cluster",
            hint="install Ray {}.{} or later".format(*FIRST_WITH_TOKENS),
        )
    os.environ[MODE_VARIABLE] = "token"
    # Ray reads its environment once, when it is imported.
    if "ray._raylet" in sys.modules:
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()


def _find_token() -> Token:
    if os.environ.get(TOKEN_VARIABLE):
        return Token(os.environ[TOKEN_VARIABLE].strip(), TOKEN_VARIABLE)
    named = os.environ.get(TOKEN_FILE_VARIABLE)
    path = Path(named) if named else Path.home() / TOKEN_FILE
    try:
        return Token(path.read_text(encoding="utf-8").strip(), str(path))
    except FileNotFoundError as error:
        raise ConfigError(
            f"no token for the Ray cluster: {TOKEN_VARIABLE} is not set, and there is no file {path}",
            hint=f"ask for the token and set {TOKEN_VARIABLE}, or {TOKEN_FILE_VARIABLE} to a file that holds it; "
            f"{MODE_VARIABLE}=disabled is for a cluster without",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"the Ray token in {path} cannot be read: {reason}", hint="check the file") from error
