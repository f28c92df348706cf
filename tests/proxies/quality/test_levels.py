import json
from pathlib import Path

import numpy as np
import pytest

from proxies.data.intake import Progress
from proxies.data.sources import Source
from proxies.errors import ProxyError
from proxies.quality.levels import QUALITY_FIELD, Pool, score_pool, write_levels
from proxies.quality.scores import Score
from tests.proxies.quality.texts import good, menu, write_records

TEXTS = good(50, "pool")
NUMBERS = [float(place) for place in range(50)]


def quiet(progress: Progress) -> None:
    """Nobody watches."""


def pool(path: Path, *scores: Score, levels: int = 5, most_bytes: int | None = None) -> Pool:
    return Pool(Source("web", (str(path),)), scores or (Score(field="score"),), levels, 0, most_bytes)


def records(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_text_is_in_one_level_with_its_rank_and_score(tmp_path: Path) -> None:
    path = write_records(tmp_path / "web.jsonl", TEXTS, score=NUMBERS)
    written = write_levels(score_pool(pool(path), quiet), tmp_path / "pools" / "web", quiet)
    assert [level.name for level in written] == ["q1", "q2", "q3", "q4", "q5"]
    found = [record for level in written for record in records(level.file)]
    assert sorted(str(record["text"]) for record in found) == sorted(TEXTS)
    sizes = [level.bytes for level in written]
    assert max(sizes) - min(sizes) <= 2 * max(len(text) for text in TEXTS)
    for level in written:
        ranks = [record[QUALITY_FIELD]["rank"] for record in records(level.file)]  # type: ignore[index]
        number = int(level.name[1:])
        assert (number - 1) / 5 <= min(ranks) <= max(ranks) <= number / 5
    assert (written[0].least, written[0].most) == ((40.0,), (49.0,)) or written[0].most == (49.0,)
    assert written[0].least[0] > written[1].most[0]


def test_low_may_be_good(tmp_path: Path) -> None:
    path = write_records(tmp_path / "web.jsonl", TEXTS, score=NUMBERS)
    high = score_pool(pool(path), quiet)
    low = score_pool(pool(path, Score(field="score", best="low")), quiet)
    np.testing.assert_allclose(low.rank_N, 1 - high.rank_N)


def test_scores_of_all_kinds_are_merged(tmp_path: Path) -> None:
    texts = [menu(str(place)) if place % 2 else text for place, text in enumerate(TEXTS)]
    path = write_records(tmp_path / "web.jsonl", texts, score=NUMBERS)
    reference = write_records(tmp_path / "good.jsonl", good(30, "reference"))
    scores = (
        Score(field="score", weight=0.1),
        Score("classifier", good=Source("good", (str(reference),))),
        Score("repetition"),
    )
    scored = score_pool(pool(path, *scores, levels=2), quiet)
    assert scored.level_N[::2].tolist() == [0] * 25
    kept = records(write_levels(scored, tmp_path / "out", quiet)[0].file)[0][QUALITY_FIELD]
    assert set(kept["scores"]) == {"score", "classifier", "repetition"}  # type: ignore[index]


def test_prompts_and_completions_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"q": f"Q{n}", "a": "yes " * n, "s": n}) + "\n" for n in range(1, 21)))
    source = Source("pairs", (str(path),), prompt_field="q", completion_field="a")
    scored = score_pool(Pool(source, (Score(field="s"),), 2, 0), quiet)
    first = records(write_levels(scored, tmp_path / "out", quiet)[0].file)
    assert {"q", "a"} <= set(first[0])


def test_reading_ends_where_a_sample_is_full(tmp_path: Path) -> None:
    path = write_records(tmp_path / "web.jsonl", TEXTS, score=NUMBERS)
    scored = score_pool(pool(path, levels=2, most_bytes=5 * len(TEXTS[0])), quiet)
    assert 4 <= len(scored.rank_N) <= 7


def test_the_same_pool_in_other_files_gives_the_same_levels(tmp_path: Path) -> None:
    whole = write_records(tmp_path / "web.jsonl", TEXTS)
    parts = tmp_path / "parts"
    parts.mkdir()
    write_records(parts / "b.jsonl", TEXTS[:20])
    write_records(parts / "a.jsonl", TEXTS[20:])
    one, other = (
        write_levels(score_pool(pool(place, Score("compressibility")), quiet), tmp_path / name, quiet)
        for place, name in ((whole, "one"), (parts, "other"))
    )
    for first, second in zip(one, other, strict=True):
        assert sorted(first.file.read_text().splitlines()) == sorted(second.file.read_text().splitlines())


def test_a_pool_that_changes_in_between_leaves_nothing(tmp_path: Path) -> None:
    path = write_records(tmp_path / "web.jsonl", TEXTS, score=NUMBERS)
    scored = score_pool(pool(path), quiet)
    write_records(path, TEXTS[:-1])
    with pytest.raises(ProxyError, match="changed while they were read"):
        write_levels(scored, tmp_path / "pools", quiet)
    assert list((tmp_path / "pools").iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "levels", "message"),
    [
        ({"score": [*NUMBERS[:-1], None]}, 5, "line 50 has no field score"),
        ({"score": [*NUMBERS[:7], "high", *NUMBERS[8:]]}, 5, 'line 8: field score holds the text "high", not a finite'),
        ({"score": [*NUMBERS[:7], float("nan"), *NUMBERS[8:]]}, 5, "line 8: field score holds nan"),
        ({"score": [True] * 50}, 5, "holds true"),
        ({"score": [10**400, *NUMBERS[1:]]}, 5, "line 1: field score holds a number of hundreds of digits"),
        ({"score": ["0.5", *NUMBERS[1:]]}, 5, 'line 1: field score holds the quoted number "0.5", not a finite number'),
        ({"score": [[1], *NUMBERS[1:]]}, 5, "line 1: field score holds a list, not a finite number"),
        ({"score": [3.5] * 50}, 5, "every text has the same score, 3.5"),
        ({"score": [1.0] + [0.0] * 49}, 5, "98% of its text has one and the same score"),
        ({"score": NUMBERS}, 51, "51 levels of 50 texts"),
    ],
)
def test_scores_that_make_no_levels(tmp_path: Path, fields: dict[str, list[object]], levels: int, message: str) -> None:
    path = write_records(tmp_path / "web.jsonl", TEXTS, **fields)
    with pytest.raises(ProxyError, match=message):
        score_pool(pool(path, levels=levels), quiet)


def test_records_keep_their_fields(tmp_path: Path) -> None:
    path = write_records(tmp_path / "web.jsonl", TEXTS, score=NUMBERS, url=[f"u{place}" for place in range(50)])
    best = records(write_levels(score_pool(pool(path), quiet), tmp_path / "out", quiet)[0].file)
    assert best[-1]["url"] == "u49"


def test_plain_text_has_no_fields(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text(TEXTS[0])
    with pytest.raises(ProxyError, match="has no field score"):
        score_pool(pool(path), quiet)
