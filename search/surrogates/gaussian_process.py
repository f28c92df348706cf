"""A Gaussian process over the square roots of the weights, at one fidelity or several, fitted by its posterior mode.

Square roots make Euclidean distance the Hellinger distance between mixtures, so that going from 0 to 1% of a domain
is a longer way than from 50% to 51%. The model of a standardised value y of mixture w at level l is

    y = b_l + a_l f_l(w) + noise,    f_l ~ GP(0, s^2 Matern-5/2(r) + t^2 sum_i sqrt(w_i w'_i))
    r^2 = sum_i (sqrt w_i - sqrt w'_i)^2 / length_i^2

with corr(f_l, f_l') the product of the links between neighbouring levels (intrinsic coregionalisation, of which the
autoregressive model of Kennedy and O'Hagan, 2000, is the case of a chain). There is one length, or one a domain, which
are then shrunk to a common one: with two runs a domain free lengths overfit. The second part of the kernel is a trend,
linear in the square roots: it is what much noise leaves to be learned.

Hyperparameters are the mode of their posterior, found with analytic gradients. GPyTorch fits the same model; here a fit
to 64 runs takes about a twentieth of a second, and choosing a warp takes dozens of fits (see DECISIONS.md).

Shapes: N runs, Q queries, D domains, G lengths (1 or D), L levels, P hyperparameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from scipy.linalg import cholesky, lapack, solve_triangular
from scipy.optimize import minimize

from search.mixture import FloatArray
from search.runs import BoolArray, IntArray

ITERATIONS = 60
JITTER = 1e-8
# Curvature below which a hyperparameter counts as fixed by nothing, not even its prior: at a bound.
LEAST_SHARPNESS = 1e-2
ROOT_5 = 5**0.5

# Priors: means and standard deviations of normal distributions, on standardised values.
LOG_SCALE = (0.0, 1.0)
LOG_TREND = (0.0, 1.0)
LOG_NOISE = (np.log(0.1), 1.0)
# From one level to the next the noise changes by about so much.
LOG_NOISE_STEP = 0.5
# The lengths of the domains spread around a common one, which has a wide prior.
LOG_LENGTH = (0.3, 1.0)
LENGTH_SPREAD = 0.55
LOG_GAIN_STEP = 0.3
LOGIT_LINK = (2.0, 1.0)
# Of b_l, at one level and at several: a shift between scales may be large.
OFFSET_VARIANCE = (1.0, 9.0)

BOUNDS = {
    "scale": (-5.0, 3.0),
    "trend": (-5.0, 3.0),
    "noise": (np.log(0.005), np.log(2.0)),
    "length": (-2.5, 4.0),
    "gain": (-3.0, 1.5),
    "link": (-2.0, 6.0),
}


@dataclass(frozen=True)
class Hyperparameters:
    """All in logarithms, the links as logits; the gain of the first level is 1."""

    log_scale: float
    log_trend: float
    log_noise_L: FloatArray
    log_length_G: FloatArray
    log_gain_L: FloatArray
    logit_link: FloatArray

    @classmethod
    def start(cls, lengths: int, levels: int) -> Self:
        return cls(
            LOG_SCALE[0],
            LOG_TREND[0],
            np.full(levels, LOG_NOISE[0]),
            np.full(lengths, LOG_LENGTH[0]),
            np.zeros(levels),
            np.full(levels - 1, LOGIT_LINK[0]),
        )

    @property
    def vector_P(self) -> FloatArray:
        return np.concatenate(
            [
                [self.log_scale, self.log_trend],
                self.log_noise_L,
                self.log_length_G,
                self.log_gain_L[1:],
                self.logit_link,
            ]
        )

    def replaced(self, vector_P: FloatArray) -> Hyperparameters:
        """The same shapes with other values."""
        levels, lengths = len(self.log_noise_L), len(self.log_length_G)
        noise, length, gain = 2 + levels, 2 + levels + lengths, 1 + levels + levels + lengths
        return Hyperparameters(
            float(vector_P[0]),
            float(vector_P[1]),
            vector_P[2:noise],
            vector_P[noise:length],
            np.append(0.0, vector_P[length:gain]),
            vector_P[gain:],
        )

    def at_levels(self, levels: int) -> Hyperparameters:
        """The same kernel for more levels than it was fitted to, the new ones as they are expected to be."""
        more = levels - len(self.log_noise_L)
        return Hyperparameters(
            self.log_scale,
            self.log_trend,
            np.append(self.log_noise_L, np.full(more, self.log_noise_L[-1])),
            self.log_length_G,
            np.append(self.log_gain_L, np.zeros(more)),
            np.append(self.logit_link, np.full(more, LOGIT_LINK[0])),
        )

    @property
    def bounds(self) -> list[tuple[float, float]]:
        levels, lengths = len(self.log_noise_L), len(self.log_length_G)
        return [
            BOUNDS["scale"],
            BOUNDS["trend"],
            *[BOUNDS["noise"]] * levels,
            *[BOUNDS["length"]] * lengths,
            *[BOUNDS["gain"]] * (levels - 1),
            *[BOUNDS["link"]] * (levels - 1),
        ]

    @property
    def noise_L(self) -> FloatArray:
        """Variance of the noise."""
        noise_L: FloatArray = np.exp(2 * self.log_noise_L)
        return noise_L

    @property
    def link(self) -> FloatArray:
        link: FloatArray = 1 / (1 + np.exp(-self.logit_link))
        return link

    @property
    def between_LL(self) -> FloatArray:
        """Covariance between levels: the product of their gains and of the links from one to the other."""
        along_L = np.append(0.0, np.cumsum(np.log(self.link)))
        between_LL: FloatArray = np.exp(
            -np.abs(along_L[:, None] - along_L) + self.log_gain_L[:, None] + self.log_gain_L
        )
        return between_LL

    def log_prior(self) -> tuple[float, FloatArray]:
        """Up to a constant, and its gradient, [P]."""
        noise_L, length_G, gain_L = self.log_noise_L, self.log_length_G, self.log_gain_L
        # The common length at its best given the others.
        precision = 1 / LENGTH_SPREAD**2
        common = (length_G.sum() * precision + LOG_LENGTH[0]) / (len(length_G) * precision + 1 / LOG_LENGTH[1] ** 2)
        noise_step, gain_step = np.diff(noise_L) / LOG_NOISE_STEP**2, np.diff(gain_L) / LOG_GAIN_STEP**2
        first_noise = (noise_L[0] - LOG_NOISE[0]) / LOG_NOISE[1] ** 2
        scale = (self.log_scale - LOG_SCALE[0]) / LOG_SCALE[1] ** 2
        trend = (self.log_trend - LOG_TREND[0]) / LOG_TREND[1] ** 2
        link = (self.logit_link - LOGIT_LINK[0]) / LOGIT_LINK[1] ** 2
        value = -0.5 * (
            scale**2 * LOG_SCALE[1] ** 2
            + trend**2 * LOG_TREND[1] ** 2
            + first_noise**2 * LOG_NOISE[1] ** 2
            + (noise_step**2).sum() * LOG_NOISE_STEP**2
            + ((length_G - common) ** 2).sum() * precision
            + ((common - LOG_LENGTH[0]) / LOG_LENGTH[1]) ** 2
            + (gain_step**2).sum() * LOG_GAIN_STEP**2
            + (link**2).sum() * LOGIT_LINK[1] ** 2
        )
        to_noise_L = np.append(first_noise, np.zeros(len(noise_L) - 1))
        to_noise_L[1:] += noise_step
        to_noise_L[:-1] -= noise_step
        to_gain_L = np.append(0.0, gain_step)
        to_gain_L[:-1] -= gain_step
        to_length_G = (length_G - common) * precision
        return value, -np.concatenate([[scale, trend], to_noise_L, to_length_G, to_gain_L[1:], link])

    @property
    def log_prior_volume(self) -> float:
        """Log determinant of the prior's precision, for one level."""
        lengths, spread = len(self.log_length_G), LENGTH_SPREAD**2
        of_lengths = (lengths - 1) * np.log(spread) + np.log(spread + lengths * LOG_LENGTH[1] ** 2)
        return float(-2 * np.log([LOG_SCALE[1], LOG_TREND[1], LOG_NOISE[1]]).sum() - of_lengths)


