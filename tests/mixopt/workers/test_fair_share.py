"""Several studies on one cluster: nobody waits for slots that another cannot use, nobody has more than its part."""

from __future__ import annotations

from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixopt.workers import fair_share
from mixopt.workers.fair_share import FORGOTTEN_AFTER_SECONDS, Roll, fair_shares

ROOM = 12
rooms = st.integers(0, 200)
wishes = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 60) | st.just(inf), max_size=8)


@given(rooms, wishes)
def test_nobody_gets_more_than_it_wants_and_whoever_wants_gets_one(room: int, wanted: dict[str, float]) -> None:
    shares = fair_shares(room, wanted)
    assert shares.keys() == wanted.keys()
    assert all(min(1, wanted[name]) <= shares[name] <= wanted[name] for name in wanted)


@given(rooms, wishes)
def test_all_slots_are_given_and_none_twice(room: int, wanted: dict[str, float]) -> None:
    """With more studies than slots each still has one, and waits for it in Ray's queue."""
    given_out = sum(fair_shares(room, wanted).values())
    hungry = sum(wish > 0 for wish in wanted.values())
    assert given_out == min(sum(wanted.values()), max(room, hungry))


@given(rooms, wishes)
def test_who_goes_without_has_no_less_than_others(room: int, wanted: dict[str, float]) -> None:
    """But for the one slot each that cannot be divided."""
    shares = fair_shares(room, wanted)
    for name in wanted:
        if shares[name] < wanted[name]:
            assert max(shares.values()) <= shares[name] + 1


@given(rooms, wishes, st.randoms(use_true_random=False))
def test_the_order_of_arrival_makes_no_difference(room: int, wanted: dict[str, float], chance: Random) -> None:
    """Every driver is told its own share alone: only equal sums fit together."""
    names = list(wanted)
    chance.shuffle(names)
    assert fair_shares(room, {name: wanted[name] for name in names}) == fair_shares(room, wanted)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(fair_share, "time", clock)
    return clock


class Driver:
    """A driver that fills its slots while its strategy has trials to run, and never ends one for another study."""

    def __init__(self, roll: Roll, study: str, trials: float, room: int = ROOM) -> None:
        self.roll, self.study, self.trials, self.room = roll, study, trials, room
        self.slots, self.busy = room, 0

    def look(self, ended: int = 0) -> int:
        """`ended` of its trials have ended since; returns its slots from now on."""
        self.busy -= min(ended, self.busy)
        self.busy = int(max(self.busy, min(self.slots, self.trials)))
        self.slots = self.roll.share(self.study, self.room, self.busy, self.busy >= self.slots)
        return self.slots


def test_a_study_alone_has_everything(clock: Clock) -> None:
    assert [Driver(Roll(), "alone", inf).look() for _ in range(3)] == [ROOM] * 3


def test_studies_that_want_more_come_to_even_parts(clock: Clock) -> None:
    roll = Roll()
    drivers = [Driver(roll, name, inf) for name in ("first", "second", "third")]
    for _ in range(20):
        for driver in drivers:
            driver.look(ended=1)
    assert [driver.slots for driver in drivers] == [4, 4, 4]
    assert sum(driver.busy for driver in drivers) == ROOM


def test_what_a_study_cannot_use_the_other_keeps_for_good(clock: Clock) -> None:
    """A strategy that waits for results: its share must not swing, each swing asks it again and makes others wait."""
    roll = Roll()
    waiting, hungry = Driver(roll, "waiting", trials=2), Driver(roll, "hungry", inf)
    seen = [(waiting.look(), hungry.look(ended=1)) for _ in range(20)][5:]
    assert len(set(seen)) == 1, seen
    assert hungry.busy >= ROOM - 3  # but for the slot by which the other would show that it wants more


def test_a_study_that_wants_more_again_gets_its_part(clock: Clock) -> None:
    roll = Roll()
    late, hungry = Driver(roll, "late", trials=1), Driver(roll, "hungry", inf)
    for _ in range(10):
        late.look(), hungry.look(ended=1)
    late.trials = inf
    for _ in range(20):
        late.look(ended=1), hungry.look(ended=1)
    assert (late.slots, hungry.slots) == (6, 6)


@pytest.mark.parametrize("ends", ["leaves", "dies"])
def test_a_study_that_has_ended_holds_nothing(clock: Clock, ends: str) -> None:
    roll = Roll()
    gone, other = Driver(roll, "gone", inf), Driver(roll, "other", inf)
    gone.look(), other.look()
    assert other.look() == ROOM / 2
    if ends == "leaves":
        roll.leave("gone")
    else:
        clock.now += FORGOTTEN_AFTER_SECONDS + 1
    assert other.look() == ROOM
    roll.leave("gone")


def test_a_study_that_was_forgotten_is_taken_up_again(clock: Clock) -> None:
    roll = Roll()
    silent, other = Driver(roll, "silent", inf), Driver(roll, "other", inf)
    silent.look(), other.look()
    clock.now += FORGOTTEN_AFTER_SECONDS + 1
    assert other.look() == ROOM
    assert silent.look() == ROOM / 2
    assert other.look() == ROOM / 2


def test_nodes_that_come_and_go_are_divided_too(clock: Clock) -> None:
    roll = Roll()
    drivers = [Driver(roll, name, inf) for name in ("first", "second")]
    for room, part in ((ROOM, 6), (2, 1), (0, 1), (40, 20)):
        for driver in (*drivers, *drivers):
            driver.room = room
            driver.look()
        assert [driver.slots for driver in drivers] == [part, part]
