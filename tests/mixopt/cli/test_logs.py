"""What a keeper finds of a study that ran here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mixopt.settings.reading import load
from mixopt.study.record import journal_path
from search.trial import Failure, FailureKind
from tests.e2e.study import write_study
from tests.program import mixopt
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
        (("--trial", ""), "2 trials begin with"),
        ((), "mixopt.log: no such log; it is written while the study runs here: mixopt run"),
        (("--follow",), "-f follows submitted studies; give --address"),
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


def test_a_mistake_shows_where_it_was_noticed_only_on_request() -> None:
    silent, loud = mixopt("status", "none.yaml"), mixopt("--debug", "status", "none.yaml")
    assert silent.stderr == "error: none.yaml: no such study file; write one with: mixopt init\n"
    assert "Traceback" in loud.stderr
    assert loud.stderr.endswith(silent.stderr)
    assert (silent.status, loud.status) == (2, 2)
