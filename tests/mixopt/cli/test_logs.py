"""What a keeper finds of a study that ran here."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from mixopt.base.files import locked
from mixopt.settings.reading import load
from mixopt.study.record import journal_path
from search.trial import Failure, FailureKind
from tests.e2e.study import write_study
from tests.program import COMMAND, mixopt
from tests.tracking.trials import trial
from tracking.entries import Closed, Opened, Restarted
from tracking.journal import Journal
from tracking.record import Subject

TRACEBACK = """\
Traceback (most recent call last):
  File "train.py", line 7, in step
ValueError: of http://me:hunter2@h/x
"""
DIED, LOST = trial(0.2), trial(0.3)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study with a trial that raised an error, and one whose worker was lost."""
    path = write_study(tmp_path)
    file = load(path)
    entries = (
        Opened(DIED),
        Closed(DIED, Failure(FailureKind.ERROR, "ValueError: of x (train.py:7)", traceback=TRACEBACK)),
        Opened(LOST),
        Restarted(LOST, 2, "the node went away"),
        Restarted(LOST, 3, "it said nothing for 600 s"),
        Closed(LOST, Failure(FailureKind.LOST_WORKER, "gone (started 3 times)")),
    )
    Journal.create(journal_path(file), Subject(file.study, file.deciding(), "a corpus"), (), entries).close()
    return path


def test_a_failed_trial_is_shown_with_its_traceback(study: Path) -> None:
    done = mixopt("logs", study, "--trial", DIED.id[:6])
    assert done.status == 0, done.stderr
    assert f"trial {DIED.id} of study small is failed" in done.stdout
    assert "error: ValueError: of x (train.py:7)" in done.stdout
    assert 'File "train.py", line 7, in step' in done.stdout
    assert "hunter2" not in done.stdout
    document = json.loads(mixopt("logs", study, "--trial", DIED.id, "--json").stdout)
    assert document["traceback"] == TRACEBACK.replace("me:hunter2@", "")
    assert document["mixture"] == DIED.mixture.as_dict()


def test_a_lost_trial_says_why_each_time(study: Path) -> None:
    document = json.loads(mixopt("logs", study, "--trial", LOST.id, "--json").stdout)
    assert document["restarts"] == ["the node went away", "it said nothing for 600 s"]
    assert (document["state"], document["kind"], document["traceback"]) == (
        "failed",
        FailureKind.LOST_WORKER.value,
        None,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--trial", "zzz"), "no trial begins with zzz; mixopt status names"),
        (("--trial", ""), "which trial?"),
        ((), "mixopt.log: no such log; it is written while the study runs here: mixopt run"),
        (("--follow",), "mixopt.log: no such log; it is written while the study runs here: mixopt run"),
        (("--trial", "3f", "--tail", "3"), "whichever submission trained it; leave out --tail"),
        (("--level", "loud"), "mixopt logs: --level loud: must be one of"),
        (("--tail", "0"), "mixopt logs: --tail 0: must be at least 1"),
        (("--job", "1"), "--job is of studies that were submitted, and no cluster is named; give --address"),
        (("--trial", "3f", "--job", "1"), "whichever submission trained it; leave out --job"),
        (("--trial", "3f", "-f"), "whichever submission trained it; leave out -f"),
    ],
)
def test_what_is_not_there(study: Path, arguments: tuple[str, ...], says: str) -> None:
    done = mixopt("logs", study, *arguments)
    assert done.status == 2
    assert says in done.stderr.replace("\n", " ")


def test_a_trial_is_shown_by_the_study_file_and_by_no_name() -> None:
    done = mixopt("logs", "small", "--trial", "3f", "--address", "http://head:8265")
    assert done.status == 2
    assert done.stderr == (
        "error: small is no study file, by which the record of a trial is found; name the file, such as study.yaml\n"
    )


def test_the_log_is_shown_with_what_was_rotated_away(study: Path) -> None:
    folder = load(study).work_directory
    (folder / "mixopt.log.1").write_text("before\n")
    (folder / "mixopt.log").write_text("now\n")
    assert mixopt("logs", study).stdout == "before\nnow\n"
    assert json.loads(mixopt("logs", study, "--json").stdout)["log"] == "before\nnow\n"


LINES = {
    "began": "2026-11-30T12:00:00Z INFO mixopt.run: mixopt runs study.yaml\n",
    "away": "2026-11-30T12:00:01Z WARNING tracking.recorder: MLflow is away\n",
    "died": f"2026-11-30T12:00:02Z ERROR mixopt.run: the run ended\n{TRACEBACK}",
    "ended": "2026-11-30T12:00:03Z INFO mixopt.run: the study has ended\n",
}


@pytest.fixture
def log(study: Path) -> Path:
    path = load(study).work_directory / "mixopt.log"
    path.write_text("".join(LINES.values()))
    return path


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (("--level", "warning"), LINES["away"] + LINES["died"]),
        (("--level", "error"), LINES["died"]),
        (("--level", "critical"), ""),
        (("--level", "info"), "".join(LINES.values())),
        (("--tail", "2"), TRACEBACK.splitlines()[-1] + "\n" + LINES["ended"]),
        (("--tail", "1", "--level", "warning"), TRACEBACK.splitlines()[-1] + "\n"),
        (("--tail", "999"), "".join(LINES.values())),
    ],
)
def test_a_part_of_the_log(study: Path, log: Path, options: tuple[str, ...], shown: str) -> None:
    assert mixopt("logs", study, *options).stdout == shown
    assert json.loads(mixopt("logs", study, *options, "--json").stdout)["log"] == shown


def test_the_log_of_a_study_that_nobody_runs_is_followed_to_its_end(study: Path, log: Path) -> None:
    done = mixopt("logs", study, "-f", "--tail", "1")
    assert done.stdout == LINES["ended"]
    assert done.stderr == "nobody runs study small on this machine\n"
    assert done.status == 1, "it has no answer"


def test_a_study_that_runs_here_is_followed_until_it_ends(study: Path, log: Path) -> None:
    log.write_text(LINES["began"])
    folder, seen = load(study).work_directory, []
    command = [*COMMAND, "logs", str(study), "--follow", "--level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        with locked(folder, "the study"):
            with log.open("a") as file:
                file.write(LINES["away"] + LINES["ended"])
                file.flush()
                assert following.stdout is not None
                seen.append(following.stdout.readline())
                file.write(LINES["died"][:90])  # a line that is not whole yet
            log.rename(log.with_name("mixopt.log.1"))
            with log.with_name("mixopt.log.1").open("a") as file:
                file.write(LINES["died"][90:])
            log.write_text(LINES["began"] + LINES["away"])
            seen += [following.stdout.readline() for _ in range(1 + TRACEBACK.count("\n") + 1)]
        rest, said = following.communicate(timeout=60)
    assert "".join(seen) + rest == LINES["away"] + LINES["died"] + LINES["away"]
    assert said == "nobody runs study small on this machine\n"


def test_a_mistake_shows_where_it_was_noticed_only_on_request() -> None:
    silent, loud = mixopt("status", "none.yaml"), mixopt("--debug", "status", "none.yaml")
    assert silent.stderr == "error: none.yaml: no such study file; write one with: mixopt init\n"
    assert "Traceback" in loud.stderr
    assert loud.stderr.endswith(silent.stderr)
    assert (silent.status, loud.status) == (2, 2)
