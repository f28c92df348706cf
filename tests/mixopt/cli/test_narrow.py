"""Every table fits a terminal of 80 columns, and loses nothing there, whatever domains are called."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mixopt.cli.tables.table import plain_table
from tests.program import Done, mixopt
from tests.simulated import ROUNDS, planned, run

WIDTH = 80
LONG = {
    "prose": "prose_of_the_nineteenth_century_as_it_was_scanned_and_corrected",
    "code": "code.of-very-many-languages.deduplicated.and-filtered.version-3",
    "sums": "sums_with_worked_solutions_in_seven_languages_translated_again",
}
RUNS = "runs.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with long names that has run, and a table of runs with as long ones."""
    folder = tmp_path_factory.mktemp("narrow")
    text = ROUNDS
    for short, name in LONG.items():
        text = text.replace(f"  {short}: ", f"  {name}: ").replace(f"{{{short}: 2", f"{{{name}: 2")
        text = text.replace(f", {short}: 1}}", f", {name}: 1}}").replace(
            f"[{short}, sums]", f"[{name}, {LONG['sums']}]"
        )
    text = text.replace("  dense: {", "  dense_proxy_of_one_layer_for_the_design: {").replace(
        "study: small", "study: " + "s" * 60
    )
    run(
        planned(
            folder, text.replace("evaluations: 2", "evaluations: 2").replace("40k, max_epochs: 4", "40k, max_epochs: 9")
        )
    )
    generator = np.random.default_rng(0)
    weights_ND = generator.dirichlet(np.ones(3), 24)
    names = list(LONG.values())
    lines = [
        ",".join([*(f"weight.{name}" for name in names), "params", "tokens", *(f"metric.{name}" for name in names)])
    ]
    for number, row in enumerate(weights_ND):
        losses = 3 - row + 0.01 * generator.standard_normal(3)
        size = ["1000000", "20000000"] if number % 2 else ["4000000", "80000000"]
        lines.append(",".join([*map(str, row), *size, *map(str, losses)]))
    (folder / RUNS).write_text("\n".join(lines) + "\n")
    return folder


COMMANDS = {
    "prepare": "prepare study.yaml",
    "plan": "plan study.yaml --no-probe --gpu h100",
    "status": "status study.yaml",
    "trials": "trials study.yaml",
    "best": "best study.yaml",
    "calibration": "calibration study.yaml",
    "compare": "compare study.yaml study.yaml",
    "export --list": "export --list",
    "fit": f"fit {RUNS} --surrogate linear -o fitted",
    "guess": f"fit {RUNS} --guess",
    "replay": f"replay {RUNS} --seeds 2 --strategy random --strategy regmix --surrogate linear -o replayed",
    "prune": "prune .mixopt",
}


def too_wide(done: Done) -> list[str]:
    """Lines of tables beyond the width; sentences and paths are wrapped by the terminal, or not at all in files."""
    assert done.status == 0, done.stderr
    return [line for line in done.stdout.splitlines() if len(line) > WIDTH and "  " in line.strip()]


@pytest.mark.parametrize("command", COMMANDS)
def test_its_tables_fit(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    done = mixopt(*COMMANDS[command].split())
    assert too_wide(done) == []
    assert "…" not in done.stdout, "nothing is cut off"


def drawn(width: int, columns: int) -> list[str]:
    table = plain_table(
        "domain", *(f">{name} {number}" for number, name in zip(range(columns), [*LONG.values()] * 9, strict=False))
    )
    for name in LONG.values():
        table.add_row(name, *(f"+{number}.1234 ± 0.0123" for number in range(columns)))
    shown = io.StringIO()
    Console(file=shown, width=width).print(table)
    return shown.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("columns", [1, 4, 17])
def test_a_table_of_any_width_keeps_its_numbers_whole_and_its_names(width: int, columns: int) -> None:
    lines = drawn(width, columns)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert all(text.count(f"+{number}.1234 ± 0.0123") == len(LONG) for number in range(columns))
    folded = "".join(line.split("  ")[0].rstrip() for line in lines)
    assert all(name in folded for name in LONG.values())


def test_where_there_is_room_nothing_changes() -> None:
    table = plain_table("a", ">b", title="T")
    table.add_row("x", "1")
    shown = io.StringIO()
    Console(file=shown, width=80).print(table)
    assert [line.rstrip() for line in shown.getvalue().splitlines()] == ["T", "a  b", "x  1"]