def features(weights_ND: FloatArray) -> FloatArray:
    """Where the process sees a mixture, [N, D]."""
    features_ND: FloatArray = np.sqrt(np.maximum(weights_ND, 0))
    return features_ND


class GaussianProcess:
    """
    Args:
        start: where the search for the hyperparameters begins; its shapes say how many lengths and levels there are.
        iterations: of L-BFGS; 0 keeps `start`.
        noise_scale_N: by how much each run's noise variance differs from its level's; default 1.
    """

    def __init__(
        self,
        weights_ND: FloatArray,
        values_N: FloatArray,
        level_N: IntArray | None = None,
        *,
        start: Hyperparameters,
        iterations: int = ITERATIONS,
        noise_scale_N: FloatArray | None = None,
    ) -> None:
        self.features_ND = features(weights_ND)
        self.level_N = np.zeros(len(values_N), dtype=np.int64) if level_N is None else level_N
        self.levels = len(start.log_noise_L)
        self.noise_scale_N = np.ones(len(values_N)) if noise_scale_N is None else noise_scale_N
        self._offset_variance = OFFSET_VARIANCE[self.levels > 1]
        self._standardise(values_N)
        self.hyperparameters = self._fit(start, iterations) if iterations else start
        self._condition()

    def _standardise(self, values_N: FloatArray) -> None:
        """Units of the level with the most runs; each level's own mean is taken off."""
        counts_L = np.bincount(self.level_N, minlength=self.levels)
        most_N = values_N[self.level_N == counts_L.argmax()]
        self.mean, self.sd = float(most_N.mean()), float(most_N.std())
        if self.sd <= 1e-12 * abs(self.mean):
            self.sd = 1.0
        standard_N = (values_N - self.mean) / self.sd
        sum_L = np.bincount(self.level_N, standard_N, minlength=self.levels)
        self.offset_L = sum_L / np.maximum(counts_L, 1)
        self.values_N = standard_N - self.offset_L[self.level_N]

    @cached_property
    def _overlap_NN(self) -> FloatArray:
        """Bhattacharyya coefficients of the mixtures, 1 on the diagonal."""
        overlap_NN: FloatArray = self.features_ND @ self.features_ND.T
        return overlap_NN

    @cached_property
    def _same_level_NN(self) -> BoolArray:
        same_NN: BoolArray = self.level_N[:, None] == self.level_N
        return same_NN

    @cached_property
    def _crosses(self) -> list[BoolArray]:
        """For each link, the pairs of runs on its two sides, [N, N]."""
        low_NN, high_NN = np.minimum.outer(self.level_N, self.level_N), np.maximum.outer(self.level_N, self.level_N)
        return [(low_NN <= link) & (high_NN > link) for link in range(self.levels - 1)]

    def _fit(self, start: Hyperparameters, iterations: int) -> Hyperparameters:
        def cost(vector_P: FloatArray) -> tuple[float, FloatArray]:
            value, gradient_P = self.log_posterior(start.replaced(vector_P))
            return -value, -gradient_P

        found = minimize(
            cost,
            start.vector_P,
            jac=True,
            method="L-BFGS-B",
            bounds=start.bounds,
            options={"maxiter": iterations},
        )
        return start.replaced(np.asarray(found.x))

    def log_posterior(self, hyper: Hyperparameters) -> tuple[float, FloatArray]:
        """Of the hyperparameters, up to a constant, and its gradient, [P]."""
        runs, level_N, values_N = len(self.values_N), self.level_N, self.values_N
        scaled_ND = self.features_ND * np.exp(-hyper.log_length_G)
        distance_NN = ROOT_5 * np.sqrt(_squared_distance(scaled_ND, scaled_ND))
        amplitude_NN = np.exp(2 * hyper.log_scale - distance_NN)
        trend_NN = np.exp(2 * hyper.log_trend) * self._overlap_NN
        if self.levels > 1:
            between_NN = hyper.between_LL[level_N[:, None], level_N]
            amplitude_NN, trend_NN = amplitude_NN * between_NN, trend_NN * between_NN
        local_NN = (1 + distance_NN + distance_NN**2 / 3) * amplitude_NN
        signal_NN = local_NN + trend_NN
        covariance_NN = signal_NN + self._offset_variance * self._same_level_NN
        noise_N = hyper.noise_L[level_N] * self.noise_scale_N
        covariance_NN.flat[:: runs + 1] += noise_N + JITTER
        root_NN, failed = lapack.dpotrf(covariance_NN, lower=1)
        if failed:
            return -1e10, np.zeros_like(hyper.vector_P)
        lower_NN, _ = lapack.dpotri(root_NN, lower=1)
        inverse_NN = np.tril(lower_NN) + np.tril(lower_NN, -1).T
        weighted_N = inverse_NN @ values_N
        likelihood = -0.5 * float(values_N @ weighted_N) - float(np.log(np.diag(root_NN)).sum())

        # d likelihood = -sum(pull * d covariance).
        pull_NN = 0.5 * (inverse_NN - np.outer(weighted_N, weighted_N))
        by_signal_NN = pull_NN * signal_NN
        to_scale, to_trend = 2 * (pull_NN * local_NN).sum(), 2 * (pull_NN * trend_NN).sum()
        to_noise_L = 2 * np.bincount(level_N, np.diag(pull_NN) * noise_N, minlength=self.levels)
        by_distance_NN = pull_NN * (1 + distance_NN) * amplitude_NN * (5 / 3)
        to_length_D = 2 * (
            (scaled_ND**2 * by_distance_NN.sum(axis=1)[:, None]).sum(axis=0)
            - (scaled_ND * (by_distance_NN @ scaled_ND)).sum(axis=0)
        )
        to_length_G = to_length_D if len(hyper.log_length_G) > 1 else to_length_D.sum(keepdims=True)
        to_gain_L = 2 * np.bincount(level_N, by_signal_NN.sum(axis=1), minlength=self.levels)
        to_link = np.array([by_signal_NN[cross_NN].sum() for cross_NN in self._crosses]) * (1 - hyper.link)
        gradient_P = -np.concatenate([[to_scale, to_trend], to_noise_L, to_length_G, to_gain_L[1:], to_link])
        prior, to_prior_P = hyper.log_prior()
        return likelihood + prior, gradient_P + to_prior_P

    def log_evidence(self) -> float:
        """Of one level's values, up to a constant: Laplace's approximation at the mode.

        How sharply the data fix the hyperparameters counts against them, so that one length a domain has to earn it.
        """
        assert self.levels == 1
        mode, step = self.hyperparameters.vector_P, 1e-3
        value, at_mode_P = self.log_posterior(self.hyperparameters)
        rows = []
        for place in range(len(mode)):
            shift_P = step * (np.arange(len(mode)) == place)
            rows.append((at_mode_P - self.log_posterior(self.hyperparameters.replaced(mode + shift_P))[1]) / step)
        hessian_PP = np.array(rows)
        sharpness_P = np.linalg.eigvalsh((hessian_PP + hessian_PP.T) / 2)
        volume = np.log(np.maximum(sharpness_P, LEAST_SHARPNESS)).sum() - self.hyperparameters.log_prior_volume
        return float(value - 0.5 * volume)

    @property
    def height(self) -> float:
        """Log posterior of the hyperparameters in use, up to a constant."""
        return self.log_posterior(self.hyperparameters)[0]

    def _condition(self) -> None:
        hyper = self.hyperparameters
        covariance_NN = self._covariance(self.features_ND, self.level_N, self.features_ND, self.level_N)
        covariance_NN.flat[:: len(covariance_NN) + 1] += hyper.noise_L[self.level_N] * self.noise_scale_N + JITTER
        self.root_NN = cholesky(covariance_NN, lower=True)
        half_N = solve_triangular(self.root_NN, self.values_N, lower=True)
        self.weighted_N = solve_triangular(self.root_NN, half_N, lower=True, trans=1)

    def _covariance(
        self, one_ND: FloatArray, one_level_N: IntArray, other_QD: FloatArray, other_level_Q: IntArray
    ) -> FloatArray:
        hyper = self.hyperparameters
        scale_D = np.exp(-hyper.log_length_G)
        distance_NQ = ROOT_5 * np.sqrt(_squared_distance(one_ND * scale_D, other_QD * scale_D))
        signal_NQ = (1 + distance_NQ + distance_NQ**2 / 3) * np.exp(2 * hyper.log_scale - distance_NQ)
        signal_NQ += np.exp(2 * hyper.log_trend) * (one_ND @ other_QD.T)
        between_NQ = hyper.between_LL[one_level_N[:, None], other_level_Q]
        covariance_NQ: FloatArray = signal_NQ * between_NQ
        covariance_NQ += self._offset_variance * (one_level_N[:, None] == other_level_Q)
        return covariance_NQ

    def mean_at(self, weights_QD: FloatArray, level: int = 0) -> FloatArray:
        """Expected value, [Q]."""
        level_Q = np.full(len(weights_QD), level)
        across_QN = self._covariance(features(weights_QD), level_Q, self.features_ND, self.level_N)
        mean_Q: FloatArray = self.mean + self.sd * (across_QN @ self.weighted_N + self.offset_L[level])
        return mean_Q

    def predict(self, weights_QD: FloatArray, level: int = 0) -> tuple[FloatArray, FloatArray]:
        """Mean and variance of a new measurement, noise included, twice [Q]."""
        level_Q = np.full(len(weights_QD), level)
        across_QN = self._covariance(features(weights_QD), level_Q, self.features_ND, self.level_N)
        mean_Q = self.mean + self.sd * (across_QN @ self.weighted_N + self.offset_L[level])
        explained_Q = (solve_triangular(self.root_NN, across_QN.T, lower=True) ** 2).sum(axis=0)
        hyper = self.hyperparameters
        prior = (np.exp(2 * hyper.log_scale) + np.exp(2 * hyper.log_trend)) * hyper.between_LL[
            level, level
        ] + self._offset_variance
        variance_Q = np.maximum(prior - explained_Q, 1e-10) + hyper.noise_L[level]
        return mean_Q, self.sd**2 * variance_Q

    def leave_one_out(self) -> tuple[FloatArray, FloatArray]:
        """Errors and variances of predicting each run from the others, hyperparameters kept, twice [N].

        Rasmussen and Williams, Gaussian Processes for Machine Learning, equations 5.10 to 5.12.
        """
        inverse_root_NN = solve_triangular(self.root_NN, np.eye(len(self.root_NN)), lower=True)
        precision_N = (inverse_root_NN**2).sum(axis=0)
        return self.sd * self.weighted_N / precision_N, self.sd**2 / precision_N


def _squared_distance(one_ND: FloatArray, other_QD: FloatArray) -> FloatArray:
    squared_NQ: FloatArray = (one_ND**2).sum(axis=1)[:, None] + (other_QD**2).sum(axis=1) - 2 * one_ND @ other_QD.T
    return np.maximum(squared_NQ, 0)
