"""A trial is given up only where it would, almost surely, end among the worse half."""

from __future__ import annotations

import numpy as np
import pytest

from search.evidence import gather
from search.fidelity import Fidelity
from search.history import Completed, History
from search.mixture import Mixture
from search.objective import NoWorse, Objective, Pareto, WeightedMean
from search.problem import Problem, Rung
from search.seeds import SEARCH_SEED
from search.space import DomainLimits, Space
from search.stopping import FEWEST_TRIALS, Foretold, stopping_rule
from search.trial import CurvePoint, Loss, Measurement, Trial

FULL = Fidelity("dense", 1000, 8000, 1e9)
SPACE = Space((DomainLimits("a", 1000), DomainLimits("b", 1000)))
NATURAL = Mixture.of({"a": 0.5, "b": 0.5})


def problem(objective: Objective | None = None) -> Problem:
    return Problem(SPACE, (Rung(FULL, 20),), objective or WeightedMean({"a": 1.0}), {"proportional": NATURAL}, seed=0)


def trial(share: float, seed: int = SEARCH_SEED) -> Trial:
    return Trial(Mixture.of({"a": share, "b": 1 - share}), FULL, seed)


def losses(share: float, tokens: int) -> dict[str, Loss]:
    """Falls with the tokens and with the share of the domain, the same way for every mixture."""
    a, b = 4 - share - tokens / 8000, 3 + share - tokens / 8000
    return {"a": Loss(a, a), "b": Loss(b, b)}


def measured(one: Trial, stopped_at: int | None = None) -> Completed:
    share = one.mixture["a"]
    curve = tuple(CurvePoint(at, losses(share, at), 1.0) for at in (2000, 4000, 8000) if at <= (stopped_at or 8000))
    return Completed(one, Measurement(curve[-1].losses, curve, {}, {}, 1e9, 1.0, stopped_at=stopped_at))


def history(count: int) -> History:
    others = [measured(trial(share)) for share in np.linspace(0.05, 0.95, count)]
    return History((measured(trial(0.5)), *others))


def test_the_worse_half_is_hopeless_and_the_better_is_not() -> None:
    rule = stopping_rule(problem(), trial(0.123), history(12))
    assert rule is not None

    assert rule.hopeless(2000, losses(0.1, 2000))
    assert not rule.hopeless(2000, losses(0.9, 2000))
    assert not rule.hopeless(3000, losses(0.1, 3000)), "nobody was measured there"


def test_what_foretells_little_stops_nothing() -> None:
    generator = np.random.default_rng(0)
    noise = Foretold.of(generator.normal(size=20), generator.normal(size=20))
    assert noise.at_best(2.0) < 0

    alike = Foretold.of(np.ones(20), generator.normal(size=20))
    assert alike.at_best(1.0) == -np.inf


@pytest.mark.parametrize(
    ("what", "of"),
    {
        "too few trials at their end": (trial(0.1), history(FEWEST_TRIALS - 2)),
        "a baseline": (trial(0.5), history(12)),
        "a confirmation": (trial(0.1, seed=1), history(12)),
    }.items(),
)
def test_some_trials_always_come_to_their_end(what: str, of: tuple[Trial, History]) -> None:
    assert stopping_rule(problem(), *of) is None, what


def test_pareto_searches_stop_nothing() -> None:
    assert stopping_rule(problem(Pareto(WeightedMean({"a": 1.0, "b": 1.0}))), trial(0.1), history(12)) is None


def test_an_objective_with_a_baseline_is_judged_against_its_curve() -> None:
    guarded = problem(NoWorse(WeightedMean({"a": 1.0, "b": 1.0}), 0.0, "proportional"))

    rule = stopping_rule(guarded, trial(0.123), history(12))
    assert rule is not None
    assert set(rule.baseline) == {2000, 4000}

    unmeasured = History(tuple(entry for entry in history(12).completed if entry.trial.mixture != NATURAL))
    assert stopping_rule(guarded, trial(0.123), unmeasured) is None


def test_a_stopped_trial_is_evidence_at_its_tokens_and_those_that_went_on_stand_beside_it() -> None:
    given_up = trial(0.02)
    known = history(12).closed(given_up, measured(given_up, stopped_at=2000).measurement)
    assert known.stopped and not known.at(FULL)[0].measurement.stopped_at

    runs = gather(problem(), known).runs

    assert [fidelity.tokens for fidelity in runs.fidelities] == [2000, 8000]
    assert runs.fidelities[0].flops == FULL.flops / 4
    at_the_end, early = runs.fidelity_N == 1, runs.fidelity_N == 0
    assert early.sum() == at_the_end.sum() + 1
    assert given_up.id in np.array(runs.names)[early]
    assert given_up.id not in np.array(runs.names)[at_the_end]


def test_a_stopped_trial_is_asked_for_no_second_time_and_costs_what_it_took() -> None:
    given_up = trial(0.02)
    known = History().opened(given_up).closed(given_up, measured(given_up, stopped_at=4000).measurement)

    assert known.new([given_up]) == []
    assert known.flops == 1e9
    assert known.measured(given_up.mixture, FULL, SEARCH_SEED) is None
