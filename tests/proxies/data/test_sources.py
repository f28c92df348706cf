"""Documents of every format come out whole and in order; every mistake names its place."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import datasets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.data import sources
from proxies.data.sources import Position, Source, beside_records, check_readable, documents, find_files, records
from proxies.errors import ProxyError
from tests.proxies.data.conftest import sentences, source, write_jsonl

TEXTS = ["first\nwith a line break", "zweiter: äöü 漢字 🙂", "third"]


def read(wanted: Source) -> list[str]:
    return [document.text for document in documents(wanted, find_files(wanted))]


def fails(wanted: Source, *words: str) -> ProxyError:
    """Reading must fail, with all these words in the message."""
    with pytest.raises(ProxyError) as caught:
        files = find_files(wanted)
        check_readable(wanted, files)
        list(documents(wanted, files))
    for word in words:
        assert word in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("ending", [".jsonl", ".ndjson", ".json", ".jsonl.gz", ".jsonl.zst"])
def test_json_lines(tmp_path: Path, ending: str) -> None:
    raw = write_jsonl(tmp_path / "raw", TEXTS).read_bytes()
    compress = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}
    file = tmp_path / f"pool *?{ending}"
    file.write_bytes(compress[file.suffix](raw) if file.suffix in compress else raw)
    assert read(source("web", file)) == TEXTS


def test_brackets_in_names(tmp_path: Path) -> None:
    assert read(source("web", write_jsonl(tmp_path / "pool [1].jsonl", TEXTS))) == TEXTS
    (tmp_path / "pool [1].txt.gz").write_bytes(gzip.compress(b"text"))
    assert read(source("web", tmp_path / "pool [1].txt.gz")) == ["text"]
    (tmp_path / "a [b] c").mkdir()
    write_jsonl(tmp_path / "a [b] c" / "1.jsonl", TEXTS[:1])
    write_jsonl(tmp_path / "a [b] c" / "2" / "2.jsonl", TEXTS[1:])
    assert read(source("web", tmp_path / "a [b] c" / "*.jsonl")) == TEXTS[:1]
    assert read(source("web", tmp_path / "a [b] c" / "**" / "*.jsonl")) == TEXTS


def test_parquet_and_arrow_and_saved_folders(tmp_path: Path) -> None:
    table = pa.table({"text": TEXTS, "meta": [1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(source("web", tmp_path / "a.parquet")) == TEXTS
    with pa.ipc.new_file(tmp_path / "b.arrow", table.schema) as writer:
        writer.write_table(table)
    assert read(source("web", tmp_path / "b.arrow")) == TEXTS
    saved = datasets.Dataset(table)
    saved.save_to_disk(tmp_path / "saved")
    assert read(source("web", tmp_path / "saved")) == TEXTS
    datasets.DatasetDict({"train": saved, "test": saved.select([0])}).save_to_disk(tmp_path / "splits")
    assert read(source("web", tmp_path / "splits")) == TEXTS
    assert read(source("web", tmp_path / "splits", split="test")) == TEXTS[:1]
    fails(source("web", tmp_path / "splits", split="dev"), "split dev")


def test_text_files_are_one_document_each_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, text in {"b.md": "second", "a.txt": "first\n\nend\n", "c/d.py": "third = 3"}.items():
        (tmp_path / "pool" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pool" / name).write_text(text)
    (tmp_path / "pool" / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "pool" / "e.txt.gz").write_bytes(gzip.compress(b"fourth"))
    assert read(source("web", tmp_path / "pool")) == ["first\n\nend\n", "second", "third = 3", "fourth"]
    assert read(source("web", tmp_path / "pool" / "*.md")) == ["second"]


def test_urls(tmp_path: Path) -> None:
    with fsspec.open("memory://pools/web.jsonl", "wb") as file:
        file.write(b'{"text": "far away"}\n')
    assert read(Source("web", ("memory://pools/web.jsonl",))) == ["far away"]
    assert read(Source("web", ("memory://pools",))) == ["far away"]
    local = write_jsonl(tmp_path / "web.jsonl", TEXTS)
    assert read(Source("web", (f"file://{local}",))) == TEXTS


def test_other_fields_may_hold_anything(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "meta": 1},
        {"meta": {"deep": [1, "x"]}, "text": "b"},
        {"text": "c", "meta": "s", "more": None},
    ]
    file = tmp_path / "web.jsonl"
    file.write_text("\ufeff" + "\n\n".join(json.dumps(row) for row in rows))
    assert read(source("web", file)) == ["a", "b", "c"]


def test_a_json_list_is_a_list_of_records(tmp_path: Path) -> None:
    file = tmp_path / "web.json"
    file.write_text(json.dumps([{"text": text} for text in TEXTS], indent=1))
    assert read(source("web", file)) == TEXTS


def test_prompts_and_completions(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_text('{"q": "why?", "a": "because"}\n')
    chat = source("chat", file, prompt_field="q", completion_field="a")
    (document,) = documents(chat, find_files(chat))
    assert (document.prompt, document.text) == ("why?", "because")


def test_a_long_text_is_cut_at_line_breaks(tmp_path: Path) -> None:
    text = "\n".join(sentences(3000, seed=1)) + "x" * 200_000
    (tmp_path / "book.txt").write_text(text)
    for pool in (tmp_path / "book.txt", write_jsonl(tmp_path / "book.jsonl", [text])):
        pieces = read(source("books", pool))
        assert "".join(pieces) == text
        assert max(map(len, pieces)) <= sources.LONGEST_PIECE
        assert pieces[0].endswith("\n")
        book = source("books", pool)
        ends = [piece.last for piece in documents(book, find_files(book))]
        assert ends == [False] * (len(pieces) - 1) + [True]


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab\n", max_size=9), max_size=30))
def test_pieces_lose_nothing(lines: list[str]) -> None:
    pieces, ends = zip(*sources._pieces(lines), strict=True)
    assert "".join(pieces) == "".join(lines)
    assert [number for number, last in enumerate(ends, 1) if last] == [len(pieces)]


def test_reading_goes_on_after_any_document(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", TEXTS)
    write_jsonl(tmp_path / "b.jsonl", TEXTS)
    web = source("web", tmp_path)
    files = find_files(web)
    everything = list(documents(web, files))
    for number, document in enumerate(everything, 1):
        assert list(documents(web, files, document.end)) == everything[number:]
    assert everything[-1].end == Position(1, 3)


def test_records_are_whole_and_keep_their_fields(tmp_path: Path) -> None:
    rows = [{"text": text, "day": number, "tags": [text]} for number, text in enumerate(TEXTS)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    wanted = source("web", tmp_path)
    found = list(records(wanted, find_files(wanted)))
    assert [dict(record.fields) for record in found] == rows * 2
    assert [record.text for record in found] == TEXTS * 2
    assert found[1].place == f"{tmp_path}/a.parquet row 2"
    assert found[5].place == f"{tmp_path}/b.jsonl line 3"
    assert [record.text for record in records(wanted, find_files(wanted), found[3].end)] == TEXTS[1:]


def test_a_text_that_no_memory_holds_is_several_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LONGEST_TEXT", 3 * sources.LONGEST_PIECE)
    text = "a line of a very long book\n" * 15_000
    (tmp_path / "book.txt").write_text(text)
    wanted = source("web", tmp_path / "book.txt")
    found = [record.text for record in records(wanted, find_files(wanted))]
    assert "".join(found) == text
    assert len(found) == 3


def test_a_sample_is_not_the_first_files_and_the_same_wherever_the_pool_lies(tmp_path: Path) -> None:
    orders = []
    for folder in ("here", "there"):
        for crawl in ("a", "b", "c", "d"):
            for number in range(5):
                write_jsonl(tmp_path / folder / crawl / f"{number}.jsonl", [f"{crawl}{number}"])
        orders.append(read(source("web", tmp_path / folder, max_tokens=1000)))
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == read(source("web", tmp_path / "here"))
    assert len({text[0] for text in orders[0][:5]}) > 1


def test_no_file(tmp_path: Path) -> None:
    fails(source("web", tmp_path / "nothing*.jsonl"), "web", "nothing*.jsonl")
    fails(source("web", tmp_path), "web", str(tmp_path))
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    fails(source("web", tmp_path / "image.png"), "image.png", "ending")
    fails(Source("web", ("nosuch://bucket/x.jsonl",)), "nosuch://bucket")


def test_missing_and_wrong_fields(tmp_path: Path) -> None:
    body = write_jsonl(tmp_path / "web.jsonl", TEXTS, field="body")
    assert "body" in fails(source("web", body), "web.jsonl", "line 1", "no field text").hint
    pq.write_table(pa.table({"body": TEXTS, "n": [1, 2, 3]}), tmp_path / "web.parquet")
    assert "body, n" in fails(source("web", tmp_path / "web.parquet"), "web.parquet", "no field text").hint
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "numbers.parquet")
    fails(source("web", tmp_path / "numbers.parquet"), "row 1", "holds a number")
    fails(source("web", write_jsonl(tmp_path / "n.jsonl", ["a", 7])), "line 2", "holds a number")
    (tmp_path / "list.jsonl").write_text('{"text": "a"}\n"b"\n')
    fails(source("web", tmp_path / "list.jsonl"), "line 2", "not an object")
    (tmp_path / "half.jsonl").write_text('{"text": "a\\ud83d"}\n')
    fails(source("web", tmp_path / "half.jsonl"), "line 1", "character 1")


def test_broken_json_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "web.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c\n')
    fails(
        source("web", tmp_path / "web.jsonl"), "web.jsonl line 3 is not JSON: invalid control character at character 12"
    )
    (tmp_path / "no.jsonl").write_text("\nno\n")
    fails(source("web", tmp_path / "no.jsonl"), "no.jsonl line 2 is not JSON: expecting value at character 1")
    (tmp_path / "deep.jsonl").write_text('{"text": "a"}\n{"text": ' + "[" * 200_000 + "\n")
    fails(source("web", tmp_path / "deep.jsonl"), "deep.jsonl line 2", "nested too deeply")


@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".txt.gz"])
def test_bytes_that_are_not_utf8_are_found(tmp_path: Path, ending: str) -> None:
    raw = b'{"text": "ok"}\n{"text": "caf\xe9"}\n'
    file = tmp_path / f"web{ending}"
    file.write_bytes(gzip.compress(raw) if ending.endswith(".gz") else raw)
    fails(source("web", file), file.name, "line 2", "0xe9", "offset 28")


@pytest.mark.parametrize("ending", [".jsonl.gz", ".jsonl.zst"])
def test_truncated_compression(tmp_path: Path, ending: str) -> None:
    raw = write_jsonl(tmp_path / "raw", sentences(2000, seed=1)).read_bytes()
    packed = gzip.compress(raw) if ending.endswith(".gz") else zstandard.ZstdCompressor().compress(raw)
    file = tmp_path / f"web{ending}"
    file.write_bytes(packed[: len(packed) // 2])
    fails(source("web", file), file.name, "truncated")
    file.write_bytes(b"no archive at all")
    fails(source("web", file), file.name, "cannot be read")


def test_several_zst_frames_are_one_file(tmp_path: Path) -> None:
    frames = [
        zstandard.ZstdCompressor().compress(json.dumps({"text": text}).encode() + b"\n") for text in sentences(50, 1)
    ]
    (tmp_path / "web.jsonl.zst").write_bytes(b"".join(frames))
    web = source("web", tmp_path)
    check_readable(web, find_files(web))
    assert read(web) == sentences(50, 1)


def test_compression_beyond_the_sample_is_not_read(tmp_path: Path) -> None:
    whole = zstandard.ZstdCompressor().compress(write_jsonl(tmp_path / "raw", sentences(20_000, seed=1)).read_bytes())
    (tmp_path / "web.jsonl.zst").write_bytes(whole[:-1000])
    web = source("web", tmp_path / "web.jsonl.zst")
    check_readable(web, find_files(web))
    first = list(islice(documents(web, find_files(web)), 100))
    assert [document.text for document in first] == sentences(100, seed=1)


def test_damaged_parquet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "web.parquet"
    pq.write_table(pa.table({"text": sentences(500, seed=1)}), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    fails(source("web", file), "web.parquet", "cannot be read")
    file.write_bytes(whole[:4] + b"x" * 60 + whole[64:])
    fails(source("web", file), "web.parquet", "cannot be read")
    assert not caplog.records  # said once, by the error


def test_half_a_pair_of_fields() -> None:
    with pytest.raises(ProxyError, match="completion_field"):
        Source("chat", ("x.jsonl",), prompt_field="q")


def test_an_unreachable_hub_name() -> None:
    script = """
