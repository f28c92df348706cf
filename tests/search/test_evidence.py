from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Float
from scipy.stats import spearmanr

from search.errors import SearchError
from search.evidence import gather
from search.history import Failed, History
from search.mixture import Mixture
from search.objective import WorstCase
from search.problem import Problem
from search.runs import Runs
from search.strategies.random import Random
from search.surrogates.effective_data import EffectiveData
from search.surrogates.lifting import at_target
from search.surrogates.rows import Rows
from search.trial import Failure, FailureKind, Loss, Measurement, Trial
from tests.search.worlds import LARGE, SMALL, completed, losses, measure, problem

QUESTION = problem(trials=(40, 6))


def asked(question: Problem) -> list[Trial]:
    return Random(question).ask(History(), 1000)


def mapped(runs: Runs, metric: int = 0) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, " N"]]:
    """Mixtures and values of a metric as a surrogate of a single scale sees them: in the units of the target."""
    no_folds_N = np.zeros(len(runs), dtype=np.int64)
    rows = Rows(runs.weights_ND, runs.values_NM[:, metric], runs.fidelity_N, no_folds_N)
    found = at_target(rows, lambda alone: EffectiveData().fit_rows(alone).mean)
    return found.weights_ND, found.values_N


def test_every_completed_trial_of_the_search_is_a_run_at_its_fidelity() -> None:
    history = completed(asked(QUESTION))
    runs = gather(QUESTION, history).runs
    assert set(runs.names) == {entry.trial.id for entry in history.completed}
    for name, level, row in zip(runs.names, runs.fidelity_N, runs.values_NM, strict=True):
        assert np.array_equal(row, QUESTION.objective.losses(history.measurements[name]))
        assert (runs.fidelities[level] == LARGE) == (name in {entry.trial.id for entry in history.at(LARGE)})


def test_cheap_runs_are_expressed_in_the_units_of_the_target() -> None:
    runs = gather(QUESTION, completed(asked(QUESTION), lambda trial: measure(trial, noise=0))).runs
    weights, values = mapped(runs)
    real = [losses(Mixture.from_array(runs.domains, row), LARGE)[0] for row in weights]
    assert len(values) >= 30
    assert np.abs(values - np.array(real)).mean() < 0.05


def test_few_runs_at_the_target_never_turn_the_ranking_around() -> None:
    """At the target the losses fall where they rise at the cheap fidelity."""

    def contrary(trial: Trial) -> Measurement:
        measured = measure(trial, noise=0)
        if trial.fidelity == SMALL:
            return measured
        return replace(measured, losses={n: Loss(9 - loss.nats_per_token, 1.0) for n, loss in measured.losses.items()})

    runs = gather(QUESTION, completed(asked(QUESTION), contrary)).runs
    weights, values = mapped(runs)
    cheap = {row.tobytes(): value for row, value in zip(runs.weights_ND, runs.values_NM[:, 0], strict=True)}
    at_large = {row.tobytes() for row in runs.weights_ND[runs.at_target_N]}
    pairs = [
        (cheap[row.tobytes()], value)
        for row, value in zip(weights, values, strict=True)
        if row.tobytes() not in at_large
    ]
    assert len(pairs) >= 30
    assert spearmanr(pairs).statistic == pytest.approx(1)


def test_a_target_without_a_completed_trial_is_an_error() -> None:
    trials = asked(QUESTION)
    failed = tuple(Failed(t, Failure(FailureKind.OUT_OF_MEMORY, "")) for t in trials if t.fidelity == LARGE)
    history = History(completed(t for t in trials if t.fidelity == SMALL).completed, (), failed)
    with pytest.raises(SearchError, match="no trial of proxy large was completed"):
        gather(QUESTION, history)


def test_the_worst_case_is_measured_against_the_baseline_at_the_target() -> None:
    question = problem(trials=(6, 3), objective=WorstCase(("prose", "programs")))
    evidence = gather(question, completed(asked(question)))
    assert evidence.measured_baselines["proportional"] == 0
    assert evidence.at_target_N.min() <= 0


def test_cheap_runs_are_judged_against_the_baseline_at_their_own_fidelity() -> None:
    question = problem(trials=(6, 3), objective=WorstCase(("prose", "programs")))
    history = completed(asked(question))
    evidence = gather(question, history)
    judged = dict(zip(evidence.runs.names, evidence.objective_N.tolist(), strict=True))
    for entry in history.completed:
        assert judged[entry.trial.id] == pytest.approx(question.objective_of(entry.trial, history))


def test_cheap_runs_whose_baseline_was_not_measured_have_no_objective() -> None:
    question = problem(trials=(6, 3), objective=WorstCase(("prose", "programs")))
    reference = Trial(question.baselines["proportional"], SMALL, 0)
    evidence = gather(question, completed(trial for trial in asked(question) if trial != reference))
    assert np.isfinite(evidence.objective_N).tolist() == evidence.runs.at_target_N.tolist()


def test_earlier_fidelities_stand_before_the_target_by_cost() -> None:
    now = gather(QUESTION, completed(asked(QUESTION))).runs
    between = replace(SMALL, proxy="earlier between", flops=1e13)
    earlier = replace(now, fidelities=(between, replace(LARGE, proxy="earlier huge", flops=1e16)))
    both = earlier.before(now)
    assert [fidelity.proxy for fidelity in both.fidelities] == ["small", "earlier between", "earlier huge", "large"]
    levels = [both.fidelities[level].proxy for level in both.fidelity_N]
    assert levels[-len(now) :] == [now.fidelities[level].proxy for level in now.fidelity_N]
