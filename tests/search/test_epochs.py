"""The law of epochs, in worlds where text repeats, and where nobody knows how often."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Float

from search.randomness import generator
from search.scales import Scales
from search.surrogates.base import Fitted
from search.surrogates.epochs import Epochs, EpochsChoice
from search.surrogates.rows import Rows, deal_folds

DOMAINS = 4
# A run of a domain alone would make so many epochs of it: the last two are scarce.
REPEATS = np.array([1.0, 2.0, 20.0, 50.0])
BENEFIT = np.array([0.3, 0.6, 1.0, 0.8])
HARM = np.array([0.0, 0.0, 0.3, 0.2])
SHARES = np.random.default_rng(0).dirichlet(np.full(DOMAINS, 0.7), size=300)
SEEN, UNSEEN = SHARES[:100], SHARES[100:]
NOISE = 0.005


def losses(
    weights_ND: Float[np.ndarray, "N D"], repeats_D: Float[np.ndarray, " D"] = REPEATS, harm: float = 1.0
) -> Float[np.ndarray, " N"]:
    """The law itself: the benefit is of the share, the harm of the epochs that the run made."""
    benefit_ND = 1 - np.exp(-np.sqrt(weights_ND * REPEATS * (1 / REPEATS).sum()))
    harm_ND = np.logaddexp(0, np.log1p(weights_ND * repeats_D) - 2) ** 2
    return np.asarray(2 + np.exp(0.5 - benefit_ND @ BENEFIT + harm * harm_ND @ HARM))


def scales(*repeats: Float[np.ndarray, " D"], goal: Float[np.ndarray, " D"] = REPEATS) -> Scales:
    unknown = np.full(len(repeats), np.nan)
    return Scales(unknown, unknown, np.array(repeats), np.nan, np.nan, goal)


def rows(
    weights_ND: Float[np.ndarray, "N D"],
    values_N: Float[np.ndarray, " N"],
    known: Scales | None = None,
    level: Sequence[int] | None = None,
) -> Rows:
    fidelity_N = np.zeros(len(values_N), dtype=np.int64) if level is None else np.array(level, dtype=np.int64)
    at_target_N = fidelity_N == fidelity_N.max()
    return Rows(
        weights_ND,
        values_N,
        fidelity_N,
        deal_folds(weights_ND, at_target_N, np.ones(len(values_N), dtype=bool), 0),
        known,
    )


def noisy(values_N: Float[np.ndarray, " N"], seed: int = 0, sd: float = NOISE) -> Float[np.ndarray, " N"]:
    return np.asarray(values_N + sd * generator("epochs", seed).standard_normal(len(values_N)))


def unexplained(fitted: Fitted[EpochsChoice], truth_N: Float[np.ndarray, " N"]) -> float:
    return float(((fitted.mean(UNSEEN) - truth_N) ** 2).mean() / truth_N.var())


def held_out_r2(known: Rows) -> float:
    surrogate = Epochs()
    found = surrogate.hold_out(known, surrogate.fit_rows(known))
    assert found is not None
    return 1 - float(((found.mean_N - known.values_N) ** 2).mean() / known.values_N.var())


def best_share(fitted: Fitted[EpochsChoice], domain: int) -> float:
    """Of the domain, the rest being the first, where the least loss is predicted."""
    share_K = np.linspace(0, 1, 201)
    line_KD = np.zeros((len(share_K), DOMAINS))
    line_KD[:, domain], line_KD[:, 0] = share_K, 1 - share_K
    return float(share_K[fitted.mean(line_KD).argmin()])


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["less is better", "more is better"])
def test_a_world_of_its_own_form_is_learned_whichever_way_is_better(sign: float) -> None:
    fitted = Epochs().fit_rows(rows(SEEN, sign * noisy(losses(SEEN)), scales(REPEATS)))
    assert fitted.choice.sign == sign
    assert unexplained(fitted, sign * losses(UNSEEN)) < 0.01
    prediction = fitted.predict(UNSEEN)
    inside_N = np.abs(prediction.mean_N - sign * losses(UNSEEN)) <= 1.96 * prediction.sd_N
    assert inside_N.mean() > 0.9


def test_without_noise_next_to_nothing_is_left() -> None:
    assert unexplained(Epochs().fit_rows(rows(SEEN, losses(SEEN), scales(REPEATS))), losses(UNSEEN)) < 1e-3


def test_the_best_share_of_a_scarce_domain_is_inside_with_harm_and_all_of_it_without() -> None:
    harmed = Epochs().fit_rows(rows(SEEN, noisy(losses(SEEN)), scales(REPEATS)))
    share_K = np.linspace(0, 1, 201)
    truth_K = losses(np.stack([1 - share_K, 0 * share_K, share_K, 0 * share_K], axis=1))
    assert best_share(harmed, 2) == pytest.approx(share_K[truth_K.argmin()], abs=0.1)
    # Nothing but the third domain helps, and it never harms.
    fresh_N = 2 + np.exp(0.5 - (1 - np.exp(-SEEN[:, 2] * 3)))
    assert best_share(Epochs().fit_rows(rows(SEEN, fresh_N, scales(REPEATS))), 2) > 0.9


def test_no_prediction_is_below_the_floor_which_is_below_all_that_was_measured() -> None:
    values_N = noisy(losses(SEEN), sd=0.05)
    fitted = Epochs().fit_rows(rows(SEEN, values_N, scales(REPEATS)))
    everywhere = np.vstack([UNSEEN, np.eye(DOMAINS), np.random.default_rng(1).dirichlet(np.full(DOMAINS, 0.1), 2000)])
    gamma = fitted.choice.gamma
    floor = float(np.median(values_N) - gamma * (np.median(values_N) - values_N.min()))
    assert fitted.mean(everywhere).min() > min(floor, values_N.min() - 0.03)
    assert fitted.mean(everywhere).min() > 2 - 0.1


def test_where_repeats_are_not_known_it_is_fitted_all_the_same() -> None:
    values_N = noisy(losses(SEEN))
    for known in (None, scales(np.full(DOMAINS, np.nan), goal=np.full(DOMAINS, np.nan))):
        assert unexplained(Epochs().fit_rows(rows(SEEN, values_N, known)), losses(UNSEEN)) < 0.05
    # One that is known helps, and the others do not make it worse than none.
    partly = np.array([np.nan, 2.0, np.nan, 50.0])
    assert unexplained(Epochs().fit_rows(rows(SEEN, values_N, scales(partly, goal=partly))), losses(UNSEEN)) < 0.05


@pytest.mark.parametrize("cheap", [REPEATS, REPEATS / 50], ids=["matched", "fresh"])
def test_cheap_runs_help_to_predict_the_target_whether_they_repeat_or_not(cheap: Float[np.ndarray, " D"]) -> None:
    few = SEEN[:20]
    at_target_N = noisy(losses(few))
    several = np.vstack([SEEN[20:], few])
    values_N = np.append(0.7 + 1.4 * noisy(losses(SEEN[20:], cheap), seed=1), at_target_N)
    known = rows(several, values_N, scales(cheap, REPEATS), [0] * 80 + [1] * 20)
    fitted = Epochs().fit_rows(known)
    alone = Epochs().fit_rows(rows(few, at_target_N, scales(REPEATS)))
    assert unexplained(fitted, losses(UNSEEN)) < min(0.2, unexplained(alone, losses(UNSEEN)))
    # The same runs, the cheap ones taken for repeated text that they never saw.
    if cheap is not REPEATS:
        mistaken = Epochs().fit_rows(replace(known, scales=scales(REPEATS, REPEATS)))
        assert unexplained(fitted, losses(UNSEEN)) < unexplained(mistaken, losses(UNSEEN))


def test_a_harm_that_no_run_could_show_is_none_for_a_goal_that_repeats() -> None:
    fresh = REPEATS / 1000
    fitted = Epochs().fit_rows(rows(SEEN, noisy(losses(SEEN, fresh)), scales(fresh)))
    assert unexplained(fitted, losses(UNSEEN, fresh)) < 0.02


def test_held_out_runs_are_predicted_at_the_epochs_that_they_made() -> None:
    # The final run repeats four times as often as the proxies.
    surrogate, known = Epochs(), rows(SEEN, noisy(losses(SEEN)), scales(REPEATS, goal=4 * REPEATS))
    fitted = surrogate.fit_rows(known)
    found = surrogate.hold_out(known, fitted)
    assert found is not None
    assert np.abs(found.mean_N - known.values_N).mean() < np.abs(fitted.mean(SEEN) - known.values_N).mean() / 3


def test_scrambled_runs_teach_nothing_and_a_wrong_inventory_teaches_less() -> None:
    known = rows(SEEN, noisy(losses(SEEN), sd=0.02), scales(REPEATS))
    scrambled_N = generator("scrambled").permutation(known.values_N)
    assert held_out_r2(known) > 0.9
    assert -0.5 < held_out_r2(replace(known, values_N=scrambled_N)) < 0.1
    for swapped in ([2, 3, 0, 1], [3, 2, 1, 0]):
        wrong = REPEATS[swapped]
        assert held_out_r2(replace(known, scales=scales(wrong, goal=wrong))) < held_out_r2(known)


@pytest.mark.parametrize("domains", [2, 40])
def test_two_domains_and_forty(domains: int) -> None:
    rng = np.random.default_rng(2)
    weights_ND = rng.dirichlet(np.full(domains, 0.7), size=160)
    values_N = 2 + np.exp(-np.sqrt(weights_ND) @ np.linspace(0, 2, domains))
    fitted = Epochs().fit(weights_ND[:120], values_N[:120])
    assert np.corrcoef(fitted.mean(weights_ND[120:]), values_N[120:])[0, 1] > 0.9


@pytest.mark.parametrize("value", [2.5, 0.0, -3.0])
def test_a_constant_is_predicted_as_it_is(value: float) -> None:
    prediction = Epochs().fit(SEEN[:15], np.full(15, value)).predict(UNSEEN)
    assert np.allclose(prediction.mean_N, value)
    assert np.isfinite(prediction.sd_N).all()


def test_repeated_runs_say_how_near_the_floor_may_be() -> None:
    weights_ND = np.vstack([SEEN[:30], np.tile(SEEN[:1], (10, 1))])
    values_N = noisy(losses(weights_ND), sd=0.03)
    fitted = Epochs().fit_rows(rows(weights_ND, values_N, scales(REPEATS)))
    # Three standard deviations, as ten runs of one mixture know it.
    assert fitted.mean(UNSEEN).min() > values_N.min() - 1
    assert unexplained(fitted, losses(UNSEEN)) < 0.4
    # Runs of one mixture alone teach its value.
    alone = Epochs().fit(np.tile(SEEN[0], (6, 1)), np.array([2.0, 2.1, 2.2, 2.1, 2.05, 2.15]))
    assert alone.predict(SEEN[:1]).mean_N == pytest.approx(2.1, abs=0.02)


def test_one_absurd_value_leaves_predictions_and_doubts_finite() -> None:
    values_N = noisy(losses(SEEN[:30]))
    values_N[3] = 1e6
    prediction = Epochs().fit(SEEN[:30], values_N).predict(np.vstack([np.eye(DOMAINS), UNSEEN]))
    assert np.isfinite(prediction.mean_N).all()
    assert (np.isfinite(prediction.sd_N) & (prediction.sd_N > 0)).all()


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_unit_does_not_matter(unit: float) -> None:
    values_N = noisy(losses(SEEN[:40]))
    once = Epochs().fit(SEEN[:40], values_N).predict(UNSEEN)
    again = Epochs().fit(SEEN[:40], unit * (values_N - 7)).predict(UNSEEN)
    assert np.allclose(again.mean_N / unit + 7, once.mean_N, atol=1e-3 * once.mean_N.std())
    assert np.allclose(again.sd_N / unit, once.sd_N, rtol=1e-2)


def test_a_choice_that_is_passed_on_is_kept() -> None:
    known = rows(SEEN, noisy(losses(SEEN)), scales(REPEATS))
    fitted = Epochs().fit_rows(known)
    again = Epochs().fit_rows(known, fitted.choice)
    assert again.choice is fitted.choice
    assert np.array_equal(again.mean(UNSEEN), fitted.mean(UNSEEN))