from proxies.data.sources import Source, find_files
from proxies.errors import ProxyError
try:
    find_files(Source("web", ("hf:nobody/nothing@en",)))
except ProxyError as error:
    print(error.message, "|", error.hint)
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("web: cannot open hf:nobody/nothing@en:")
    assert "network" in done.stdout


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_end_as_any_system_writes_them(tmp_path: Path, ending: str) -> None:
    rows = [json.dumps({"text": text}) for text in TEXTS]
    (tmp_path / "a.jsonl").write_bytes(ending.join(rows).encode())
    assert read(source("web", tmp_path / "a.jsonl")) == TEXTS
    (tmp_path / "a.txt").write_bytes(ending.join(["one", "two"]).encode())
    assert read(source("web", tmp_path / "a.txt")) == ["one\ntwo"]


def test_a_pretty_list_after_blank_lines(tmp_path: Path) -> None:
    text = json.dumps([{"text": text} for text in TEXTS], indent=2)
    (tmp_path / "a.json").write_text(f"\n \n{text}")
    assert read(source("web", tmp_path / "a.json")) == TEXTS


def test_a_line_longer_than_any_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LONGEST_LINE", 100_000)
    for name in ("a.jsonl", "a.txt", "a.json"):
        (tmp_path / name).write_text("[\n" * name.endswith("json") + "x" * 300_000)
        fails(source("web", tmp_path / name), name, "a line of more than 100,000 characters")
    (tmp_path / "many.json").write_text(json.dumps([{"text": "x" * 90}] * 3000, indent=1))
    fails(source("web", tmp_path / "many.json"), "one JSON list of more than 100,000 characters")


