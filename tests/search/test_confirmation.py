from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from search.errors import SearchError
from search.history import Completed, History
from search.mixture import Mixture
from search.objective import WorstCase
from search.problem import Problem
from search.recommendation.confirmation import Confirmation, Outcome, confirm, expectations, winner
from search.recommendation.confirmation_trials import confirmation_size, next_confirmations
from search.recommendation.recommendation import Candidate
from search.trial import Failure, FailureKind, Loss, Measurement, Trial
from search.trust_region import TrustRegion
from tests.search.worlds import LARGE, completed, measure, problem

QUESTION = problem()
GOOD = Candidate("proposed", Mixture.of({"web": 0.1, "code": 0.4, "books": 0.4, "chat": 0.1}))
BAD = Candidate("best predicted", Mixture.of({"web": 0.0, "code": 0.0, "books": 0.0, "chat": 1.0}))
ALIKE = Candidate("best observed", Mixture.of({"web": 0.1, "code": 0.45, "books": 0.35, "chat": 0.1}))


def confirmed(
    question: Problem,
    candidates: list[Candidate],
    seeds: int,
    measuring: Callable[[Trial], Measurement] = measure,
    failing: Callable[[Trial], bool] = lambda trial: False,
) -> History:
    """The history of a whole confirmation."""
    history = History()
    while trials := next_confirmations(question, candidates, seeds, history):
        for trial in trials:
            outcome: Failure | Measurement = Failure(FailureKind.ERROR, "") if failing(trial) else measuring(trial)
            history = history.closed(trial, outcome)
    return history


def with_noise(noise: float) -> Callable[[Trial], Measurement]:
    return lambda trial: measure(trial, noise)


def test_candidates_and_baselines_are_trained_with_new_seeds_at_the_target() -> None:
    trials = next_confirmations(QUESTION, [GOOD, BAD], 3, History())
    assert {trial.seed for trial in trials} == {1}
    assert {trial.fidelity for trial in trials} == {LARGE}
    assert {trial.mixture for trial in trials} == {GOOD.mixture, BAD.mixture, *QUESTION.baselines.values()}
    assert trials[0].origin == "confirm:proposed"
    seeds = {entry.trial.seed for entry in confirmed(QUESTION, [GOOD, BAD], 3).completed}
    assert seeds >= {1, 2, 3}


def test_two_names_of_one_mixture_are_one_row() -> None:
    near = Mixture.of(
        {name: weight + 0.002 * (name == "web") for name, weight in QUESTION.baselines["uniform"].as_dict().items()}
    )
    same = Candidate("best observed", near)
    history = confirmed(QUESTION, [same], 2)
    confirmation = confirm(QUESTION, [same], 2, history)
    assert confirmation.candidates[0].also == ("baseline:uniform",)
    assert "baseline:uniform" not in [each.label for each in confirmation.baselines]
    assert len(history.completed) == 2 * len(QUESTION.baselines)


def test_what_is_out_after_two_seeds_gets_no_third_and_what_is_open_gets_its_seeds() -> None:
    history = confirmed(QUESTION, [GOOD, ALIKE, BAD], 3)
    seeds = Counter(entry.trial.mixture for entry in history.completed)
    assert seeds[BAD.mixture] == 2
    assert seeds[QUESTION.baselines["proportional"]] == 3
    assert seeds[GOOD.mixture] >= 3 and seeds.total() <= confirmation_size(QUESTION, 3, 3)


def test_a_confirmation_asks_the_same_whatever_ended_first() -> None:
    first = next_confirmations(QUESTION, [GOOD, BAD], 2, History())
    some = completed(first[1:3]).opened(*first[3:])
    assert next_confirmations(QUESTION, [GOOD, BAD], 2, some) == first[:1]
    assert next_confirmations(QUESTION, [GOOD, BAD], 2, some.opened(first[0])) == []


def test_a_clear_gain_is_better_a_clear_loss_is_worse_and_the_best_wins() -> None:
    history = confirmed(QUESTION, [GOOD, BAD], 3)
    confirmation = confirm(QUESTION, [GOOD, BAD], 3, history)
    good, bad = confirmation.candidates
    assert (good.verdict, bad.verdict) == ("better", "worse")
    assert good.sentence.startswith("beats proportional by 0.") and good.sentence.endswith("(95%, 3 seeds)")
    assert confirmation.winner == good
    assert confirmation.winner.label == "proposed"


def test_the_search_run_of_a_mixture_does_not_count() -> None:
    lucky = completed([Trial(GOOD.mixture, LARGE, 0)], with_noise(100.0)).completed
    plain = confirmed(QUESTION, [GOOD], 2)
    with_lucky = History((*plain.completed, *lucky))
    assert confirm(QUESTION, [GOOD], 2, with_lucky) == confirm(QUESTION, [GOOD], 2, plain)


