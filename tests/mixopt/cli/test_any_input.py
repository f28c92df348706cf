"""Whatever is in a file that we read, the end is a right result or one short line; never another exception.

Files that are right are spoiled, by the schema or byte by byte, with random choices that are the same every time.
`FUZZ_EXAMPLES=1000` spoils each of them a thousand times.
"""

from __future__ import annotations

import copy
import gzip
import json
import math
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixopt.base.errors import error_lines
from mixopt.base.shown import LONGEST_LINE, UNSEEN
from mixopt.exports.formats import EXPORTERS, Exportable, mixture_in
from mixopt.exports.locations import locations_by_pattern, read_locations
from mixopt.exports.mixtures import mixture_in_file
from mixopt.report.kept import find_report
from mixopt.runs import table
from mixopt.runs.directions import directions
from mixopt.settings.reading import load
from mixopt.settings.space import read as read_space
from mixopt.study.corpus import find_corpus, prepare_corpus
from mixopt.study.inventory import remember_pools
from mixopt.study.planning import check_settings
from proxies.data.sources import Source, check_readable, documents, find_files, text_fields
from proxies.data.tokenizer import load_tokenizer
from proxies.errors import ProxyError
from search.errors import ExplainedError
from search.mixture import Mixture
from search.trial import Failure, FailureKind
from tests.e2e.study import STUDY, write_study
from tests.mixopt.runs.tables.teams import TEAMS, some_runs
from tests.tracking.trials import measurement, trial
from tracking import journal
from tracking.entries import Closed, Finished, Opened, StudyMetrics, Written
from tracking.record import Subject

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
fuzzed = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)

SUBJECT_OF_TEST = Subject("a study", {"seed": 0, "domains": {"web": {"max": 0.5}}}, "corpus")
DOMAINS = ("prose", "code", "sums")


def ends_well(read: Callable[[], object]) -> None:
    try:
        read()
    except (ExplainedError, ProxyError) as mistake:
        lines = error_lines(mistake)
        assert lines
        for line in lines:
            assert line.strip()
            assert len(line) <= LONGEST_LINE
            assert not UNSEEN.search(line)


# fmt: off
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, 10**30, 10**400, -0.0, 0.5, 1e-320, 1e308, math.inf, -math.inf,
    math.nan, "", " ", "a", "0", "-1", "5%", "120%", "1e400", "2B", "9" * 5000, "1_0", "010", "1:30", "6h", "1e300h",
    "no", "~", "null", "\x1b[31m", "\0", "a\nb", "a\u2028b", "é", "\u202e", "x" * 5000, "../..", "/dev/null", "s3://",
    "hf:", "://", "*", "[", "{", "**", "sqlite:///", "http://u:p@h", "2024-13-45", [], {}, [[]], ["a", "a"], [None],
    {"": 1}, {"a": {"b": {"c": []}}}, list(range(50)),
]
# fmt: on
odd = st.sampled_from(ODD).map(copy.deepcopy)  # what is spoiled twice is changed in place
odd_keys = st.sampled_from(
    ["", "a", "prose", "no", "min", "max", "tokens", "paths", "\x1b", "é" * 200, "0", "kind", "."]
)


def places(data: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in nested data."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [*([here] if here else []), *(place for key, value in inner for place in places(value, (*here, key)))]


@st.composite
def spoiled_data(draw: st.DrawFn, data: Any) -> Any:
    """Nested data in which something was replaced, removed, or added."""
    data = json.loads(json.dumps(data))
    for _ in range(draw(st.integers(1, 3))):
        if not (found := places(data)):
            break
        *path, last = draw(st.sampled_from(found))
        parent = data
        for key in path:
            parent = parent[key]
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "move"])):
            case "replace":
                parent[last] = draw(odd)
            case "remove":
                del parent[last]
            case "add" if isinstance(parent, dict):
                parent[draw(odd_keys)] = draw(odd)
            case "move" if isinstance(parent, dict):
                parent[draw(odd_keys)] = parent.pop(last)
    return data


