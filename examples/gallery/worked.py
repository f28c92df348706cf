"""A worked study: what it is made of, the commands that answer it, and its short form."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent


class GalleryError(Exception):
    """One of a study's commands failed."""


@dataclass(frozen=True)
class Worked:
    """
    Attributes:
        name: of its folder here, and of its folder in the output.
        write: writes its data into a folder, in its short form where that is asked for; returns lines about them.
        commands: run in the folder, one after the other; each begins with `mixopt` or `python`.
        shorter: what in its files and commands is replaced by what, so that it takes a minute at most.
        shows: the files that are worth opening then.
    """

    name: str
    write: Callable[[Path, bool], list[str]]
    commands: tuple[str, ...]
    shorter: Mapping[str, str] = field(default_factory=dict)
    shows: tuple[str, ...] = ("report.html",)

    def build(self, folder: Path, short: bool, say: Callable[[str], None] = print) -> None:
        """Write the study and its data into the folder, and run its commands there; what a run has done stays done.

        Raises:
            GalleryError: a command fails.
        """
        began = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self._copy(folder, short)
        for line in self.write(folder, short):
            say(line)
        for command in self.commands:
            command = _replaced(command, self.shorter if short else {})
            say(f"$ {command}")
            program, *arguments = shlex.split(command)
            start = [sys.executable, "-m", "mixopt"] if program == "mixopt" else [sys.executable]
            status = subprocess.run([*start, *arguments], cwd=folder, check=False).returncode
            if status:
                raise GalleryError(f"{self.name}: `{command}` ended with status {status}")
        say(
            f"{self.name}: {time.monotonic() - began:.0f} s; see {', '.join(str(folder / file) for file in self.shows)}"
        )

    def _copy(self, folder: Path, short: bool) -> None:
        """The files that lie here, with what makes the study short."""
        for source in sorted((HERE / self.name).glob("*")):
            if source.is_file() and source.name != "__init__.py":
                text = source.read_text(encoding="utf-8")
                (folder / source.name).write_text(_replaced(text, self.shorter if short else {}), encoding="utf-8")


def _replaced(text: str, shorter: Mapping[str, str]) -> str:
    for written, instead in shorter.items():
        text = text.replace(written, instead)
    return text
