"""Work in processes: the same results as in one, and an end to all of it when one fails."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from mixopt.base.errors import ConfigError
from mixopt.base.processes import Workers
from search.errors import SearchError


def root(number: float) -> float:
    return float(number**0.5)


def inverse(number: float) -> float:
    return 1 / number


def refuse(why: str) -> None:
    raise SearchError(why, hint="add runs")


def nested() -> object:
    return lambda: None


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


def test_a_bug_is_raised_where_it_is() -> None:
    with Workers(1) as workers, pytest.raises(ZeroDivisionError):
        workers.call(inverse, {"inverse of 0": (0,), "inverse of 1": (1,)}, lambda _: None)


def test_a_bug_in_a_process_comes_with_its_name_and_traceback() -> None:
    with Workers(2) as workers, pytest.raises(RuntimeError, match="inverse of 0 failed") as error:
        workers.call(inverse, {"inverse of 0": (0,), "inverse of 1": (1,)}, lambda _: None)
    assert "return 1 / number" in str(error.value)
    assert "ZeroDivisionError: division by zero" in str(error.value)


@pytest.mark.parametrize("count", [1, 2])
def test_a_mistake_of_the_user_stays_what_it_is(count: int) -> None:
    with Workers(count) as workers, pytest.raises(SearchError) as error:
        workers.call(refuse, {"refused": ("too few runs",)}, lambda _: None)
    assert (error.value.message, error.value.hint) == ("too few runs", "add runs")


def test_a_result_that_cannot_be_sent_is_named() -> None:
    with Workers(2) as workers, pytest.raises(RuntimeError, match="nested failed"):
        workers.call(nested, {"nested": ()}, lambda _: None)


def test_a_process_that_died_idle_is_named() -> None:
    with Workers(2) as workers:
        workers.call(root, {"first": (4.0,)}, lambda _: None)
        for process in multiprocessing.active_children():
            process.kill()
            process.join()
        with pytest.raises(ConfigError, match="second failed: its process ended with status -9"):
            workers.call(root, {"second": (9.0,)}, lambda _: None)


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
