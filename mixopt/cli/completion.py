"""What a shell completes: study files, trial ids, formats. It only reads, and whatever goes wrong completes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import typer

from mixopt.settings.schema import STUDY_FILE

ENDINGS = (".yaml", ".yml")
# Of folders below the one that is looked in, whose study files are offered as well.
MOST_FOLDERS = 200


def study_files(incomplete: str) -> list[str]:
    """The YAML files that begin so, and those in the folders that do."""
    folder, _, beginning = incomplete.rpartition("/")
    here = Path(folder or ("/" if incomplete.startswith("/") else "."))
    shown = f"{folder}/" if "/" in incomplete else ""

    def found() -> Iterable[str]:
        entries = [each for each in sorted(here.iterdir()) if each.name.startswith(beginning)]
        entries = [each for each in entries if not each.name.startswith(".") or beginning.startswith(".")]
        yield from (f"{shown}{each.name}" for each in entries if each.suffix in ENDINGS and each.is_file())
        for each in [each for each in entries if each.is_dir()][:MOST_FOLDERS]:
            # One that may not be read hides nothing but itself.
            with suppress(OSError):
                inside = sorted(each.iterdir())
                yield from (f"{shown}{each.name}/{path.name}" for path in inside if path.suffix in ENDINGS)

    return _quietly(found)


def trial_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The recorded trials of the study that the command names, by its journal here."""

    def found() -> Iterable[str]:
        from mixopt.settings.reading import load
        from mixopt.study.record import journal_path
        from tracking.journal import read_record

        file = load(_study_in_line() or Path(ctx.params.get("study") or STUDY_FILE))
        if not journal_path(file).exists():
            return ()
        trials = read_record(journal_path(file)).history.trials
        return (trial.id for trial in trials if trial.id.startswith(incomplete))

    return _quietly(found)


def format_names(incomplete: str) -> list[str]:
    """The formats of mixopt export."""

    def found() -> Iterable[str]:
        from mixopt.exports.formats import EXPORTERS

        return (name for name in EXPORTERS if name.startswith(incomplete))

    return _quietly(found)


def _study_in_line() -> Path | None:
    """The study file among the words that are typed: while an option lacks its value, nothing of the line is parsed."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    return next((Path(word) for word in line.split() if word.endswith(ENDINGS)), None)


def _quietly(found: Callable[[], Iterable[str]]) -> list[str]:
    try:
        return list(found())
    except Exception:
        return []  # in the middle of a line that somebody types
