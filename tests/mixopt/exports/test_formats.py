"""Exported files against what trainers say they read, for those whose package the tests do not have; and WebDataset."""

from __future__ import annotations

import io
import json
import math
import random
import runpy
import sys
import tarfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mixopt.base.errors import ConfigError
from mixopt.exports.formats import Draws, Exportable, Locations, exporter, mixture_in
from search.mixture import Mixture

SHARES = {"web": 0.6, "code": 0.3, "left_out": 0.0, "books": 0.1}
LENGTHS = {"web": 500.0, "code": 2_000.0, "left_out": 100.0, "books": 80_000.0}
PLACES = Locations(
    {
        "web": {"/data/web0": 3e9, "/data/web1": 1e9},
        "code": {"/data/code": None},
        "left_out": {"/data/left_out": None},
        "books": {"/data/books": None},
    }
)
# Shares of documents: of tokens, divided by mean length, over their sum.
DOCUMENTS = {"web": 0.888_1, "code": 0.111_0, "books": 0.000_925}


def exported(name: str, draws: Draws | None = None, shares: dict[str, float] | None = None) -> str:
    chosen = exporter(name)
    draws = draws or chosen.draws[0]
    if shares is None:
        return chosen.render(Exportable(Mixture.of(SHARES), draws, LENGTHS, PLACES, seed=5))
    where = Locations({domain: {f"/data/{domain}": None} for domain in shares})
    return chosen.render(Exportable(Mixture.of(shares), draws, dict.fromkeys(shares, 1.0), where))


def shares_of(masses: dict[str, float]) -> dict[str, float]:
    total = sum(masses.values())
    return {name: mass / total for name, mass in masses.items()}


def test_nanotron_has_a_weight_a_folder_in_one_complete_stage() -> None:
    (stage,) = yaml.safe_load(exported("nanotron"))["data_stages"]
    assert stage["start_training_step"] == 1
    assert stage["data"]["seed"] == 5
    dataset = stage["data"]["dataset"]
    assert dataset["dataset_folder"] == ["/data/web0", "/data/web1", "/data/code", "/data/books"]
    assert dataset["dataset_weights"] == pytest.approx([0.45, 0.15, 0.3, 0.1])


def test_nanotron_stages_of_different_mixtures_are_refused() -> None:
    two = "data_stages: [{data: {}}, {data: {}}]"
    with pytest.raises(ConfigError, match="2 data_stages"):
        mixture_in(exporter("nanotron"), two, Draws.SEQUENCES, {}, PLACES)


def test_gpt_neox_has_a_weight_a_path_and_is_told_not_to_replace_them() -> None:
    content = yaml.safe_load(exported("gpt-neox"))
    assert content["train-data-paths"] == ["/data/web0", "/data/web1", "/data/code", "/data/books"]
    assert content["train-data-weights"] == pytest.approx([0.45, 0.15, 0.3, 0.1])
    assert content["weight_by_num_documents"] is False


def test_llama_factory_probabilities_are_shares_of_documents() -> None:
    arguments = yaml.safe_load(exported("llama-factory"))
    assert arguments["mix_strategy"] == "interleave_over"
    assert arguments["dataset"].split(",") == ["/data/web0", "/data/web1", "/data/code", "/data/books"]
    probabilities = [float(word) for word in arguments["interleave_probs"].split(",")]
    assert math.fsum(probabilities) == pytest.approx(1, abs=1e-12)
    web, code, books = DOCUMENTS.values()
    assert probabilities == pytest.approx([0.75 * web, 0.25 * web, code, books], rel=1e-3)


def test_llama_factory_gets_text_where_yaml_would_read_one_number() -> None:
    assert yaml.safe_load(exported("llama-factory", shares={"web": 1.0}))["interleave_probs"] == "1.0"


def test_a_dataset_that_llama_factory_would_read_as_two_is_refused() -> None:
    with pytest.raises(ConfigError, match="/data/a,b as two names"):
        exported("llama-factory", shares={"a,b": 1.0})


