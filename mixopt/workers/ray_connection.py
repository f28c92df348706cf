"""How a driver comes to a Ray cluster: to a new one of this machine, or to one that somebody else started."""

from __future__ import annotations

import logging
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
from joblib import cpu_count
from ray.exceptions import RayError
from ray.job_config import JobConfig

from mixopt.base.console import err
from mixopt.base.errors import ClusterLost, ConfigError
from mixopt.base.interrupt import held_back
from mixopt.workers.ray_folders import LONGEST_FOLDER, PREFIX, places, usual_place
from mixopt.workers.ray_token import fresh_token, use_cluster_token
from proxies.retry import retry
from search.errors import LONGEST_REASON, first_line

# Of the driver alone: workers record nothing.
CREDENTIALS = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    *("PGUSER", "PGPASSWORD"),
)
# On a busy machine Ray may be too slow for itself.
STARTS, PAUSE_SECONDS = 3, 1.0
ANSWERS_WITHIN_SECONDS = 2.0
# How long Ray is waited for before something else is looked at.
WAIT_SECONDS = 0.5
_HOST_AND_PORT = re.compile(r"[^/]+:\d+")


class _NoFolders(JobConfig):
    """Workers import modules from where they are installed. Ray would put the folders of the program and of its start
    on their path as well; those may be of data, and a file in them that is called as a module would take its place.
    """

    def _runtime_env_has_working_dir(self) -> bool:
        return True  # of such a job Ray adds neither


def connect(address: str | None) -> ExitStack:
    """Be the driver of a cluster: of a new one of this machine, or of that at `address`; the stack undoes it.

    Ctrl-C waits until Ray has started, or ended. In the middle of it, its threads may be left without what they work
    on: the process then crashed as it ended, or went on as if nobody had pressed anything.

    Raises:
        ClusterLost: it does not start, or does not answer.
        ConfigError: there is no folder for the files of a new one.
    """
    # Without GPUs asked for, a task sees none; Ray warns on every start that it will change this.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "job_config": _NoFolders()}
    if address is None:
        return _start_here(options)
    use_cluster_token()
    with ExitStack() as connected:
        connected.callback(_shut_down)
        try:
            # Ray itself would try for more than three minutes.
            if _HOST_AND_PORT.fullmatch(address) and not answers(address):
                raise ConnectionError("nothing listens there")
            _init(address=address, **options)
        except (ConnectionError, RayError, ValueError, RuntimeError) as error:
            raise ClusterLost(
                f"no Ray cluster answers at executor.address {address}: {first_line(error)}",
                hint="start it with `ray start --head`, or remove executor.address for a local one",
            ) from error
        return connected.pop_all()


def _start_here(options: dict[str, Any]) -> ExitStack:
    """A cluster of this machine, tried again where a busy machine was too slow for Ray.

    Raises:
        ClusterLost: it does not start.
    """

    def start() -> ExitStack:
        with ExitStack() as connected:
            connected.enter_context(fresh_token())
            folder = connected.enter_context(private_folder())
            connected.callback(_shut_down)
            with _kept_to_ourselves(CREDENTIALS):
                _init(
                    address="local", num_cpus=cpu_count(), include_dashboard=False, _temp_dir=f"{folder}/ray", **options
                )
            return connected.pop_all()

    try:
        return retry(start, [PAUSE_SECONDS] * (STARTS - 1), may_pass=lambda error: not isinstance(error, ConfigError))
    except ConfigError:
        raise
    except Exception as error:  # Ray raises plain ones, of many kinds
        raise ClusterLost(
            f"Ray does not start on this machine ({STARTS} times tried): {first_line(error, LONGEST_REASON)}",
            hint="is it very busy, or short of memory or disk? Run the same command again, or use "
            "executor.kind: in_process",
        ) from error


def _init(**options: Any) -> None:
    """`ray.init`, which also takes SIGTERM for itself, to answer it with a stack trace."""
    with held_back(lambda: err.print("interrupted; the end comes once Ray has started")):
        ray.init(**options)


def _shut_down() -> None:
    with held_back():
        ray.shutdown()


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder for what Ray keeps of a cluster, closed to others: Ray opens all that it makes to everybody.

    It lies where a name is short enough for Ray's sockets.

    Raises:
        ConfigError: there is no such place.
    """
    usual = usual_place()
    for place in places(usual):
        try:
            folder = tempfile.TemporaryDirectory(prefix=PREFIX, dir=place, ignore_cleanup_errors=True)
        except OSError:
            continue
        with folder as path:
            yield Path(path)
        return
    raise ConfigError(
        f"no folder for the files of Ray: {usual} is gone, or its name is longer than {LONGEST_FOLDER} characters",
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
