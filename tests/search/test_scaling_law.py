"""The law of size, tokens and mixture: what it predicts of a run that was never trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Float

from search.designs.baselines import baselines
from search.evidence import Evidence
from search.fidelity import Fidelity
from search.objective import NoWorse, Objective, WeightedMean
from search.problem import Problem, Rung
from search.recommendation.scale_path import ScalePath, scale_path
from search.runs import Runs
from search.scales import Goal
from search.space import DomainLimits, Space
from search.surrogates.effective_data import EffectiveData
from search.surrogates.loss_model import LossModel, metric_rows
from search.surrogates.rows import Rows
from search.surrogates.scaling_law import FittedScalingLaw, ScalingLaw
from search.trust_region import TrustRegion

DOMAINS = ("web", "code", "books")
UNSEEN = np.random.default_rng(9).dirichlet(np.ones(3), size=200)
# What a token is worth to either metric for the smallest runs, and how that grows with tokens.
WORTH, DRIFT = np.array([[1.0, 0.1, 0.5], [0.2, 1.0, 0.2]]), np.array([[0.1, 0.1, 0.35], [0.1, 0.1, 0.3]])
MEAN = WeightedMean({"a": 1.0, "b": 1.0})
SIZES = [(1e7, 2e8), (4e7, 8e8), (1.6e8, 3.2e9), (6.4e8, 1.28e10)]


def losses(weights: Float[np.ndarray, "N D"], params: float, tokens: float) -> Float[np.ndarray, "N M"]:
    growth = tokens / 2e8
    loss: Float[np.ndarray, "N M"] = (
        1.5 + 30 * params**-0.3 + 0.3 * growth**-0.3 + (weights @ (WORTH * growth**DRIFT).T) ** -0.35
    )
    return loss


def runs(
    seed: int = 0,
    trained: tuple[int, ...] = (0, 1),
    goal: Goal | None = None,
    noise: float = 0.01,
    sized: bool = True,
) -> Runs:
    """Thirty runs at the smallest of these sizes and twenty at each other, of other mixtures."""
    rng = np.random.default_rng(seed)
    weights, values, place = [], [], []
    for number, size in enumerate(trained):
        drawn = rng.dirichlet(np.full(3, 0.7), size=30 if number == 0 else 20)
        weights.append(drawn)
        values.append(losses(drawn, *SIZES[size]) + noise * rng.standard_normal((len(drawn), 2)))
        place += [number] * len(drawn)
    fidelities = tuple(
        Fidelity(f"size {size}", round(SIZES[size][0]) if sized else 0, round(SIZES[size][1]), float(4**size))
        for size in trained
    )
    names = tuple(map(str, range(len(place))))
    stacked = np.vstack(weights)
    return Runs(names, DOMAINS, ("a", "b"), fidelities, stacked, np.array(place), np.vstack(values), goal=goal)


def rows(of: Runs, metric: str = "a") -> Rows:
    return metric_rows(of, metric, 0)[1]


def fitted(of: Runs, metric: str = "a") -> FittedScalingLaw:
    law = ScalingLaw(0).fit_rows(rows(of, metric))
    assert isinstance(law, FittedScalingLaw)
    return law


def path(of: Runs, objective: Objective = MEAN) -> ScalePath:
    space = Space(tuple(DomainLimits(name, 10**9) for name in DOMAINS))
    named = {each.name: each.mixture for each in baselines(space, ("proportional",))}
    rungs = tuple(Rung(each, 1) for each in of.fidelities)
    problem = Problem(space, rungs, objective, named, 0, goal=of.goal)
    model = LossModel.fit(ScalingLaw(0), of)
    found = scale_path(problem, Evidence(of, problem.objective), model, TrustRegion())
    assert found is not None
    return found


def best(params: float, tokens: float) -> Float[np.ndarray, " D"]:
    """By looking at many mixtures."""
    grid = np.random.default_rng(1).dirichlet(np.ones(3), size=20_000)
    nearest: Float[np.ndarray, " D"] = grid[losses(grid, params, tokens).mean(axis=1).argsort()[:20]].mean(axis=0)
    return nearest


def test_three_sizes_predict_levels_and_differences_of_the_fourth() -> None:
    goal = SIZES[3]
    found = fitted(runs(trained=(0, 1, 2), goal=Goal(*goal))).predict(UNSEEN)
    truth = losses(UNSEEN, *goal)[:, 0]
    assert ((found.mean_N - truth) ** 2).mean() < 0.2 * truth.var()
    assert (np.abs(found.mean_N - truth) <= 1.96 * found.sd_N).mean() > 0.9


def test_two_sizes_predict_the_differences_of_a_run_two_sizes_larger_better_than_the_largest_runs_do() -> None:
    goal = SIZES[3]
    trained = runs(goal=Goal(*goal))
    truth = losses(UNSEEN, *goal)[:, 1]

    def missed(predicted: Float[np.ndarray, " N"]) -> float:
        return float((predicted - truth).std() / truth.std())

    here = EffectiveData(0).fit_rows(rows(trained, "b"))
    assert missed(fitted(trained, "b").mean(UNSEEN)) < 0.7 * missed(here.mean(UNSEEN))


def test_the_best_mixture_moves_the_right_way_and_intervals_hold_its_share_in_most_worlds() -> None:
    small, goal = best(*SIZES[1]), best(*SIZES[3])
    moving = int(np.abs(goal - small).argmax())
    held, ways = [], []
    for seed in range(4):
        found = path(runs(seed, goal=Goal(*SIZES[3])))
        last = next(point for point in reversed(found.points) if point.trained)
        name = DOMAINS[moving]
        ways.append(np.sign(found.points[-1].mixture[name] - last.mixture[name]) == np.sign(goal - small)[moving])
        low, high = found.points[-1].shares[name]
        held.append(low - 0.02 <= goal[moving] <= high + 0.02)
    assert sum(ways) >= 3
    assert sum(held) >= 3


def test_the_path_goes_from_the_smallest_runs_to_the_goal() -> None:
    found = path(runs(goal=Goal(*SIZES[3])))
    scales = [(point.params, point.tokens) for point in found.points]
    assert scales[0] == pytest.approx(SIZES[0]) and scales[-1] == pytest.approx(SIZES[3])
    assert [point.trained for point in found.points] == [True, True, False, False, False]
    widths = [point.predicted.upper - point.predicted.lower for point in found.points[1:]]
    assert widths == sorted(widths)


def test_intervals_widen_with_the_distance() -> None:
    law = fitted(runs(goal=Goal(*SIZES[3])))
    sds = [law.at_scale(*size).predict(UNSEEN).sd_N.mean() for size in SIZES[1:]]
    assert sds[0] < 0.8 * sds[1] and sds[1] < 0.8 * sds[2]


def test_held_out_runs_are_predicted_at_their_own_scale() -> None:
    trained = runs(goal=Goal(*SIZES[3]))
    surrogate, of_metric = ScalingLaw(0), rows(trained)
    held_out = surrogate.hold_out(of_metric, surrogate.fit_rows(of_metric))
    assert held_out is not None
    there = of_metric.at_target_N
    assert np.abs(held_out.mean_N - of_metric.values_N)[there].mean() < 0.1
    assert np.abs(fitted(trained).mean(of_metric.weights_ND) - of_metric.values_N)[there].mean() > 0.1


def test_where_parameters_are_not_known_tokens_stand_for_all_growth() -> None:
    trained = runs(trained=(0, 1, 2), goal=Goal(None, SIZES[3][1]), sized=False)
    assert trained.scales.axes.names == ("tokens",)
    truth = losses(UNSEEN, *SIZES[3])[:, 0]
    found = fitted(trained).predict(UNSEEN)
    assert np.corrcoef(found.mean_N, truth)[0, 1] > 0.95
    assert (np.abs(found.mean_N - truth) <= 1.96 * found.sd_N).mean() > 0.8


def test_without_scales_and_of_one_fidelity_it_is_the_law_of_effective_data() -> None:
    one = rows(runs(trained=(1,)))
    for alone in (one, replace(one, scales=None)):
        law, same = ScalingLaw(0).fit_rows(alone), EffectiveData(0).fit_rows(alone)
        assert np.array_equal(law.mean(UNSEEN), same.mean(UNSEEN))


def test_a_few_wild_runs_change_little() -> None:
    trained = runs(trained=(0, 1, 2), goal=Goal(*SIZES[3]))
    wild = trained.values_NM.copy()
    wild[[3, 40]] += 1.5
    calm, shaken = fitted(trained).mean(UNSEEN), fitted(replace(trained, values_NM=wild)).mean(UNSEEN)
    assert np.abs(calm - shaken).mean() < 0.5 * calm.std()


def test_levels_before_the_learning_rate_fell_bend_nothing() -> None:
    trained = runs(trained=(0, 1, 2, 2), goal=Goal(*SIZES[3]))
    higher = trained.values_NM + 0.3 * (trained.fidelity_N < 3)[:, None]
    stable = replace(trained, values_NM=higher, stable_L=np.array([True, True, True, False]))
    truth = losses(UNSEEN, *SIZES[3])[:, 0]
    # The fall of the learning rate at the end is not taken for what growth does.
    assert np.abs((fitted(stable).mean(UNSEEN) - truth).mean()) < 0.5 * np.abs(
        (fitted(replace(stable, stable_L=None)).mean(UNSEEN) - truth).mean()
    )


@pytest.mark.parametrize(
    ("trained", "goal", "said"),
    [
        ((1,), SIZES[3], "one scale"),
        ((0, 1), (7e9, 1e15), "no prediction is ventured"),
    ],
)
def test_what_is_out_of_reach_is_refused_in_a_sentence(
    trained: tuple[int, ...], goal: tuple[float, float], said: str
) -> None:
    assert said in (runs(trained=trained, goal=Goal(*goal)).scales.refusal or "")


def test_a_bold_prediction_is_cautioned_and_a_near_one_is_not() -> None:
    assert runs(goal=Goal(*SIZES[2])).scales.cautions == ()
    assert "bold" in runs(goal=Goal(*SIZES[3])).scales.cautions[0]


def test_a_constraint_holds_along_the_whole_path() -> None:
    """What is best by one metric alone is mostly code, and costs the other more than it may."""
    trained = runs(trained=(0, 1, 2), goal=Goal(*SIZES[3]))
    alone = WeightedMean({"a": 0.0, "b": 1.0})
    constrained = NoWorse(alone, 0.0)
    natural = np.full((1, 3), 1 / 3)

    def worse(objective: Objective) -> list[float]:
        return [
            float((losses(point.mixture.array[None], *size) - losses(natural, *size))[0, 0])
            for point, size in zip(path(trained, objective).points, SIZES, strict=False)
        ]

    assert max(worse(NoWorse(alone, 1.0))) > 0.05
    assert max(worse(constrained)) < 0.02