def test_levanter_weights_name_components_with_their_files() -> None:
    data = yaml.safe_load(exported("levanter"))["data"]
    assert data["train_weights"] == pytest.approx({"web": 0.6, "code": 0.3, "books": 0.1})
    assert data["components"]["web"] == {"source": {"type": "url", "train_urls": ["/data/web0", "/data/web1"]}}
    assert list(data["components"]) == list(data["train_weights"])


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=64))
def test_levanter_draws_the_shares_block_by_block(masses: list[float]) -> None:
    """Its rule: rounded down in a block, what is left to the largest; a block is shorter than 2^16."""
    shares = shares_of({f"domain{index}": mass for index, mass in enumerate(masses)})
    data = yaml.safe_load(exported("levanter", shares=shares))["data"]
    block = data["mixture_block_size"]
    assert block < 2**16
    drawn = {name: math.floor(weight * block) for name, weight in data["train_weights"].items()}
    drawn[max(drawn, key=drawn.__getitem__)] += block - sum(drawn.values())
    assert shares_of(drawn) == pytest.approx(shares, abs=0.002)


def test_levanter_stages_are_refused() -> None:
    with pytest.raises(ConfigError, match="stages"):
        mixture_in(exporter("levanter"), "data: {train_weights: [[0, {web: 1}]]}", Draws.SEQUENCES, {}, PLACES)


def test_olmix_mixes_the_sources_that_it_lists() -> None:
    content = yaml.safe_load(exported("olmix"))
    sources = {source["name"]: source["paths"] for source in content["data"]["sources"]}
    assert sources == {"web": ["/data/web0", "/data/web1"], "code": ["/data/code"], "books": ["/data/books"]}
    assert {name: entry["weight"] for name, entry in content["mix"].items()} == pytest.approx(
        {"web": 0.6, "code": 0.3, "books": 0.1}
    )
    assert all(set(entry) == {"weight", "repetition_factor"} for entry in content["mix"].values())


def test_regmix_has_the_prefixes_and_the_section_that_its_trainer_needs() -> None:
    content = yaml.safe_load(exported("regmix"))
    assert content["train"] == pytest.approx({"train_web": 0.6, "train_code": 0.3, "train_books": 0.1})
    assert list(content["valid"]) == ["valid_web", "valid_code", "valid_books"]


def test_a_name_that_begins_with_anothers_is_refused_for_regmix() -> None:
    with pytest.raises(ConfigError, match="read the files of web_code as those of web"):
        exported("regmix", shares={"web_code": 0.5, "web": 0.5})


def test_doremi_numbers_the_same_domains_for_training_and_evaluation() -> None:
    content = json.loads(exported("doremi"))
    assert content["train_domain_weights"] == pytest.approx({"web": 0.6, "code": 0.3, "books": 0.1})
    assert set(content["eval_domain_weights"]) == set(content["train_domain_weights"])


class Recorder:
    """Takes the place of a class of torchtitan: keeps its name and its arguments, which are all by keyword."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, **arguments: Any) -> SimpleNamespace:
        return SimpleNamespace(made=self.name, **arguments)

    def __getattr__(self, name: str) -> Recorder:
        return Recorder(f"{self.name}.{name}")


@pytest.fixture
def torchtitan(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torchtitan.components.data", "torchtitan.hf_datasets.text_datasets"):
        module = ModuleType(name)
        module.__getattr__ = Recorder  # type: ignore[method-assign]
        monkeypatch.setitem(sys.modules, name, module)


def run(text: str, folder: Path) -> dict[str, Any]:
    (folder / "mixture.py").write_text(text)
    return runpy.run_path(str(folder / "mixture.py"))


@pytest.mark.usefixtures("torchtitan")
def test_torchtitan_packs_what_it_has_mixed_where_documents_are_drawn(tmp_path: Path) -> None:
    dataset = run(exported("torchtitan", Draws.DOCUMENTS), tmp_path)["dataset"]
    assert dataset.made == "ConcatThenSplitPackingConfig"
    assert dataset.dataset.made == "DatasetMixConfig"
    parts = {part.dataset.source.patterns: part.weight for part in dataset.dataset.datasets}
    assert shares_of(parts) == pytest.approx(
        {
            ("/data/web0", "/data/web1"): DOCUMENTS["web"],
            ("/data/code",): DOCUMENTS["code"],
            ("/data/books",): DOCUMENTS["books"],
        },
        abs=1e-3,
    )


@pytest.mark.usefixtures("torchtitan")
def test_torchtitan_mixes_what_it_has_packed_where_sequences_are_drawn(tmp_path: Path) -> None:
    dataset = run(exported("torchtitan", Draws.SEQUENCES), tmp_path)["dataset"]
    assert dataset.made == "DatasetMixConfig"
    assert {part.dataset.made for part in dataset.datasets} == {"ConcatThenSplitPackingConfig"}
    assert [part.weight for part in dataset.datasets] == [600.0, 300.0, 100.0]


@pytest.mark.usefixtures("torchtitan")
@pytest.mark.parametrize("masses", [[0.4976, 0.5024], [0.3333, 0.3345, 0.3322], [1e-6, 0.3, 0.7], [1.0]])
def test_torchtitan_keeps_shares_that_grain_would_cut(masses: list[float], tmp_path: Path) -> None:
    """Grain's rule: whole numbers, rounded down, 100 for the least."""
    shares = shares_of({f"domain{index}": mass for index, mass in enumerate(masses)})
    dataset = run(exported("torchtitan", Draws.SEQUENCES, shares), tmp_path)["dataset"]
    weights = [part.weight for part in dataset.datasets]
    drawn = [int(weight * (100 / min(weights))) for weight in weights]
    assert [each / sum(drawn) for each in drawn] == pytest.approx(list(shares.values()), abs=0.002)