def test_noise_larger_than_the_gain_shows_no_difference() -> None:
    history = confirmed(QUESTION, [GOOD], 3, with_noise(5.0))
    [good] = confirm(QUESTION, [GOOD], 3, history).candidates
    assert good.verdict == "no difference shown"
    assert good.sentence.startswith("is not shown to beat proportional")


def test_a_mixture_does_not_win_by_luck_where_another_is_predicted_to_be_better() -> None:
    """With noise far above all differences the lowest mean is chance, and what the search expects decides."""
    predicted = {GOOD.mixture: 3.0, **dict.fromkeys(QUESTION.baselines.values(), 3.2)}
    history = confirmed(QUESTION, [GOOD], 3, with_noise(0.3))
    found = confirm(QUESTION, [GOOD], 3, history, lambda mixture: predicted[mixture])
    lowest = min((*found.candidates, *found.baselines), key=lambda each: each.mean or 0.0)
    assert found.winner.label == "proposed" != lowest.label
    assert found.candidates[0].sentence.startswith("is not shown to beat proportional")


def test_a_prediction_that_the_new_seeds_speak_against_does_not_decide() -> None:
    predicted = {BAD.mixture: 3.0, **dict.fromkeys(QUESTION.baselines.values(), 3.2)}
    found = confirm(QUESTION, [BAD], 3, confirmed(QUESTION, [BAD], 3), lambda mixture: predicted[mixture])
    assert found.winner.label.startswith("baseline:")
    assert found.beside is not None and found.beside.label == "best predicted" and found.beside.shown


def test_the_answer_is_compared_with_the_best_baseline() -> None:
    found = confirm(QUESTION, [GOOD], 3, confirmed(QUESTION, [GOOD], 3))
    means = {each.label: each.mean or 0.0 for each in found.baselines}
    assert found.beside is not None and found.beside.label == min(means, key=lambda label: means[label])
    assert found.beside.sentence.startswith("beats ") and "the best baseline" in found.beside.sentence


def outcome(label: str, share: float, *values: float) -> Outcome:
    mixture = Mixture.of({"web": share, "code": 1 - share})
    return Outcome(label, mixture, dict(enumerate(values, start=1)), 0.0, None, "not compared", "")


def test_predictions_count_the_more_the_noisier_all_mixtures_are() -> None:
    candidates = outcome("proposed", 0.1, 3.00, 3.03), outcome("best observed", 0.2, 2.90, 2.97)
    predicted = [3.0, 3.06, 3.2, 3.3]
    quiet = outcome("baseline:proportional", 0.3, 3.20, 3.23), outcome("baseline:uniform", 0.4, 3.30, 3.32)
    assert winner([*candidates, *quiet], predicted).label == "best observed"
    noisy = outcome("baseline:proportional", 0.3, 3.20, 3.93), outcome("baseline:uniform", 0.4, 3.30, 3.02)
    assert winner([*candidates, *noisy], predicted).label == "proposed"


def test_what_measured_better_without_being_shown_to_be_is_said() -> None:
    answer = outcome("proposed", 0.1, 3.00, 3.30)
    baselines = outcome("baseline:proportional", 0.3, 3.20, 3.43), outcome("baseline:uniform", 0.4, 2.99, 3.28)
    [caution] = Confirmation((answer,), baselines, answer).cautions
    assert caution.startswith("the uniform mixture measured lower than the answer, by 0.015")


def test_a_later_candidate_that_is_shown_better_wins() -> None:
    history = confirmed(QUESTION, [BAD, GOOD], 3)
    assert confirm(QUESTION, [BAD, GOOD], 3, history).winner.label == "proposed"


def test_proportional_wins_over_a_candidate_shown_worse_when_nothing_else_is_better() -> None:
    question = replace(QUESTION, baselines={"proportional": QUESTION.baselines["proportional"]})
    history = confirmed(question, [BAD], 3)
    assert confirm(question, [BAD], 3, history).winner.label == "baseline:proportional"


def test_a_baseline_can_win() -> None:
    history = confirmed(QUESTION, [BAD], 3)
    assert confirm(QUESTION, [BAD], 3, history).winner.label.startswith("baseline:")


def test_what_a_seed_does_to_all_mixtures_is_no_noise() -> None:
    def shifted(trial: Trial) -> Measurement:
        # The same draw of noise for every mixture of one seed, far larger than the gain.
        noisy = measure(Trial(GOOD.mixture, trial.fidelity, trial.seed), noise=50.0).losses["prose"].nats_per_token
        clean = measure(trial, noise=0.001)
        losses = {n: Loss(loss.nats_per_token + noisy, loss.bits_per_byte) for n, loss in clean.losses.items()}
        return Measurement(losses, (), {}, {}, 1.0, 1.0)

    [good] = confirm(QUESTION, [GOOD], 3, confirmed(QUESTION, [GOOD], 3, shifted)).candidates
    assert good.verdict == "better"


