"""A Gaussian process over mixtures, at one fidelity or several, fitted by the mode of its hyperparameters' posterior.

The model of a standardised value y of a mixture w at fidelity l is

    y = b_l + a_l f_l(w) + noise,    cov = search.gaussian_process.kernel

where corr(f_l, f_l') is the product of the links between neighbouring fidelities: intrinsic coregionalisation, of which
the autoregressive model of M. C. Kennedy and A. O'Hagan, "Predicting the output from a complex computer code when fast
approximations are available", Biometrika 87(1), 2000, is the case of a chain. There is one length scale, or one per
domain, which are then shrunk to a common one: with two runs per domain free ones overfit.

Gradients are analytic. GPyTorch fits the same model; here a fit to 64 runs takes about a hundredth of a second, and
choosing a warp takes dozens of fits (see DECISIONS.md).

Shapes: N runs, Q queries, D domains, L fidelities, P hyperparameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import lapack, solve_triangular
from scipy.optimize import minimize

from search.gaussian_process.hyperparameters import Hyperparameters, prior
from search.gaussian_process.kernel import Kernel

ITERATIONS = 60
# A step that gains less than this share of the log posterior, about a ten-thousandth of a nat, is the last.
TOLERANCE = 1e-6
JITTER = 1e-8
# Curvature below which a hyperparameter counts as fixed by nothing, not even its prior: at a bound.
LEAST_SHARPNESS = 1e-2
# How far a hyperparameter moves to see the curvature.
STEP = 1e-3
LEAST_VARIANCE = 1e-10


def features(weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """Where the process sees a mixture, [N, D]."""
    features_ND: Float[np.ndarray, "N D"] = np.sqrt(np.maximum(weights_ND, 0))
    return features_ND


@dataclass(frozen=True, eq=False)
class Standardised:
    """Runs as the process sees them, in units of the fidelity with the most runs.

    Attributes:
        values_N: value = mean + sd * (offset of its fidelity + standardised value).
    """

    features_ND: Float[np.ndarray, "N D"]
    fidelity_N: Int[np.ndarray, " N"]
    values_N: Float[np.ndarray, " N"]
    mean: float
    sd: float
    offset_L: Float[np.ndarray, " L"]

    @cached_property
    def inner_NN(self) -> Float[np.ndarray, "N N"]:
        """Inner products of the features: the same at every step of a fit."""
        inner_NN: Float[np.ndarray, "N N"] = self.features_ND @ self.features_ND.T
        return inner_NN

    @classmethod
    def of(
        cls,
        weights_ND: Float[np.ndarray, "N D"],
        values_N: Float[np.ndarray, " N"],
        fidelity_N: Int[np.ndarray, " N"] | None,
        fidelities: int,
    ) -> Standardised:
        if fidelity_N is None:
            fidelity_N = np.zeros(len(values_N), dtype=np.int64)
        counts_L = np.bincount(fidelity_N, minlength=fidelities)
        most_N = values_N[fidelity_N == counts_L.argmax()]
        mean, sd = float(most_N.mean()), float(most_N.std())
        if sd <= 1e-12 * abs(mean):
            sd = 1.0
        standard_N = (values_N - mean) / sd
        offset_L = np.bincount(fidelity_N, standard_N, minlength=fidelities) / np.maximum(counts_L, 1)
        return cls(features(weights_ND), fidelity_N, standard_N - offset_L[fidelity_N], mean, sd, offset_L)


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """One that is conditioned on runs.

    Attributes:
        root_NN: lower root of the runs' covariance, noise included.
        weighted_N: the inverse of that covariance times the standardised values.
    """

    data: Standardised
    hyperparameters: Hyperparameters
    root_NN: Float[np.ndarray, "N N"]
    weighted_N: Float[np.ndarray, " N"]

    @classmethod
    def fit(
        cls,
        weights_ND: Float[np.ndarray, "N D"],
        values_N: Float[np.ndarray, " N"],
        fidelity_N: Int[np.ndarray, " N"] | None = None,
        *,
        start: Hyperparameters,
        iterations: int = ITERATIONS,
    ) -> GaussianProcess:
        """
        Args:
            fidelity_N: from 0 to one less than `start` has; default: all 0.
            start: where the search for the hyperparameters begins; it says how many length scales and fidelities.
            iterations: of L-BFGS; 0 keeps `start`.
        """
        data = Standardised.of(weights_ND, values_N, fidelity_N, start.fidelities)

        def cost(vector_P: Float[np.ndarray, " P"]) -> tuple[float, Float[np.ndarray, " P"]]:
            value, gradient_P = log_posterior(data, start.replaced(vector_P))
            return -value, -gradient_P

        if iterations:
            found = minimize(
                cost,
                start.vector_P,
                jac=True,
                method="L-BFGS-B",
                bounds=start.bounds,
                options={"maxiter": iterations, "ftol": TOLERANCE},
            )
            start = start.replaced(np.asarray(found.x))
        return cls.conditioned(data, start)

    @classmethod
    def conditioned(cls, data: Standardised, hyper: Hyperparameters) -> GaussianProcess:
        """
        Raises:
            LinAlgError: the covariance is not positive definite.
        """
        covariance_NN = Kernel.of(hyper).covariance(
            data.features_ND, data.fidelity_N, data.features_ND, data.fidelity_N
        )
        covariance_NN.flat[:: len(covariance_NN) + 1] += hyper.noise_L[data.fidelity_N] + JITTER
        root_NN: Float[np.ndarray, "N N"] = np.linalg.cholesky(covariance_NN)
        weighted_N, _ = lapack.dpotrs(root_NN, data.values_N, lower=1)
        return cls(data, hyper, root_NN, weighted_N)

    @property
    def log_posterior(self) -> float:
        """Of the hyperparameters in use, up to a constant."""
        return log_posterior(self.data, self.hyperparameters)[0]

    def log_marginal_likelihood(self) -> float:
        """Of the values whatever the hyperparameters, up to a constant: Laplace's approximation at the mode.

        How sharply the data fix the hyperparameters counts against them, so that a length scale per domain has to earn
        its keep.
        """
        hyper = self.hyperparameters
        value, at_mode_P = log_posterior(self.data, hyper)
        shifts_PP = STEP * np.eye(len(at_mode_P))
        moved = [log_posterior(self.data, hyper.replaced(hyper.vector_P + shift_P))[1] for shift_P in shifts_PP]
        hessian_PP = (at_mode_P - np.array(moved)) / STEP
        sharpness_P = np.linalg.eigvalsh((hessian_PP + hessian_PP.T) / 2)
        of_prior = np.linalg.slogdet(prior(hyper.lengths, hyper.fidelities)[1]).logabsdet
        return float(value - 0.5 * (np.log(np.maximum(sharpness_P, LEAST_SHARPNESS)).sum() - of_prior))

    def predict(
        self, weights_QD: Float[np.ndarray, "Q D"], fidelity: int = 0
    ) -> tuple[Float[np.ndarray, " Q"], Float[np.ndarray, " Q"]]:
        """Mean and variance of a new measurement, noise included, twice [Q]."""
        kernel: Kernel[Any] = Kernel.of(self.hyperparameters)
        data, at_Q = self.data, np.full(len(weights_QD), fidelity)
        across_QN = kernel.covariance(features(weights_QD), at_Q, data.features_ND, data.fidelity_N)
        mean_Q = data.mean + data.sd * (across_QN @ self.weighted_N + data.offset_L[fidelity])
        explained_Q = (solve_triangular(self.root_NN, across_QN.T, lower=True) ** 2).sum(axis=0)
        variance_Q = np.maximum(kernel.variance(fidelity) - explained_Q, LEAST_VARIANCE)
        return mean_Q, data.sd**2 * (variance_Q + self.hyperparameters.noise_L[fidelity])

    def leave_one_out(self) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
        """Errors and variances of predicting each run from the others, hyperparameters kept, twice [N].

        C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning, MIT Press 2006, equations 5.10
        to 5.12.
        """
        inverse_root_NN = solve_triangular(self.root_NN, np.eye(len(self.root_NN)), lower=True)
        precision_N = (inverse_root_NN**2).sum(axis=0)
        return self.data.sd * self.weighted_N / precision_N, self.data.sd**2 / precision_N


def log_posterior(data: Standardised, hyper: Hyperparameters) -> tuple[float, Float[np.ndarray, " P"]]:
    """Of the hyperparameters, up to a constant, and its gradient, [P]."""
    features_ND, fidelity_N, values_N = data.features_ND, data.fidelity_N, data.values_N
    diagonal = slice(None, None, len(values_N) + 1)
    kernel: Kernel[Any] = Kernel.of(hyper)
    terms = kernel.terms(features_ND, fidelity_N, features_ND, fidelity_N, data.inner_NN)
    signal_NN = terms.local_NQ + terms.trend_NQ
    covariance_NN = signal_NN + terms.offset_NQ
    noise_N = hyper.noise_L[fidelity_N]
    covariance_NN.flat[diagonal] += noise_N + JITTER
    # The covariance is symmetric: its transpose lies in memory as LAPACK wants it, which then makes no copy.
    root_NN, failed = lapack.dpotrf(covariance_NN.T, lower=1, overwrite_a=1)
    if failed:
        return -1e10, np.zeros_like(hyper.vector_P)
    likelihood = -float(np.log(np.diag(root_NN)).sum())
    lower_NN, _ = lapack.dpotri(root_NN, lower=1, overwrite_c=1)
    inverse_NN = lower_NN + lower_NN.T
    inverse_NN.flat[diagonal] /= 2
    weighted_N = inverse_NN @ values_N
    likelihood -= 0.5 * float(values_N @ weighted_N)

    # d likelihood = -sum(pull * d covariance).
    inverse_NN -= np.multiply.outer(weighted_N, weighted_N)
    pull_NN = np.multiply(inverse_NN, 0.5, out=inverse_NN)
    to_scale, to_trend = 2 * np.vdot(pull_NN, terms.local_NQ), 2 * np.vdot(pull_NN, terms.trend_NQ)
    to_noise_L = 2 * np.bincount(fidelity_N, np.diag(pull_NN) * noise_N, minlength=hyper.fidelities)
    by_distance_NN = pull_NN * terms.slope_NQ
    scaled_ND = features_ND * kernel.per_length_G
    to_length_D = (10 / 3) * (
        (scaled_ND**2 * by_distance_NN.sum(axis=1)[:, None]).sum(axis=0)
        - (scaled_ND * (by_distance_NN @ scaled_ND)).sum(axis=0)
    )
    to_length_G = to_length_D if hyper.lengths > 1 else to_length_D.sum(keepdims=True)
    to_between_LL = np.zeros((hyper.fidelities, hyper.fidelities))
    if hyper.fidelities > 1:
        member_NL = np.eye(hyper.fidelities)[fidelity_N]
        to_between_LL = member_NL.T @ (pull_NN * signal_NN) @ member_NL
    to_gain_L = 2 * to_between_LL.sum(axis=1)
    # A link lies between the fidelities up to it and those after it.
    across = [2 * to_between_LL[: link + 1, link + 1 :].sum() for link in range(hyper.fidelities - 1)]
    to_link = np.array(across) * (1 - hyper.link)
    gradient_P = -np.concatenate([[to_scale, to_trend], to_noise_L, to_length_G, to_gain_L[1:], to_link])
    prior_value, to_prior_P = hyper.log_prior()
    return likelihood + prior_value, gradient_P + to_prior_P
