"""Every command that writes a file looks whether it can before it works: one line, and nothing was done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.study import write_study
from tests.e2e.test_earlier_versions import unpacked
from tests.program import mixopt

RUNS = "weight_web,weight_code,metric_loss\n" + "".join(
    f"{share / 20},{1 - share / 20},{2 + (share / 20 - 0.6) ** 2}\n" for share in range(1, 20)
)
# What a command is given besides the place that it writes to: a folder, or a file.
FOLDERS = {
    "fit": ("runs.csv", "-o"),
    "backtest": ("runs.csv", "-o"),
    "replay": ("runs.csv", "-o"),
    "ask": ("study.yaml", "-o"),
    "demo": ("--directory",),
    "secrets": (),
}
FILES = {
    "init": ("data", "-o"),
    "runs": ("study.yaml", "-o"),
    "report": ("study.yaml", "-o"),
    "export": ("study.yaml", "-o"),
}
PLACES_OF_FOLDERS = [
    ("taken", "taken is not a folder; choose another name"),
    ("taken/in/it", "taken is not a folder; choose another name"),
    ("/proc/x", "/proc cannot be written to; change its permissions, or choose another name"),
    ("/proc/x/y", "/proc cannot be written to; change its permissions, or choose another name"),
]
PLACES_OF_FILES = [
    ("data", "data is a folder; name a file in it"),
    ("none/x.csv", "none/x.csv: there is no folder none; make it, or choose another"),
    ("taken/x.csv", "taken/x.csv: there is no folder taken; make it, or choose another"),
    ("/proc/x.csv", "/proc cannot be written to; change its permissions, or choose another name"),
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("runs.csv").write_text(RUNS)
    Path("taken").write_text("a file")
    return tmp_path


def refused_at_once(here: Path, *arguments: str, says: str) -> None:
    before = set(here.rglob("*"))
    done = mixopt(*arguments)
    assert done.status == 2
    [line] = done.stderr.splitlines()  # no stage of the work is among what it said
    assert line.startswith("error: ") and line.endswith(says), line
    assert done.stdout == ""
    assert set(here.rglob("*")) == before


@pytest.mark.parametrize(("place", "says"), PLACES_OF_FOLDERS)
@pytest.mark.parametrize("command", FOLDERS)
def test_a_folder_that_cannot_be_written_is_said_first(here: Path, command: str, place: str, says: str) -> None:
    refused_at_once(here, command, *FOLDERS[command], place, says=says)


@pytest.mark.parametrize(("place", "says"), PLACES_OF_FILES)
@pytest.mark.parametrize("command", FILES)
def test_a_file_that_cannot_be_written_is_said_first(here: Path, command: str, place: str, says: str) -> None:
    if command == "init" and place == "data":
        says = "data exists; choose another name with --output, or remove it"
    write_study(here)
    refused_at_once(here, command, *FILES[command], place, says=says)


def test_a_device_takes_what_is_written(here: Path) -> None:
    done = mixopt("export", unpacked(here, "finished"), "-o", "/dev/null")
    assert done.status == 0, done.stderr
    assert "wrote /dev/null" in done.stderr
