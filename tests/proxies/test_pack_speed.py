from __future__ import annotations

import pytest

from proxies.pack_speed import best_pack, pack_speeds
from tests.proxies.toy import toy_recipe


def test_packs_are_doubled_until_they_gain_little() -> None:
    speeds = pack_speeds(toy_recipe("dense"), seconds=0.05)

    assert list(speeds) == [2**power for power in range(len(speeds))]
    assert all(speed > 0 for speed in speeds.values())
    assert best_pack(speeds) in speeds


@pytest.mark.parametrize(
    ("speeds", "best"), [({1: 10.0, 2: 19.0, 4: 20.0}, 2), ({1: 10.0, 2: 9.0}, 1), ({1: 1.0, 2: 2.0, 4: 4.0}, 4)]
)
def test_the_smallest_pack_that_none_beats_by_much_is_the_best(speeds: dict[int, float], best: int) -> None:
    assert best_pack(speeds) == best
