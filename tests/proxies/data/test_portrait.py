"""What a portrait says of a pool: what it is like, and which of its documents another pool has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from proxies.data.corpus import Corpus, CorpusSettings, prepare
from proxies.data.manifest import MANIFEST
from proxies.data.portrait import DIMENSIONS, Portrait, embed, windows
from proxies.data.sources import Source
from proxies.errors import ProxyError
from tests.text import documents, write_jsonl

COUNTS = {"prose": 60, "code": 40, "sums": 40}


def corpus(folder: Path, vocabulary: int = 300, **counts: int) -> Corpus:
    write_jsonl(folder / "data", COUNTS | counts)
    sources = [Source(name, (str(folder / "data" / f"{name}.jsonl"),)) for name in COUNTS]
    exam = Source("exam", (str(folder / "data" / "sums.jsonl"),))
    return prepare(sources, [exam], CorpusSettings(vocabulary=vocabulary, validation_tokens=1000), folder / "corpus")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus(tmp_path_factory.mktemp("pools"))


def apart(one: Portrait, other: Portrait) -> float:
    return float(np.linalg.norm(np.subtract(one.coordinates, other.coordinates)))


def test_a_portrait_is_kept_in_the_manifest_and_read_again(made: Corpus) -> None:
    kept = json.loads((made.directory / MANIFEST).read_text())["domains"]["prose"]["portrait"]
    assert Portrait.from_plain(kept) == made.portrait("prose")
    assert len(made.portrait("prose").coordinates) == DIMENSIONS
    assert len(made.portrait("prose").documents) == COUNTS["prose"], "all, for there are few"


def test_text_of_one_kind_is_near_and_of_another_far(made: Corpus) -> None:
    sums, exam, prose, code = (made.portrait(name) for name in ("sums", "exam", "prose", "code"))
    assert apart(sums, exam) < 0.3 * min(apart(sums, prose), apart(sums, code))


def test_coordinates_do_not_depend_on_the_tokenizer_nor_on_who_else_is_there(made: Corpus, tmp_path: Path) -> None:
    other = corpus(tmp_path, vocabulary=400, sums=30)
    assert made.content("prose") != other.content("prose")
    assert made.portrait("prose").resemblance(other.portrait("prose")) == 1
    # Its windows begin elsewhere.
    assert apart(made.portrait("prose"), other.portrait("prose")) < 0.2 * apart(
        made.portrait("prose"), made.portrait("code")
    )


def test_resemblance_is_the_share_of_documents_that_both_have() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(1 << 63, size=20_000, dtype=np.uint64)
    pool, grown, other = (Portrait.of(["text"], part) for part in (hashes[:9000], hashes[:10_000], hashes[10_000:]))
    assert pool.resemblance(pool) == 1
    assert pool.resemblance(grown) == grown.resemblance(pool) == pytest.approx(0.9, abs=0.06)
    assert pool.resemblance(other) == 0
    few, fewer = (Portrait.of(["text"], part) for part in (hashes[:10], hashes[:8]))
    assert few.resemblance(fewer) == 0.8, "exactly, where there are few"


def test_a_manifest_of_before_has_none_and_it_is_made_when_somebody_asks(tmp_path: Path) -> None:
    made = corpus(tmp_path)
    manifest = json.loads((made.directory / MANIFEST).read_text())
    for part in ("domains", "evaluations"):
        for entry in manifest[part].values():
            del entry["portrait"]
    (made.directory / MANIFEST).write_text(json.dumps(manifest))
    opened = Corpus.open(made.directory)
    assert opened.fingerprint == made.fingerprint
    assert opened.portrait("prose") == made.portrait("prose")
    assert opened.portrait("exam") == made.portrait("exam")


@pytest.mark.parametrize("damage", [{"coordinates": [0.5]}, {"documents": ["no number"]}, {"whole": "yes"}])
def test_a_damaged_portrait_is_said(tmp_path: Path, damage: dict[str, object]) -> None:
    made = corpus(tmp_path)
    manifest = json.loads((made.directory / MANIFEST).read_text())
    manifest["domains"]["prose"]["portrait"] |= damage
    (made.directory / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ProxyError, match=r"manifest.json is damaged"):
        Corpus.open(made.directory)


def test_windows_are_spread_over_all_tokens_and_short_text_is_one_window_again_and_again() -> None:
    found = windows(np.arange(1000), count=5, length=100)
    assert [int(each[0]) for each in found] == [0, 225, 450, 675, 900]
    assert [len(each) for each in windows(np.arange(30), count=3, length=100)] == [30, 30, 30]


@pytest.mark.parametrize("text", ["", "a", "  ", "ab", "abc", "日本", "\x00\x00\x00"])
def test_any_text_has_a_point(text: str) -> None:
    [point] = embed([text])
    assert np.isfinite(point).all()
    assert np.linalg.norm(point) == pytest.approx(1.0) or len(text.strip().encode()) < 3


def test_case_and_spaces_make_no_difference() -> None:
    text = documents("prose", 1)[0]
    np.testing.assert_array_equal(embed([text]), embed([text.upper().replace(" ", " \n\t")]))
