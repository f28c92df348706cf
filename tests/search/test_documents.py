"""Which documents a confirmation is measured on is chance, too: its intervals hold for others, as far as is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from search.history import History
from search.mixture import Mixture
from search.objective import NoWorse, Objective, WeightedMean, WorstCase
from search.problem import Problem
from search.randomness import generator
from search.recommendation.confirmation import Confirmation, confirm
from search.recommendation.documents import DRAWS, document_error, redraw
from search.recommendation.recommendation import Candidate
from search.trial import DocumentGroups, Loss, Measurement, Trial
from tests.search.worlds import LARGE, WORTH, completed, problem

GROUPS, TOKENS = 32, 1000
PROPOSED = Candidate("proposed", Mixture.of({"web": 0.1, "code": 0.4, "books": 0.4, "chat": 0.1}))
GAIN = 0.02


def measuring(
    world: int, groups: int = GROUPS, of_documents: float = 0.05, of_runs: float = 0.005, told: bool = True
) -> Callable[[Trial], Measurement]:
    """Trials on the documents of one world, where the proposed mixture gains GAIN on average over all worlds.

    Args:
        of_documents: standard deviation of what a group of documents does to one mixture, whatever the seed.
        of_runs: of what a run does to all documents.
        told: whether trials tell what groups cost.
    """

    def measure(trial: Trial) -> Measurement:
        losses, documents = {}, {}
        gain = GAIN * trial.mixture.same_as(PROPOSED.mixture)
        for metric in WORTH:
            # Documents of one kind are hard for every mixture; what they do to one alone is drawn by mixture.
            hard_G = 0.5 * generator(world, metric).standard_normal(groups)
            alone_G = generator(world, metric, *map(str, trial.mixture.weights)).standard_normal(groups)
            off = of_runs * generator(world, metric, trial.id).standard_normal()
            nats_G = TOKENS * (3.0 - gain + hard_G + of_documents * alone_G + off)
            losses[metric] = Loss(float(nats_G.sum()) / TOKENS / groups, 1.0)
            documents[metric] = DocumentGroups(tuple(nats_G.tolist()), (TOKENS,) * groups, (4 * TOKENS,) * groups)
        return Measurement(losses, (), {}, {}, 1.0, 1.0, documents=documents if told else {})

    return measure


def confirmed(question: Problem, measure: Callable[[Trial], Measurement], seeds: int = 3) -> Confirmation:
    mixtures = [PROPOSED.mixture, *question.baselines.values()]
    history = completed([Trial(each, LARGE, seed) for each in mixtures for seed in range(1, seeds + 1)], measure)
    return confirm(question, [PROPOSED], seeds, history)


def covered(told: bool, groups: int = GROUPS, worlds: int = 60) -> float:
    """In how many worlds the interval of the proposed mixture's gain holds what it gains over all documents."""
    question, hits = problem(), 0
    for world in range(worlds):
        [found] = confirmed(question, measuring(world, groups, told=told)).candidates
        assert found.difference is not None and found.margin is not None
        hits += abs(found.difference + GAIN) <= found.margin
    return hits / worlds


@pytest.mark.parametrize("groups", [GROUPS, 4])
def test_intervals_hold_for_other_documents_where_groups_are_told_and_not_without(groups: int) -> None:
    assert covered(told=True, groups=groups) >= 0.88
    assert covered(told=False, groups=groups) < 0.8


def test_what_documents_do_to_all_mixtures_alike_makes_no_interval_wider() -> None:
    [found] = confirmed(problem(), measuring(0, of_documents=0.0)).candidates
    [alone] = confirmed(problem(), measuring(0, of_documents=0.0, told=False)).candidates
    assert found.margin == pytest.approx(alone.margin, rel=1e-6)


