"""Random trials and outcomes, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from search.fidelity import Fidelity
from search.mixture import Mixture
from search.trial import CurvePoint, DocumentGroups, Failure, FailureKind, Loss, Measurement, Trial

names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)
numbers = st.floats(-1e6, 1e6)
losses = st.dictionaries(names, st.builds(Loss, numbers, numbers), min_size=1, max_size=6)
mixtures = st.dictionaries(names, st.floats(1e-6, 1.0), min_size=1, max_size=40).map(Mixture.of)
fidelities = st.builds(
    Fidelity, names, st.integers(0, 10**12), st.integers(1, 10**12), st.floats(1.0, 1e24, allow_nan=False)
)
trials = st.builds(Trial, mixtures, fidelities, st.integers(0, 2**31), names)
groups = st.lists(st.tuples(numbers, st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=5).map(
    lambda rows: DocumentGroups(*zip(*rows, strict=True))
)
measurements = st.builds(
    Measurement,
    losses=losses,
    curve=st.lists(st.builds(CurvePoint, st.integers(0, 10**12), losses, numbers), max_size=5).map(tuple),
    domain_tokens=st.dictionaries(names, st.integers(0, 10**12), max_size=40),
    domain_epochs=st.dictionaries(names, numbers, max_size=40),
    flops=st.floats(0, 1e24),
    seconds=st.floats(0, 1e6),
    diagnostics=st.dictionaries(names, numbers, max_size=40),
    environment=st.dictionaries(names, st.text(max_size=40), max_size=5),
    stopped_at=st.none() | st.integers(1, 10**12),
    documents=st.dictionaries(names, groups, max_size=3),
)
failures = st.builds(Failure, st.sampled_from(FailureKind), st.text(max_size=6_000), st.floats(0, 1e6))
