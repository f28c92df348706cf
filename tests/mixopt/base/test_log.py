"""The log of a study: who finds what in it, and what it may not do."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mixopt.base import log
from mixopt.base.errors import ConfigError
from mixopt.base.log import logging_to

LOGGER = logging.getLogger("mixopt.test")


def test_lines_say_when_and_where_with_tracebacks_and_no_password(tmp_path: Path) -> None:
    with logging_to(tmp_path):
        logging.getLogger("tracking.test").info("opened http://me:hunter2@host/x")
        logging.getLogger("someone.else").warning("not ours")
        try:
            raise ValueError("of http://me:hunter2@host")
        except ValueError:
            LOGGER.exception("it failed")
    LOGGER.warning("after its end")
    text = (tmp_path / "mixopt.log").read_text()
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO tracking\.test: opened http://host/x\n", text)
    assert "ERROR mixopt.test: it failed\nTraceback (most recent call last):" in text
    assert not re.search("hunter2|not ours|after its end", text)


def test_colours_of_a_terminal_are_left_out(tmp_path: Path) -> None:
    """Ray's tracebacks have them."""
    with logging_to(tmp_path):
        LOGGER.warning("\x1b[36mray::train()\x1b[39m (pid=7) \x1b[1;31mdied\x1b[0m")
    assert (tmp_path / "mixopt.log").read_text().endswith(": ray::train() (pid=7) died\n")


def test_it_goes_on_where_it_was_and_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MOST_BYTES", 2_000)
    for number in range(100):
        with logging_to(tmp_path):
            LOGGER.info("run %d", number)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["mixopt.log", "mixopt.log.1"]
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert files[0].read_text().splitlines()[-1].endswith("run 99")


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("of somebody else\n")
    (tmp_path / "mixopt.log").symlink_to(victim)
    with pytest.raises(ConfigError, match="is a symbolic link, and is not followed"), logging_to(tmp_path):
        LOGGER.info("a line")
    assert victim.read_text() == "of somebody else\n"


def test_a_full_disk_ends_nothing_and_is_said_once(tmp_path: Path) -> None:
    program = f"""
import logging, resource
from pathlib import Path
from mixopt.base.log import logging_to
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
with logging_to(Path({str(tmp_path)!r})):
    for _ in range(3):
        logging.getLogger("mixopt").info("a line")
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "went on\n"
    assert done.stderr == f"{tmp_path}/mixopt.log cannot be written; the study goes on without a log\n"


# A study's process, and a library in it that writes wherever it likes, to its very end.
LOUD = """
import os, sys
from pathlib import Path
from mixopt.base.console import err
from mixopt.base.log import others_to_log
folder = Path(sys.argv[1])
err.print("before")
with others_to_log(folder, err):
    os.write(2, b"raw line\\n")
    print("printed")
    print("to standard error", file=sys.stderr)
    err.print("ours")
    if len(sys.argv) == 3:
        os.write(2, b"last words\\n")
        os._exit(1)
print("the answer")
print("after", file=sys.stderr)
err.print("the end")
"""


def test_what_others_print_goes_to_the_log_and_ours_to_the_terminal(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LOUD, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "the answer\n"
    assert done.stderr == "before\nours\nafter\nthe end\n"
    assert sorted((tmp_path / "mixopt.log").read_text().splitlines()) == ["printed", "raw line", "to standard error"]


def test_the_last_words_of_a_process_that_is_ended_are_in_the_log(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOUD, str(tmp_path), "dies"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "before\nours\n")
    assert (tmp_path / "mixopt.log").read_text().endswith("last words\n")
