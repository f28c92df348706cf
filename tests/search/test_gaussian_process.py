"""The process against what it is meant to be: formulas written out, differences, and refits."""

import numpy as np
import pytest
from jaxtyping import Float, Int
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal

from search.gaussian_process.hyperparameters import Hyperparameters, prior
from search.gaussian_process.kernel import Kernel
from search.gaussian_process.process import JITTER, GaussianProcess, Standardised, log_posterior

RNG = np.random.default_rng(0)
DOMAINS, RUNS = 4, 30
WEIGHTS = RNG.dirichlet(np.full(DOMAINS, 0.7), size=RUNS)
# A weight of nothing, and two runs of one mixture.
WEIGHTS[0] = [0.5, 0.5, 0, 0]
WEIGHTS[2] = WEIGHTS[1]
VALUES = (WEIGHTS @ np.array([0.1, 1.0, 0.4, 0.2]) + 0.1) ** -0.5 + 0.05 * RNG.standard_normal(RUNS)
UNSEEN = RNG.dirichlet(np.full(DOMAINS, 0.7), size=7)
SHAPES = [(1, 1), (DOMAINS, 1), (1, 3), (DOMAINS, 3)]

every_shape = pytest.mark.parametrize(("lengths", "fidelities"), SHAPES)


def somewhere(lengths: int, fidelities: int, seed: int = 1) -> Hyperparameters:
    """Hyperparameters near the mean of the prior, none at its own mean."""
    start = Hyperparameters.start(lengths, fidelities)
    return start.replaced(start.vector_P + 0.3 * np.random.default_rng(seed).standard_normal(len(start.vector_P)))


def fitted(hyper: Hyperparameters) -> GaussianProcess:
    """Conditioned on the runs with these hyperparameters."""
    return GaussianProcess.fit(WEIGHTS, VALUES, np.arange(RUNS) % hyper.fidelities, start=hyper, iterations=0)


def covariance(
    hyper: Hyperparameters, one_ND: Float[np.ndarray, "N D"], fidelity_N: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "N N"]:
    """The formula of search.gaussian_process.kernel, run by run, noise included."""
    length_D = np.broadcast_to(np.exp(hyper.log_length_G), (DOMAINS,))
    gain_L, link = np.exp(hyper.log_gain_L), 1 / (1 + np.exp(-hyper.logit_link))
    found = np.empty((len(one_ND), len(one_ND)))
    for i, (one_D, at) in enumerate(zip(one_ND, fidelity_N, strict=True)):
        for j, (other_D, there) in enumerate(zip(one_ND, fidelity_N, strict=True)):
            distance = 5**0.5 * np.sqrt((((np.sqrt(one_D) - np.sqrt(other_D)) / length_D) ** 2).sum())
            matern = np.exp(2 * hyper.log_scale) * (1 + distance + distance**2 / 3) * np.exp(-distance)
            trend = np.exp(2 * hyper.log_trend) * np.sqrt(one_D * other_D).sum()
            between = gain_L[at] * gain_L[there] * np.prod(link[min(at, there) : max(at, there)])
            offset = (9.0 if hyper.fidelities > 1 else 1.0) * (at == there)
            found[i, j] = between * (matern + trend) + offset
    return found + np.diag(np.exp(2 * hyper.log_noise_L)[fidelity_N] + JITTER)


@every_shape
def test_the_gradient_of_the_log_posterior_is_what_differences_say(lengths: int, fidelities: int) -> None:
    hyper = somewhere(lengths, fidelities)
    data = fitted(hyper).data
    _, gradient_P = log_posterior(data, hyper)

    def height(vector_P: Float[np.ndarray, " P"]) -> float:
        return log_posterior(data, hyper.replaced(vector_P))[0]

    by_difference_P = approx_fprime(hyper.vector_P, height, 1e-6)
    np.testing.assert_allclose(gradient_P, by_difference_P, atol=1e-3, rtol=1e-4)


