"""Numbers as people write them, and when it takes a person to say what they mean."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixopt.runs.tables.numbers import Decimal, UnclearDecimals, decimal_of, is_missing, number, ways_of


@pytest.mark.parametrize(
    ("cell", "decimal", "value"),
    [
        ("0,25", "comma", 0.25),
        ("1.234,5", "comma", 1234.5),
        ("1.234.567", "comma", 1234567),
        ("1,234.5", "point", 1234.5),
        ("1,234,567", "point", 1234567),
        ("1 234,5", "comma", 1234.5),
        ("1\u202f234.5", "point", 1234.5),
        ("1'234'567.5", "point", 1234567.5),
        ("12,5%", "comma", 0.125),
        ("12.5 %", "point", 0.125),
        ("\u22120.5", "point", -0.5),
        ("3e-4", "point", 3e-4),
        (" 7 ", "point", 7),
        ("inf", "point", math.inf),
        (0.5, "comma", 0.5),
    ],
)
def test_a_number(cell: object, decimal: Decimal, value: float) -> None:
    assert number(cell, decimal) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(("cell", "value"), [("20M", 2e7), ("1,5B", 1.5e9), ("300k", 3e5), ("64", 64)])
def test_an_amount(cell: str, value: float) -> None:
    assert number(cell, "comma", amount=True) == value


@pytest.mark.parametrize("cell", ["much", "1,2,3", "12,34.5", "1.2.3", "", "20M", "0x10", "1;2", "--"])
def test_no_number(cell: str) -> None:
    with pytest.raises(ValueError):
        number(cell, "point")


@pytest.mark.parametrize("cell", ["", " ", "NaN", "N/A", "#N/A", "null", "-", "–", None, math.nan, "<NA>"])
def test_nothing(cell: object) -> None:
    assert is_missing(cell)


def test_decimals_are_told_by_the_cells_that_can_be_meant_one_way() -> None:
    assert decimal_of(ways_of(["2,387", "0,25"]), set()) == "comma"
    assert decimal_of(ways_of(["1.234", "1.234.567"]), set()) == "comma"
    assert decimal_of(ways_of(["1,234", "1,234,567"]), set()) == "point"
    assert decimal_of(ways_of(["2,387"]), {"comma"}) == "comma", "as in the table's other columns"
    assert decimal_of(ways_of(["2.387"]), set()) == decimal_of(ways_of(["2.387"]), {"comma", "point"}) == "point", (
        "as programs write"
    )
    assert decimal_of(ways_of(["1,2e5", "2,387"]), set()) == "comma"


@pytest.mark.parametrize(
    ("cells", "table"),
    [
        (["2,387"], set()),
        (["2,387"], {"point"}),
        (["2.387"], {"comma"}),
        (["0,25", "0.25"], set()),
        (["2,387", "2.387"], {"comma"}),
    ],
)
def test_what_may_be_meant_two_ways_is_asked(cells: list[str], table: set[Decimal]) -> None:
    with pytest.raises(UnclearDecimals):
        decimal_of(ways_of(cells), table)


@given(st.floats(-1e12, 1e12).map(lambda value: round(value, 4)))
def test_what_is_written_with_thousands_and_decimals_is_read(value: float) -> None:
    english = f"{value:,.4f}"
    german = english.translate(str.maketrans(",.", ".,"))
    assert number(english, "point") == number(german, "comma") == float(f"{value:.4f}")
