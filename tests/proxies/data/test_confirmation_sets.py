"""The second held-out set: documents that neither the search nor the training sees, the same wherever they are cut."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.data.corpus import Corpus, Progress, prepare
from proxies.data.intake import HeldOut
from proxies.data.manifest import MOST_GROUPS
from proxies.data.sources import Source
from proxies.data.tokenizer import TokenisedDocument, content_hash
from tests.proxies.data.conftest import SETTINGS, sentences, source, texts_of, train_texts, write_jsonl

RECORDED = Path(__file__).parents[2] / "data" / "recorded-0.1.0" / "finished.tar.zst"


def searched(corpus: Corpus, name: str) -> list[str]:
    return texts_of(corpus, corpus.evaluation(name).tokens_N[1:])


def confirmed(corpus: Corpus, name: str) -> list[str]:
    return texts_of(corpus, corpus.confirmation(name).tokens_N[1:])


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=40),
    st.integers(1, 40),
    st.integers(1, 40),
    st.randoms(),
)
def test_both_sets_are_the_lowest_hashes_and_the_next_whatever_the_order(
    offers: list[tuple[int, int]], limit: int, share: int, random: Random
) -> None:
    lengths, share = dict(offers), min(limit, share)
    copies = [TokenisedDocument(code, np.zeros(lengths[code], np.uint32), 0, 0, 0) for code, _ in offers]
    chosen = []
    for _ in range(2):
        held_out = HeldOut(limit, 2)
        rejected = [out for document in copies for out in held_out.offer(document)] + held_out.shrink(share)
        sets = [[document.hash for document in lowest.documents] for lowest in held_out.sets]
        assert len(rejected) + sum(map(len, sets)) == len(copies)
        chosen.append(sets)
        random.shuffle(copies)
    assert chosen[0] == chosen[1]
    # One longer than the limit only where every other is too.
    left = sorted(lengths, key=lambda code: (lengths[code] > limit, code))
    for found in chosen[0]:
        expected: list[int] = []
        while left and (not expected or sum(lengths[code] for code in (*expected, left[0])) <= share):
            expected.append(left.pop(0))
        assert found == sorted(expected)


def test_the_search_the_confirmation_and_training_share_no_document(tmp_path: Path) -> None:
    """Also where two domains and an evaluation set hold the same texts, some twice."""
    web, code, exam = sentences(150, seed=1), sentences(150, seed=2), sentences(40, seed=3)
    pools = [
        source("web", write_jsonl(tmp_path / "web.jsonl", [*web, *code[:75], *web, *exam])),
        source("code", write_jsonl(tmp_path / "code.jsonl", [*web[:75], *code, *exam])),
    ]
    evaluation = source("exam", write_jsonl(tmp_path / "exam.jsonl", exam))
    corpus = prepare(pools, [evaluation], SETTINGS, tmp_path / "corpus")

    assert corpus.has_confirmation_sets and corpus.confirmed_apart == ("web", "code", "exam")
    first = {text for name in corpus.evaluation_sets for text in searched(corpus, name)}
    second = {text for name in corpus.evaluation_sets for text in confirmed(corpus, name)}
    assert first and second and not first & second
    for name in corpus.domains:
        assert not (first | second) & set(train_texts(corpus, name))
        summary = corpus.domains[name]
        held_out = len(searched(corpus, name)) + len(confirmed(corpus, name))
        assert summary.documents == len(train_texts(corpus, name)) + held_out + summary.dropped_contaminated
    for name in corpus.evaluation_sets:
        tokens = corpus.confirmation(name)
        assert len(tokens.tokens_N) - 1 <= SETTINGS.validation_tokens
        assert tokens.bytes == sum(tokens.bytes_G) == sum(len(text) for text in confirmed(corpus, name))


def test_groups_are_whole_documents_and_the_same_for_any_order_of_them(tmp_path: Path) -> None:
    texts = sentences(600, seed=1, words=10)
    orders = [texts, Random(0).sample(texts, len(texts))]
    sets = [
        prepare([source("web", write_jsonl(tmp_path / folder / "web.jsonl", order))], [], SETTINGS, tmp_path / folder)
        for folder, order in zip("ab", orders, strict=True)
    ]
    there, here = (corpus.confirmation("web") for corpus in sets)
    assert confirmed(sets[0], "web") == confirmed(sets[1], "web") != searched(sets[0], "web")
    assert (there.bytes_G, len(there.bytes_G)) == (here.bytes_G, min(MOST_GROUPS, len(confirmed(sets[0], "web"))))
    assert there.group_N is not None
    of_group: dict[int, int] = {}
    ends = np.flatnonzero(there.tokens_N == sets[0].end_of_text_id)
    for text, before, end in zip(confirmed(sets[0], "web"), ends[:-1], ends[1:], strict=True):
        [group] = set(there.group_N[before + 1 : end + 1].tolist())
        of_group[group] = of_group.get(group, 0) + len(text)
    assert tuple(of_group[group] for group in range(len(there.bytes_G))) == there.bytes_G


@pytest.mark.parametrize(
    ("texts", "sizes"),
    [
        (["one", "two", "three"], (1, 1, 1)),
        (["one", "two"], (1, 0, 1)),
        (["one", "two", "one", "two"], (1, 0, 2)),
        (["one", "two", "three", "one"], (1, 1, None)),
    ],
)
def test_a_domain_keeps_its_last_document_for_training(
    tmp_path: Path, texts: Sequence[str], sizes: tuple[int, int, int | None]
) -> None:
    corpus = prepare([source("web", write_jsonl(tmp_path / "web.jsonl", texts))], [], SETTINGS, tmp_path / "corpus")
    first, second, trained = sizes
    assert len(searched(corpus, "web")) == first
    assert (corpus.confirmed_apart == ("web",)) is bool(second)
    if trained is not None:
        assert len(train_texts(corpus, "web")) == trained
    if not second:
        assert confirmed(corpus, "web") == searched(corpus, "web")
        assert corpus.domains["web"].confirmation_tokens == 0
    corpus.verify()


def test_an_evaluation_set_is_halved_and_one_of_a_single_document_serves_both(tmp_path: Path) -> None:
    web = source("web", write_jsonl(tmp_path / "web.jsonl", sentences(50, seed=1)))
    exams = [
        source(name, write_jsonl(tmp_path / f"{name}.jsonl", sentences(count, seed=count)))
        for name, count in (("long", 20), ("single", 1))
    ]
    corpus = prepare([web], exams, SETTINGS, tmp_path / "corpus")
    assert corpus.confirmed_apart == ("web", "long")
    assert abs(len(searched(corpus, "long")) - len(confirmed(corpus, "long"))) <= 2
    assert len(searched(corpus, "long")) + len(confirmed(corpus, "long")) >= 18
    assert confirmed(corpus, "single") == searched(corpus, "single") == sentences(1, seed=1)
    assert len(corpus.confirmation("single").bytes_G) == 1


def test_documents_of_the_search_elsewhere_are_taken_out_and_may_leave_no_second_set(tmp_path: Path) -> None:
    """`alone` holds two texts, of which the next-lowest hash is what the search sees of `exam`."""
    first, second, third = sorted(sentences(3, seed=5), key=content_hash)
    alone = source("alone", write_jsonl(tmp_path / "alone.jsonl", [first, second, third]))
    exam = source("exam", write_jsonl(tmp_path / "exam.jsonl", [second]))
    corpus = prepare([alone], [exam], SETTINGS, tmp_path / "corpus")
    assert searched(corpus, "alone") == [first] == confirmed(corpus, "alone")
    assert corpus.confirmed_apart == ()
    assert train_texts(corpus, "alone") == [third]
    assert corpus.domains["alone"].dropped_contaminated == 1


def unpacked(folder: Path) -> Path:
    """The corpus that 0.1.0 prepared of a study."""
    content = zstandard.ZstdDecompressor().stream_reader(RECORDED.read_bytes()).read()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "finished" / ".mixopt" / "small" / "corpus"


def test_a_corpus_of_an_earlier_version_opens_with_one_set_for_both(tmp_path: Path) -> None:
    directory = unpacked(tmp_path)
    corpus = Corpus.open(directory)
    assert corpus.fingerprint == json.loads((directory / "manifest.json").read_text())["fingerprint"]
    assert not corpus.has_confirmation_sets and corpus.confirmed_apart == ()
    for name in corpus.evaluation_sets:
        np.testing.assert_array_equal(corpus.confirmation(name).tokens_N, corpus.evaluation(name).tokens_N)
        assert corpus.confirmation(name).group_N is None
    corpus.verify()


def test_what_an_earlier_version_began_goes_on_with_its_fingerprint(tmp_path: Path) -> None:
    """Also where its text has moved and is tokenised again, and where that is cut off."""
    directory = unpacked(tmp_path)
    then = Corpus.open(directory)
    data = tmp_path / "finished" / "data"
    pools = [source(name, data / f"{name}.jsonl") for name in then.domains]
    nothing: list[Source] = []
    request = (pools, nothing, type(SETTINGS)(vocabulary=300, validation_tokens=500, workers=1), directory)

    class Killed(Exception):
        pass

    def kill(progress: Progress) -> None:
        if progress.stage == f"tokenise {pools[1].name}":
            raise Killed

    with pytest.raises(Killed):
        prepare(*request, kill)
    again = prepare(*request)
    assert again.fingerprint == then.fingerprint
    assert not again.has_confirmation_sets

    stages: list[Progress] = []
    assert prepare(*request, stages.append).fingerprint == then.fingerprint
    assert not stages
    fresh = prepare(*request[:-1], tmp_path / "fresh")
    assert fresh.has_confirmation_sets and fresh.fingerprint != then.fingerprint