@every_shape
def test_the_log_posterior_is_the_normal_density_of_the_values_and_of_the_hyperparameters(
    lengths: int, fidelities: int
) -> None:
    def direct(hyper: Hyperparameters) -> float:
        data = fitted(hyper).data
        values = multivariate_normal(cov=covariance(hyper, WEIGHTS, np.arange(RUNS) % fidelities), allow_singular=True)
        mean_P, precision_PP = prior(lengths, fidelities)
        of_hyper = multivariate_normal(mean_P, np.linalg.inv(precision_PP))
        return float(values.logpdf(data.values_N) + of_hyper.logpdf(hyper.vector_P))

    one, other = somewhere(lengths, fidelities, 1), somewhere(lengths, fidelities, 2)
    # Both are up to a constant.
    gap = fitted(one).log_posterior - fitted(other).log_posterior
    assert gap == pytest.approx(direct(one) - direct(other), abs=1e-6)


def test_the_prior_is_of_length_scales_around_a_common_one_and_of_walks_along_the_fidelities() -> None:
    """By drawing hyperparameters as the words say."""
    rng, draws = np.random.default_rng(0), 200_000
    common = 0.3 + rng.standard_normal(draws)
    length_G = common + 0.55 * rng.standard_normal((2, draws))
    first_noise = np.log(0.1) + rng.standard_normal(draws)
    second_noise = first_noise + 0.5 * rng.standard_normal(draws)
    mean_P, precision_PP = prior(2, 2)
    drawn = np.vstack([first_noise, second_noise, length_G])
    np.testing.assert_allclose(mean_P[2:6], drawn.mean(axis=1), atol=0.02)
    np.testing.assert_allclose(np.linalg.inv(precision_PP)[2:6, 2:6], np.cov(drawn), atol=0.02)


def test_the_marginal_likelihood_is_the_integral_over_the_hyperparameters() -> None:
    """By importance sampling around the mode, where few hyperparameters allow it."""
    process = GaussianProcess.fit(WEIGHTS, VALUES, start=Hyperparameters.start(1))
    mode_P, rng = process.hyperparameters.vector_P, np.random.default_rng(0)
    mean_P, precision_PP = prior(1, 1)
    # Wider than the posterior, so that no weight is huge.
    proposal = multivariate_normal(mode_P, np.diag([0.8, 0.8, 0.3, 0.6]) ** 2)
    draws = proposal.rvs(6000, random_state=rng)
    log_density = [log_posterior(process.data, process.hyperparameters.replaced(draw))[0] for draw in draws]
    log_prior_constant = 0.5 * np.linalg.slogdet(precision_PP).logabsdet - len(mode_P) / 2 * np.log(2 * np.pi)
    log_weight = np.array(log_density) + log_prior_constant - proposal.logpdf(draws)
    integral = np.log(np.exp(log_weight - log_weight.max()).mean()) + log_weight.max()
    assert process.log_marginal_likelihood() == pytest.approx(integral, abs=0.5)
    # Another kernel is compared by the same measure: the constant is none of the kernel's.
    assert mean_P.shape == mode_P.shape


@every_shape
def test_predictions_are_those_of_the_normal_distribution(lengths: int, fidelities: int) -> None:
    hyper, fidelity = somewhere(lengths, fidelities), fidelities - 1
    process = fitted(hyper)
    data, unseen = process.data, len(UNSEEN)
    at = np.append(data.fidelity_N, np.full(unseen, fidelity))
    joint = covariance(hyper, np.vstack([WEIGHTS, UNSEEN]), at)
    # A run and a query that are one mixture share no noise.
    gain = np.linalg.solve(joint[:RUNS, :RUNS], joint[:RUNS, RUNS:])
    mean_Q = data.mean + data.sd * (gain.T @ data.values_N + data.offset_L[fidelity])
    variance_Q = data.sd**2 * np.diag(joint[RUNS:, RUNS:] - gain.T @ joint[:RUNS, RUNS:])
    found_mean_Q, found_variance_Q = process.predict(UNSEEN, fidelity)
    np.testing.assert_allclose(found_mean_Q, mean_Q, rtol=1e-6)
    np.testing.assert_allclose(found_variance_Q, variance_Q, rtol=1e-5)


