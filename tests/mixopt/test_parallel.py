"""Work in processes: the same results as in one, and an end to all of it when one fails."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from mixopt.errors import ConfigError
from mixopt.parallel import Workers


def root(number: float) -> float:
    return float(number**0.5)


def inverse(number: float) -> float:
    return 1 / number


def threads() -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


@pytest.mark.parametrize("count", [1, 2])
def test_results_stand_in_the_order_of_the_tasks(count: int) -> None:
    tasks = {f"root of {number}": (number,) for number in (4.0, 9.0, 16.0)}
    told: list[str] = []
    with Workers(count) as workers:
        results = workers.call(root, tasks, told.append)
        assert list(results.items()) == [("root of 4.0", 2.0), ("root of 9.0", 3.0), ("root of 16.0", 4.0)]
        assert sorted(told) == sorted(tasks)
        assert workers.call(root, {"again": (25.0,)}, told.append) == {"again": 5.0}


@pytest.mark.parametrize("count", [1, 2])
def test_a_task_that_fails_is_named(count: int) -> None:
    with Workers(count) as workers, pytest.raises(ConfigError) as error:
        workers.call(inverse, {"inverse of 0": (0,), "inverse of 1": (1,)}, lambda _: None)
    assert error.value.message == "inverse of 0 failed: ZeroDivisionError: division by zero"
    assert error.value.hint


def test_a_process_that_dies_is_named_and_all_others_end() -> None:
    with (
        Workers(2) as workers,
        pytest.raises(ConfigError, match="the killed one failed: its process ended with status 9"),
    ):
        workers.call(os._exit, {"the killed one": (9,)}, lambda _: None)
    assert not multiprocessing.active_children()


def test_a_process_computes_with_one_thread() -> None:
    with Workers(2) as workers:
        assert workers.call(threads, {"a": (), "b": ()}, lambda _: None) == {"a": "1", "b": "1"}
