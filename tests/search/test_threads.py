"""Numerical libraries compute with one thread where matrices are small, and as before afterwards."""

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from search.threads import one_thread


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    with threadpool_limits(2, user_api="blas"):
        yield


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_inside_there_is_one_thread_however_deep_and_afterwards_as_many_as_before() -> None:
    @one_thread
    def deeper() -> set[int]:
        return threads()

    with one_thread:
        assert deeper() == {1}
        assert threads() == {1}
    assert threads() == {2}


def test_an_error_puts_the_number_back() -> None:
    with pytest.raises(ZeroDivisionError), one_thread:
        _ = 1 / 0
    assert threads() == {2}


def test_torch_is_limited_too() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread:
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
