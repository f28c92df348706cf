"""Constraints in a confirmation: what is worse is shown to be, and noise is not taken for harm."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from search.history import History
from search.mixture import Mixture
from search.objective import NoWorse, WeightedMean
from search.problem import Problem
from search.randomness import generator
from search.recommendation.confirmation import Confirmation, confirm
from search.recommendation.confirmation_trials import next_confirmations
from search.recommendation.metric_tests import moderated
from search.recommendation.recommendation import Candidate
from search.trial import Loss, Measurement, Trial
from tests.search.worlds import problem

METRICS = tuple("abcdefg")
NOISE, SEEDS = 0.005, 3
# The standard error of a difference over the seeds.
ERROR = NOISE * (2 / SEEDS) ** 0.5
QUESTION = replace(problem(), objective=NoWorse(WeightedMean(dict.fromkeys(METRICS, 1.0)), allowance=0.0))
CANDIDATE = Candidate("proposed", Mixture.of({"web": 0.1, "code": 0.4, "books": 0.4, "chat": 0.1}))


def confirmed(gains: Mapping[str, float], study: int, question: Problem = QUESTION, alike: float = 0.0) -> Confirmation:
    """Of a candidate that is truly better than every baseline by these gains, in a world with this noise.

    Args:
        alike: correlation of the noise of a run's metrics.
    """

    def measure(trial: Trial) -> Measurement:
        rng = generator(study, trial.id, "noise")
        # Losses of one run go up and down together, too.
        together = rng.normal(0, NOISE * alike**0.5)
        shared = generator(study, str(trial.seed), "seed").normal(0, 0.03)
        gained = [gains.get(name, 0.0) * trial.mixture.same_as(CANDIDATE.mixture) for name in METRICS]
        losses = 3.0 + shared - np.array(gained) + rng.normal(together, NOISE * (1 - alike) ** 0.5, len(METRICS))
        return Measurement(
            {name: Loss(loss, loss) for name, loss in zip(METRICS, losses, strict=True)}, (), {}, {}, 1, 1
        )

    history = History()
    while trials := next_confirmations(question, [CANDIDATE], SEEDS, history):
        for trial in trials:
            history = history.closed(trial, measure(trial))
    return confirm(question, [CANDIDATE], SEEDS, history)


@pytest.mark.slow
def test_a_candidate_that_is_worse_nowhere_is_the_answer_whatever_the_noise() -> None:
    # Better by .1 on five metrics, equal on two: these are above the baseline's in every other run.
    gains = dict.fromkeys(METRICS[:5], 0.1)
    kept = sum(confirmed(gains, study).winner.is_baseline for study in range(100))
    assert kept < 5


@pytest.mark.slow
def test_a_candidate_that_is_truly_worse_in_one_metric_is_refused() -> None:
    gains = dict.fromkeys(METRICS[:5], 0.1) | {"g": -4 * ERROR}
    found = [confirmed(gains, study) for study in range(100)]
    refused = [each for each in found if each.candidates[0].broken == ("g",)]
    assert len(refused) >= 90
    assert all(each.winner.is_baseline for each in refused)
    [caution, *_] = refused[0].cautions
    assert "is refused: g is shown to be worse than proportional allows" in caution


def test_an_allowance_is_what_a_metric_may_be_worse_by() -> None:
    gains = dict.fromkeys(METRICS[:5], 0.1) | {"g": -4 * ERROR}
    objective = NoWorse(WeightedMean(dict.fromkeys(METRICS, 1.0)), allowance=5 * ERROR)
    allowed = replace(QUESTION, objective=objective)
    assert sum(confirmed(gains, study, allowed).winner.is_baseline for study in range(30)) <= 1


def test_each_metric_and_family_has_its_difference_in_nats() -> None:
    mean = WeightedMean(dict.fromkeys(METRICS, 1.0), families={"first": ("a", "b"), "last": ("f", "g")})
    tests = confirmed({"a": 0.1, "b": 0.2}, 0, replace(QUESTION, objective=mean)).candidates[0].tests
    assert tests is not None
    assert tests.metrics["b"].difference == pytest.approx(-0.2, abs=0.02)
    assert tests.families["first"].difference == pytest.approx(-0.15, abs=0.02)
    assert tests.families["last"].margin == pytest.approx(2 * ERROR / 2**0.5, rel=0.6)
    assert tests.broken == ()


@pytest.mark.slow
@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_intervals_of_metrics_hold(alike: float) -> None:
    gains = {"a": 0.1}
    missed = 0
    for study in range(25):
        tests = confirmed(gains, study, alike=alike).candidates[0].tests
        assert tests is not None
        missed += sum(
            abs(test.difference + gains.get(name, 0)) > (test.margin or 0) for name, test in tests.metrics.items()
        )
    assert missed / (25 * len(METRICS)) < 0.1


def test_variances_that_differ_by_chance_become_one_and_those_that_differ_stay() -> None:
    rng = np.random.default_rng(0)
    alike, freedom = moderated(rng.chisquare(4, 50) / 4, 4, others=49)
    assert np.ptp(alike) < 0.5 and freedom > 20
    scale = np.geomspace(1e-4, 1, 50)
    apart, freedom = moderated(scale * rng.chisquare(4, 50) / 4, 4, others=49)
    assert apart[-10:].mean() > 100 * apart[:10].mean() and freedom < 8
