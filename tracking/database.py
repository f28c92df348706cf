"""A look at the database of an MLflow store before MLflow's client takes it: what is wrong is known within seconds.

That client would try ten times to connect, for two minutes, and print a warning each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError, StatementError
from sqlalchemy.pool import NullPool

from search.errors import LONGEST_REASON, first_line
from tracking.address import with_driver
from tracking.errors import TrackingAway, TrackingError, TrackingRefused

ANSWER_WITHIN_SECONDS = 5
MOVE_IT = "move it away, or restore it: a new store gets everything from the journals of studies that run again"
LOG_IN = "check the user in tracking.uri, and PGPASSWORD for PostgreSQL"
# How drivers call the time to wait for a server, or for a lock.
TIME_OUTS: Mapping[str, dict[str, Any]] = {
    "sqlite": {"timeout": ANSWER_WITHIN_SECONDS - 2},
    "postgresql": {"connect_timeout": ANSWER_WITHIN_SECONDS},
    "mysql": {"connect_timeout": ANSWER_WITHIN_SECONDS},
}
NOT_LET_IN = ("password authentication failed", "no password supplied", "access denied", "pg_hba.conf", "login failed")


def require_database(uri: str) -> None:
    """
    Raises:
        TrackingError: it is no database's address, its driver is not installed, or the file is damaged or none.
        TrackingRefused: it wants another user or password.
        TrackingAway: it does not answer, or is locked.
    """
    try:
        url = make_url(with_driver(uri))
        engine = create_engine(url, poolclass=NullPool, connect_args=TIME_OUTS.get(url.get_backend_name(), {}))
    except (ArgumentError, ValueError) as error:
        if not isinstance(error, NoSuchModuleError):
            raise TrackingError(
                f"the MLflow store {uri} is no address of a database",
                hint="correct tracking.uri or $MLFLOW_TRACKING_URI; postgresql+psycopg2://USER@HOST/DATABASE is one",
            ) from error
        raise _without_driver(uri, error) from error
    except ImportError as error:
        raise _without_driver(uri, error) from error
    if url.get_backend_name() == "sqlite":
        _require_file(url)
    try:
        with engine.connect() as connection:
            connection.execute(text("select count(*) from sqlite_master" if "sqlite" in uri[:6] else "select 1"))
    except SQLAlchemyError as error:
        raise _in_our_words(uri, error) from error
    finally:
        engine.dispose()


def damage(uri: str, error: Exception) -> str:
    """What SQLite says of a file that no waiting will mend; "" where it says nothing like it."""
    said = str(error)
    kinds = ("file is not a database", "database disk image is malformed", "malformed database schema")
    return next((kind for kind in kinds if uri.startswith("sqlite:") and kind in said), "")


def _require_file(url: URL) -> None:
    if url.database and Path(url.database).is_dir():
        raise TrackingError(
            f"the MLflow store {url.database} is a folder, and has to be an SQLite file",
            hint=f"sqlite:///{url.database}/mlflow.db is one in it; see tracking.uri or $MLFLOW_TRACKING_URI",
        )


def _without_driver(uri: str, error: Exception) -> TrackingError:
    kind = uri.partition("://")[0]
    return TrackingError(
        f"the MLflow store {kind}:// needs a package that is not installed ({_said(error)})",
        hint="for PostgreSQL: pip install 'mixopt[service]', and write postgresql://; for another database its "
        "SQLAlchemy driver",
    )


def _in_our_words(uri: str, error: SQLAlchemyError) -> TrackingError:
    said = str(error).lower()
    if damaged := damage(uri, error):
        return TrackingError(f"the MLflow store {uri} is damaged: {damaged}", hint=MOVE_IT)
    if any(each in said for each in NOT_LET_IN):
        return TrackingRefused(f"the MLflow store {uri} does not let this user in: {_said(error)}", hint=LOG_IN)
    if "database is locked" in said:
        return TrackingAway(
            f"the MLflow store {uri} is locked by another program", hint="end that, or wait, then run this again"
        )
    return TrackingAway(
        f"the MLflow store {uri} does not answer: {_said(error)}",
        hint="start it, or correct tracking.uri or $MLFLOW_TRACKING_URI",
    )


def _said(error: Exception) -> str:
    """What the driver says, without the name of its exception that SQLAlchemy puts before it."""
    cause = error.orig if isinstance(error, StatementError) else None
    return first_line(cause or error, LONGEST_REASON)
