"""`mixopt check` and `mixopt audit`: what is drawn, and what a log says that was drawn, beside what was asked."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mixopt.base.errors import ConfigError
from mixopt.cli.receipts import app
from mixopt.exports.formats import Draws, Exportable, exporter
from mixopt.exports.locations import locations_by_pattern
from mixopt.exports.receipt import Export, Source, exported, read_receipt
from search.mixture import Mixture

SHARES = {"web": 0.5, "code": 0.3, "books": 0.2}
LENGTHS = {"web": 100.0, "code": 40.0, "books": 10.0}
SUPPLY = dict.fromkeys(SHARES, 2e6)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def exported_as(format: str, shares: dict[str, float] | None = None, draws: Draws | None = None) -> Export:
    each = exporter(format)
    where = locations_by_pattern("data/{domain}.jsonl", SHARES)
    return exported(
        each,
        Exportable(
            *(Mixture.of(shares or SHARES), draws or each.draws[0], LENGTHS, where, 2_000_000, 4.0, 7),
            supply=SUPPLY,
            sequence_length=100,
        ),
        Source(),
    )


def write(format: str, draws: Draws | None = None, shares: dict[str, float] | None = None) -> Path:
    path = Path(f"export{exporter(format).suffix}")
    exported_as(format, shares, draws).write(path)
    return path


def called(*arguments: object) -> tuple[int, dict[str, object]]:
    """The exit status, and what it says as JSON."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    if isinstance(result.exception, ConfigError):
        raise result.exception
    assert result.exit_code in (0, 1, 2), result.output
    return result.exit_code, json.loads(result.stdout)


def write_data(folder: str = "data") -> None:
    Path(folder).mkdir()
    for name in SHARES:
        Path(folder, f"{name}.jsonl").write_text("".join(f'{{"text": "{name} {i}"}}\n' for i in range(500)))


def test_what_a_trainer_draws_is_as_the_receipt_says() -> None:
    write_data()
    status, found = called("check", write("hf"), "--samples", 5000)
    assert (status, found["as_asked"], found["counted"], found["total"]) == (0, True, "documents", 5000)
    assert found["p_value"] is not None


def test_an_export_that_somebody_changed_is_found_out() -> None:
    write_data("elsewhere")
    path = write("hf")
    content = json.loads(path.read_text())
    content["probabilities"] = [0.6, 0.2, 0.2]
    path.write_text(json.dumps(content))
    status, found = called("check", path, "--samples", 5000, "--data", "elsewhere/{domain}.jsonl")
    assert (status, found["as_asked"]) == (1, False)
    assert "not drawn as asked: " in str(found["verdict"])
    status, audited = called("audit", counts("documents", 2000), "--export", path)
    assert "somebody changed the file" in str(audited["notes"])


@pytest.mark.parametrize(
    ("format", "options", "says", "hint"),
    [
        ("hf", (), "there is no data/web.jsonl here", "--data"),
        ("hf", ("--data", "nowhere.yaml"), "nowhere.yaml: no such file", "pattern"),
        ("olmix", (), "check runs no sampler of olmix, but of", "mixopt audit"),
        ("megatron", (), "megatron-core, which is not installed here", "pip install megatron-core"),
    ],
)
def test_what_cannot_be_checked_is_one_line(format: str, options: tuple[str, ...], says: str, hint: str) -> None:
    if format == "megatron":
        pytest.importorskip("torch")
    with pytest.raises(ConfigError, match=says) as error:
        called("check", write(format), *options)
    assert hint in error.value.hint and "\n" not in error.value.message


def counts(unit: str, total: float, shares: dict[str, float] | None = None) -> Path:
    """A log with a row for each domain, of so many units in these shares of tokens."""
    parts = {name: share / (LENGTHS[name] if unit == "documents" else 1) for name, share in (shares or SHARES).items()}
    rows = [f"{name},{round(part / sum(parts.values()) * total)}" for name, part in parts.items()]
    Path("counts.csv").write_text(f"domain,{unit}\n" + "\n".join(rows) + "\n")
    return Path("counts.csv")


OTHER = {"web": 0.55, "code": 0.25, "books": 0.2}


@pytest.mark.parametrize("unit", ["documents", "tokens"])
@pytest.mark.parametrize(("shares", "status"), [(SHARES, 0), (OTHER, 1)])
def test_a_log_with_a_row_for_each_domain(unit: str, shares: dict[str, float], status: int) -> None:
    found = called("audit", counts(unit, 1_000_000, shares), "--export", write("hf"))
    assert found[0] == status
    assert found[1]["total_variation"] == pytest.approx(0.05 * status, abs=1e-3)
    assert found[1]["counted"] == unit


