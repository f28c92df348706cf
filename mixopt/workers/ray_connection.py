"""How a driver comes to a Ray cluster: to a new one of this machine, or to one that somebody else started."""

from __future__ import annotations

import logging
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from joblib import cpu_count
from ray.exceptions import RayError

from mixopt.base.errors import ClusterLost, ConfigError
from mixopt.workers.ray_token import use_cluster_token, use_fresh_token
from proxies.retry import retry
from search.errors import first_line

# Of the driver alone: workers record nothing.
CREDENTIALS = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    *("PGUSER", "PGPASSWORD"),
)
# Ray's sockets lie some 65 characters below its folder, and their names may have 107 in all.
LONGEST_FOLDER = 40
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
# On a busy machine Ray may be too slow for itself.
STARTS, PAUSE_SECONDS = 3, 1.0
ANSWERS_WITHIN_SECONDS = 2.0
LONGEST_REASON = 160  # characters
_HOST_AND_PORT = re.compile(r"[^/]+:\d+")


def connect(address: str | None, folder: Path | None) -> None:
    """Be the driver of a cluster: of a new one of this machine, or of that at `address`.

    Args:
        folder: for the files of a new one, where Ray's own choice will not do.

    Raises:
        ClusterLost: it does not start, or does not answer.
    """
    # Without GPUs asked for, a task sees none; Ray warns on every start that it will change this.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        _start_here(folder, quiet)
        return
    use_cluster_token()
    try:
        # Ray itself would try for more than three minutes.
        if _HOST_AND_PORT.fullmatch(address) and not answers(address):
            raise ConnectionError("nothing listens there")
        ray.init(address=address, **quiet)
    except (ConnectionError, RayError, ValueError, RuntimeError) as error:
        ray.shutdown()
        raise ClusterLost(
            f"no Ray cluster answers at executor.address {address}: {first_line(error)}",
            hint="start it with `ray start --head`, or remove executor.address for a local one",
        ) from error


def _start_here(folder: Path | None, options: dict[str, Any]) -> None:
    """A cluster of this machine, tried again where a busy machine was too slow for Ray.

    Raises:
        ClusterLost: it does not start.
    """
    if folder is not None:
        options = options | {"_temp_dir": str(folder)}

    def start() -> None:
        use_fresh_token()
        with _kept_to_ourselves(CREDENTIALS):
            ray.init(address="local", num_cpus=cpu_count(), include_dashboard=False, **options)

    try:
        retry(
            start,
            [PAUSE_SECONDS] * (STARTS - 1),
            may_pass=lambda error: not isinstance(error, ConfigError),
            before_pause=lambda error: ray.shutdown(),
        )
    except ConfigError:
        raise
    except Exception as error:  # Ray raises plain ones, of many kinds
        ray.shutdown()
        raise ClusterLost(
            f"Ray does not start on this machine ({STARTS} times tried): {first_line(error)[:LONGEST_REASON]}",
            hint="is it very busy, or short of memory or disk? Run the same command again, or use "
            "executor.kind: in_process",
        ) from error


def short_folder() -> Path | None:
    """A private folder for Ray's files where that for temporary files has too long a name for its sockets."""
    usual = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(usual)) <= LONGEST_FOLDER:
        return None
    for place in SHORT_FOLDERS:
        with suppress(OSError):
            return Path(tempfile.mkdtemp(prefix="mixopt-", dir=place))
    raise ConfigError(
        f"the name of the folder for temporary files, {usual}, is longer than Ray bears ({LONGEST_FOLDER} characters)",
        hint="set TMPDIR to a folder with a short name",
    )


def answers(address: str) -> bool:
    """Whether something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_WITHIN_SECONDS).close()
    except OSError:
        return False
    return True


@contextmanager
def _kept_to_ourselves(variables: Sequence[str]) -> Iterator[None]:
    """Processes that are started meanwhile do not inherit these."""
    kept = {name: os.environ.pop(name) for name in variables if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
