"""How the files of a corpus get on the disk: whole or not at all, those in JSON with the number of their format."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FORMAT = 2  # raised when the same inputs give other files
PARTIAL = ".mixopt-partial"  # ending of files that are still written; a name that nothing else uses


def write_file(path: Path, data: bytes) -> None:
    """Writes all of `data` or nothing, safely on the disk."""
    partial = path.with_name(path.name + PARTIAL)
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes `content` for `read_json` of the same format."""
    write_file(path, json.dumps({"format": FORMAT} | content).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """What `write_json` wrote; None where there is no such file, or it is damaged or of another format."""
    if not path.exists():
        return None
    try:
        saved = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return saved if isinstance(saved, dict) and saved.get("format") == FORMAT else None