def test_chance_is_no_difference_and_a_domain_that_gets_nothing_is_one() -> None:
    random.seed(3)
    small = {"web": 0.5, "code": 0.499, "books": 0.001}
    path = write("hf", Draws.SEQUENCES, small)
    drawn = random.choices(list(small), list(small.values()), k=20_000)
    Path("run.jsonl").write_text(json.dumps({f"samples/{name}": drawn.count(name) for name in small}) + "\n")
    assert called("audit", "run.jsonl", "--export", path)[0] == 0
    Path("run.jsonl").write_text(json.dumps({"samples/web": 10_010, "samples/code": 9_990, "samples/books": 0}) + "\n")
    assert called("audit", "run.jsonl", "--export", path)[0] == 0, "20 were expected: chance does not rule it out"
    many = {"samples/web": 500_500, "samples/code": 499_500, "samples/books": 0}
    Path("run.jsonl").write_text(json.dumps(many) + "\n")
    status, found = called("audit", "run.jsonl", "--export", path)
    assert status == 1 and "books gave 0.00% of the tokens where 0.10% was asked" in str(found["verdict"])


def test_where_hardly_anything_was_drawn_nothing_is_certified() -> None:
    asked = {"web": 0.78, "code": 0.13, "books": 0.09}
    few = write("hf", Draws.DOCUMENTS, asked)
    Path("run.csv").write_text("domain,tokens\nweb,500\ncode,300\nbooks,107\n")
    status, found = called("audit", "run.csv", "--export", few)
    assert (status, found["as_asked"], found["told"]) == (2, False, False)
    assert "too little was drawn to tell" in str(found["verdict"]) and "documents" in str(found["verdict"])
    assert all(row["allowed"] <= 1 for row in found["domains"])  # type: ignore[attr-defined]


def test_a_small_domain_of_which_nothing_can_be_told_is_named_and_the_others_are_judged() -> None:
    path = write("hf", Draws.SEQUENCES, {"web": 0.5, "code": 0.499, "books": 0.001})
    Path("run.jsonl").write_text(json.dumps({"samples/web": 2003, "samples/code": 1997, "samples/books": 0}) + "\n")
    status, found = called("audit", "run.jsonl", "--export", path)
    assert (status, found["as_asked"], found["told"]) == (0, True, True)
    assert "of books too little was drawn to tell" in str(found["verdict"])
    shown = CliRunner().invoke(app, ["audit", "run.jsonl", "--export", str(path)], env={"COLUMNS": "120"}).output
    assert "too little to tell" in shown
    Path("run.jsonl").write_text(json.dumps({"samples/web": 2600, "samples/code": 1400, "samples/books": 0}) + "\n")
    assert called("audit", "run.jsonl", "--export", path)[0] == 1, "what is told of is not forgiven"


