"""The gallery's studies run in their short form, and its pages show what they are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.gallery.studies import GALLERY
from examples.gallery.team_table.runs import DOMAINS, NATURAL, best, mean_loss, write
from examples.gallery.text import write_languages
from mixopt.exports.formats import exporter
from mixopt.settings.reading import load

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "gallery"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT_SECONDS = 570


def gallery(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.gallery", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", GALLERY)
def test_a_study_in_its_short_form_comes_to_its_answer(name: str, tmp_path: Path) -> None:
    done = gallery(name, "--short", "--output", tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    folder = tmp_path / f"{name}-short"
    for shown in GALLERY[name].shows:
        assert (folder / shown).stat().st_size > 0
    if name == "team_table":
        recommended = json.loads((folder / "fit" / "mixture.json").read_text())
        natural = dict(zip(DOMAINS, NATURAL, strict=True))
        assert mean_loss(best()) < mean_loss(recommended) < mean_loss(natural)


@pytest.mark.parametrize("name", GALLERY)
def test_a_page_shows_the_study_file_and_the_commands(name: str) -> None:
    shown = [text for _, text in BLOCK.findall((PAGES / f"{name.replace('_', '-')}.md").read_text())]
    files = list((ROOT / "examples" / "gallery" / name).glob("*.yaml"))
    assert files and all(path.read_text() in shown for path in files)
    assert f"python -m examples.gallery {name}" in "".join(shown)
    assert all(command in "".join(shown) for command in GALLERY[name].commands)


@pytest.mark.parametrize(
    "command", [command for worked in GALLERY.values() for command in worked.commands if "mixopt export" in command]
)
def test_an_export_is_called_by_what_it_is(command: str) -> None:
    format, output = (command.split(option)[1].split()[0] for option in ("--format", "--output"))
    assert Path(output).suffix == exporter(format).suffix


@pytest.mark.parametrize("name", [name for name in GALLERY if name != "team_table"])
def test_what_makes_a_study_short_is_in_its_files(name: str, tmp_path: Path) -> None:
    """A replacement that no longer fits would leave a test of ten minutes."""
    folder = ROOT / "examples" / "gallery" / name
    written = "".join(path.read_text() for path in folder.glob("*.*")) + "".join(GALLERY[name].commands)
    assert all(long in written for long in GALLERY[name].shorter)
    load(folder / "study.yaml")


def test_a_misspelt_name_is_one_line() -> None:
    done = gallery("pretrainig")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no study pretrainig in the gallery; it has pretraining, ")


def test_a_machine_without_catalogues_gets_generated_sentences_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.gallery.text.CATALOGUES", tmp_path / "none")
    said = write_languages(tmp_path)
    assert all(what.startswith("generated sentences, ") for what in said.values())
    texts = {name: (tmp_path / f"{name}.jsonl").read_text() for name in said}
    assert write_languages(tmp_path) == said
    assert {name: (tmp_path / f"{name}.jsonl").read_text() for name in said} == texts, "the same each time"


def test_the_table_is_a_trackers_with_runs_that_did_not_end(tmp_path: Path) -> None:
    write(tmp_path / "runs.csv")
    head, *rows = (tmp_path / "runs.csv").read_text().splitlines()
    assert head.startswith("Run;Status;Iteration;sampling web [%];")
    assert sum(";crashed;" in row for row in rows) == 3
    steps = [int(row.split(";")[2]) for row in rows if ";finished;" in row]
    assert min(steps) == max(steps) / 3, "one ended at a third of its steps, as the page says"
