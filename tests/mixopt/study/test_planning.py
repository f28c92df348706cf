"""What a study file becomes: its objective, its search settings, and the earlier runs that it reuses."""

import json
from pathlib import Path

import pytest

from mixopt.base.errors import ConfigError
from mixopt.settings.reading import load
from mixopt.settings.schema import StudyFile
from mixopt.study.corpus import prepare_corpus
from mixopt.study.plan import Plan
from mixopt.study.planning import as_begun, check_settings, make_plan
from search.errors import SearchError
from search.history import History
from search.mixture import Mixture
from search.objective import NoWorse, Pareto, WeightedMean, WorstCase
from search.trust_region import TrustRegion
from tests.e2e.study import STUDY, write_study
from tests.simulated import planned
from tracking.errors import TrackingError
from tracking.record import Subject

OBJECTIVE = "objective: {weights: {prose: 2, code: 1}}"
# A table over two earlier domains: text became prose, and rest was split into code and sums.
EARLIER = """\
run,fidelity,params,tokens,weight.text,weight.rest,metric.text,metric.code
a,dense,{params},{tokens},0.5,0.5,3.1,3.0
b,dense,{params},{tokens},0.7,0.3,3.0,3.1
c,other,100,100,0.9,0.1,2.9,3.4
"""
REUSE = "reuse: {runs: earlier.csv, renamed: {text: prose}, split: {rest: [code, sums]}}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with its tokens prepared."""
    folder = tmp_path_factory.mktemp("study")
    prepare_corpus(load(write_study(folder)), lambda progress: None)
    return folder


def study(folder: Path, *changes: tuple[str, str], more: str = "") -> StudyFile:
    text = STUDY
    for was, becomes in changes:
        assert was in text
        text = text.replace(was, becomes)
    (folder / "study.yaml").write_text(text + more)
    return load(folder / "study.yaml")


def plan(folder: Path, *changes: tuple[str, str], more: str = "") -> Plan:
    file = study(folder, *changes, more=more)
    check_settings(file)
    return make_plan(file, prepare_corpus(file, lambda progress: None))


def write_earlier(folder: Path) -> None:
    """Earlier runs, two of them of this study's dense proxy."""
    dense = plan(folder).problem.rungs[0].fidelity
    (folder / "earlier.csv").write_text(EARLIER.format(params=dense.params, tokens=dense.tokens))


@pytest.mark.parametrize(
    ("written", "objective"),
    [
        ("{weights: {prose: 2, code: 1}}", WeightedMean({"prose": 2.0, "code": 1.0})),
        ("{kind: worst_case, metrics: [code]}", WorstCase(("code",))),
        (
            "{kind: no_worse, weights: {prose: 1}, allowance: 0.02, baseline: uniform, unit: bits_per_byte}",
            NoWorse(WeightedMean({"prose": 1.0}, "bits_per_byte"), 0.02, "uniform"),
        ),
        ("{kind: pareto}", Pareto(WeightedMean(dict.fromkeys(("prose", "code", "sums"), 1.0)))),
    ],
)
def test_the_objective_is_the_one_written(folder: Path, written: str, objective: object) -> None:
    assert plan(folder, (OBJECTIVE, f"objective: {written}")).problem.objective == objective


def test_the_search_is_the_one_written(folder: Path) -> None:
    settings = plan(
        folder, more="search: {strategy: regmix, surrogate: linear, trust: {max_kl: 2}}\n"
    ).strategy.settings
    assert (settings.surrogate, settings.trust) == ("linear", TrustRegion(max_kl=2.0))


def test_earlier_runs_are_evidence_over_the_domains_of_now(folder: Path) -> None:
    write_earlier(folder)
    made = plan(folder, more=REUSE)
    earlier = made.problem.earlier
    assert earlier is not None
    assert (earlier.domains, earlier.metrics) == (("prose", "code", "sums"), ("prose", "code"))
    assert earlier.weights_ND[:, 0] == pytest.approx([0.5, 0.7, 0.9])
    natural = made.problem.space.natural
    assert earlier.mixture(0)["code"] / earlier.mixture(0)["sums"] == pytest.approx(natural["code"] / natural["sums"])
    assert "3 of 3 earlier runs count as evidence" in made.notes


