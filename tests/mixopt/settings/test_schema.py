"""The study file: what it accepts, and the one line that each mistake gets."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pandas as pd
import pytest
import yaml

from mixopt.base.errors import ConfigError
from mixopt.settings.demo import STUDY
from mixopt.settings.new_study import study_text
from mixopt.settings.reading import load, parse
from mixopt.settings.schema import StudyFile, json_schema
from search.acquisitions import ACQUISITIONS
from search.strategies import STRATEGIES
from search.strategies.base import Settings
from search.surrogates import SURROGATES

ROOT = Path(__file__).parents[3]

GOOD = """\
study: test
domains:
  web: {paths: web/*.jsonl, max: 60%}
  code:
    paths: [code.jsonl, more/]
    min: 0.05
proxies:
  dense: {tokens: 2M}
"""


def parsed(text: str) -> StudyFile:
    return parse(text, Path("folder/study.yaml"))


def test_a_small_file_gets_every_default() -> None:
    study = parsed(GOOD)
    assert study.proxies["dense"].tokens == 2_000_000
    assert (study.domains["web"].max, study.domains["web"].paths) == (0.6, ["web/*.jsonl"])
    assert study.search.strategy == "bayes"
    assert study.home == Path("folder/.mixopt")
    assert study.tracking_uri.startswith("sqlite:////")


@pytest.mark.parametrize(
    ("was", "becomes", "line", "says"),
    [
        ("max: 60%", "maxx: 60%", 3, "domains.web.maxx: unknown key; did you mean max?"),
        ("max: 60%", "max: 1.3", 3, "domains.web.max: 1.3 is not between 0 and 1"),
        ("max: 60%", "max: lots", 3, "'lots' is not a share"),
        ("max: 60%", "max: 10%, min: 20%", 3, "max 0.1 is below min 0.2; lower min or raise max"),
        ("max: 60%", "max: 10%, pin: 10%", 3, "remove min and max, or remove pin"),
        ("max: 60%", "max: 10%, prompt: q", 3, "prompt and completion go together"),
        ("paths: web/*.jsonl, ", "", 3, "domains.web.paths: missing"),
        ("paths: web/*.jsonl", "paths: 7", 3, "7 does not fit here"),
        ("  web: {", "  we/b: {", 3, "'we/b' is not a name"),
        ("  web: {", "  no: {", 3, "YAML reads the key no as bool"),
        ("  code:\n", "  web:\n", 4, "web stands here a second time (first: line 3)"),
        ("study: test\n", "", 1, "study: missing"),
        ("study: test", "study: [test", 2, "not YAML"),
        ("tokens: 2M", "tokens: -2M", 8, "'-2M' is not an amount"),
        ("tokens: 2M", "tokens: 2.5", 8, "2.5 is not a whole number"),
        ("tokens: 2M", "tokens: 2M, kind: sparse", 8, "'sparse' is unknown; choose 'dense' or 'moe'"),
        ("tokens: 2M", "tokens: 2M, top_k: 2", 8, "top_k belongs to kind: moe"),
        ("tokens: 2M", "tokens: 2M, balancing: bias", 8, "balancing belongs to kind: moe"),
        ("tokens: 2M", "tokens: 2M, kind: moe, balancing: bais", 8, "'bais' is unknown; choose 'loss' or 'bias'"),
        ("tokens: 2M", "tokens: 2M, kind: moe, sparsity: 120%", 8, "between 0 and 1"),
        ("tokens: 2M", "tokens: 2M, kind: moe, sparsity: 90%, experts: 8", 8, "experts and sparsity both say"),
        ("tokens: 2M", "tokens: 2M, trials: 0", 7, "no proxy has trials"),
        ("tokens: 2M", "tokens: 2M, trials: many", 8, "'many' does not fit here"),
        ("min: 0.05", "pin: 0.2", 2, "the maximums and pins sum to 0.8, below 1"),
        ("min: 0.05", "min: 1\n  more: {paths: x, min: 0.2}", 2, "the minimums and pins sum to 1.2, above 1"),
        (
            "proxies:",
            "groups: {g: {domains: [cod]}}\nproxies:",
            7,
            "groups.g.domains: no domain cod; did you mean code?",
        ),
        (
            "proxies:",
            "objective: {weights: {wob: 1}}\nproxies:",
            7,
            "no domain or evaluation set wob; did you mean web?",
        ),
        ("proxies:", "objective: {weights: {web: 0}}\nproxies:", 7, "all weights are 0"),
        ("proxies:", "objective: {kind: worst_case, weights: {web: 1}}\nproxies:", 7, "write metrics instead"),
        ("proxies:", "objective: {kind: pareto, metrics: [web]}\nproxies:", 7, "write weights instead"),
        (
            "proxies:",
            "objective: {baseline: uniform}\nproxies:",
            7,
            "baseline belongs to kind: worst_case, no_worse or hinge",
        ),
        ("proxies:", "objective: {allowance: 0.1}\nproxies:", 7, "allowance belongs to kind: no_worse"),
        (
            "proxies:",
            "search: {strategy: bayes, acquisition: log_ei}\nobjective: {kind: pareto}\nproxies:",
            7,
            "a pareto objective has its own acquisition",
        ),
        ("proxies:", "objective: {kind: no_worse, allowance: -1}\nproxies:", 7, "-1 is out of range"),
        ("proxies:", "objective: {kind: no_worse, baseline: best}\nproxies:", 7, "no baseline best"),
        (
            "proxies:",
            "search: {strategy: climb, acquisition: log_ei}\nproxies:",
            7,
            "acquisition belongs to strategy: bayes",
        ),
        (
            "proxies:",
            "search: {strategy: random, surrogate: linear}\nproxies:",
            7,
            "surrogate means nothing to strategy: random",
        ),
        ("proxies:", "search: {surrogate: forest}\nproxies:", 7, "'forest' is unknown; choose 'blend', "),
        ("proxies:", "search: {trust: {max_kl: 0}}\nproxies:", 7, "0 is out of range"),
        ("proxies:", "reuse: {split: {all: [web, code]}}\nproxies:", 7, "give their table in runs"),
        (
            "proxies:",
            "reuse: {runs: x.csv, split: {all: [web, cod]}}\nproxies:",
            7,
            "reuse.split.all: no domain cod; did you mean code?",
        ),
        ("proxies:", "reuse: {runs: x.csv, renamed: {all: wob}}\nproxies:", 7, "reuse.renamed.all: no domain wob"),
        ("proxies:", "reuse: {store: perhaps}\nproxies:", 7, "reuse.store"),
        ("proxies:", "reuse: {keep: [wob]}\nproxies:", 7, "reuse.keep.0: no domain wob; did you mean web?"),
        ("proxies:", "reuse: {keep: [web, web]}\nproxies:", 7, "keep names a domain twice"),
        ("proxies:", "reuse: {keep: [web], at: {code: 1}}\nproxies:", 7, "at and keep name different domains"),
        ("proxies:", "reuse: {keep: [web], at: {web: 0}}\nproxies:", 7, "all weights of at are 0"),
        ("proxies:", "objective: {kind: worst_case, baseline: best}\nproxies:", 7, "no baseline best"),
        ("proxies:", "evaluation: {web: {paths: x}}\nproxies:", 7, "web is also a domain"),
        ("proxies:", "target: {repetition_matched: true}\nproxies:", 7, "repetition_matched needs target.tokens"),
        ("proxies:", "budget: {time: 90}\nproxies:", 7, "90 is not a duration; write it with its unit"),
        (
            "proxies:",
            "confirm: {seeds: 1}\nproxies:",
            7,
            "1 is out of range; write a number greater than or equal to 2",
        ),
        ("proxies:", "seed: 1.5\nproxies:", 7, "write a whole number"),
        ("proxies:", "tracking: {uri: 'foo://x'}\nproxies:", 7, "names no MLflow store"),
        ("  code:\n", "  more: more.jsonl\n  code:\n", 4, "'more.jsonl' does not fit here; write its settings"),
        ("proxies:", "budget: {flops: -5}\nproxies:", 7, "-5 is not an amount"),
        ("proxies:", "target: {tokens: 1M, max_epochs: .inf}\nproxies:", 7, "inf is not a number"),
        ("proxies:", "groups: &a {g: *a}\nproxies:", 7, "an anchor refers to itself"),
        ("proxies:", "baselines: [best]\nproxies:", 7, "'best' is unknown"),
    ],
)
def test_each_mistake_is_one_line_with_its_place(was: str, becomes: str, line: int, says: str) -> None:
    assert was in GOOD
    with pytest.raises(ConfigError) as caught:
        parsed(GOOD.replace(was, becomes, 1))
    message = caught.value.message
    assert says in message
    assert f"folder/study.yaml:{line}:" in message
    assert "\n" not in message


def test_several_mistakes_are_all_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(GOOD.replace("max: 60%", "max: 2").replace("tokens: 2M", "token: 2M"))
    assert len(caught.value.message.splitlines()) == 3  # the share, the unknown key, the missing one


@pytest.mark.parametrize(
    "content", [b"", b"- a\n- b\n", b"just text", b"\xff\xfe\x00", b"a: !!python/object:os.system x"]
)
def test_a_file_that_is_no_study(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        load(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such study file") as caught:
        load(tmp_path / "study.yaml")
    assert "mixopt init" in caught.value.hint


def test_what_only_extends_a_study_is_not_deciding() -> None:
    same = parsed(GOOD + "confirm: {seeds: 5}\nbudget: {time: 3h}\nexecutor: {kind: in_process}\n")
    longer = parsed(GOOD.replace("tokens: 2M", "tokens: 2M, trials: 99"))
    assert same.deciding() == longer.deciding() == parsed(GOOD).deciding()
    two = "proxies:\n  moe: {kind: moe, tokens: 2M}\n"
    first, last = GOOD.replace("proxies:\n", two), GOOD + "  moe: {kind: moe, tokens: 2M}\n"
    assert parsed(first).deciding() != parsed(last).deciding(), "the answer is given for the last proxy"
    assert parsed(GOOD + "seed: 1\n").deciding() != parsed(GOOD).deciding()


def test_how_to_search_and_from_what_may_change_between_runs_but_not_the_question() -> None:
    study = parsed(GOOD).deciding()
    assert parsed(GOOD + "search: {strategy: bayes, trust: {max_kl: 2}}\n").deciding() == study
    assert parsed(GOOD + "reuse: {runs: earlier.csv, keep: [web]}\n").deciding() == study
    assert parsed(GOOD + "reuse: {store: true}\n").deciding() == study
    assert parsed(GOOD + "objective: {kind: no_worse, allowance: 0.1}\n").deciding() != study


def test_the_schema_names_what_the_search_has() -> None:
    properties = json_schema()["$defs"]["SearchSettings"]["properties"]
    assert set(properties["strategy"]["enum"]) == set(STRATEGIES)
    assert set(properties["surrogate"]["enum"]) == set(SURROGATES)
    # The hypervolume is what several objectives are asked by, always.
    assert set(properties["acquisition"]["enum"]) == set(ACQUISITIONS) - {"hypervolume"}
    ours, theirs = parsed(GOOD).search, Settings()
    assert (ours.surrogate, ours.acquisition) == (theirs.surrogate, theirs.acquisition)
    assert (ours.trust.near_evidence, ours.trust.max_kl) == (theirs.trust.near_evidence, theirs.trust.max_kl)


def test_the_schema_takes_what_the_file_takes() -> None:
    schema = json_schema()
    assert {"anyOf", "examples"} <= schema["$defs"]["ProxySettings"]["properties"]["tokens"].keys()
    assert (
        schema["$defs"]["DomainSettings"]["properties"]["max"]["description"] == "Largest share of the training tokens."
    )
    assert schema["additionalProperties"] is False
    examples = [path.read_text() for path in (ROOT / "examples").glob("*.yaml")]
    assert examples
    for text in (
        GOOD,
        study_text(None, Path("study.yaml")),
        STUDY.format(file="study.yaml"),
        readme_study(),
        *examples,
    ):
        jsonschema.validate(yaml.safe_load(text), schema)
        parsed(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(GOOD.replace("max: 60%", "maxx: 60%")), schema)


def readme_study() -> str:
    """The study file that the README shows."""
    readme = (ROOT / "README.md").read_text()
    return readme.partition("```yaml\n")[2].partition("```")[0]


@pytest.mark.parametrize(
    ("line", "value"),
    [("learning_rate: 3e-4", 3e-4), ("learning_rate: 0.001", 1e-3), ("learning_rate: 1", 1.0)],
)
def test_numbers_are_read_as_people_write_them(line: str, value: float) -> None:
    study = parsed(GOOD.replace("tokens: 2M", f"tokens: 2M, {line}"))
    assert study.proxies["dense"].learning_rate == value


def test_init_writes_a_file_that_is_valid(tmp_path: Path) -> None:
    assert list(parse(study_text(None, tmp_path / "study.yaml"), tmp_path / "study.yaml").domains) == [
        "web",
        "code",
        "books",
    ]


def test_init_finds_a_domain_in_each_folder_and_file(tmp_path: Path) -> None:
    (tmp_path / "data" / "web pages").mkdir(parents=True)
    (tmp_path / "data" / "web pages" / "index.html").write_text("x")
    for name in ("code.jsonl", "code.md", "it's 100% prose.txt", "2019.txt", "no.txt", "中文.txt", "日本.txt"):
        (tmp_path / "data" / name).write_text('{"text": "x"}')
    for name in (".hidden", "picture.png"):
        (tmp_path / "data" / name).write_text("x")
    study = parse(study_text(tmp_path / "data", tmp_path / "study.yaml"), tmp_path / "study.yaml")
    assert {name: domain.paths for name, domain in study.domains.items()} == {
        "2019": ["data/2019.txt"],
        "code": ["data/code.jsonl"],
        "code_2": ["data/code.md"],
        "it_s_100_prose": ["data/it's 100% prose.txt"],
        "no": ["data/no.txt"],
        "web_pages": ["data/web pages"],
        "domain": ["data/中文.txt"],
        "domain_2": ["data/日本.txt"],
    }


def test_init_names_the_fields_of_records_and_leaves_out_what_is_no_text(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "empty").mkdir(parents=True)
    (data / "chat.jsonl").write_text('{"id": 1, "question": "how?", "answer": "so"}\n')
    (data / "code.jsonl").write_text('{"repository": "x", "content": "print()"}\n')
    (data / "web.jsonl").write_text('{"url": "x", "text": "page"}\n')
    domains = parse(study_text(data, tmp_path / "study.yaml"), tmp_path / "study.yaml").domains
    assert list(domains) == ["chat", "code", "web"]
    assert (domains["chat"].prompt, domains["chat"].completion) == ("question", "answer")
    assert domains["code"].text == "content"
    assert domains["web"].text is None


def test_init_leaves_out_what_comes_with_a_download(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("README.md", "LICENSE.txt"):
        (data / name).write_text("about it")
    pd.DataFrame({"id": [1], "vector": [[0.5]]}).to_parquet(data / "vectors.parquet")
    pd.DataFrame({"id": [1], "page": ["a"]}).to_parquet(data / "pages.parquet")
    (data / "code.jsonl").write_text('{"id": 1, "body": "print()"}\n')
    domains = parse(study_text(data, tmp_path / "study.yaml"), tmp_path / "study.yaml").domains
    assert {name: domain.text for name, domain in domains.items()} == {"code": "body", "pages": "page"}


def test_a_day_is_a_name_and_a_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    text = (
        "study: 2024-12-05\ndirectory: ~/studies\ndomains: {a: {paths: x}, b: {paths: y}}\nproxies: {p: {tokens: 1M}}\n"
    )
    file = parse(text, Path("study.yaml"))
    assert file.work_directory == tmp_path / "studies" / "2024-12-05"


def test_init_on_one_domain_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ConfigError, match="at least 2"):
        study_text(tmp_path, tmp_path / "study.yaml")


def test_every_setting_is_documented() -> None:
    documented = (ROOT / "docs" / "study-file.md").read_text()
    sections = json_schema()["$defs"].values()
    assert not {name for section in sections for name in section["properties"] if f"{name}`" not in documented}


@pytest.mark.parametrize("uri", ["https://me:hunter2@mlflow", "https://hunter2@mlflow", "http://m/?token=hunter2"])
def test_a_servers_password_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ConfigError) as caught:
        parsed(GOOD).tracking_uri  # noqa: B018
    assert "hunter2" not in caught.value.message + caught.value.hint
    assert "MLFLOW_TRACKING_PASSWORD" in caught.value.hint


def test_a_databases_password_in_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://mixopt:hunter2@db/mlflow")
    assert parsed(GOOD).tracking_uri == "postgresql://mixopt:hunter2@db/mlflow"


@pytest.mark.parametrize(
    ("lines", "place", "remedy"),
    [
        ("tracking: {uri: 'postgresql://mixopt:hunter2@db/mlflow'}", "tracking.uri", "$MLFLOW_TRACKING_URI"),
        ("tracking: {uri: 'postgresql://db/mlflow?user=a&password=hunter2'}", "tracking.uri", "$MLFLOW_TRACKING_URI"),
        ("tracking: {uri: 'https://me:hunter2@mlflow'}", "tracking.uri", "MLFLOW_TRACKING_PASSWORD"),
        ("evaluation: {e: {paths: 'http://user:hunter2@host/x.jsonl'}}", "evaluation.e.paths", "~/.netrc"),
        ("evaluation: {e: {paths: [a.txt, 'simplecache::https://u:hunter2@h/x']}}", "evaluation.e.paths", "~/.netrc"),
        ("evaluation: {e: {paths: ['https://h/x.txt?X-Amz-Signature=hunter2']}}", "evaluation.e.paths", "~/.netrc"),
        ("executor: {shared: 's3://AKIAKEY:hunter2/+x@bucket/a'}", "executor.shared", "~/.aws/credentials"),
        ("executor: {shared: 'sftp://me:hunter2@host/a'}", "executor.shared", "~/.config/fsspec"),
        ("executor: {address: 'ray://me:hunter2@head:10001'}", "executor.address", "RAY_AUTH_TOKEN"),
        ("reuse: {runs: 'http://hunter2@host/runs.csv'}", "reuse.runs", "~/.netrc"),
        ("# was: s3://key:hunter2@bucket", "this line", "~/.aws/credentials"),
        ("directory: >-\n  http://user:hunter2@host/x", "directory", "~/.netrc"),
        (r'directory: "http://user\u003ahunter2@host/x"', "directory", "~/.netrc"),
    ],
)
def test_a_password_in_a_url_of_the_file_is_refused(lines: str, place: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(f"{GOOD}\n{lines}\n")
    (line,) = caught.value.message.splitlines()
    assert line.startswith("folder/study.yaml:10: ")
    assert f" {place} holds a password in a URL" in line
    assert remedy in line
    assert "hunter2" not in line
    assert len(line) <= 300


@pytest.mark.parametrize("name", ["artifacts", "mlflow.db"])
def test_a_study_is_not_called_like_the_store(name: str) -> None:
    with pytest.raises(ConfigError, match=r"study\.yaml:1: study: .* choose another"):
        parsed(GOOD.replace("study: test", f"study: {name}"))
