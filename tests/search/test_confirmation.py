from collections.abc import Callable
from dataclasses import replace

import pytest

from search.errors import SearchError
from search.history import Completed, History
from search.mixture import Mixture
from search.objective import WorstCase
from search.recommendation.confirmation import Outcome, confirm, confirmation_trials, winner
from search.recommendation.recommendation import Candidate
from search.trial import Loss, Measurement, Trial
from tests.search.worlds import LARGE, completed, measure, problem

QUESTION = problem()
GOOD = Candidate("proposed", Mixture.of({"web": 0.1, "code": 0.4, "books": 0.4, "chat": 0.1}))
BAD = Candidate("best predicted", Mixture.of({"web": 0.0, "code": 0.0, "books": 0.0, "chat": 1.0}))
ALIKE = Candidate("best observed", Mixture.of({"web": 0.1, "code": 0.45, "books": 0.35, "chat": 0.1}))


def with_noise(noise: float) -> Callable[[Trial], Measurement]:
    return lambda trial: measure(trial, noise)


def test_candidates_and_baselines_are_trained_with_new_seeds_at_the_target() -> None:
    trials = confirmation_trials(QUESTION, [GOOD, BAD], seeds=3)
    assert {trial.seed for trial in trials} == {1, 2, 3}
    assert {trial.fidelity for trial in trials} == {LARGE}
    assert {trial.mixture for trial in trials} == {GOOD.mixture, BAD.mixture, *QUESTION.baselines.values()}
    assert len({trial.id for trial in trials}) == len(trials) == 3 * 6
    assert trials[0].origin == "confirm:proposed"


def test_a_candidate_that_is_a_baseline_is_trained_once() -> None:
    same = Candidate("best observed", QUESTION.baselines["uniform"])
    assert len(confirmation_trials(QUESTION, [same], seeds=2)) == 2 * len(QUESTION.baselines)


def test_a_clear_gain_is_better_a_clear_loss_is_worse_and_the_best_wins() -> None:
    history = completed(confirmation_trials(QUESTION, [GOOD, BAD], seeds=3))
    confirmation = confirm(QUESTION, [GOOD, BAD], 3, history)
    good, bad = confirmation.candidates
    assert (good.verdict, bad.verdict) == ("better", "worse")
    assert good.sentence.startswith("beats proportional by 0.") and good.sentence.endswith("(95%, 3 seeds)")
    assert confirmation.winner == good
    assert confirmation.winner.label == "proposed"


def test_the_search_run_of_a_mixture_does_not_count() -> None:
    confirmations = confirmation_trials(QUESTION, [GOOD], seeds=2)
    lucky = completed([Trial(GOOD.mixture, LARGE, 0)], with_noise(100.0)).completed
    plain = completed(confirmations)
    with_lucky = History((*plain.completed, *lucky))
    assert confirm(QUESTION, [GOOD], 2, with_lucky) == confirm(QUESTION, [GOOD], 2, plain)


def test_noise_larger_than_the_gain_shows_no_difference() -> None:
    history = completed(confirmation_trials(QUESTION, [GOOD], seeds=3), with_noise(20.0))
    [good] = confirm(QUESTION, [GOOD], 3, history).candidates
    assert good.verdict == "no difference shown"
    assert good.sentence.startswith("is not shown to beat proportional")


def test_a_candidate_does_not_win_by_luck() -> None:
    """With noise far above all differences the lowest mean is chance: it is the first candidate, or no change."""
    for first, second in ((GOOD, ALIKE), (ALIKE, GOOD)):
        history = completed(confirmation_trials(QUESTION, [first, second], seeds=3), with_noise(5.0))
        confirmation = confirm(QUESTION, [first, second], 3, history)
        assert confirmation.winner.label in (first.label, "baseline:proportional")
        assert confirmation.candidates[0].sentence.startswith("is not shown to beat proportional")


def outcome(label: str, share: float, *values: float) -> Outcome:
    mixture = Mixture.of({"web": share, "code": 1 - share})
    return Outcome(label, mixture, dict(enumerate(values, start=1)), 0.0, None, "not compared", "")


def test_two_seeds_are_enough_where_all_mixtures_show_little_noise() -> None:
    """Its own two differences alone, .10 and .06, would leave the better one in doubt."""
    candidates = outcome("proposed", 0.1, 3.00, 3.03), outcome("best observed", 0.2, 2.90, 2.97)
    quiet = outcome("baseline:proportional", 0.3, 3.20, 3.23), outcome("baseline:uniform", 0.4, 3.30, 3.32)
    assert winner(candidates, quiet).label == "best observed"
    noisy = outcome("baseline:proportional", 0.3, 3.20, 3.93), outcome("baseline:uniform", 0.4, 3.30, 3.02)
    assert winner(candidates, noisy).label == "proposed"