@st.composite
def spoiled_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """A file in which bytes were flipped, cut out, put in or doubled, or that was cut off."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(found)))
        end = min(len(found), start + draw(st.sampled_from([1, 1, 2, 8, 64, 1000])))
        match draw(st.sampled_from(["flip", "cut", "put", "double", "end"])):
            case "flip" if start < len(found):
                found[start] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del found[start:end]
            case "put":
                found[start:start] = draw(st.sampled_from(PUT))
            case "double":
                found[start:start] = found[start:end]
            case "end":
                del found[start:]
    return bytes(found)


# fmt: off
PUT = [
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b[31m", b"\r", b"\n", b"\r\n\n", b"\t", b'"', b"'", b"{", b"}",
    b"[" * 2000, b"- " * 200, b"&a [*a]", b"*a", b"!!int x", b"!!binary x", b": ", b"#", b"?", b"|", b"9" * 5000,
    b"1e999", b"NaN", b"-Infinity", b"null", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"0b", b"010", b"<<: ", b"---\n",
    b"%YAML 9\n", b",", b";", b"%", b"x" * 3000, b'{"a":' * 3000,
]
# fmt: on


def yaml_of(data: Any) -> bytes:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")


SPACE = {
    "domains": {
        "a": {"tokens": "6B", "max": 0.9},
        "b": {"tokens": "1B", "min": "5%"},
        "c": {"tokens": 500_000_000, "pin": 0.1},
    },
    "groups": {"g": {"domains": ["a", "b"], "min": 0.2, "max": 0.9}},
    "target": {"tokens": "10B", "max_epochs": 4},
}
WHOLE: dict[str, Any] = yaml.safe_load(STUDY) | {
    "search": {"strategy": "bayes", "design": "around_baselines", "surrogate": "blend", "trust": {"max_kl": 1.5}},
    "evaluation": {"exam": {"paths": ["data/exam.jsonl"], "prompt": "q", "completion": "a"}},
    "budget": {"time": "6h", "flops": "1e18"},
    "reuse": {"keep": ["code", "sums"], "at": {"code": 1, "sums": 2}},
    "executor": {"kind": "ray", "cpus_per_trial": 2, "patience": "10m", "slots": 3},
    "tracking": {"uri": "sqlite:///x.db", "experiment": "mine"},
    "directory": "kept",
}


def read_study(path: Path) -> None:
    file = load(path)
    check_settings(file)
    json.dumps(file.deciding())


@fuzzed
@given(spoiled=spoiled_data(WHOLE).map(yaml_of) | spoiled_bytes(yaml_of(WHOLE)) | spoiled_bytes(STUDY.encode()))
def test_a_study_file(tmp_path: Path, spoiled: bytes) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(spoiled)
    ends_well(lambda: read_study(path))


@fuzzed
@given(spoiled=spoiled_data(SPACE).map(yaml_of) | spoiled_bytes(yaml_of(SPACE)))
def test_a_file_of_limits(tmp_path: Path, spoiled: bytes) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(spoiled)
    ends_well(lambda: read_space(path).space.domains)


TABLE = "run,fidelity,params,tokens,weight.a,weight.b,metric.loss,metric.mmlu\n" + "".join(
    f"r{i},{'small' if i % 2 else 'large'},{2 - i % 2}e6,1e9,0.{i + 1},0.{9 - i - 1}9,{3 + i / 10},0.{30 + i}\n"
    for i in range(8)
)


def read_table(path: Path) -> None:
    runs, _ = table.read(path)
    directions(runs, (), ())


@fuzzed
@given(spoiled=spoiled_bytes(TABLE.encode()) | spoiled_bytes(TABLE.replace(",", ";").encode()))
def test_a_table_of_runs(tmp_path: Path, spoiled: bytes) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(spoiled)
    ends_well(lambda: read_table(path))


@pytest.mark.parametrize("name", [name for name in TEAMS if not name.endswith(".parquet")])
@settings(fuzzed, max_examples=max(10, EXAMPLES // 4))
@given(data=st.data())
def test_a_table_as_a_team_has_it(tmp_path: Path, name: str, data: st.DataObject) -> None:
    right, path = tmp_path / "right" / name, tmp_path / name
    if not right.exists():
        right.parent.mkdir()
        TEAMS[name](right, some_runs(8))
    path.write_bytes(data.draw(spoiled_bytes(right.read_bytes())))
    ends_well(lambda: read_table(path))


RUNS = [
    {"run": f"r{place}", "state": "finished", "config": {"mix": {"a": place / 8, "b": 1 - place / 8}}, "_step": 10}
    | {"eval": {"loss": 3.0 + place / 9, "mmlu": 0.3}}
    for place in range(6)
]


@fuzzed
@given(spoiled=spoiled_data(RUNS))
def test_runs_in_json_of_any_shape(tmp_path: Path, spoiled: Any) -> None:
    path = tmp_path / "runs.json"
    path.write_text(json.dumps(spoiled))
    ends_well(lambda: read_table(path))


MAPPING = {
    "weights": {"a": "config.mix.a", "b": "config.mix.b"},
    "metrics": "eval.*",
    "run": "run",
    "state": "",
    "units": "share",
    "decimal": "point",
    "normalise": True,
    "join": ["other.csv"],
}


@fuzzed
@given(spoiled=spoiled_data(MAPPING).map(yaml_of) | spoiled_bytes(yaml_of(MAPPING)))
def test_a_mapping_file(tmp_path: Path, spoiled: bytes) -> None:
    path = tmp_path / "runs.json"
    path.write_text(json.dumps(RUNS))
    path.with_suffix(".mapping.yaml").write_bytes(spoiled)
    ends_well(lambda: read_table(path))


@fuzzed
@given(data=st.data())
def test_a_parquet_table(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "runs.parquet"
    if not path.with_suffix(".right").exists():
        pd.DataFrame(
            [line.split(",") for line in TABLE.splitlines()[1:]], columns=TABLE.split("\n")[0].split(",")
        ).to_parquet(path)
        path.rename(path.with_suffix(".right"))
    path.write_bytes(data.draw(spoiled_bytes(path.with_suffix(".right").read_bytes())))
    ends_well(lambda: read_table(path))


def read_documents(path: Path) -> None:
    source = Source("web", (str(path),))
    files = find_files(source)
    check_readable(source, files)
    text_fields(source, files[0])
    for document in documents(source, files):
        document.text.encode()


LINES = "".join(
    json.dumps({"text": f"line {number} é 漢字 🙂", "n": number, "m": {"a": [1]}}) + "\n" for number in range(9)
)
PRETTY = json.dumps([json.loads(line) for line in LINES.splitlines()], indent=1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES.encode()),
        ("a.json", PRETTY.encode()),
        ("a.txt", LINES.encode()),
        ("a.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)),
        ("a.jsonl.zst", zstandard.ZstdCompressor().compress(LINES.encode())),
    ],
)
@fuzzed
@given(data=st.data())
def test_a_file_of_text(tmp_path: Path, name: str, content: bytes, data: st.DataObject) -> None:
    path = tmp_path / name
    path.write_bytes(data.draw(spoiled_bytes(content)))
    ends_well(lambda: read_documents(path))


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@fuzzed
@given(data=st.data())
def test_a_table_of_text(tmp_path: Path, ending: str, data: st.DataObject) -> None:
    right = tmp_path / f"right.{ending}"
    if not right.exists():
        frame = pd.DataFrame([json.loads(line) for line in LINES.splitlines()])
        frame.to_parquet(right) if ending == "parquet" else frame.to_feather(right, compression="uncompressed")
    path = tmp_path / f"a.{ending}"
    path.write_bytes(data.draw(spoiled_bytes(right.read_bytes())))
    ends_well(lambda: read_documents(path))


def tokenizers() -> list[str]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "line": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    pairs = Tokenizer(models.BPE({"</s>": 0, "a": 1, "b": 2, "ab": 3}, [("a", "b")]))
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel()
    pairs.decoder = decoders.ByteLevel()
    pieces = Tokenizer(models.Unigram([("</s>", 0.0), ("a", -1.0), ("line", -2.0)], unk_id=0))
    return [each.to_str() for each in (words, pairs, pieces)]


def read_tokenizer(path: Path) -> None:
    found = load_tokenizer(str(path))
    found.check_matches("web", ["line 1", "ab é"])
    found.encode([(None, "line 1"), ("a", "b")])


@pytest.mark.parametrize("definition", tokenizers())
@fuzzed
@given(data=st.data())
def test_a_tokenizer(tmp_path: Path, definition: str, data: st.DataObject) -> None:
    path = tmp_path / "tokenizer.json"
    nested = spoiled_data(json.loads(definition)).map(lambda found: json.dumps(found).encode())
    path.write_bytes(data.draw(nested | spoiled_bytes(definition.encode())))
    ends_well(lambda: read_tokenizer(path))


def written_journal(path: Path) -> bytes:
    kept = journal.Journal.create(path, SUBJECT_OF_TEST)
    one, other = trial(0.25), trial(0.5)
    for entry in (
        Opened(one, 1, (2.5, 0.1)),
        Closed(one, measurement(3.0), 3.5, 2),
        Opened(other, 3),
        Closed(other, Failure(FailureKind.DIVERGED, "loss 1e9"), at=4),
        StudyMetrics({"progress/completed": 1.0}, 1, 5, {"a": "b"}),
        Written("mixopt.answer", {"mixture": {"web": 0.5}}, "answer.json"),
        Finished(),
    ):
        kept.append(entry)
    kept.close()
    return path.read_bytes()


def signed(entries: Iterable[Any]) -> bytes:
    """A journal whose checksums are right, whatever it says: each is of all lines up to its own."""
    lines, last = [], 0
    for entry in entries:
        text = json.dumps(entry).encode()
        last = zlib.crc32(text, last)
        lines.append(text[:-1] + b',"crc":"' + f'{last:08x}"}}\n'.encode())
    return b"".join(lines)


def test_only_what_a_signed_journal_says_can_be_wrong(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    entries = [json.loads(line) for line in written_journal(path).splitlines()]
    before = list(journal.read(path))
    for entry in entries:
        del entry["crc"]
    path.write_bytes(signed(entries))
    assert list(journal.read(path)) == before


def read_journal(path: Path) -> None:
    journal.read_record(path).history.without_running()
    journal.last_written(path, "mixopt.answer")
    journal.checked_lines(path)
    journal.Journal(path).close()


@fuzzed
@given(data=st.data())
def test_a_journal(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "journal.jsonl"
    right = written_journal(path)
    path.write_bytes(data.draw(spoiled_bytes(right)))
    path.with_suffix(".sent").write_bytes(data.draw(spoiled_bytes(path.with_suffix(".sent").read_bytes())))
    ends_well(lambda: read_journal(path))


@fuzzed
@given(data=st.data())
def test_a_journal_that_says_something_else(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "journal.jsonl"
    entries = [json.loads(line) for line in written_journal(path).splitlines()]
    for entry in entries:
        del entry["crc"]
    spoiled = data.draw(spoiled_data(entries))
    path.write_bytes(signed(entry for entry in spoiled if isinstance(entry, dict) and entry))
    ends_well(lambda: read_journal(path))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_study(tmp_path_factory.mktemp("prepared"))
    file = load(path)
    prepare_corpus(file, lambda progress: None)
    remember_pools(file)
    return path


def use_corpus(study: Path) -> None:
    """All that reads what is kept of prepared text, and makes it again where that has to be."""
    file = load(study)
    found = find_corpus(file)
    if found is not None:
        found.content("prose")
        found.evaluation("code")
        found.confirmation("sums")
    find_report(file)
    remember_pools(file)
    corpus = prepare_corpus(file, lambda progress: None)
    assert set(corpus.domains) == set(DOMAINS)
    assert corpus.evaluation("prose").bytes > 0


@pytest.mark.parametrize("name", ["corpus/manifest.json", "corpus/domains/*/state.json", "pools.json"])
@settings(fuzzed, max_examples=max(10, EXAMPLES // 4))
@given(data=st.data())
def test_what_is_kept_of_prepared_text(prepared: Path, name: str, data: st.DataObject) -> None:
    path = sorted((prepared.parent / ".mixopt" / "small").glob(name))[0]
    right = path.read_bytes()
    nested = spoiled_data(json.loads(right)).map(lambda found: json.dumps(found).encode())
    path.write_bytes(data.draw(nested | spoiled_bytes(right)))
    ends_well(lambda: use_corpus(prepared))
    # And good again after that, at once or after what the line said.
    path.write_bytes(right)
    use_corpus(prepared)


PLACES = {"prose": "/data/a", "code": {"/data/b": "3B", "/data/c": 1000}, "sums": ["/data/d"]}


@fuzzed
@given(spoiled=spoiled_data(PLACES).map(yaml_of) | spoiled_bytes(yaml_of(PLACES)))
def test_a_file_of_places(tmp_path: Path, spoiled: bytes) -> None:
    path = tmp_path / "places.yaml"
    path.write_bytes(spoiled)
    ends_well(lambda: read_locations(path, DOMAINS))


MIXTURE = Mixture.of({"prose": 0.5, "code": 0.3, "sums": 0.2})
EXPORTED = {
    name: exporter.render(
        Exportable(
            MIXTURE,
            exporter.draws[0],
            dict.fromkeys(DOMAINS, 100.0),
            locations_by_pattern("{domain}", DOMAINS),
            100_000,
            supply=dict.fromkeys(DOMAINS, 1e6),
        )
    )
    for name, exporter in EXPORTERS.items()
}


@pytest.mark.parametrize("name", EXPORTERS)
@settings(fuzzed, max_examples=max(10, EXAMPLES // 3))
@given(data=st.data())
def test_a_trainers_file(name: str, data: st.DataObject) -> None:
    exporter = EXPORTERS[name]
    text = data.draw(spoiled_bytes(EXPORTED[name].encode())).decode(errors="replace")
    lengths = dict.fromkeys(DOMAINS, 100.0)
    ends_well(lambda: mixture_in(exporter, text, exporter.draws[0], lengths, locations_by_pattern("{domain}", DOMAINS)))


@pytest.mark.parametrize("ending", ["yaml", "json", "csv"])
@fuzzed
@given(data=st.data())
def test_a_mixture_in_a_file(tmp_path: Path, ending: str, data: st.DataObject) -> None:
    path = tmp_path / f"mixture.{ending}"
    path.write_bytes(data.draw(spoiled_bytes(EXPORTED[ending].encode())))
    ends_well(lambda: mixture_in_file(path, DOMAINS))
