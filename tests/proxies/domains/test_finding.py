"""From a heap to pools: kinds are told apart, no document is lost, and a kill costs nothing but time."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxies.data.intake import Progress
from proxies.data.sources import Source, find_files
from proxies.domains import chunks, finding, sorting, survey
from proxies.domains.finding import Search, find_domains
from proxies.errors import ProxyError
from tests.proxies.domains.heap import files_in, found_in, pool_records, without_origin, write_heap
from tests.text import documents

THREE = Search(count=3, workers=1)


class Killed(Exception):
    """In the place of a signal."""


def test_three_kinds_are_three_domains(tmp_path: Path) -> None:
    write_heap(tmp_path / "heap")
    found = found_in(tmp_path / "heap", tmp_path / "pools", tmp_path / "work", THREE)
    pools = pool_records(tmp_path / "pools")
    assert [{record["kind"] for record in pool} for pool in pools.values()].count({"code"}) == 1
    assert sorted(len(pool) for pool in pools.values()) == [40, 40, 40]
    assert {domain.about.name: domain.documents for domain in found.domains} == dict.fromkeys(pools, 40)
    prose = next(domain for domain in found.domains if "river" in domain.about.terms)
    assert prose.about.language == "en" or prose.about.language is None
    assert list(prose.about.scripts) == ["Latin"]
    assert len(prose.about.typical) == 5


def test_every_document_is_in_one_pool_with_its_fields_and_its_origin(tmp_path: Path) -> None:
    records = write_heap(tmp_path / "heap")
    found_in(tmp_path / "heap", tmp_path / "pools", tmp_path / "work", THREE)
    pooled = [record for pool in pool_records(tmp_path / "pools").values() for record in pool]
    assert sorted(map(json.dumps, without_origin(pooled))) == sorted(map(json.dumps, records))
    first = next(record for record in pooled if record["n"] == 0 and record["kind"] == "code")
    assert first["mixopt_origin"] == f"{tmp_path}/heap/a.jsonl line 2"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(alphabet="ab \n\u00e9\u65e5\0", max_size=30), min_size=12, max_size=30),
    st.booleans(),
    st.integers(1, 7),
)
def test_documents_in_are_documents_out(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], drop: bool, at_once: int
) -> None:
    """Whatever they are: empty, repeated, without words, however they are cut into portions."""
    folder = tmp_path_factory.mktemp("any")
    ample = [*documents("prose", 6), *documents("code", 6)]  # enough for two domains, whatever the others are
    texts = [*texts, *ample]
    (folder / "heap.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_DOCUMENTS", at_once)
        patch.setattr(chunks, "PORTION_DOCUMENTS", 2 * at_once)
        search = Search(count=2, workers=1, drop_duplicates=drop)
        found = found_in(folder / "heap.jsonl", folder / "pools", folder / "work", search)
    pooled = Counter(record["text"] for pool in pool_records(folder / "pools").values() for record in pool)
    with_text = Counter(text for text in texts if text.strip())
    assert found.documents == with_text.total()
    assert found.empty == len(texts) - with_text.total()
    if drop:
        assert set(pooled.values()) == {1}
        assert set(pooled) <= set(with_text)
        # What is left out shares sequences of five words with what stays; a shorter text is left out of no pool.
        kept = set().union(*(_sequences(text) for text in pooled if text not in ample))
        assert all(text in pooled or _sequences(text) & kept for text in with_text)
    else:
        assert pooled == with_text


def _sequences(text: str) -> set[tuple[str, ...]]:
    words = re.findall("\u65e5[ab\u00e9]*|[ab\u00e9]+", text)
    return set(zip(*(words[start:] for start in range(5)), strict=False))


@pytest.mark.parametrize(
    "last_words",
    [("read", 1), ("read", 3), ("learn", 1), ("embed", 2), ("cluster", 1), ("describe", 1), ("sort", 2), ("sort", 4)],
)
def test_killed_and_begun_again_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_words: tuple[str, int]
) -> None:
    write_heap(tmp_path / "heap")
    monkeypatch.setattr(chunks, "CHUNK_DOCUMENTS", 10)
    monkeypatch.setattr(chunks, "PORTION_DOCUMENTS", 20)
    whole = found_in(tmp_path / "heap", tmp_path / "pools", tmp_path / "work", THREE)
    source = Source("data", (str(tmp_path / "heap"),))
    stage, times = last_words
    heard = 0

    def kill(progress: Progress) -> None:
        nonlocal heard
        heard += progress.stage.startswith(stage)
        if heard == times:
            heard += 1
            raise Killed

    again = (source, find_files(source), THREE, tmp_path / "again", tmp_path / "work2")
    with pytest.raises(Killed):
        find_domains(*again, kill)
    resumed = find_domains(*again, lambda progress: None)
    assert files_in(tmp_path / "again") == files_in(tmp_path / "pools")
    assert resumed.domains == whole.domains
    assert resumed.identity == whole.identity


def test_the_sample_is_embedded_in_parts_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_heap(tmp_path / "heap")
    monkeypatch.setattr(finding, "EMBEDDED_AT_ONCE", 50)
    source = Source("data", (str(tmp_path / "heap"),))
    heard: list[int] = []

    def hear(progress: Progress) -> None:
        if progress.stage == "embed the sample":
            heard.append(progress.done)
        if progress.stage == "cluster" and not known:
            raise Killed

    again = (source, find_files(source), THREE, tmp_path / "pools", tmp_path / "work", hear)
    known = False
    with pytest.raises(Killed):
        find_domains(*again)
    assert heard == [0, 50, 100, 120]
    known = True
    find_domains(*again)
    assert heard == [0, 50, 100, 120]


def test_several_processes_find_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_heap(tmp_path / "heap")
    one = found_in(tmp_path / "heap", tmp_path / "one", tmp_path / "work", THREE)
    two = found_in(tmp_path / "heap", tmp_path / "two", tmp_path / "work2", Search(count=3, workers=2))
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")
    assert one.domains == two.domains


def test_repeats_are_counted_and_dropped(tmp_path: Path) -> None:
    records = write_heap(tmp_path / "heap")
    copied = [record for record in records if record["kind"] == "prose"][:10]
    nearly = [{**record, "text": f"{record['text']} amen"} for record in copied[:5]]
    lines = "".join(json.dumps(record) + "\n" for record in [*copied, *nearly])
    (tmp_path / "heap" / "c.jsonl").write_text(lines)
    kept = found_in(tmp_path / "heap", tmp_path / "pools", tmp_path / "work", THREE)
    assert sum(domain.exact for domain in kept.domains) == 10
    assert sum(domain.near_within for domain in kept.domains) == 5
    assert sum(domain.documents for domain in kept.domains) == 135
    dropping = Search(count=3, workers=1, drop_duplicates=True)
    dropped = found_in(tmp_path / "heap", tmp_path / "fewer", tmp_path / "work2", dropping)
    assert sum(domain.documents for domain in dropped.domains) == 120
    pooled = [record for pool in pool_records(tmp_path / "fewer").values() for record in pool]
    assert not any("c.jsonl" in record["mixopt_origin"] for record in pooled)


def test_the_sample_does_not_depend_on_the_order_of_documents(tmp_path: Path) -> None:
    records = write_heap(tmp_path / "heap")
    (tmp_path / "other").mkdir()
    lines = [json.dumps(record) + "\n" for record in reversed(records)]
    (tmp_path / "other" / "all.jsonl").write_text("".join(lines))
    texts = []
    for name in ("heap", "other"):
        source = Source("data", (str(tmp_path / name),))
        place = tmp_path / f"survey-{name}"
        read = survey.survey(source, find_files(source), 30, False, 1, place, lambda progress: None)
        texts.append([each.text for each in read.sample])
    assert len(texts[0]) == 30
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ([], "0 documents with text"),
        (["one"], "1 document with text"),
        (["the same words again and again here"] * 9, "all 9 documents are alike"),
        (["one", "two"], "3 domains of 2 documents that differ"),
    ],
)
def test_what_makes_no_domains_is_told(tmp_path: Path, texts: list[str], says: str) -> None:
    lines = "".join(json.dumps({"text": text}) + "\n" for text in [*texts, " "])
    (tmp_path / "heap.jsonl").write_text(lines)
    with pytest.raises(ProxyError, match=says):
        found_in(tmp_path / "heap.jsonl", tmp_path / "pools", tmp_path / "work", THREE)
    assert not (tmp_path / "pools").exists()


def test_the_modules_are_those_that_docs_name() -> None:
    for step in ("survey.py", "clusters.py", "describing.py", "sorting.py"):
        assert step in (finding.__doc__ or "")
    assert sorting.ORIGIN == "mixopt_origin"