@every_shape
def test_leaving_one_out_is_what_a_refit_without_it_predicts(lengths: int, fidelities: int) -> None:
    process = fitted(somewhere(lengths, fidelities))
    error_N, variance_N = process.leave_one_out()
    data = process.data
    for run in range(0, RUNS, 5):
        others = np.arange(RUNS) != run
        kept = Standardised(
            data.features_ND[others], data.fidelity_N[others], data.values_N[others], data.mean, data.sd, data.offset_L
        )
        without = GaussianProcess.conditioned(kept, process.hyperparameters)
        mean_1, variance_1 = without.predict(WEIGHTS[run : run + 1], int(data.fidelity_N[run]))
        assert VALUES[run] - mean_1[0] == pytest.approx(error_N[run], rel=1e-5, abs=1e-7)
        assert variance_1[0] == pytest.approx(variance_N[run], rel=1e-5)


def test_the_fit_is_a_mode_and_what_it_was_made_of_stays_as_it_was() -> None:
    start = Hyperparameters.start(DOMAINS)
    before_P, weights, values = start.vector_P.copy(), WEIGHTS.copy(), VALUES.copy()
    process = GaussianProcess.fit(WEIGHTS, VALUES, start=start)
    _, gradient_P = log_posterior(process.data, process.hyperparameters)
    inside_P = np.array(
        [low < each < high for each, (low, high) in zip(process.hyperparameters.vector_P, start.bounds, strict=True)]
    )
    assert np.abs(gradient_P[inside_P]).max() < 0.05
    assert process.log_posterior > log_posterior(process.data, start)[0]
    np.testing.assert_array_equal(start.vector_P, before_P)
    np.testing.assert_array_equal(VALUES, values)
    np.testing.assert_array_equal(WEIGHTS, weights)


def test_hyperparameters_carry_over_to_more_fidelities() -> None:
    alone = somewhere(DOMAINS, 1)
    more = alone.over(3)
    assert more.vector_P.shape == Hyperparameters.start(DOMAINS, 3).vector_P.shape == (len(more.bounds),)
    np.testing.assert_array_equal(more.log_length_G, alone.log_length_G)
    np.testing.assert_array_equal(more.log_noise_L, np.repeat(alone.log_noise_L, 3))
    np.testing.assert_array_equal(more.log_gain_L, np.zeros(3))
    np.testing.assert_array_equal(more.over(3).vector_P, more.vector_P)


def test_runs_of_a_related_fidelity_teach_the_target() -> None:
    """Many cheap runs whose values are the target's, but for a shift and a gain, and a few at the target."""
    rng = np.random.default_rng(5)
    weights = rng.dirichlet(np.ones(DOMAINS), size=60)
    truth = (weights @ np.array([0.1, 1.0, 0.4, 0.2]) + 0.1) ** -0.5
    fidelity = (np.arange(60) >= 54).astype(np.int64)
    values = np.where(fidelity == 1, truth, 3 + 1.3 * truth)
    unseen = rng.dirichlet(np.ones(DOMAINS), size=100)
    unseen_truth = (unseen @ np.array([0.1, 1.0, 0.4, 0.2]) + 0.1) ** -0.5
    both, _ = GaussianProcess.fit(weights, values, fidelity, start=Hyperparameters.start(1, 2)).predict(unseen, 1)
    alone, _ = GaussianProcess.fit(weights[54:], values[54:], start=Hyperparameters.start(1)).predict(unseen)
    assert ((both - unseen_truth) ** 2).mean() < 0.2 * ((alone - unseen_truth) ** 2).mean()


def test_the_kernel_is_the_same_in_numpy_and_in_torch() -> None:
    import torch

    hyper = somewhere(DOMAINS, 3)
    one, other = np.sqrt(WEIGHTS), np.sqrt(UNSEEN)
    at_one, at_other = np.arange(RUNS) % 3, np.arange(len(UNSEEN)) % 3
    in_numpy = Kernel.of(hyper).covariance(one, at_one, other, at_other)
    kernel: Kernel[torch.Tensor] = Kernel.of(hyper, torch)
    in_torch = kernel.covariance(*map(torch.as_tensor, (one, at_one, other, at_other)))
    np.testing.assert_allclose(in_torch.numpy(), in_numpy, rtol=1e-12)
