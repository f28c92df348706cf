"""What the address of an MLflow store says by itself; nothing heavy is loaded for it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

SQLITE = "sqlite:///"
POSTGRESQL = "postgresql://"


def sqlite_file(uri: str) -> Path | None:
    """The file that the store is; None where it is no SQLite store."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def with_driver(uri: str) -> str:
    """As SQLAlchemy is to read it: since 2.1 it takes `postgresql://` for another driver than the one that is here."""
    if uri.startswith(POSTGRESQL) and find_spec("psycopg2") is not None:
        return f"postgresql+psycopg2://{uri.removeprefix(POSTGRESQL)}"
    return uri


def may_exist(uri: str) -> bool:
    """Whether there may be a store, which to look at makes no new one: any but an SQLite file that is not there."""
    file = sqlite_file(uri)
    return file is None or file.exists()
