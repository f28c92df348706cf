"""How far pools are from what is judged, in the report: a table, and whether it helped to be near."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mixopt.report.content import Apart, Content, Missing, RankAgreement
from mixopt.report.gather import summarise
from mixopt.report.page import render
from mixopt.settings.reading import load
from mixopt.study import distances
from mixopt.study.answer import answer_so_far
from mixopt.study.corpus import prepare_corpus
from mixopt.study.distances import distances_of
from mixopt.study.planning import make_plan
from mixopt.study.record import read_record
from search.trial import Loss, Measurement, Trial
from tests.simulated import run
from tests.text import documents
from tests.tracking.new_store import new_store

POOLS = [f"{kind}{number}" for kind in ("prose", "code", "sums") for number in (1, 2)]
STUDY = f"""\
study: six
domains: {{{", ".join(f"{name}: {{paths: data/{name}.jsonl}}" for name in POOLS)}}}
corpus: {{vocabulary: 300, validation_tokens: 1k, sequence_length: 32}}
proxies:
  dense: {{kind: dense, depth: 1, width: 32, heads: 2, tokens: 4k, batch_rows: 8, evaluations: 2, trials: 40}}
search: {{strategy: regmix, surrogate: linear}}
confirm: {{candidates: 0}}
executor: {{kind: in_process}}
"""


def of_kinds(trial: Trial) -> Measurement:
    """Losses that fall with the share of all pools of their kind."""
    shares = trial.mixture.as_dict()
    losses = {
        name: Loss(3 - math.sqrt(sum(share for pool, share in shares.items() if pool[:-1] == name[:-1])), 1.0)
        for name in shares
    }
    return Measurement(losses, (), {}, {}, trial.fidelity.flops, 1.0)


def of_none(trial: Trial) -> Measurement:
    """Losses that fall with the share of a pool of another kind."""
    shares = trial.mixture.as_dict()
    losses = {name: Loss(3 - math.sqrt(shares[POOLS[place - 3]]), 1.0) for place, name in enumerate(POOLS)}
    return Measurement(losses, (), {}, {}, trial.fidelity.flops, 1.0)


def said(folder: Path, measuring: Callable[[Trial], Measurement]) -> Content:
    data = folder / "data"
    data.mkdir()
    for name in POOLS:
        half = documents(name[:-1], 60)[30 * (int(name[-1]) - 1) :][:30]
        (data / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in half))
    new_store(folder / ".mixopt")
    (folder / "study.yaml").write_text(STUDY)
    file = load(folder / "study.yaml")
    plan = make_plan(file, prepare_corpus(file, lambda progress: None))
    answer, _ = run(plan, measuring)
    content = summarise(plan, read_record(file).history, answer)
    if (pictures := os.environ.get("MIXOPT_PICTURES")) is not None:
        (Path(pictures) / f"{folder.name}.html").write_text(render(content))
    assert isinstance(content.apart, Apart)
    found = distances_of(plan)
    assert content.apart.distances == {name: each.distances for name, each in found.domains.items()}
    return content


def test_where_near_pools_help_the_report_says_so(tmp_path: Path) -> None:
    content = said(tmp_path, of_kinds)
    assert isinstance(content.apart, Apart)
    agreement = content.apart.agreement
    assert isinstance(agreement, RankAgreement) and agreement.helped and set(agreement.sets) == set(POOLS)
    page = render(content)
    assert "How far pools are from what is judged" in page and "Being near helped here" in page
    for name in POOLS:
        assert f"{content.apart.distances[name]['prose1']:.3f}" in page


def test_where_they_do_not_the_report_says_that(tmp_path: Path) -> None:
    content = said(tmp_path, of_none)
    assert isinstance(content.apart, Apart)
    assert isinstance(content.apart.agreement, RankAgreement) and not content.apart.agreement.helped
    assert "Being near is not shown to help here" in render(content)


def test_of_many_pools_it_is_said_how_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said(tmp_path, of_none)
    monkeypatch.setattr(distances, "FEW", 11)
    file = load(tmp_path / "study.yaml")
    plan = make_plan(file, prepare_corpus(file, lambda progress: None))
    record = read_record(file)
    found = summarise(plan, record.history, answer_so_far(file, record))
    assert isinstance(found.apart, Missing) and f"mixopt distances {file.file}" in render(found)
