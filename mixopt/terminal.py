"""What commands share: where they print, and the arguments that several of them take."""

from __future__ import annotations

import json as json_format
import signal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

out = Console(highlight=False)
# Progress and errors: standard output carries the answer alone, so that `--json` can be piped.
err = Console(stderr=True, highlight=False)

ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"  # Ray's own

StudyArgument = Annotated[Path, typer.Argument(help="The study file.", show_default=True)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Address = Annotated[
    str | None,
    typer.Option(envvar=ADDRESS_VARIABLE, help="The cluster's head: http://head:8265."),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Train failed trials again.")]
STUDY_FILE = Path("study.yaml")

INTERRUPTED = 130  # exit status

# Where `mixopt --help` lists a command.
BEGIN, STUDY, CLUSTER, RUNS = "To begin", "A study", "Studies on a cluster", "Finished runs"


def print_answer(document: Any, view: Any, as_json: bool) -> None:
    if as_json:
        print(json_format.dumps(document, indent=2))
    else:
        out.print(view, soft_wrap=not out.is_terminal)


def interrupt(*_: object) -> None:
    """A signal's handler: it does what Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: what follows is the way out
    raise KeyboardInterrupt
