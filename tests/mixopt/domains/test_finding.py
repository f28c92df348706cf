"""`mixopt domains`: pools and a study that uses them, and the same again where it was killed or asked twice."""

from __future__ import annotations

import gzip
import io
import json
import resource
import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

import mixopt as library
from mixopt.base.errors import ConfigError
from mixopt.cli.tables.domains import domains_table, fewer_note
from mixopt.results.domains import FoundDomains
from mixopt.settings.reading import load
from tests.program import COMMAND, mixopt
from tests.proxies.domains.heap import files_in, pool_records, without_origin, write_heap


@pytest.fixture(scope="module")
def heap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heap")
    write_heap(folder)
    return folder


@pytest.fixture(scope="module")
def pools(heap: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("found") / "pools"
    done = mixopt("domains", heap, "--count", 3, "--workers", 1, "-o", folder)
    assert done.status == 0, done.stderr
    assert "120 documents in 3 domains" in done.stdout
    return folder


def test_the_study_uses_the_pools(pools: Path) -> None:
    study = load(pools / "study.yaml")
    assert set(study.domains) == set(pool_records(pools / "text"))
    assert mixopt("validate", pools / "study.yaml").status == 0
    assert sorted(path.name for path in pools.iterdir()) == ["domains.html", "domains.json", "study.yaml", "text"]


def test_the_page_has_every_domain_a_map_and_a_tree_and_needs_nothing_else(pools: Path) -> None:
    page = (pools / "domains.html").read_text()
    assert all(f'id="{name}"' in page for name in pool_records(pools / "text"))
    assert page.count("<svg ") == 2
    assert "<script" not in page
    assert 'src="http' not in page


def test_asked_again_it_answers_without_work(heap: Path, pools: Path) -> None:
    before = files_in(pools)
    done = mixopt("domains", heap, "--count", 3, "-o", pools, "--json")
    assert done.status == 0, done.stderr
    found = FoundDomains.model_validate_json(done.stdout)
    assert found.documents == 120
    assert list(found.domains) == list(load(pools / "study.yaml").domains)
    assert sum(domain.share for domain in found.domains.values()) == pytest.approx(1)
    assert done.stderr == ""
    assert files_in(pools) == before


def test_the_same_in_python_is_the_same_bit_for_bit(
    heap: Path, pools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = library.find_domains(heap, "pools", count=3, workers=1)
    assert files_in(Path("pools/text")) == files_in(pools / "text")
    assert found.embedding == json.loads((pools / "domains.json").read_text())["embedding"]


def test_texts_in_another_field_are_named_in_the_study(tmp_path: Path) -> None:
    records = write_heap(tmp_path / "heap", each=20, field="body")
    found = library.find_domains([tmp_path / "heap"], tmp_path / "pools", count=2, workers=1)
    assert {domain.text for domain in load(Path(found.study)).domains.values()} == {"body"}
    pooled = [record for pool in pool_records(tmp_path / "pools" / "text").values() for record in pool]
    assert len(without_origin(pooled)) == len(records)


def test_what_was_begun_otherwise_is_not_gone_on_with(heap: Path, tmp_path: Path) -> None:
    (tmp_path / "pools" / ".work").mkdir(parents=True)
    (tmp_path / "pools" / ".work" / "inputs").write_text("others")
    (tmp_path / "pools" / "mine.txt").write_text("of a person")
    done = mixopt("domains", heap, "-o", tmp_path / "pools")
    assert done.status == 2
    assert "holds what was begun with other documents or settings; choose another folder" in done.stderr


@pytest.mark.parametrize(
    ("texts", "options", "says"),
    [
        (["one"], [], "1 document with text"),
        (["the same words again and again here"] * 9, [], "are alike"),
        (["abc 1", "abc 2"], ["--count", 2], "the documents fall into one group, fewer than 2 domains"),
        (["abc 1", "xyz 2"], ["--count", 3], "3 domains of 2 documents that differ"),
    ],
)
def test_a_refused_call_leaves_nothing_behind(
    tmp_path: Path, texts: list[str], options: list[object], says: str
) -> None:
    (tmp_path / "heap.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "mine").mkdir()
    for folder in ("pools", "mine"):
        done = mixopt("domains", tmp_path / "heap.jsonl", *options, "--workers", 1, "-o", tmp_path / folder)
        assert done.status == 2
        assert says in " ".join(done.stderr.split())
        assert "Warning" not in done.stderr and "site-packages" not in done.stderr
    assert not (tmp_path / "pools").exists()
    assert not list((tmp_path / "mine").iterdir()), "a folder that was there stays"


def test_after_a_mistake_the_same_folder_is_begun_anew(heap: Path, pools: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pools"
    wrong = mixopt("domains", heap, "--count", 500, "--workers", 1, "-o", folder)
    assert wrong.status == 2 and "ask for fewer domains with --count" in " ".join(wrong.stderr.split())
    done = mixopt("domains", heap, "--count", 3, "--workers", 1, "-o", folder)
    assert done.status == 0, done.stderr
    assert "begun anew" not in done.stderr
    assert files_in(folder / "text") == files_in(pools / "text")


def write_bad(folder: Path) -> int:
    """A heap with bad records and a file that ends too soon; returns how many of its records are good."""
    good = len(write_heap(folder, each=20))
    with (folder / "a.jsonl").open("ab") as file:
        file.write(b'{"text": "half \\ud83d of it"}\n{"text": 5}\n{"other": "no text"}\n[1]\n{"text": "\xff"}\nno\n')
        file.write(b'{"text": "a good one after all that"}\n')
    whole = gzip.compress(b'{"text": "the first of a file that was cut off"}\n' + Random(0).randbytes(200_000))
    (folder / "c.jsonl.gz").write_bytes(whole[:1000])
    return good + 1


def test_bad_records_are_left_out_on_demand_and_told(tmp_path: Path) -> None:
    good = write_bad(tmp_path / "heap")
    output = tmp_path / "pools"
    told = mixopt("domains", tmp_path / "heap", "--count", 3, "--workers", 1, "-o", output)
    assert told.status == 2
    assert "is not UTF-8" in told.stderr and "or leave out what cannot be used: --skip-bad" in told.stderr
    done = mixopt("domains", tmp_path / "heap", "--count", 3, "--workers", 1, "--skip-bad", "-o", output)
    assert done.status == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "7 bad records, or rests of files, were left out: " in said
    assert "a.jsonl line 31: field text holds half a character" in said and "and 4 more" in said
    found = FoundDomains.model_validate_json((output / "domains.json").read_text())
    assert (found.documents, found.skipped, len(found.first_skipped)) == (good, 7, 3)
    assert "a.jsonl line 32" in (output / "domains.html").read_text()
    assert sum(map(len, pool_records(output / "text").values())) == good


def test_an_empty_file_is_passed_over_where_the_field_is_guessed(tmp_path: Path) -> None:
    heap = tmp_path / "heap"
    write_heap(heap, each=5, field="body")
    (heap / "0.jsonl").write_bytes(b"")
    done = mixopt("domains", heap, "--count", 2, "--workers", 1, "-o", tmp_path / "pools")
    assert done.status == 0, done.stderr
    assert "text is taken from the field body; --text FIELD names another" in " ".join(done.stderr.split())


@pytest.mark.parametrize("name", ["0.jsonl", "0.parquet", "0.jsonl.gz", "0.jsonl.zst"])
def test_a_file_that_cannot_be_read_is_left_out_and_counted(tmp_path: Path, name: str) -> None:
    heap = tmp_path / "heap"
    records = write_heap(heap, each=5, field="body")
    (heap / name).write_bytes(b"[" + Random(0).randbytes(3000))
    told = mixopt("domains", heap, "-o", tmp_path / "pools")
    assert told.status == 2 and name in told.stderr and "--skip-bad" in told.stderr
    done = mixopt("domains", heap, "--count", 2, "--workers", 1, "--skip-bad", "-o", tmp_path / "pools", "--json")
    assert done.status == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["documents"] == len(records) and found["skipped"] >= 1 and name in found["first_skipped"][0]


def test_without_any_text_the_option_is_named(tmp_path: Path) -> None:
    (tmp_path / "heap").mkdir()
    (tmp_path / "heap" / "a.jsonl").write_text('{"number": 1}\n')
    for more in ([], ["--skip-bad"]):
        told = mixopt("domains", tmp_path / "heap", "-o", tmp_path / "pools", *more)
        assert told.status == 2 and "name the field that holds it: --text FIELD" in " ".join(told.stderr.split())


def test_a_file_of_another_field_is_told_with_the_option_that_names_it(tmp_path: Path) -> None:
    heap = tmp_path / "heap"
    records = write_heap(heap, each=5)
    (heap / "0.jsonl").write_text('{"content": "one that says otherwise"}\n{"content": "and another one"}\n')
    told = mixopt("domains", heap, "--workers", 1, "-o", tmp_path / "pools")
    said = " ".join(told.stderr.split())
    assert told.status == 2 and "has no field content, but" in said and "name another with --text FIELD" in said
    done = mixopt("domains", heap, "--count", 2, "--workers", 1, "--skip-bad", "-o", tmp_path / "pools")
    said = " ".join(done.stderr.split())
    assert "has no field content, but" in said and "all of it is left out" in said
    done = mixopt(
        "domains",
        heap,
        "--count",
        2,
        "--workers",
        1,
        "--skip-bad",
        "--text",
        "text",
        "-o",
        tmp_path / "other",
        "--json",
    )
    assert done.status == 0 and json.loads(done.stdout)["documents"] == len(records)
    assert "0.jsonl has no field text, but content: all of it is left out" in " ".join(done.stderr.split())


def test_a_link_to_nothing_is_named_and_left_out_on_demand(tmp_path: Path) -> None:
    heap = tmp_path / "heap"
    records = write_heap(heap, each=5)
    (heap / "gone.jsonl").symlink_to("nowhere.jsonl")
    told = mixopt("domains", heap, "-o", tmp_path / "pools")
    said = " ".join(told.stderr.split())
    assert told.status == 2 and "gone.jsonl is a link to nowhere.jsonl, which is not there" in said
    assert "--skip-bad" in said
    done = mixopt("domains", heap, "--count", 2, "--workers", 1, "--skip-bad", "-o", tmp_path / "pools", "--json")
    assert done.status == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["documents"], found["skipped"]) == (len(records), 1)
    assert "gone.jsonl is a link to" in found["first_skipped"][0]


def test_a_small_heap_has_fewer_domains_and_what_is_not_read_of_it_is_told(tmp_path: Path) -> None:
    write_heap(tmp_path / "heap", each=5)
    for name in ("README.md", "weights.bin", "empty.txt"):
        (tmp_path / "heap" / name).write_text("")
    done = mixopt("domains", tmp_path / "heap", "--workers", 1, "-o", tmp_path / "pools")
    assert done.status == 0, done.stderr
    assert "3 domains and not 20, as there are 15 documents that differ, 5 or more for each; --count asks" in " ".join(
        done.stderr.split()
    )
    assert "3 files not read: .bin, .md, .txt" in done.stderr


@pytest.mark.parametrize("width", [60, 80, 200])
def test_names_can_be_copied_from_a_narrow_terminal(pools: Path, width: int) -> None:
    found = FoundDomains.model_validate_json((pools / "domains.json").read_text())
    names = ["resource_qualified_examples_of_things", "resource_qualifie", "d_examples"]
    renamed = dict(zip(names, found.domains.values(), strict=True))
    console = Console(width=width, file=io.StringIO())
    console.print(domains_table(found.model_copy(update={"domains": renamed})))
    assert isinstance(console.file, io.StringIO)
    first_words = [line.split()[0] for line in console.file.getvalue().splitlines() if line.strip()]
    assert set(names) <= set(first_words)


@pytest.mark.parametrize(
    ("asked", "groups", "sampled", "says"),
    [
        (None, 3, 30, "3 domains and not 20, as the documents fall into 3 groups"),
        (5, 3, 30, "3 domains and not 5, as the documents fall into 3 groups"),
        (5, 4, 30, "as the documents fall into 4 groups, of which the smallest have too little text"),
        (5, 9, 30, "3 domains and not 5, as the other groups of documents have too little text"),
        (None, 3, 17, "as there are 17 documents that differ, 5 or more for each; --count asks for another number"),
        (3, 3, 30, None),
    ],
)
def test_why_there_are_fewer_domains(
    pools: Path, asked: int | None, groups: int, sampled: int, says: str | None
) -> None:
    found = FoundDomains.model_validate_json((pools / "domains.json").read_text())
    note = fewer_note(found.model_copy(update={"fine_clusters": groups, "sampled": sampled}), asked, 1000)
    assert note is None if says is None else says in (note or "")
    assert "--count" not in (note or "") or sampled == 17


def test_a_full_disk_is_told_and_then_gone_on_with(heap: Path, pools: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pools"
    command = [*COMMAND, "domains", str(heap), "--count", "3", "--workers", "1", "-o", str(folder)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    full = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert full.returncode == 2, full.stderr
    assert "no room left" in full.stderr
    assert "Traceback" not in full.stderr
    assert [path.name for path in folder.iterdir()] == [".work"]
    again = mixopt("domains", heap, "--count", 3, "--workers", 1, "-o", folder)
    assert again.status == 0, again.stderr
    assert files_in(folder / "text") == files_in(pools / "text")


@pytest.mark.parametrize("seed", [-1, 2**32, 5_000_000_000])
def test_a_seed_that_cannot_be_is_told_before_anything(heap: Path, tmp_path: Path, seed: int) -> None:
    done = mixopt("domains", heap, "--seed", seed, "-o", tmp_path / "pools")
    assert done.status == 2
    assert f"seed {seed} is out of range; choose one from 0 to 4294967295" in " ".join(done.stderr.split())
    assert done.stderr.count("\n") <= 3 and not (tmp_path / "pools").exists()


def test_the_highest_seed_finds_domains(heap: Path, tmp_path: Path) -> None:
    done = mixopt("domains", heap, "--seed", 2**32 - 1, "--count", 3, "--workers", 1, "-o", tmp_path / "pools")
    assert done.status == 0, done.stderr


def test_no_domains_are_not_the_usual_number(heap: Path, tmp_path: Path) -> None:
    done = mixopt("domains", heap, "--count", 0, "-o", tmp_path / "pools")
    assert done.status == 2
    assert "count 0: a mixture is of at least two domains" in " ".join(done.stderr.split())


def test_too_many_domains_are_told_by_the_right_bound(heap: Path, tmp_path: Path) -> None:
    done = mixopt("domains", heap, "--count", 1001, "-o", tmp_path / "pools")
    assert done.status == 2
    assert "count 1001: a study has 1000 domains at most; ask for 2 to 1000" in " ".join(done.stderr.split())


def test_an_answer_is_not_taken_from_a_folder_that_lacks_what_it_names(
    heap: Path, pools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(pools, tmp_path / "copy")
    (tmp_path / "copy" / ".work").mkdir()  # killed right before its end
    monkeypatch.chdir(tmp_path)
    found = library.find_domains(heap, "copy", count=3)
    assert found.study == "copy/study.yaml", "as seen from here"
    assert {domain.path for domain in found.domains.values()} == {f"copy/text/{name}" for name in found.domains}
    assert not Path("copy/.work").exists()
    shutil.rmtree("copy/text")
    with pytest.raises(ConfigError, match="copy is not empty"):
        library.find_domains(heap, "copy", count=3)


def test_a_folder_is_sorted_into_one_of_its_own_and_may_be_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_heap(tmp_path, each=10)
    monkeypatch.chdir(tmp_path)
    first = library.find_domains(".", "pools", count=2, workers=1)
    assert library.find_domains(".", "pools", count=2, workers=1) == first
    assert first.documents == 30