def test_the_error_of_a_mean_is_that_of_its_groups() -> None:
    """For a mean over groups of one size it is known: their standard deviation by the root of their number."""
    question = problem(objective=WeightedMean({"prose": 1.0}))
    mixtures, measure = [PROPOSED.mixture, question.baselines["uniform"]], measuring(0, of_runs=0.0)
    history = completed([Trial(each, LARGE, 1) for each in mixtures], measure)
    found = document_error(*(redraw(question, each, [1], history) for each in mixtures))
    nats_2G = np.array([entry.measurement.documents["prose"].nats for entry in history.completed])
    expected = (nats_2G[0] - nats_2G[1]).std(ddof=1) / TOKENS / np.sqrt(GROUPS)
    assert found is not None and found.freedom == GROUPS - 1
    assert found.sd == pytest.approx(expected, rel=4 / np.sqrt(2 * DRAWS))


@pytest.mark.parametrize(
    "objective", [WorstCase(("prose", "programs")), NoWorse(WeightedMean(dict.fromkeys(WORTH, 1.0)), 1.0)]
)
def test_the_baseline_of_an_objective_is_redrawn_alike(objective: Objective) -> None:
    """Documents that are hard for all leave the excess over the baseline as it is."""
    question = problem(objective=objective)
    mixtures = list(question.baselines.values())
    history = completed([Trial(each, LARGE, 1) for each in mixtures], measuring(0, of_documents=0.0, of_runs=0.01))
    found = document_error(
        *(redraw(question, question.baselines[name], [1], history) for name in ("uniform", "proportional"))
    )
    assert found is not None and found.sd == pytest.approx(0, abs=1e-9)


def test_what_groups_do_not_tell_is_not_guessed() -> None:
    question, measure = problem(), measuring(0)
    whole = completed([Trial(PROPOSED.mixture, LARGE, seed) for seed in (1, 2)], measure)
    assert redraw(question, PROPOSED.mixture, [1, 2], whole) is not None
    assert redraw(question, PROPOSED.mixture, [], whole) is None
    assert redraw(question, PROPOSED.mixture, [1, 2, 3], whole) is None

    def without_prose(trial: Trial) -> Measurement:
        measured = measure(trial)
        return replace(measured, documents={"programs": measured.documents["programs"]})

    lacking = completed([Trial(PROPOSED.mixture, LARGE, 1)], without_prose)
    assert redraw(question, PROPOSED.mixture, [1], lacking) is None
    assert not confirmed(question, measuring(0, told=False)).over_documents
    assert confirmed(question, measuring(0)).over_documents


def test_a_set_of_one_document_is_taken_as_it_is() -> None:
    question, measure = problem(), measuring(0)

    def one_book(trial: Trial) -> Measurement:
        measured = measure(trial)
        nats = measured.losses["prose"].nats_per_token * TOKENS
        return replace(measured, documents={**measured.documents, "prose": DocumentGroups((nats,), (TOKENS,), (4000,))})

    history = completed([Trial(PROPOSED.mixture, LARGE, 1)], one_book)
    found, alone = redraw(question, PROPOSED.mixture, [1], history), measuring(0, groups=1)
    assert found is not None and found.freedom == GROUPS - 1
    nothing_known = completed([Trial(PROPOSED.mixture, LARGE, 1)], alone)
    assert redraw(question, PROPOSED.mixture, [1], nothing_known) is None


def test_redrawn_documents_are_the_same_in_every_process_and_order() -> None:
    question, measure = problem(), measuring(0)
    trials = [Trial(PROPOSED.mixture, LARGE, seed) for seed in (1, 2)]
    histories = [
        completed(trials, measure),
        History().closed(trials[1], measure(trials[1])).closed(trials[0], measure(trials[0])),
    ]
    one, other = (
        redraw(question, PROPOSED.mixture, seeds, history)
        for seeds, history in zip([(1, 2), (2, 1)], histories, strict=True)
    )
    assert one is not None and other is not None
    for seed in (1, 2):
        np.testing.assert_array_equal(one.values[seed], other.values[seed])
