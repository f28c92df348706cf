"""The command line: one short function a command. What takes time to load is loaded in the command that needs it."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Abort
from typer.core import TyperGroup

from mixopt.base.console import degrade, err
from mixopt.base.errors import ClusterLost, error_lines
from mixopt.base.interrupt import INTERRUPTED, leaving_at_once
from mixopt.base.shown import error_line
from mixopt.base.version import VERSION
from mixopt.cli import (
    ask_tell,
    begin,
    calibration,
    cluster,
    compare,
    control,
    domains,
    explore,
    export,
    finished_runs,
    keeping,
    quality,
    receipts,
    report,
    study,
    watch,
)
from mixopt.cli.usage import UsageError, usage_mistake
from mixopt.settings.environment import DEBUG_VARIABLE, JOB_VARIABLE, TRY_AGAIN
from proxies.errors import ProxyError
from search.errors import ExplainedError
from search.urls import fit_to_show
from tracking.errors import TrackingAway, WentOnElsewhere


class _Commands(TyperGroup):
    """All commands: one that is interrupted says so."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with leaving_at_once():  # nothing was begun
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err.print("interrupted")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Begin with [bold]mixopt demo[/], or [bold]mixopt init DATA_FOLDER[/] and [bold]mixopt run[/].",
)

# In the order in which `mixopt --help` lists them.
STUDIES = (study, watch, ask_tell, control, report, explore, export, receipts, compare, calibration)
for commands in (begin, domains, quality, *STUDIES, finished_runs, cluster, keeping):
    app.add_typer(commands.app)

USER_MISTAKE = 2  # exit status
MAY_PASS = (ClusterLost, TrackingAway, WentOnElsewhere)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"mixopt {VERSION}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help=f"Show where in the code a mistake was noticed (or set {DEBUG_VARIABLE}).")
    ] = False,
) -> None:
    """Find the share of each pool of text that a language model should be trained on."""
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def main() -> None:
    """The program `mixopt`: user mistakes are one line and exit status 2, never a traceback.

    A submitted study exits with 75 where the trouble may pass: the cluster, MLflow or a volume went away. Its
    supervisor then runs it again.
    """
    # Broken files are reported by us, with their place.
    os.environ.setdefault("DATASETS_VERBOSITY", "critical")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    # MLflow would tell its makers what it is used for.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    degrade()
    with leaving_at_once():
        command = typer.main.get_command(app)
    try:
        status = command.main(prog_name="mixopt", standalone_mode=False)
    except (KeyboardInterrupt, Abort):  # between the parts that answer it
        err.print("interrupted")
        sys.exit(INTERRUPTED)
    except UsageError as mistake:
        if not str(mistake):  # nothing was given, and help was shown
            sys.exit(USER_MISTAKE)
        _complain(error_line(*usage_mistake(mistake, _commands())))
        sys.exit(USER_MISTAKE)
    except (ExplainedError, ProxyError) as mistake:
        _show_traceback()
        for line in error_lines(mistake):
            _complain(line)
        sys.exit(_status_if_it_may_pass() if isinstance(mistake, MAY_PASS) else USER_MISTAKE)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        _show_traceback()
        full = error.filename is None and error.errno == errno.ENOSPC
        place = error.filename or ("standard output" if full else "the system")
        if not _has_folder():
            place = "the folder that this was started in"
        _complain(error_line(f"{place}: {error.strerror}", "check the path, its permissions and the free space"))
        sys.exit(_status_if_it_may_pass())
    sys.exit(status or 0)


def _commands() -> list[str]:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return list(group.commands)


def _has_folder() -> bool:
    """Whether the folder that this process works in is still there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _show_traceback() -> None:
    if os.environ.get(DEBUG_VARIABLE):
        err.print(fit_to_show(traceback.format_exc()), soft_wrap=True, end="")


def _status_if_it_may_pass() -> int:

    return TRY_AGAIN if JOB_VARIABLE in os.environ else USER_MISTAKE


def _complain(line: str) -> None:
    err.print("error:", style="bold red", end=" ")
    err.print(fit_to_show(line), soft_wrap=True)