def test_more_candidates_need_more_evidence() -> None:
    history = confirmed(QUESTION, [GOOD, BAD], 3)
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
    history = confirmed(QUESTION, [GOOD], 3)
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
    history = confirmed(QUESTION, [GOOD], 2)
    with pytest.raises(SearchError, match="no confirmation trial of the proportional mixture"):
        confirm(QUESTION, [GOOD], 2, without(history, QUESTION.baselines["proportional"], {1, 2}))


def test_the_worst_case_is_taken_against_the_baseline_of_the_same_seed() -> None:
    question = problem(objective=WorstCase(("prose", "programs")))
    history = confirmed(question, [GOOD], 2)
    confirmation = confirm(question, [GOOD], 2, history)
    proportional = next(o for o in confirmation.baselines if o.label == "baseline:proportional")
    assert list(proportional.values.values()) == [0, 0]
    assert confirmation.candidates[0].difference == pytest.approx(confirmation.candidates[0].mean)


def test_one_completed_entry_is_kept_apart_from_another_fidelity() -> None:
    elsewhere = Trial(GOOD.mixture, problem(trials=(2, 2)).rungs[0].fidelity, 1)
    history = History((Completed(elsewhere, measure(elsewhere)),))
    with pytest.raises(SearchError):
        confirm(QUESTION, [GOOD], 1, history)


@pytest.mark.parametrize("baseline", ["proportional", "uniform"])
def test_every_seed_of_an_objective_against_a_baseline_counts(baseline: str) -> None:
    """Its baseline is trained with every seed, whether it is out or not."""
    question = problem(objective=WorstCase(("prose", "programs"), baseline))
    candidates = [GOOD, ALIKE]
    history = confirmed(question, candidates, 3)
    found = confirm(question, candidates, 3, history)
    for outcome in found.candidates:
        trained = {entry.trial.seed for entry in history.completed if entry.trial.mixture == outcome.mixture}
        assert set(outcome.values) == trained


def test_a_candidate_near_the_baseline_that_the_objective_needs_has_a_row_beside_it() -> None:
    question = problem(objective=WorstCase(("prose", "programs"), "uniform"))
    weights = question.baselines["uniform"].as_dict()
    near = Candidate(
        "proposed", Mixture.of({name: weight + 0.002 * (name == "web") for name, weight in weights.items()})
    )
    found = confirm(question, [near], 2, confirmed(question, [near], 2))
    assert "baseline:uniform" in [each.label for each in found.baselines]
    assert found.candidates[0].also == ()


def test_a_proposal_that_is_the_proportional_mixture_is_not_compared_with_itself() -> None:
    same = Candidate("proposed", QUESTION.baselines["proportional"])
    history = confirmed(QUESTION, [same], 3)
    found = confirm(QUESTION, [same], 3, history)
    assert found.candidates[0].also == ("baseline:proportional",)
    labels = [each.label for each in (*found.candidates, *found.baselines)]
    assert "baseline:proportional" not in labels and len(labels) == len(QUESTION.baselines)
    assert found.beside is not None and found.beside.label != "baseline:proportional"


def test_a_failed_seed_throws_nothing_out_and_no_more_is_trained_than_was_said() -> None:
    history = confirmed(
        QUESTION, [GOOD, ALIKE], 3, failing=lambda trial: trial.seed == 2 and trial.mixture == GOOD.mixture
    )
    assert {entry.trial.seed for entry in history.completed if entry.trial.mixture == GOOD.mixture} >= {1, 3}
    assert len(history.trials) <= confirmation_size(QUESTION, 2, 3)


def test_a_mixture_with_more_seeds_is_believed_more() -> None:
    """Both measured as far from what was predicted of them; six seeds of one, two of the other."""
    many = outcome("proposed", 0.1, 3.00, 3.04, 2.99, 3.03, 3.01, 2.98)
    few, rest = outcome("best tried", 0.2, 3.00, 3.04), outcome("baseline:proportional", 0.3, 3.20, 3.19)
    expected_M = expectations([many, few, rest], [3.1, 3.1, 3.2])
    assert expected_M[0] < expected_M[1]


def test_a_baseline_beyond_where_an_answer_may_lie_is_compared_and_never_the_answer() -> None:
    """Uniform is far from the natural mixture, and better than it."""
    found = confirm(QUESTION, [BAD], 3, confirmed(QUESTION, [BAD], 3), trust=TrustRegion(max_kl=0.01))
    assert found.winner.label == "baseline:proportional"
    assert any("where an answer may lie" in caution for caution in found.cautions)
