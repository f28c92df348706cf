from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from search.errors import SearchError
from search.history import Failed, History
from search.pooling import gather
from search.problem import Problem
from search.strategies.random import Random
from search.trial import Failure, FailureKind, Loss, Measurement, Trial
from tests.search.worlds import LARGE, SMALL, completed, losses, measure, problem

QUESTION = problem(trials=(40, 6))


def asked(question: Problem) -> list[Trial]:
    return Random(question).ask(History(), 1000)


def test_cheap_runs_are_expressed_in_the_units_of_the_target() -> None:
    evidence = gather(QUESTION, completed(asked(QUESTION), lambda trial: measure(trial, noise=0)))
    truth = np.array([losses(mixture, LARGE) for mixture in evidence.mixtures])
    assert np.allclose(evidence.losses_NM[evidence.at_target_N], truth[evidence.at_target_N])
    mapped, real = evidence.losses_NM[~evidence.at_target_N], truth[~evidence.at_target_N]
    unmapped = np.array([losses(mixture, SMALL) for mixture in evidence.mixtures])[~evidence.at_target_N]
    assert len(mapped) >= 30
    assert np.abs(mapped - real).mean() < 0.3 * np.abs(unmapped - real).mean()


def test_each_mixture_is_one_row_and_the_target_counts_where_it_was_measured() -> None:
    evidence = gather(QUESTION, completed(asked(QUESTION)))
    assert len({mixture.weights for mixture in evidence.mixtures}) == len(evidence.mixtures)
    for mixture, row, at_target in zip(evidence.mixtures, evidence.losses_NM, evidence.at_target_N, strict=True):
        if at_target:
            assert np.array_equal(row, QUESTION.objective.losses(measure(Trial(mixture, LARGE, 0))))


def test_few_pairs_never_turn_the_ranking_around() -> None:
    """At the target the losses of the shared mixtures fall where they rise at the cheap fidelity."""

    def contrary(trial: Trial) -> Measurement:
        measured = measure(trial, noise=0)
        if trial.fidelity == SMALL:
            return measured
        return replace(measured, losses={n: Loss(9 - loss.nats_per_token, 1.0) for n, loss in measured.losses.items()})

    evidence = gather(QUESTION, completed(asked(QUESTION), contrary))
    cheap = np.array([losses(mixture, SMALL) for mixture in evidence.mixtures])[~evidence.at_target_N]
    assert spearmanr(cheap[:, 0], evidence.losses_NM[~evidence.at_target_N][:, 0]).statistic == pytest.approx(1)


def test_runs_that_share_no_mixture_with_the_target_are_left_out_and_it_is_said() -> None:
    trials = asked(QUESTION)
    only = next(trial for trial in trials if trial.fidelity == LARGE)
    apart = [trial for trial in trials if trial.fidelity == SMALL and trial.mixture != only.mixture]
    evidence = gather(QUESTION, completed([only, *apart]))
    assert evidence.mixtures == (only.mixture,)
    assert evidence.warnings == ("proxy small shares no completed mixture with the target: its runs are unused",)


def test_a_target_without_a_completed_trial_is_an_error() -> None:
    trials = asked(QUESTION)
    failed = tuple(Failed(t, Failure(FailureKind.OUT_OF_MEMORY, "")) for t in trials if t.fidelity == LARGE)
    history = History(completed(t for t in trials if t.fidelity == SMALL).completed, (), failed)
    with pytest.raises(SearchError, match="no trial of proxy large was completed"):
        gather(QUESTION, history)
