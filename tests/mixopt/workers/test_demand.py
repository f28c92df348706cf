"""What a cluster that grows is asked for: what its studies could use together, and nothing once they have ended."""

from __future__ import annotations

import pytest

from mixopt.workers import demand as module
from mixopt.workers.demand import Bundle, Demand, Demands, starts_nodes
from mixopt.workers.fair_share import FORGOTTEN_AFTER_SECONDS

ONE, HALF_GPU = Demand(1, 2.0, 0.0), Demand(2, 1.0, 0.5)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("busy", "hungry", "slots", "most", "pack", "tasks"),
    [
        (0, True, 1, None, 1, 2),
        (4, True, 4, None, 1, 8),
        (4, True, 4, 6, 1, 6),
        (3, False, 4, None, 1, 3),
        (0, False, 4, None, 1, 0),
        (4, True, 4, None, 3, 3),
    ],
)
def test_a_hungry_study_asks_for_twice_its_slots_and_others_for_what_they_use(
    busy: int, hungry: bool, slots: int, most: int | None, pack: int, tasks: int
) -> None:
    assert Demand.of(busy, hungry, slots, most, pack, cpus=1.0, gpus=0.0).tasks == tasks


def test_all_studies_are_asked_for_at_once(clock: Clock) -> None:
    asked: list[list[Bundle]] = []
    demands = Demands(lambda bundles: asked.append(list(bundles)))
    demands.put("b", HALF_GPU)
    demands.put("a", ONE)
    demands.put("a", ONE)
    assert asked == [[{"CPU": 1.0, "GPU": 0.5}] * 2, [{"CPU": 2.0}, *[{"CPU": 1.0, "GPU": 0.5}] * 2]]


@pytest.mark.parametrize("ends", ["leaves", "dies"])
def test_nothing_is_asked_for_a_study_that_has_ended(clock: Clock, ends: str) -> None:
    asked: list[list[Bundle]] = []
    demands = Demands(lambda bundles: asked.append(list(bundles)))
    demands.put("gone", ONE)
    if ends == "leaves":
        demands.drop("gone")
    else:
        clock.now += FORGOTTEN_AFTER_SECONDS + 1
        demands.look()
    assert asked == [[{"CPU": 2.0}], []]


@pytest.mark.parametrize(
    ("report", "does"),
    [
        (None, False),
        ({}, False),
        ({"ff01": "node_ff01"}, False),
        ({"10.0.0.1": "headgroup", "10.0.0.2": "gpu"}, True),
    ],
)
def test_a_cluster_whose_nodes_have_types_starts_nodes(report: dict[str, str] | None, does: bool) -> None:
    assert starts_nodes(report) is does