def test_counters_in_a_run_log_are_told_from_what_else_is_in_it() -> None:
    rows = [
        {"step": step, "train": {"loss": dict.fromkeys(SHARES, 2.0), "tokens": {}}, "lr": 0.1} for step in (1, 2, 3)
    ]
    for step, row in enumerate(rows, 1):
        row["train"]["tokens"] = {name: share * 1000 * step for name, share in SHARES.items()}  # type: ignore[index]
    Path("run.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = write("megatron")
    with pytest.raises(ConfigError, match="does not say whether these are totals") as error:
        called("audit", "run.jsonl", "--export", path)
    assert "--rows totals" in error.value.hint
    assert called("audit", "run.jsonl", "--export", path, "--rows", "totals")[1]["total"] == pytest.approx(3000)
    assert called("audit", "run.jsonl", "--export", path, "--rows", "steps")[1]["total"] == pytest.approx(6000)


def test_sums_and_rates_beside_the_counters_are_no_domains() -> None:
    rows = {"tokens/web": 50, "tokens/code": 30, "tokens/books": 20, "tokens/total": 100, "tokens/per_second": 7}
    others = {f"tokens/{name}/mean_length": 9 for name in SHARES}
    Path("run.jsonl").write_text(json.dumps(rows | others) + "\n")
    assert called("audit", "run.jsonl", "--export", write("megatron"))[1]["total"] == 100
    Path("run.csv").write_text("step,web,code,books,mystery\n1,50,30,20,40\n")
    found = called("audit", "run.csv", "--export", write("megatron"), "--unit", "tokens")[1]
    assert found["total"] == 100
    assert found["notes"] == ["what is in columns of no domain is not counted: mystery"]


def test_a_log_that_windows_wrote_is_read_as_other_tables_are() -> None:
    text = "domain\ttokens\n" + "".join(f"{name}\t{share * 1e6:.0f}\n" for name, share in SHARES.items())
    Path("run.csv").write_text(text, encoding="utf-16")
    assert called("audit", "run.csv", "--export", write("hf"))[0] == 0


def test_places_and_semicolons_are_read_too() -> None:
    lines = "".join(f"data/{name}.jsonl;{share * 1e6:.0f}\n" for name, share in SHARES.items())
    Path("run.csv").write_text("\ufeffdataset;tokens\n" + lines)
    assert called("audit", "run.csv", "--export", write("hf"))[0] == 0


OLD = "tokens/web,tokens/code,tokens/books,tokens/old_crawl\n5,3,2,4\n"
TWICE = ",".join(f"{part}/tokens/{name}" for part in "ab" for name in SHARES) + "\n1,1,1,1,1,1\n"


@pytest.mark.parametrize(
    ("log", "text", "options", "says"),
    [
        ("none.csv", None, (), "none.csv: no such log"),
        ("a.csv", "", (), "has no rows"),
        ("a.csv", "step,loss\n1,2\n", (), "no column for each domain"),
        ("a.csv", "domain,tokens\nwebb,3\n", (), "line 2: no domain webb"),
        ("a.csv", "domain,tokens\nweb,many\n", (), "line 2: tokens 'many' is no count"),
        ("a.csv", "domain,tokens\nweb,-1\n", (), "is no count"),
        ("a.csv", "domain,tokens\nweb,nan\n", (), "is no count"),
        ("a.csv", "domain,tokens,documents\nweb,1,1\n", (), "2 columns count"),
        ("a.csv", "domain,tokens\nweb,0\n", (), "nothing was drawn"),
        ("a.csv", "domain,tokens\nweb,.5\ncode,.3\nbooks,.2\n", (), "these are shares"),
        ("a.csv", "web,code,books\n1,2,3\n", (), "no column's name says what it counts"),
        ("a.csv", "web,code,books\n1,2,3\n", ("--unit", "words"), "unit words is none"),
        ("a.csv", "t/web,t/code,t/books\n1,2,3\n", ("--columns", "t/"), "columns t/"),
        ("a.csv", "web/tokens,code/tokens,books/tokens\n3,2,1\n2,3,4\n", ("--rows", "totals"), "falls from 3 to 2"),
        ("a.csv", "web/tokens,code/tokens,books/tokens\n3,2,1\n", ("--rows", "some"), "rows some are none"),
        ("a.csv", TWICE, (), "several columns count"),
        ("a.csv", OLD, (), "tokens/old_crawl counts no domain that was asked for: old_crawl"),
        ("a.jsonl", '{"tokens": {"web": 5, "code": 3, "books": 2, "old": 4}}', (), "tokens/old counts no domain"),
        ("a.csv", "domain,tokens\nweb,3,4\n", (), "line 2: 3 cells under 2 names"),
        ("a.csv", "domain,tokens\nweb,3\n", ("study.yaml",), "study.yaml and --export export.json both say"),
        ("a.jsonl", '{"a": 1}\nEpoch 3\n', (), "line 2: this is no JSON"),
        ("a.jsonl", "[1]", (), "is a list in JSON"),
    ],
)
def test_a_log_that_says_nothing_clear_is_refused(
    log: str, text: str | None, options: tuple[str, ...], says: str
) -> None:
    path = write("hf")
    if text is not None:
        Path(log).write_text(text)
    with pytest.raises(ConfigError, match=says) as error:
        called("audit", log, "--export", path, *options)
    assert error.value.hint and "\n" not in error.value.message


def test_a_receipt_of_an_export_that_stood_here_before_says_nothing_of_this_one() -> None:
    write("megatron").rename("mixture.json")
    Path("export.txt.receipt.json").rename("mixture.json.receipt.json")
    stale = Path("mixture.json.receipt.json").read_text()
    exported_as("hf", OTHER).write(Path("mixture.json"))
    assert not Path("mixture.json.receipt.json").exists()
    Path("mixture.json.receipt.json").write_text(stale)  # somebody copied it back
    receipt, _ = read_receipt(Path("mixture.json"))
    assert receipt.format == "hf" and receipt.domains["web"].asked == OTHER["web"]


def test_documents_are_not_as_long_as_the_sequences_that_a_receipt_names() -> None:
    """`--sequence-length` beside a format whose weights are shares of tokens."""
    path = write("olmix")
    with pytest.raises(ConfigError, match="how long those of web are is not known") as error:
        called("audit", counts("documents", 1_000_000), "--export", path)
    assert "log tokens" in error.value.hint
    assert called("audit", counts("tokens", 1_000_000), "--export", path)[0] == 0


def test_a_run_too_short_for_any_domain_is_named_as_it_was_given() -> None:
    exportable = Exportable(
        *(Mixture.of(SHARES), Draws.DOCUMENTS, dict.fromkeys(SHARES, 5000.0)),
        *(locations_by_pattern("{domain}", SHARES), 1500),
    )
    with pytest.raises(ConfigError, match=r"^1\.5k tokens hold less than one document of each domain's share"):
        exported(exporter("hf"), exportable, Source())