def test_zst_with_a_long_window(tmp_path: Path) -> None:
    raw = write_jsonl(tmp_path / "raw", TEXTS).read_bytes()
    long = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=28))
    packer = long.compressobj()
    (tmp_path / "a.jsonl.zst").write_bytes(packer.compress(raw) + packer.flush())
    assert read(source("web", tmp_path / "a.jsonl.zst")) == TEXTS


def test_what_lies_beside_records_is_not_read_but_named(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "pool" / "1.jsonl", TEXTS)
    (tmp_path / "pool" / "README.md").write_text("# A card\n")
    (tmp_path / "pool" / "stats.json").write_text(json.dumps({"rows": 3}, indent=2))
    assert read(source("web", tmp_path / "pool")) == TEXTS
    left = beside_records(source("web", tmp_path / "pool"))
    assert [Path(path).name for path in left] == ["README.md", "stats.json"]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README.md").write_text("text alone")
    assert read(source("web", tmp_path / "notes")) == ["text alone"]
    assert beside_records(source("web", tmp_path / "notes")) == []


def test_what_is_not_read_is_told_of_the_folders_that_are(tmp_path: Path) -> None:
    for name in ("1", "2"):
        write_jsonl(tmp_path / "pools" / name / "a.jsonl", TEXTS)
        (tmp_path / "pools" / name / "state.json").write_text("{}")

    def told(*paths: Path) -> list[str]:
        each = Source("web", tuple(map(str, paths)))
        left = beside_records(each)
        assert not set(left) & {file.url for file in find_files(each)}
        return [str(Path(path).relative_to(tmp_path)) for path in left]

    # Of folders that a pattern matches, and whatever their name where nothing says that the data was saved with it.
    assert told(tmp_path / "pools" / "*") == ["pools/1/state.json", "pools/2/state.json"]
    assert told(tmp_path / "pools" / "1", tmp_path / "pools") == ["pools/1/state.json", "pools/2/state.json"]
    (tmp_path / "pools" / "1" / "dataset_info.json").write_text("{}")
    assert told(tmp_path / "pools" / "*") == ["pools/2/state.json"]
    # Of the one split that is read.
    (tmp_path / "pools" / "dataset_dict.json").write_text("{}")
    (tmp_path / "pools" / "1").rename(tmp_path / "pools" / "train")
    (tmp_path / "pools" / "train" / "README.md").write_text("# A card")
    assert told(tmp_path / "pools") == ["pools/train/README.md"]
    # What another path names is read after all.
    assert told(tmp_path / "pools" / "train", tmp_path / "pools" / "train" / "README.md") == []


def test_a_link_to_a_file_of_the_pool_is_the_same_file(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "b.jsonl", TEXTS)
    (tmp_path / "a.jsonl").symlink_to(file)
    assert read(source("web", tmp_path)) == TEXTS
    assert [Path(found.url).name for found in find_files(source("web", tmp_path))] == ["b.jsonl"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.jsonl").symlink_to(file)
    assert read(source("web", tmp_path / "elsewhere")) == TEXTS, "a link alone is read"


def test_a_table_of_text_has_no_fields(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("review,stars\na,1\n")
    fails(source("web", tmp_path / "a.csv", text_field="review"), "a.csv", "no field review")
    assert read(source("web", tmp_path / "a.csv")) == ["review,stars\na,1\n"]
