"""Results that are kept while a long benchmark runs: killed and begun again, it goes on where it was.

A line of JSON for each, on the disk before anything else happens. Several processes add lines to one file; what one of
them left half-written when it was killed is dropped, and overwritten by the next line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from proxies.lock import FOREVER, locked


class Kept:
    """Values by key, in a file that is read as it grows."""

    def __init__(self, file: Path) -> None:
        """
        Raises:
            ValueError: a whole line of the file is none of its lines.
        """
        self._file = file
        self._values: dict[str, Any] = {}
        self._read = 0  # bytes
        file.parent.mkdir(parents=True, exist_ok=True)
        self.refresh()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Any | None:
        return self._values.get(key)

    def refresh(self) -> None:
        """Read what has been added since, by this process or another."""
        if not self._file.exists():
            return
        with self._file.open("rb") as file:
            file.seek(self._read)
            added = file.read()
        # Only whole lines: the last may be one that is being written, or that a killed process began.
        whole = added[: added.rfind(b"\n") + 1]
        for line in whole.splitlines():
            try:
                entry = json.loads(line)
                self._values[entry["key"]] = entry["value"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{self._file}: no line of this file: {line[:80]!r}") from error
        self._read += len(whole)

    def add(self, key: str, value: Any) -> None:
        """Returns when it is on the disk."""
        line = json.dumps({"key": key, "value": value}, allow_nan=False).encode() + b"\n"
        with locked(self._file.with_name(f"{self._file.name}.lock"), FOREVER):
            self.refresh()
            with self._file.open("r+b" if self._file.exists() else "w+b") as file:
                file.truncate(self._read)
                file.seek(self._read)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        self.refresh()