def test_earlier_runs_may_lie_there_as_a_tracker_exports_them(folder: Path) -> None:
    dense = plan(folder).problem.rungs[0].fidelity
    rows = [
        f"run-{place},finished,{dense.params},{dense.tokens},{web}%,{100 - web - 10}%,10%,3.{place},2.{place}"
        for place, web in enumerate((50, 70, 20))
    ]
    header = "Name,State,n_params,tokens,mix/prose,mix/code,mix/sums,eval/prose,eval/code"
    crashed = f"dead,crashed,{dense.params},{dense.tokens},40%,50%,10%,9.9,9.9"
    (folder / "export.csv").write_text("\n".join([header, *rows, crashed]))
    made = plan(folder, more="reuse: {runs: export.csv}\n")
    earlier = made.problem.earlier
    assert earlier is not None
    assert earlier.weights_ND[:, 0] == pytest.approx([0.5, 0.7, 0.2])
    assert earlier.values_NM[:, 1] == pytest.approx([2.0, 2.1, 2.2])
    assert any("1 row is left out: 1 crashed (State)" in note for note in made.notes)


def test_an_earlier_proxy_is_the_same_only_where_losses_can_be_compared(folder: Path) -> None:
    write_earlier(folder)

    def proxies(*changes: tuple[str, str]) -> list[str]:
        earlier = plan(folder, *changes, more=REUSE).problem.earlier
        assert earlier is not None
        return [fidelity.proxy for fidelity in earlier.fidelities]

    assert set(proxies()) == {"earlier dense", "earlier other"}
    assert set(proxies(("code: 1}}", "code: 1}, unit: bits_per_byte}"))) == {"dense", "earlier other"}


def test_kept_domains_keep_the_ratio_that_is_written_or_that_of_their_tokens(folder: Path) -> None:
    no_group = ("groups:\n  plain: {domains: [prose, sums], min: 30%}\n", "")
    made = plan(folder, no_group, more="reuse: {keep: [prose, code], at: {prose: 3, code: 1}}\n")
    assert made.problem.kept == Mixture.of({"prose": 3.0, "code": 1.0})
    for trial in made.strategy.ask(History(), 100):
        if trial.origin == "design":
            assert trial.mixture["prose"] == pytest.approx(3 * trial.mixture["code"])
    natural = made.problem.space.natural
    kept = plan(folder, no_group, more="reuse: {keep: [prose, code]}\n").problem.kept
    assert kept is not None
    assert kept["prose"] / kept["code"] == pytest.approx(natural["prose"] / natural["code"])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (REUSE.replace("text:", "texts:"), "reuse: the earlier runs have no domain texts"),
        (REUSE.replace("renamed: {text: prose}, ", ""), "reuse: each earlier run gave more than 2% to .* text"),
        ("reuse: {keep: [prose, code], at: {prose: 1, code: 1}}\n", "group plain holds prose, but not all"),
    ],
)
def test_what_cannot_be_reused_is_said_before_any_text_is_read(folder: Path, more: str, says: str) -> None:
    write_earlier(folder)
    with pytest.raises((ConfigError, SearchError), match=says):
        check_settings(study(folder, more=more))


@pytest.mark.parametrize(("began", "here"), [("bf16", "fp32"), ("fp32", "bf16")])
def test_a_study_goes_on_in_the_number_format_that_it_began_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, began: str, here: str
) -> None:
    text = STUDY.replace("moe:   {", "moe:   {precision: fp32, ")
    monkeypatch.setattr("proxies.recipe.native_precision", lambda device: began)
    first = planned(tmp_path, text)
    subject = Subject(first.file.study, json.loads(json.dumps(first.deciding())), first.pools.fingerprint)
    assert as_begun(first, subject) == first == as_begun(first, None)

    monkeypatch.setattr("proxies.recipe.native_precision", lambda device: here)
    elsewhere = planned(tmp_path, text)
    with pytest.raises(TrackingError, match=r"changed: recipes\.dense\.precision"):
        subject.require(elsewhere.deciding(), elsewhere.pools.fingerprint)
    again = as_begun(elsewhere, subject)
    subject.require(again.deciding(), again.pools.fingerprint)
    [note] = set(again.notes) - set(elsewhere.notes)
    assert note.startswith(f"proxy dense goes on in {began}, as the study began; this machine alone would use {here}")
    assert ("longer" in note) == (began == "bf16")


