"""Spaces of every shape, for hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from search.space import DomainLimits, Group, Space


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Spaces with bounds, pins, supply caps and overlapping groups, built around a mixture so that none is empty."""
    count = draw(st.integers(2, 12))
    masses = draw(st.lists(st.integers(1, 100), min_size=count, max_size=count))
    inside = np.array(masses) / sum(masses)
    room = st.sampled_from([0.0, 0.0, 0.01, 0.2, 1.0])
    limits = tuple(
        DomainLimits(
            f"d{index}",
            tokens=draw(st.integers(10**6, 10**10)),
            minimum=max(0.0, weight - draw(room)),
            maximum=min(1.0, weight + draw(room)),
        )
        for index, weight in enumerate(inside)
    )
    groups = []
    for number in range(draw(st.integers(0, 3))):
        members = sorted(draw(st.sets(st.integers(0, count - 1), min_size=1)))
        total = min(1.0, float(inside[members].sum()))
        low, high = max(0.0, total - draw(room)), min(1.0, total + draw(room))
        groups.append(Group(f"g{number}", tuple(f"d{member}" for member in members), low, high))
    return Space(limits, tuple(groups))