def test_what_measured_better_without_being_shown_to_be_is_said() -> None:
    history = completed(confirmation_trials(QUESTION, [ALIKE, GOOD], seeds=2), with_noise(1.0))
    found = confirm(QUESTION, [ALIKE, GOOD], 2, history)
    assert found.winner.label == "baseline:proportional"
    [caution] = found.cautions
    assert caution.startswith("the temperature mixture measured lower than the answer, by 0.00")


def test_a_later_candidate_that_is_shown_better_wins() -> None:
    history = completed(confirmation_trials(QUESTION, [BAD, GOOD], seeds=3))
    assert confirm(QUESTION, [BAD, GOOD], 3, history).winner.label == "proposed"


def test_proportional_wins_over_a_candidate_shown_worse_when_nothing_else_is_better() -> None:
    question = replace(QUESTION, baselines={"proportional": QUESTION.baselines["proportional"]})
    history = completed(confirmation_trials(question, [BAD], seeds=3))
    assert confirm(question, [BAD], 3, history).winner.label == "baseline:proportional"


def test_a_baseline_can_win() -> None:
    history = completed(confirmation_trials(QUESTION, [BAD], seeds=3))
    assert confirm(QUESTION, [BAD], 3, history).winner.label.startswith("baseline:")


def test_what_a_seed_does_to_all_mixtures_is_no_noise() -> None:
    def shifted(trial: Trial) -> Measurement:
        # The same draw of noise for every mixture of one seed, far larger than the gain.
        noisy = measure(Trial(GOOD.mixture, trial.fidelity, trial.seed), noise=50.0).losses["prose"].nats_per_token
        clean = measure(trial, noise=0.001)
        losses = {n: Loss(loss.nats_per_token + noisy, loss.bits_per_byte) for n, loss in clean.losses.items()}
        return Measurement(losses, (), {}, {}, 1.0, 1.0)

    [good] = confirm(QUESTION, [GOOD], 3, completed(confirmation_trials(QUESTION, [GOOD], seeds=3), shifted)).candidates
    assert good.verdict == "better"


def test_more_candidates_need_more_evidence() -> None:
    history = completed(confirmation_trials(QUESTION, [GOOD, BAD], seeds=3))
    alone = confirm(QUESTION, [GOOD], 3, history).candidates[0].margin
    among_two = confirm(QUESTION, [GOOD, BAD], 3, history).candidates[0].margin
    assert alone is not None and among_two is not None and among_two > alone


def without(history: History, mixture: Mixture, seeds: set[int]) -> History:
    return History(
        tuple(
            entry for entry in history.completed if not (entry.trial.mixture == mixture and entry.trial.seed in seeds)
        )
    )


def test_a_failed_confirmation_leaves_fewer_seeds_one_gives_no_interval_and_none_no_comparison() -> None:
    history = completed(confirmation_trials(QUESTION, [GOOD], seeds=3))
    fewer, single, none = (
        confirm(QUESTION, [GOOD], 3, without(history, GOOD.mixture, seeds)).candidates[0]
        for seeds in ({2}, {1, 2}, {1, 2, 3})
    )
    assert fewer.sentence.endswith("2 seeds)")
    assert (single.verdict, single.margin) == ("not compared", None)
    assert "one seed gives no interval" in single.sentence
    assert (none.verdict, none.mean) == ("not compared", None)
    assert "no seed of both was completed" in none.sentence


def test_without_the_proportional_mixture_nothing_can_be_confirmed() -> None:
    history = completed(confirmation_trials(QUESTION, [GOOD], seeds=2))
    with pytest.raises(SearchError, match="no confirmation trial of the proportional mixture"):
        confirm(QUESTION, [GOOD], 2, without(history, QUESTION.baselines["proportional"], {1, 2}))


def test_the_worst_case_is_taken_against_the_baseline_of_the_same_seed() -> None:
    question = problem(objective=WorstCase(("prose", "programs")))
    history = completed(confirmation_trials(question, [GOOD], seeds=2))
    confirmation = confirm(question, [GOOD], 2, history)
    proportional = next(o for o in confirmation.baselines if o.label == "baseline:proportional")
    assert list(proportional.values.values()) == [0, 0]
    assert confirmation.candidates[0].difference == confirmation.candidates[0].mean


def test_one_completed_entry_is_kept_apart_from_another_fidelity() -> None:
    elsewhere = Trial(GOOD.mixture, problem(trials=(2, 2)).rungs[0].fidelity, 1)
    history = History((Completed(elsewhere, measure(elsewhere)),))
    with pytest.raises(SearchError):
        confirm(QUESTION, [GOOD], 1, history)
