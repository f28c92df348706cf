"""What every export says about itself, over all formats: a receipt is there, and its numbers are right."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixopt.base.errors import ConfigError
from mixopt.exports.asked import mixture_of
from mixopt.exports.formats import EXPORTERS, Draws, Exportable, Exporter, Locations, exporter, mixture_in
from mixopt.exports.receipt import SOMEBODYS, Source, beside, exported, read_receipt, rounded_to_nothing
from search.mixture import Mixture

CASES = [pytest.param(each, draws, id=f"{name}-{draws}") for name, each in EXPORTERS.items() for draws in each.draws]
SHARES = {"web": 0.6, "code": 0.3, "on": 0.1}
LENGTHS = {"web": 500.0, "code": 300.0, "on": 800.0}
SUPPLY = {"web": 50e6, "code": 40e6, "on": 4e6}
TOKENS, LENGTH = 80_000_000, 4096


def exportable(mixture: Mixture, draws: Draws, tokens: int | None = TOKENS) -> Exportable:
    where = Locations({domain: {f"/data/it's {domain}": None} for domain in mixture.domains})
    return Exportable(mixture, draws, LENGTHS, where, tokens, 4.0, 7, supply=SUPPLY, sequence_length=LENGTH)


@pytest.mark.parametrize(("each", "draws"), CASES)
def test_every_export_has_its_receipt_in_the_file_or_beside(each: Exporter, draws: Draws, tmp_path: Path) -> None:
    asked = Mixture.of(SHARES)
    path = tmp_path / f"mixture{each.suffix}"
    made = exported(each, exportable(asked, draws), Source(f"{SOMEBODYS}: 3 % better. Other\nthings.", "s"))
    made.write(path)
    receipt, text = read_receipt(path)
    assert receipt == made.receipt
    assert beside(path).exists() == (each.receipt == "beside")
    assert receipt.verdict == f"{SOMEBODYS}: 3 % better."
    assert (receipt.format, receipt.weights_count, receipt.tokens) == (each.name, draws, TOKENS)
    units = SUPPLY if draws is Draws.PASSES else LENGTHS
    where = exportable(asked, draws).locations
    meant = mixture_in(each, text, draws, units, where)
    assert meant.weights == pytest.approx(asked.weights, abs=1e-4)
    assert mixture_of(receipt, text).total_variation(meant) < 1e-9


@pytest.mark.parametrize(("each", "draws"), CASES)
def test_the_numbers_of_a_receipt_are_right(each: Exporter, draws: Draws) -> None:
    made = exported(each, exportable(Mixture.of(SHARES), draws), Source())
    receipt = made.receipt
    assert receipt.grid and receipt.units
    rows = receipt.domains
    assert {name: row.asked for name, row in rows.items()} == pytest.approx(SHARES)
    assert math.fsum(row.realised or 0 for row in rows.values()) == pytest.approx(1)
    assert sum(row.count or 0 for row in rows.values()) == receipt.units
    for name, row in rows.items():
        assert row.realised is not None and row.epochs is not None
        assert row.realised == pytest.approx(SHARES[name], abs=0.006)
        assert row.epochs == pytest.approx(row.realised * TOKENS / SUPPLY[name])
        unit = {"tokens": 1.0, "sequences": LENGTH, "documents": LENGTHS[name]}.get(receipt.grid)
        if unit is not None:
            assert (row.count or 0) * unit == pytest.approx(row.realised * TOKENS, rel=1e-3)


weights = st.lists(st.floats(0.01, 1.0), min_size=2, max_size=3)


@pytest.mark.parametrize(("each", "draws"), CASES)
@given(masses=weights, tokens=st.integers(1_000_000, 10**9))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)
def test_realised_shares_sum_to_one_and_are_within_a_unit(
    each: Exporter, draws: Draws, masses: list[float], tokens: int
) -> None:
    mixture = Mixture.of(dict(zip(SHARES, masses, strict=False)))
    given_ = exportable(mixture, draws, tokens)
    grid = each.grid(given_)
    assert grid is not None
    assert not rounded_to_nothing(grid)
    assert math.fsum(grid.shares.values()) == pytest.approx(1)
    # A unit of each domain, in tokens; axolotl rounds in each of its epochs.
    units = {name: grid.tokens[name] / grid.counts[name] for name in grid.counts}
    epochs = math.ceil(max(given_.passes.values())) if each.same_part else 1
    unit = (1 + len(units)) * max(units.values()) * epochs / sum(grid.tokens.values())
    # Grain's least has a hundred, of which half a one is lost.
    unit = max(unit, 0.01) if each.name == "torchtitan" else unit
    assert all(abs(grid.shares[name] - mixture[name]) <= unit for name in grid.counts)


@pytest.mark.parametrize(("each", "draws"), CASES)
def test_a_domain_that_the_grid_rounds_to_nothing_is_a_mistake_unless_it_is_left_out(
    each: Exporter, draws: Draws, tmp_path: Path
) -> None:
    tiny = exportable(Mixture.of({"web": 0.7, "code": 0.3 - 1e-10, "on": 1e-10}), draws)
    if not rounded_to_nothing(each.grid(tiny)):
        assert each.name == "torchtitan", "whose grid follows from the least weight"
        return
    with pytest.raises(ConfigError, match=f"{each.name} would draw nothing of domain on: its share") as error:
        exported(each, tiny, Source())
    assert error.value.hint.startswith("--leave-out")
    made = exported(each, tiny, Source(), leave_out=True)
    row = made.receipt.domains["on"]
    assert row.asked == pytest.approx(1e-10)
    assert (row.realised, row.count) == (0.0, 0)
    made.write(tmp_path / "export")
    assert read_receipt(tmp_path / "export")[0] == made.receipt


@pytest.mark.parametrize(("each", "draws"), CASES)
def test_without_the_runs_tokens_a_receipt_claims_no_grid_that_it_does_not_know(each: Exporter, draws: Draws) -> None:
    receipt = exported(each, exportable(Mixture.of(SHARES), draws, None), Source()).receipt
    assert (receipt.grid is None) == (receipt.units is None) == (receipt.total_variation is None)
    assert all(row.epochs is None for row in receipt.domains.values())


def test_weights_are_parts_of_datasets_and_one_at_most() -> None:
    text = exporter("axolotl").render(exportable(Mixture.of(SHARES), Draws.PASSES))
    # 48M of 50M, 24M of 40M, and 8M of 4M: two epochs, in which the parts are half of that.
    assert "weight: 0.48" in text and "weight: 0.3\n" in text and "weight: 1.0" in text and "num_epochs: 2" in text


def test_what_is_read_more_than_once_stands_there_again_for_trl() -> None:
    text = exporter("trl").render(exportable(Mixture.of(SHARES), Draws.DOCUMENTS))
    assert text.count("it's on") == 2 and "train[:5000]" in text


def test_passes_are_how_often_a_domain_is_read() -> None:
    text = exporter("passes").render(exportable(Mixture.of(SHARES), Draws.PASSES))
    assert "web: 0.96" in text and "code: 0.6" in text and "'on': 2.0" in text


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("axolotl", "datasets: [{path: web, weight: 1.5}]", "weight 1.5 is no part of a dataset"),
        ("axolotl", "datasets: [{path: web, weight: 0.5}]\nstreaming: true", "leaves weights out where it streams"),
        ("trl", "datasets: [{path: web, split: 'train[:30%]'}]", "does not say how many documents"),
        ("trl", "datasets: [{path: web}]", "does not say how many documents"),
        ("trl", "datasets: [{path: web, split: 'train[:3]'}]\nstreaming: true", "a part of a stream"),
        ("nemo", "model: {data: {data_prefix: [0.3, web, 0.7]}}", "no weight for each of its paths"),
        ("nemo-automodel", "dataset: {paths: web}", "no weight for each of its paths"),
        ("energon", "splits: {train: {blend_epochized: [{repetitions: 2, path: web}]}}", "counts passes"),
    ],
)
def test_what_a_format_does_not_say_is_refused_with_the_reason(name: str, text: str, says: str) -> None:
    format = exporter(name)
    with pytest.raises(ConfigError, match=says) as error:
        mixture_in(format, text, format.draws[0], {"web": 1.0}, Locations({"web": {"web": None}}))
    assert error.value.hint


@pytest.mark.parametrize(("text", "says"), [("a: 1\n", "has no receipt"), ("receipt: {a: 1}\n", "damaged at")])
def test_a_file_without_a_receipt_is_refused_in_one_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_receipt(tmp_path / "some.yaml")
