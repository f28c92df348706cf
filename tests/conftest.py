"""How the tests share a machine of two cores."""

import os
from collections import Counter

import pytest

# Threads that wait for each other on shared cores wait long.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first: with one of them last, a worker would work alone for minutes.

    Those are the files with a test that has more than the usual time, then those with the most slow tests.
    """
    patient = {item.path for item in items if item.get_closest_marker("timeout")}
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (item.path not in patient, -slow[item.path]))