def test_a_mixture_of_experts_is_built_as_the_study_file_says(folder: Path) -> None:
    changed = plan(
        folder,
        ("experts: 4,", "sparsity: 90%, granularity: 2, scores: sigmoid, balancing: bias,"),
    )
    experts = changed.recipes["moe"].model.experts
    assert experts is not None
    assert (experts.count, experts.top_k, experts.scores, experts.balancing) == (40, 4, "sigmoid", "bias")
    assert changed.recipes["moe"].balance_loss == 0
    with pytest.raises(ConfigError, match=r"proxies.moe.*sparsity is 1\.0"):
        check_settings(study(folder, ("experts: 4,", "sparsity: 100%,")))


def test_a_study_that_was_begun_before_experts_had_scores_and_a_bias_goes_on(folder: Path) -> None:
    begun = plan(folder).deciding()["recipes"]
    assert "bias_rate" not in begun["dense"] | begun["moe"]
    assert begun["moe"]["model"]["experts"].keys() == {"count", "top_k", "feed_forward", "shared_feed_forward"}

    changed = plan(folder, ("experts: 4,", "experts: 4, balancing: bias,")).deciding()["recipes"]["moe"]
    assert "bias_rate" in changed and changed["model"]["experts"]["balancing"] == "bias"


def test_pools_that_are_not_what_they_seem_are_noted(tmp_path: Path) -> None:
    write_study(tmp_path)
    (tmp_path / "data" / "copy.jsonl").write_bytes((tmp_path / "data" / "code.jsonl").read_bytes())
    (tmp_path / "data" / "few.jsonl").write_text(
        "".join(f'{{"text": "{f"document {n} of few " * 20}"}}\n' for n in range(3))
    )
    (tmp_path / "data" / "pool").mkdir()
    (tmp_path / "data" / "prose.jsonl").rename(tmp_path / "data" / "pool" / "prose.jsonl")
    (tmp_path / "data" / "pool" / "README.md").write_text("a card")
    domains = "  copy: {paths: data/copy.jsonl}\n  few: {paths: data/few.jsonl}\ngroups:"
    notes = plan(
        tmp_path,
        ("data/prose.jsonl", "data/pool"),
        ("groups:", domains),
        ("target: {tokens: 40k", "target: {tokens: 4k"),
        ("weights: {prose: 2, code: 1}", "weights: {prose: 2, code: 1, few: 1, sums: 0}"),
    ).notes
    assert any(note.startswith("domains code, copy hold the same text") for note in notes), notes
    assert any(note.startswith("domain few has 3 documents, too few to validate on") for note in notes), notes
    assert "domain prose: files beside its records are not read: README.md" in notes


def test_sets_of_few_documents_are_not_to_become_smaller_and_those_without_weight_do_not_matter(tmp_path: Path) -> None:
    write_study(tmp_path)
    few = ("validation_tokens: 1k", "validation_tokens: 500")
    counts = ("weights: {prose: 2, code: 1}", "weights: {code: 1, sums: 0}")
    notes = plan(tmp_path, few, counts, ("tokens: 4k,", "tokens: 2k,")).notes
    [small] = [note for note in notes if "raise corpus.validation_tokens" in note]
    assert "very few documents of code (1)" in small and "sums" not in small and "prose" not in small
    [dense, _] = [note for note in notes if "of its time on evaluation" in note]
    assert dense.endswith("on evaluation; lower proxies.dense.evaluations, or train it on more tokens")
    prose = ("weights: {prose: 2, code: 1}", "weights: {prose: 1}")
    many = plan(tmp_path, ("validation_tokens: 1k", "validation_tokens: 3k"), prose).notes
    assert any("on evaluation; lower corpus.validation_tokens, or lower proxies" in note for note in many)
