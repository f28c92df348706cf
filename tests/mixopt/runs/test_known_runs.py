"""Runs of a table known again: by shares and losses, whatever they are called."""

from __future__ import annotations

import numpy as np
import pytest

from mixopt.runs.known_runs import KnownRuns
from search.fidelity import Fidelity
from search.runs import Runs

KNOWN = KnownRuns.of(
    Runs(
        names=("one", "two"),
        domains=("a", "b", "c"),
        metrics=("x", "y"),
        fidelities=(Fidelity("p", 1, 1, 1.0),),
        weights_ND=np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]]),
        fidelity_N=np.array([0, 0]),
        values_NM=np.array([[2.5, 3.5], [2.0, np.nan]]),
    )
)


@pytest.mark.parametrize(
    ("weights", "losses", "known"),
    [
        ([0.2, 0.5, 0.3], [3.5, 1.0, 2.5], True),
        ([0.2, 0.5, 0.3, 0.0], [2.5 + 1e-9, 3.5], True),
        ([0.2, 0.5, 0.3], [3.5, 1.0], False),
        ([0.3, 0.5, 0.3 - 0.1, 0.1], [2.5, 3.5], False),
        ([0.4, 0.4, 0.2], [2.5, 3.5], False),
        ([0.2, 0.5, 0.3], [2.501, 3.5], False),
        ([1.0], [2.0], True),
        ([1.0], [], False),
    ],
)
def test_a_run_is_known_by_shares_and_losses(weights: list[float], losses: list[float], known: bool) -> None:
    assert KNOWN.hold(weights, losses) is known
