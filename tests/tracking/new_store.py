"""MLflow stores to record in."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from tracking.mlflow_store import Store


@cache
def _empty() -> Path:
    """A store whose tables exist; making them takes seconds."""
    path = Path(tempfile.mkdtemp()) / "mlflow.db"
    Store(f"sqlite:///{path}", "none")
    return path


def new_store(folder: Path) -> str:
    """The URI of a new store in `folder`, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{shutil.copy(_empty(), folder)}"
