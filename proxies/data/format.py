"""The JSON files of a corpus, each with the number of the format that it was written in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from proxies.storage import write_whole

# Rows of an embedding table: more is a mistake in a tokenizer.
LARGEST_VOCABULARY = 1_000_000
# Raised when files of before would be misread: nobody reads them then, and no study goes on from them. Where the same
# inputs give other files, what was begun goes on as it is: see LEARNING in tokenizer.py, `confirmation` in intake.py.
FORMAT = 2


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes `content` for `read_json` of the same format."""
    write_whole(path, json.dumps({"format": FORMAT} | content).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """What `write_json` wrote; None where there is no such file, or it is damaged or of another format."""
    if not path.exists():
        return None
    try:
        saved = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return saved if isinstance(saved, dict) and saved.get("format") == FORMAT else None
