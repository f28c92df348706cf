from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixopt.settings.units import parse_amount, parse_count, parse_duration, parse_share, show_count, show_duration


@pytest.mark.parametrize(
    ("written", "count"),
    [("2B", 2_000_000_000), ("1.5M", 1_500_000), ("64k", 64_000), (7, 7), ("1e6", 1_000_000), ("64_000", 64_000)],
)
def test_counts(written: object, count: int) -> None:
    assert parse_count(written) == count


@pytest.mark.parametrize("written", ["", "B", "2X", "-3", 0, -1, True, None, "1.0001", "1e400", [1], float("inf")])
def test_no_counts(written: object) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_count(written)


@pytest.mark.parametrize(("written", "seconds"), [("45s", 45), ("90m", 5_400), ("1.5h", 5_400), ("2d", 172_800)])
def test_durations(written: str, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(("written", "share"), [("5%", 0.05), (0.3, 0.3), (1, 1.0), ("100%", 1.0)])
def test_shares(written: object, share: float) -> None:
    assert parse_share(written) == share


@pytest.mark.parametrize("written", ["5", "101%", -0.1, 1.1, float("nan"), True])
def test_no_shares(written: object) -> None:
    with pytest.raises(ValueError, match="share"):
        parse_share(written)


@given(st.integers(1, 10**15))
def test_a_shown_count_reads_back_to_three_digits(count: int) -> None:
    assert parse_amount(show_count(count)) == pytest.approx(count, rel=0.005)


def test_durations_are_shown_in_the_unit_of_their_size() -> None:
    assert [show_duration(seconds) for seconds in (5, 600, 10_000, 300_000)] == ["5 s", "10 min", "2.8 h", "3.5 d"]
