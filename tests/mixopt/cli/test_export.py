"""`mixopt export` and `mixopt import`, over a study whose losses are known by a formula."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

import mixopt
from mixopt.base.errors import ConfigError
from mixopt.cli.export import app
from mixopt.exports.formats import EXPORTERS
from mixopt.exports.mixtures import Known
from mixopt.exports.receipt import read_receipt
from mixopt.exports.request import ExportRequest
from mixopt.results.receipt import answer_id
from mixopt.settings.reading import load
from search.mixture import Mixture
from tests.e2e.study import STUDY
from tests.simulated import ROUNDS, planned, run

PLACES = """\
prose: /data/prose
code: {/data/code_a: 3B, /data/code_b: 1B}
sums: {/data/sums: 5M}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = planned(tmp_path_factory.mktemp("exported"), ROUNDS.replace("max: 70%", "min: 10%, max: 70%"))
    run(plan)
    return plan.file.file


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("places.yaml").write_text(PLACES)


def called(*arguments: object) -> Result:
    """What the command does, in this process.

    Raises:
        ConfigError: what `mixopt` would say in one line.
    """
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if isinstance(result.exception, ConfigError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def notes_in(done: Result) -> str:
    """Its notes, unwrapped."""
    return " ".join(done.stderr.split())


def exported(study: Path, *options: object) -> str:
    return called("export", study, *options).stdout


def answer(study: Path) -> dict[str, float]:
    weights: dict[str, float] = yaml.safe_load(exported(study))["weights"]
    return weights


def test_weights_of_sequences_are_shares_of_tokens(study: Path) -> None:
    option, *words = exported(study, "-f", "megatron", "--location", "/data/{domain}").split()
    assert option == "--data-path"
    weights = dict(zip(words[1::2], map(float, words[::2]), strict=True))
    assert weights == pytest.approx({f"/data/{name}": share for name, share in answer(study).items()})


def test_weights_of_documents_are_shares_divided_by_the_length_of_a_document(study: Path) -> None:
    drawn = yaml.safe_load(exported(study, "-f", "llama-factory"))
    documents = dict(zip(drawn["dataset"].split(","), map(float, drawn["interleave_probs"].split(",")), strict=True))
    lengths = {name: domain.mean_document_tokens or 0.0 for name, domain in mixopt.Study(study).answer.domains.items()}
    assert max(lengths.values()) > 1.2 * min(lengths.values())
    tokens = Mixture.of({name: documents[name] * lengths[name] for name in documents})
    assert tokens.as_dict() == pytest.approx(answer(study), abs=1e-9)


def test_a_file_can_be_read_before_the_study_has_run(study: Path) -> None:
    """Lengths of documents come from the tokens."""
    called("export", study, "-f", "llama-factory", "-o", "drawn.yaml")
    other = study.with_name("other.yaml")
    other.write_text(study.read_text().replace("study: small", "study: other"))
    mixopt.Study(other).plan(probe=False)
    back = json.loads(called("import", "drawn.yaml", other, "-f", "llama-factory", "--json").stdout)["weights"]
    assert back == pytest.approx(answer(study), abs=1e-6)


def test_a_mixture_can_be_exported_before_the_study_has_run(study: Path) -> None:
    new = study.with_name("new.yaml")
    new.write_text(study.read_text().replace("study: small", "study: new"))
    Path("mine.yaml").write_text("prose: 0.5\ncode: 0.3\nsums: 0.2\n")
    assert "0.5 prose 0.3 code 0.2 sums" in exported(new, "-f", "megatron", "--mixture", "mine.yaml")
    assert "this study has no answer yet" in exported(new, "--mixture", "mine.yaml")
    with pytest.raises(ConfigError, match="draws documents") as error:
        called("export", new, "-f", "llama-factory", "--mixture", "mine.yaml")
    assert error.value.hint == f"count them: mixopt prepare {new}"
    with pytest.raises(ConfigError, match="has not run yet"):
        called("export", new)
    mine = Mixture.of({"prose": 0.5, "code": 0.3, "sums": 0.2})
    assert mixopt.Study(new).export("megatron", mixture=mine) == exported(
        new, "-f", "megatron", "--mixture", "mine.yaml"
    )


def test_megatron_arguments_are_found_among_others(study: Path) -> None:
    Path("args.txt").write_text("--bf16 --data-path 3 prose 1 code --split 100,0,0  # of the last run\n")
    back = json.loads(called("import", "args.txt", study, "-f", "megatron", "--json").stdout)["weights"]
    assert back == {"prose": 0.75, "code": 0.25, "sums": 0.0}


def test_json_beside_a_file_leaves_the_file_to_the_trainer(study: Path) -> None:
    said = json.loads(called("export", study, "-f", "megatron", "--tokens", "1k", "-o", "args.txt", "--json").stdout)
    assert Path("args.txt").read_text() == said["text"]
    assert said["weights_count"] == "sequences"
    assert sum(each["taken"] for each in said["supplies"]) == 1000


def test_the_answer_read_back_from_a_file_is_the_answer(study: Path) -> None:
    for suffix in ("yaml", "json", "csv"):
        called("export", study, "-f", suffix, "-o", f"answer.{suffix}")
        again = json.loads(exported(study, "-f", "json", "--mixture", f"answer.{suffix}"))
        assert again["provenance"]["verdict"] == mixopt.Study(study).answer.verdict


@pytest.mark.parametrize("format", EXPORTERS)
def test_what_is_written_is_read_back(study: Path, format: str) -> None:
    called("export", study, "-f", format, "--locations", "places.yaml", "-o", "written")
    names_domains = not EXPORTERS[format].by_place
    result = called("import", "written", study, "-f", format, "--locations", "places.yaml", "--json")
    # Of a run of a few hundred documents one is some thousandths.
    off = 0.005 if EXPORTERS[format].whole else 1e-6
    assert json.loads(result.stdout)["weights"] == pytest.approx(answer(study), abs=off)
    assert ("the places were not looked at" in result.stderr) == names_domains


def test_another_mixture_is_exported_as_what_it_is(study: Path) -> None:
    for name in ("mixture.yaml", "mixture.json", "mixture.csv"):
        other = Mixture.of({"prose": 0.5, "code": 0.25, "sums": 0.25})
        suffix = Path(name).suffix
        text = {
            ".yaml": "prose: 0.5\ncode: 0.25\nsums: 0.25\n",
            ".json": json.dumps({"weights": other.as_dict()}),
            ".csv": "domain,weight\nprose,0.5\ncode,0.25\nsums,0.25\n",
        }[suffix]
        Path(name).write_text(text)
        document = json.loads(exported(study, "--mixture", name, "-f", "json"))
        assert document["weights"] == pytest.approx(other.as_dict())
        assert document["provenance"]["verdict"] == "another mixture than the answer of this study"


def test_a_mixture_of_the_front_is_exported_by_its_number(tmp_path: Path) -> None:
    text = STUDY.replace("{weights: {prose: 2, code: 1}}", "{kind: pareto, weights: {prose: 2, code: 1}}")
    plan = planned(
        tmp_path, text.replace("trials: 8", "trials: 20") + "search: {strategy: regmix, surrogate: linear}\n"
    )
    run(plan)
    front = mixopt.Study(plan.file.file).answer.recommendation.front
    for number in (1, len(front)):
        weights = yaml.safe_load(exported(plan.file.file, "--front", number))["weights"]
        assert weights == pytest.approx(front[number - 1].mixture)
    with pytest.raises(ConfigError, match=f"the front has {len(front)} mixtures"):
        exported(plan.file.file, "--front", len(front) + 1)


def test_what_each_domain_gives_is_shown_also_where_it_is_too_much(study: Path) -> None:
    assert "there are" in notes_in(called("export", study, "--tokens", "10k"))
    with pytest.raises(ConfigError, match=r"would be read .* times in 10B tokens: it has .* and the most is 4"):
        called("export", study, "--tokens", "10B")
    assert called("export", study, "--tokens", "10B", "--max-epochs", "1e9").stdout


def test_repeats_are_allowed_where_somebody_says_so_and_said(study: Path) -> None:
    done = called("export", study, "-f", "olmo-core", "--tokens", "10B", "--allow-repeats")
    assert "and 4 times is the most: --allow-repeats lets it" in notes_in(done)
    sources = yaml.safe_load(done.stdout)["sources"]
    there = {name: domain.tokens for name, domain in mixopt.Study(study).answer.domains.items()}
    for each in sources:
        assert each["max_repetition_ratio"] >= each["target_ratio"] * 10e9 / there[each["source_name"]]
    told = json.loads(called("export", study, "--tokens", "10B", "--allow-repeats", "--json").stdout)
    assert told["notes"] and told["inventory"]["domains"].keys() == there.keys()


def test_a_domain_of_which_nothing_would_be_drawn_is_a_mistake_or_left_out_and_named(study: Path) -> None:
    Path("mixture.yaml").write_text("prose: 0.69999\ncode: 0.3\nsums: 0.00001\n")
    with pytest.raises(ConfigError, match="hf would draw nothing of domain sums: its share in 50k tokens") as error:
        called("export", study, "--mixture", "mixture.yaml", "-f", "hf", "--tokens", "50k")
    assert "--leave-out" in error.value.hint
    done = called("export", study, "--mixture", "mixture.yaml", "-f", "hf", "--tokens", "50k", "--leave-out")
    settings = json.loads(done.stdout)
    assert settings["datasets"] == ["prose", "code"] and settings["take"] > 0
    assert settings["receipt"]["domains"]["sums"]["count"] == 0
    assert "domain sums is left out: 50k tokens hold none of its share, 1e-05" in notes_in(done)
    long = json.loads(exported(study, "--mixture", "mixture.yaml", "-f", "hf", "--tokens", "1T", "--allow-repeats"))
    assert long["datasets"] == ["prose", "code", "sums"]
    options = ("--mixture", "mixture.yaml", "-f", "llama-factory", "--tokens", "50k", "--leave-out")
    said = notes_in(called("export", study, *options))
    assert "reads until every domain is read through" in said and "max_steps" in said


def test_a_receipt_names_the_answer_its_verdict_and_its_inventory(study: Path) -> None:
    answer = mixopt.Study(study).answer
    called("export", study, "-f", "megatron", "-o", "args.txt", "--sequence-length", "16")
    receipt, _ = read_receipt(Path("args.txt"))
    assert receipt.answer == answer_id(answer) and receipt.answer.startswith("small-")
    assert (receipt.study_digest, receipt.mlflow_run) == (answer.provenance.study_digest, answer.provenance.mlflow_run)
    assert answer.inventory is not None and receipt.inventory == answer.inventory.fingerprint
    assert answer.verdict.startswith(receipt.verdict.rstrip("."))
    assert (receipt.grid, receipt.units) == ("sequences", 40_000 // 16)
    assert {name: each.epochs for name, each in receipt.domains.items()} == pytest.approx(
        {name: each.epochs for name, each in answer.domains.items()}, rel=0.01
    )
    Path("other.yaml").write_text("prose: 0.5\ncode: 0.25\nsums: 0.25\n")
    other = json.loads(exported(study, "-f", "json", "--mixture", "other.yaml"))["receipt"]
    assert other["answer"] is None and other["mlflow_run"] is None and other["study"] == "small"


def test_a_receipt_says_that_repeats_were_allowed_and_how_many_are(study: Path) -> None:
    options = ("export", study, "-f", "json", "--tokens", "10B")
    receipt = json.loads(called(*options, "--allow-repeats").stdout)["receipt"]
    assert receipt["allow_repeats"] is True
    assert any(each["epochs"] > each["max_epochs"] == 4 for each in receipt["domains"].values())
    assert json.loads(called("export", study, "-f", "json").stdout)["receipt"]["allow_repeats"] is False


def test_a_domain_of_less_than_a_sequence_is_no_part_of_a_run_that_reads_sequences(study: Path) -> None:
    Path("mixture.yaml").write_text("prose: 0.6957\ncode: 0.3\nsums: 0.0043\n")
    options = ("export", study, "--mixture", "mixture.yaml", "-f", "olmo-core", "--tokens", "20k", "-o", "sources.yaml")
    with pytest.raises(ConfigError, match="olmo-core would draw nothing of domain sums") as error:
        called(*options, "--sequence-length", "2048")
    assert "less than one of whole sequences" in error.value.message
    called(*options, "--sequence-length", "16")
    receipt, _ = read_receipt(Path("sources.yaml"))
    assert (receipt.grid, receipt.units) == ("sequences", 20_000 // 16)
    called(*options)
    assert read_receipt(Path("sources.yaml"))[0].grid == "tokens"


def test_a_file_that_is_called_as_another_kind_is_written_with_a_note(study: Path) -> None:
    note = "mixture.py is called .py, and what json writes is .json"
    assert note in notes_in(called("export", study, "-f", "json", "-o", "mixture.py"))
    assert "is called" not in notes_in(called("export", study, "-f", "yaml", "-o", "mixture.yml"))
    assert "is called" not in notes_in(called("export", study, "-f", "megatron", "-o", "args.sh"))


def test_where_no_receipt_fits_it_is_said_where_it_is(study: Path) -> None:
    assert "--output FILE writes it beside" in notes_in(called("export", study, "-f", "megatron"))
    assert json.loads(called("export", study, "-f", "megatron", "--json").stdout)["receipt"]["format"] == "megatron"
    receipt = mixopt.Study(study).write_export("args.txt", "megatron")
    assert read_receipt(Path("args.txt"))[0] == receipt


def test_each_domain_has_its_own_cap(study: Path) -> None:
    text = study.read_text()
    try:
        study.write_text(text.replace("target: {tokens: 40k, max_epochs: 4}", ""))
        file = load(study)
    finally:
        study.write_text(text)
    answer = mixopt.Study(study).answer
    known, mixture = Known.of(answer), Mixture.of(answer.mixture)
    of_all = ExportRequest.of(file, "olmix", tokens="10M")
    with pytest.raises(ConfigError, match=r"domain prose would be read .* and the most is 4$"):
        of_all.export(known, mixture)
    allowed = replace(of_all, allow_repeats=True)
    assert "and 4 times is the most: --allow-repeats lets it" in allowed.cautions(known, mixture)[0]
    assert allowed.export(known, mixture)
    prose = file.domains["prose"].model_copy(update={"max_epochs": 0.5})
    own = file.model_copy(update={"domains": {**file.domains, "prose": prose}})
    capped = ExportRequest.of(own, "olmix", tokens="10M")
    with pytest.raises(ConfigError, match=r"domain prose would be read .* and the most is 0.5"):
        capped.export(Known.of(answer), mixture)


def test_the_list_says_what_weights_count() -> None:
    listed = json.loads(called("export", "--list", "--json").stdout)
    assert {each["format"]: each["weights_count"] for each in listed} == {
        name: list(each.draws) for name, each in EXPORTERS.items()
    }


@pytest.mark.parametrize(
    ("options", "mistake", "hint"),
    [
        ("-f megatorn", "megatorn", "megatron"),
        ("-f megatron --location /data/all", "names one place for all domains", "write {domain}"),
        ("--location {domain} --locations places.yaml", "both say where the domains are", "one of them"),
        ("-f megatron --draws documents", "does not draw documents, but sequences", "leave it out"),
        ("--tokens many", "tokens: 'many'", ""),
        ("--locations none.yaml", "none.yaml: no such file of places", "domain: place"),
        ("--locations two.yaml", "two.yaml: sums has no place in this file", "prose, code, sums"),
        ("--locations odd.yaml", "odd.yaml: books is no domain of the study", "prose, code, sums"),
        ("--locations same.yaml", "/data/a is the place of both prose and code", "its own"),
        ("--locations broken.yaml", "broken.yaml:2", ""),
        ("-f megatron --locations list.yaml", "domain code has 2 places", "sizes"),
        ("--front 1 --mixture none.yaml", "mixture and front both say what to export", "one of them"),
        ("--front 1", "has no Pareto front", "objective.kind: pareto"),
        ("--mixture none.yaml", "none.yaml: no such file of a mixture", "mixopt export"),
        ("--mixture books.yaml", "books.yaml: no domain books", "prose, code, sums"),
        ("--mixture some.yaml", "some.yaml: its shares sum to 0.8, not to 1", "each domain"),
        ("--mixture minus.yaml", "minus.yaml: code: -0.5 is no weight", "0 or above"),
        ("--mixture zero.yaml", "zero.yaml: its shares sum to 0, not to 1", "each domain"),
    ],
)
def test_bad_options_of_export(study: Path, options: str, mistake: str, hint: str) -> None:
    Path("two.yaml").write_text("prose: /a\ncode: /b\n")
    Path("odd.yaml").write_text("prose: /a\ncode: /b\nsums: /c\nbooks: /d\n")
    Path("same.yaml").write_text("prose: /data/a\ncode: /data/a\nsums: /c\n")
    Path("broken.yaml").write_text("prose: [/a\n")
    Path("list.yaml").write_text("prose: /a\ncode: [/b, /c]\nsums: /d\n")
    Path("books.yaml").write_text("weights: {prose: 0.5, books: 0.5}\n")
    Path("some.yaml").write_text("prose: 0.5\ncode: 0.3\n")
    Path("minus.yaml").write_text("prose: 0.5\ncode: -0.5\n")
    Path("zero.yaml").write_text("prose: 0\ncode: 0\n")
    with pytest.raises(ConfigError) as caught:
        called("export", study, *options.split())
    assert mistake in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "options", "mistake", "hint"),
    [
        ("", "-f megatron", "there is no --data-path", ""),
        ("--data-path 0.5", "-f megatron", "1 words are no pairs", "without weights"),
        ("--data-path 0.5 /data/all", "-f megatron", "given: /data/all is no domain's place", "locations"),
        ("--data-path much /data/code", "-f megatron", "/data/code: 'much' is no weight", "numbers"),
        ("{]", "-f json", "this is no json file", "--list"),
        ("{}", "-f json", "has no weights", "--list"),
        ("prose: 1.0\n", "-f olmo-core", "this is no olmo-core file", "--list"),
        ("import os; os.remove('places.yaml')", "-f webdataset", "this is no webdataset file", "--list"),
    ],
)
def test_bad_files_to_import(study: Path, text: str, options: str, mistake: str, hint: str) -> None:
    Path("given").write_text(text)
    with pytest.raises(ConfigError) as caught:
        called("import", "given", study, *options.split())
    assert mistake in caught.value.message
    assert hint in caught.value.hint
    assert Path("places.yaml").exists(), "a file is read, and never run"


def test_a_file_to_import_that_is_not_there(study: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.txt: no such configuration"):
        called("import", "none.txt", study, "-f", "megatron")
