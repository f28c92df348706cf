"""The environment variables that mixopt listens to; what a study file leaves open, a machine may say."""

from __future__ import annotations

import os
from pathlib import Path

# Where studies are kept, and where their MLflow store is.
DIRECTORY_VARIABLE = "MIXOPT_DIRECTORY"
STORE_VARIABLE = "MLFLOW_TRACKING_URI"
# Where to tell that a study has ended, stalls or found a new best: an address that nobody else may know.
WEBHOOK_VARIABLE = "MIXOPT_NOTIFY_WEBHOOK"
# Set where a study runs as a job of a Ray cluster: the job's id.
JOB_VARIABLE = "MIXOPT_JOB"
# Exit status of a study whose cluster, MLflow or volume went away, and may come back: its supervisor starts it again.
TRY_AGAIN = 75
# Set by the supervisor of a study: the file that it is to write its journal's path to.
JOURNAL_VARIABLE = "MIXOPT_JOURNAL_PATH"
# With this suffix beside that file, a study leaves an empty one as it ends, unless it is killed.
CAME_TO_ITS_END = ".ended"
# Set: mistakes are shown with their traceback.
DEBUG_VARIABLE = "MIXOPT_DEBUG"
# The head of the cluster that commands are meant for; Ray's own.
ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
# Set where a supervisor starts a study again that has died.
RESTARTED_VARIABLE = "MIXOPT_RESTARTED"


def studies_folder(given: str | None = None) -> Path:
    """Where studies are kept, as `given`, or as this machine says; beside the study file, where it is relative."""
    return Path(given or os.environ.get(DIRECTORY_VARIABLE) or ".mixopt").expanduser()
