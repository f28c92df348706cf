"""What is printed: control characters that others wrote are shown, and an ASCII terminal is no end."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from mixopt.base.console import EscapeAll, note
from mixopt.base.errors import ConfigError, Mistakes, error_lines
from mixopt.base.shown import LONGEST_LINE, UNSEEN, error_line, escaped, shown
from tests.program import mixopt


def test_control_characters_are_shown_and_styles_stay() -> None:
    printed_to = io.StringIO()
    terminal = Console(file=printed_to, force_terminal=True, color_system="standard", highlight=False, width=80)
    terminal.push_render_hook(EscapeAll())
    table = Table()
    table.add_column("domain\x1b[2J")
    table.add_row("a\x9b31m", style="bold")
    terminal.print(table)
    terminal.print("b\x1b[31m", style="bold")
    printed = printed_to.getvalue()
    assert r"domain\x1b[2J" in printed
    assert r"a\x9b31m" in printed
    assert r"b\x1b[31m" in printed
    assert "\x1b[2J" not in printed
    assert "\x1b[1m" in printed, "our own style"


@given(st.text(), st.text())
def test_a_mistake_is_one_line(message: str, hint: str) -> None:
    line = error_line(message * 50, hint * 9)
    assert len(line) <= LONGEST_LINE
    assert not UNSEEN.search(line)
    assert error_lines(ConfigError(message, hint)) == (error_line(message, hint),)


def test_what_to_do_outlives_a_long_value() -> None:
    line = error_line(f"study.yaml:3: seed: {'x' * 10_000} is no number", "write one")
    assert line.startswith("study.yaml:3: seed: xxx")
    assert line.endswith("is no number; write one")


def test_of_many_mistakes_the_first_are_shown() -> None:
    lines = error_lines(Mistakes([f"mistake {number}" for number in range(1000)]))
    assert len(lines) == 21
    assert lines[-1].startswith("there are more")


@pytest.mark.parametrize(
    "value", ["x" * 1000, 10**400, list(range(1000)), {"a": "x" * 1000}, "\x1b[31m", [[[[[[]]]]]], None]
)
def test_values_are_short(value: object) -> None:
    assert len(shown(value)) <= 60
    assert not UNSEEN.search(shown(value))


def test_text_without_control_characters_stays() -> None:
    assert escaped("äöü 漢字 🙂 –") == "äöü 漢字 🙂 –"


def test_a_file_name_that_is_no_text_is_shown(tmp_path: Path) -> None:
    done = mixopt("prepare", os.fsdecode(bytes(tmp_path) + b"/\xff\x1b.yaml"))
    assert done.status == 2
    assert r"\udcff\x1b.yaml: no such study file" in done.stderr


def test_a_terminal_of_ascii(tmp_path: Path) -> None:
    (tmp_path / "rüns.csv").write_text("weight.wéb,weight.b,metric.loss–x\n1,0,2\n0,1,3\n", encoding="utf-8")
    command = "import sys; sys.argv = ['mixopt', 'fit', *sys.argv[1:]]; from mixopt.cli.main import main; main()"
    environment = os.environ | {
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }
    ended = subprocess.run(
        [sys.executable, "-c", command, "rüns.csv"], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert rb"w\xe9b" in ended.stdout
    assert rb"loss\u2013x" in ended.stdout


def test_what_an_encoding_lacks_is_drawn_with_plain_signs() -> None:
    for encoding, expected in (("utf-8", "3.0 ± 0.1 █─\n"), ("ascii", "3.0 +- 0.1 #-\n")):
        written = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        console = Console(file=written, width=80)
        console.push_render_hook(EscapeAll())
        console.print("3.0 ± 0.1 █─")
        written.flush()
        assert written.buffer.getvalue().decode(encoding) == expected


@pytest.mark.parametrize("width", [40, 80])
def test_a_note_is_wrapped_at_the_width_and_indented_below_its_beginning(width: int) -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=width)
    console.push_render_hook(EscapeAll())
    console.print(note("a [b] word \x1b[31m " * 12), soft_wrap=True)
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("note: a [b] word \\x1b[31m")
    assert len(lines) > 1 and all(line.startswith("      ") and line[6] != " " for line in lines[1:])


def test_of_a_word_that_is_longer_than_a_line_nothing_is_lost() -> None:
    path = "/folder" * 30
    for terminal in (False, True):
        shown = io.StringIO()
        console = Console(file=shown, width=80, force_terminal=terminal, color_system=None)
        console.print(note(f"it lies in {path}, here"), soft_wrap=not terminal)
        lines = shown.getvalue().splitlines()
        assert "".join("".join(lines).removeprefix("note:").split()) == f"itliesin{path},here"
        assert max(map(len, lines)) <= 80 or not terminal