def test_webdataset_gives_the_shares_and_does_not_end_with_its_shortest_part(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    lengths = {"long": 600, "middle": 200, "short": 40}
    for domain, length in lengths.items():
        for shard in range(3):
            with tarfile.open(tmp_path / f"{domain}-{shard}.tar", "w") as tar:
                for index in range(100):
                    entry = tarfile.TarInfo(f"{domain}-{shard}-{index}.txt")
                    entry.size = length
                    tar.addfile(entry, io.BytesIO(b"x" * length))
    where = Locations(
        {domain: {f"{tmp_path}/{domain}-{{0..1}}.tar": None, f"{tmp_path}/{domain}-2.tar": None} for domain in lengths}
    )
    mixture = Mixture.of({"long": 0.5, "middle": 0.3, "short": 0.2})
    text = exporter("webdataset").render(Exportable(mixture, Draws.DOCUMENTS, lengths, where))
    samples = iter(run(text, tmp_path)["mixed"])
    tokens, read = dict.fromkeys(lengths, 0.0), set()
    random.seed(0)  # RandomMix draws with the generator of the process
    for _ in range(20_000):
        sample = next(samples)
        tokens[sample["__key__"].split("-")[0]] += len(sample["txt"])
        read.add(sample["__url__"])
    assert len(read) == 9
    assert shares_of(tokens) == pytest.approx(mixture.as_dict(), abs=0.02)


MEGATRON = "0.5 web \\\n0.5 code"


@pytest.mark.parametrize(
    "text", [f"python pretrain.py --data-path {MEGATRON} \\\n  --seed 3", f"{MEGATRON}\n"], ids=["a command", "a file"]
)
def test_megatrons_lines_may_end_in_a_backslash_and_be_a_file_of_their_own(text: str) -> None:
    places = Locations({"web": {"web": None}, "code": {"code": None}})
    assert mixture_in(exporter("megatron"), text, Draws.SEQUENCES, {}, places).as_dict() == {"web": 0.5, "code": 0.5}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("megatron", "--data-path 0.5 web O.5 code", "code: 'O.5' is no weight"),
        ("megatron", "--data-path 0.5 web code", "3 words are no pairs"),
        ("gpt-neox", "train-data-paths: [web, code]\ntrain-data-weights: [1]\n", "2 places have 1 weights"),
        ("nanotron", "data_stages: [{data: {dataset: {dataset_folder: [web], dataset_weights: [1, 2]}}}]", "1 places"),
        ("hf", '{"datasets": ["web", "code"], "probabilities": [1]}', "2 places have 1 weights"),
    ],
)
def test_what_is_wrong_in_a_trainers_file_is_named(name: str, text: str, says: str) -> None:
    format, places = exporter(name), Locations({"web": {"web": None}, "code": {"code": None}})
    with pytest.raises(ConfigError, match=says):
        mixture_in(format, text, format.draws[0], dict.fromkeys(places.of, 1.0), places)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "gpt-neox",
            "train_data_paths: [web, code]\ntrain_data_weights: [1, 2]\nweight_by_num_documents: true\n",
            "overrules the weights",
        ),
        ("llama-factory", "dataset: web,code\nmix_strategy: concat\ninterleave_probs: '0.3,0.7'\n", "mean nothing"),
        ("llama-factory", "dataset: web,code\ninterleave_probs: '0.3,0.7'\n", "mean nothing"),
    ],
)
def test_weights_that_the_trainer_overrules_are_refused(name: str, text: str, says: str) -> None:
    format, places = exporter(name), Locations({"web": {"web": None}, "code": {"code": None}})
    with pytest.raises(ConfigError, match=says) as error:
        mixture_in(format, text, format.draws[0], dict.fromkeys(places.of, 1.0), places)
    assert "set " in error.value.hint
