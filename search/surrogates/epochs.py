"""The law of epochs: a domain helps with diminishing returns, and harms where it is repeated too often, above a floor.

    value = floor + exp(c - sum_i a_i b(E_i) + sum_i h_i d(X_i)),    a, h >= 0
    b(E) = 1 - exp(-(r E / P)^k),    d(X) = softplus(log(1 + X) - t)^2

The form is that of MARINER (Marin, "Compute-Budgeted Data Mixing with an Epoch-Aware Parametric Surrogate", 2026, in
preparation). E and X are epochs of a domain, P those that the proportional mixture makes of every domain. Where more
is better the values are mirrored, and there is a ceiling in place of a floor: the better of the two fits is kept.

There are two kinds of epochs, because a run may repeat less than the final one will. For the benefit, E is what the
share makes in what predictions are for: what a share does is taken to carry over, as all surrogates do. For the harm,
X is what the run itself made of the domain: it is learned where text was repeated, and nowhere else. Where repetition
is matched, they are one. A harm that hardly varies over the runs is taken to be none.

Where repeats are not known, a domain's mean share over the runs counts as one epoch, which favours no domain.

1. The shape (r, k, t) and a ridge predict log(value - floor) of held-out runs best, under a provisional floor: every
   shape with one ridge, then the best with every ridge.
2. How far the floor is below all values is what makes held-out runs likeliest, errors of log(value - floor) being
   normal.
3. Amplitudes are least squares without negative ones.

Fidelities that repeat as the target does are mapped to it as for other surrogates, in epochs in place of shares. Then
the others are tied to what these predict at the epochs that the others made: those never showed the harm themselves.

Differences from the paper: any table can be fitted, for the median stands in for the proportional runs; rates count in
epochs of the proportional mixture; errors of logarithms choose, in which the basin counts for more.

Shapes: N rows, D domains, F = 2 D features, H held-out rows, E = 2 D epochs of both kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize_scalar, nnls

from search.noise import within_mixtures
from search.runs import numbered
from search.surrogates.base import Fitted, Prediction, SingleScale
from search.surrogates.lifting import in_target_units
from search.surrogates.rows import FOLDS, Rows

RATES = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
POWERS = (0.3, 0.5, 0.7, 1.0)
DELAYS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
RIDGES = (1e-3, 1e-2, 0.1, 1.0)
FIRST_RIDGE = 1e-2
# Of the coarse shapes, so many have their neighbours tried; of all, so many are tried with every ridge.
COARSE_KEPT, KEPT = 3, 6
# From the median to the floor, in units of how far the lowest value is from it.
LEAST_GAMMA, FIRST_GAMMA, MOST_GAMMA = 1.0, 2.5, 6.0
GAMMAS = 24
# The floor is at least so many standard deviations of the noise below the lowest value.
NOISES_BELOW = 3.0
# Of the noise, where no mixture was measured twice, in the same units.
LEAST_NOISE = 0.02
# The standard deviation over the runs of a harm of which they can tell something.
FLAT_HARM = 0.01
# Repeats that differ by less are alike.
SAME_REPEATS = 0.1
# By so many nats of log-likelihood a run has a ceiling to be better than a floor.
CEILING_GAIN = 0.01
LEAST_LOG_SD = 1e-3
# A shape of three numbers, a ridge and a floor.
CHOSEN = 5
# The amplitudes' doubt is as if there had been at least this ridge.
DOUBT_RIDGE = 0.1
# Predictions go beyond the fitted values by so many of their standard deviations at most.
REACH = 3.0


class Shape(NamedTuple):
    """Of all domains: how fast the benefit comes, in what power, and the logarithm of the epochs before harm does."""

    rate: float
    power: float
    delay: float

    def features(self, epochs_NE: Float[np.ndarray, "N E"]) -> Float[np.ndarray, "N F"]:
        """What log(value - floor) is linear in, with no negative amplitude."""
        # What an optimiser leaves of a share may be a hair below nothing.
        helpful_ND, harmful_ND = np.split(np.maximum(epochs_NE, 0), 2, axis=1)
        benefit_ND = -np.expm1(-((self.rate * helpful_ND) ** self.power))
        return np.hstack([-benefit_ND, np.logaddexp(0, np.log1p(harmful_ND) - self.delay) ** 2])

    @property
    def neighbours(self) -> set[Shape]:
        """The shapes at most a step away in each direction, itself among them."""
        near = []
        for steps, here in zip((RATES, POWERS, DELAYS), self, strict=True):
            place = steps.index(here)
            near.append(steps[max(place - 1, 0) : place + 2])
        return {Shape(*each) for each in product(*near)}


# Every second step: whatever shape there is, one of these or a neighbour of one is it.
COARSE = tuple(Shape(*each) for each in product(RATES[1::2], POWERS[1::2], DELAYS[::2]))


@dataclass(frozen=True)
class EpochsChoice:
    """
    Attributes:
        sign: 1 with a floor, -1 with a ceiling.
        gamma: from the median to the floor, in units of how far the lowest value is from it.
        log_sd: of a held-out log(value - floor) around its prediction, if the amplitudes were known.
    """

    shape: Shape
    ridge: float
    sign: float
    gamma: float
    log_sd: float


@dataclass(frozen=True, eq=False)
class Deficits:
    """Values as what a floor leaves of them."""

    values_N: Float[np.ndarray, " N"]
    median: float
    lowest: float
    noise: float

    @classmethod
    def of(cls, values_N: Float[np.ndarray, " N"], mixture_N: Int[np.ndarray, " N"]) -> Deficits:
        median, lowest = float(np.median(values_N)), float(values_N.min())
        # Equal values differ by rounding only.
        unit = max(median - lowest, float(values_N.std()) / 10, 1e-12 * abs(median)) or 1e-12
        [within], freedom = within_mixtures(values_N[:, None], mixture_N)
        # As if a further pair had shown the least noise.
        noise = float((within + (LEAST_NOISE * unit) ** 2) / (freedom + 1)) ** 0.5
        return cls(values_N, median, lowest, noise)

    def floor(self, gamma: float) -> float:
        return self.lowest - max((gamma - 1) * (self.median - self.lowest), NOISES_BELOW * self.noise)

    def log(self, gamma: float) -> Float[np.ndarray, " N"]:
        return np.asarray(np.log(self.values_N - self.floor(gamma)))


class Epochs(SingleScale[EpochsChoice]):
    fewest_runs = 4

    def fit_rows(self, rows: Rows, choice: EpochsChoice | None = None) -> FittedEpochs:
        repeats_LD, goal_D = repeats(rows)
        proportional = 1 / float((1 / goal_D).sum())
        helpful_ND = rows.weights_ND * goal_D / proportional
        # The mixtures as epochs: all that follows knows nothing of shares.
        exposed = replace(rows, weights_ND=np.hstack([helpful_ND, rows.weights_ND * repeats_LD[rows.fidelity_N]]))
        alike_L = np.isclose(repeats_LD, repeats_LD[-1], rtol=SAME_REPEATS).all(axis=1)
        as_target = exposed.select(alike_L[rows.fidelity_N])
        if alike_L.all() or len(as_target) < self.fewest_runs:
            within = super().fit_rows(exposed, choice)
        else:
            within = super().fit_rows(as_target, choice)
            expected_N = within.mean(exposed.weights_ND)
            tied_N = in_target_units(rows.values_N, rows.fidelity_N, rows.fidelities - 1, expected_N)
            within = self._fit_alike(replace(exposed, values_N=tied_N, fidelity_N=0 * rows.fidelity_N), choice)
        return FittedEpochs(within, goal_D / proportional, goal_D, repeats_LD[-1], within.choice)

    def _fit_alike(self, rows: Rows, choice: EpochsChoice | None) -> FloorFit:
        if choice is None:
            judges = [Judge.of(rows, sign) for sign in (1.0, -1.0)]
            coarse = [judge.ordered(COARSE) for judge in judges]
            ceiling = coarse[1][0].likelihood > coarse[0][0].likelihood + CEILING_GAIN
            choice = judges[ceiling].choose(coarse[ceiling])
        deficits = Deficits.of(choice.sign * rows.values_N, numbered(rows.weights_ND))
        features_NF = choice.shape.features(rows.weights_ND)
        fit = Amplitudes.of(features_NF, deficits.log(choice.gamma), choice.ridge)
        highest = float(deficits.values_N.max()) + REACH * float(deficits.values_N.std())
        return FloorFit(fit, deficits.floor(choice.gamma), highest, choice)


class Tried(NamedTuple):
    """A shape and a ridge, and the log-likelihood of a held-out run."""

    likelihood: float
    shape: Shape
    ridge: float


@dataclass(frozen=True, eq=False)
class Judge:
    """How well held-out rows are predicted, where their values have a floor (sign 1) or a ceiling (-1)."""

    sign: float
    epochs_NE: Float[np.ndarray, "N E"]
    deficits: Deficits
    folds: list[Bool[np.ndarray, " N"]]

    @classmethod
    def of(cls, rows: Rows, sign: float) -> Judge:
        folds = rows.folds(2) or [np.arange(len(rows)) % FOLDS == fold for fold in range(FOLDS)]
        deficits = Deficits.of(sign * rows.values_N, numbered(rows.weights_ND))
        return cls(sign, rows.weights_ND, deficits, folds)

    def choose(self, coarse: list[Tried]) -> EpochsChoice:
        """
        Args:
            coarse: the coarse shapes, best first.
        """
        near = {shape for tried in coarse[:COARSE_KEPT] for shape in tried.shape.neighbours}
        fine = sorted([*coarse, *self.ordered(near - set(COARSE))], reverse=True)
        _, shape, ridge = max(self._tried(tried.shape, ridge) for tried in fine[:KEPT] for ridge in RIDGES)
        features_NF = shape.features(self.epochs_NE)

        def unlikely(log_gamma: float) -> float:
            return -self._likelihood(features_NF, ridge, float(np.exp(log_gamma)))

        ends = (float(np.log(LEAST_GAMMA)), float(np.log(MOST_GAMMA)))
        found = minimize_scalar(unlikely, bounds=ends, method="bounded", options={"maxiter": GAMMAS})
        gamma = float(np.exp(found.x))
        fit = Amplitudes.of(features_NF, self.deficits.log(gamma), ridge)
        variances = [
            error_H**2 / (1 + known.doubt(held_HF))
            for error_H, known, held_HF in self._held_out(features_NF, ridge, self.deficits.log(gamma))
        ]
        # The least of many errors looks better than it is: as much as if what was chosen had been fitted to them.
        rows, used = len(self.epochs_NE), int((fit.amplitudes_F > 0).sum())
        widening = rows / max(rows - used - CHOSEN, rows / 2)
        log_sd = (widening * float(np.concatenate(variances).mean())) ** 0.5
        return EpochsChoice(shape, ridge, self.sign, gamma, max(log_sd, LEAST_LOG_SD))

    def ordered(self, shapes: Iterable[Shape]) -> list[Tried]:
        """With the first ridge, the best first."""
        return sorted((self._tried(shape, FIRST_RIDGE) for shape in shapes), reverse=True)

    def _tried(self, shape: Shape, ridge: float) -> Tried:
        return Tried(self._likelihood(shape.features(self.epochs_NE), ridge, FIRST_GAMMA), shape, ridge)

    def _likelihood(self, features_NF: Float[np.ndarray, "N F"], ridge: float, gamma: float) -> float:
        log_N = self.deficits.log(gamma)
        error_H = np.concatenate([error_H for error_H, _, _ in self._held_out(features_NF, ridge, log_N)])
        return -0.5 * float(np.log(max((error_H**2).mean(), LEAST_LOG_SD**2))) - float(log_N.mean())

    def _held_out(
        self, features_NF: Float[np.ndarray, "N F"], ridge: float, log_N: Float[np.ndarray, " N"]
    ) -> Iterator[tuple[Float[np.ndarray, " H"], Amplitudes, Float[np.ndarray, "H F"]]]:
        """Of each fold the errors of its logarithms, what predicted them, and from which features."""
        for out_N in self.folds:
            fit = Amplitudes.of(features_NF[~out_N], log_N[~out_N], ridge)
            yield fit.at(features_NF[out_N]) - log_N[out_N], fit, features_NF[out_N]


def repeats(rows: Rows) -> tuple[Float[np.ndarray, "L D"], Float[np.ndarray, " D"]]:
    """Epochs that a run of a domain alone makes of it: at each fidelity, and in what predictions are for.

    What is not known of a fidelity is taken from what predictions are for, and the other way round from the target;
    what neither knows is such that the mean share over the runs is one epoch.
    """
    mean_D = rows.weights_ND.mean(axis=0)
    goal_D = 1 / np.where(mean_D > 0, mean_D, 1 / len(mean_D))
    if rows.scales is None:
        return np.tile(goal_D, (rows.fidelities, 1)), goal_D
    for known_D in (rows.scales.repeats_LD[-1], rows.scales.goal_repeats_D):
        goal_D = np.where(np.isfinite(known_D), known_D, goal_D)
    return np.where(np.isfinite(rows.scales.repeats_LD), rows.scales.repeats_LD, goal_D), goal_D


@dataclass(frozen=True, eq=False)
class Amplitudes:
    """Of the features, none of them negative, by least squares on centred features."""

    rows: int
    mean_F: Float[np.ndarray, " F"]
    mean: float
    gram_FF: Float[np.ndarray, "F F"]
    amplitudes_F: Float[np.ndarray, " F"]

    @classmethod
    def of(cls, features_NF: Float[np.ndarray, "N F"], log_N: Float[np.ndarray, " N"], ridge: float) -> Amplitudes:
        mean_F, mean = features_NF.mean(axis=0), float(log_N.mean())
        apart_NF = features_NF - mean_F
        harm_ND = apart_NF[:, apart_NF.shape[1] // 2 :]
        harm_ND *= harm_ND.std(axis=0) > FLAT_HARM
        gram_FF = apart_NF.T @ apart_NF
        # The same least squares with as many rows as features.
        lower_FF = np.linalg.cholesky(gram_FF + ridge * np.eye(len(gram_FF)))
        along_F = np.linalg.solve(lower_FF, apart_NF.T @ (log_N - mean))
        return cls(len(log_N), mean_F, mean, gram_FF, nnls(lower_FF.T, along_F)[0])

    def at(self, features_NF: Float[np.ndarray, "N F"]) -> Float[np.ndarray, " N"]:
        log_N: Float[np.ndarray, " N"] = self.mean + (features_NF - self.mean_F) @ self.amplitudes_F
        return log_N

    def doubt(self, features_NF: Float[np.ndarray, "N F"]) -> Float[np.ndarray, " N"]:
        """The variance of what is predicted, in units of that of an error."""
        gram_FF = self.gram_FF + DOUBT_RIDGE * np.eye(len(self.amplitudes_F))
        apart_NF = features_NF - self.mean_F
        doubt_N: Float[np.ndarray, " N"] = (apart_NF * np.linalg.solve(gram_FF, apart_NF.T).T).sum(axis=1)
        return 1 / self.rows + doubt_N


@dataclass(frozen=True, eq=False)
class FloorFit(Fitted[EpochsChoice]):
    """The law of rows of epochs."""

    fit: Amplitudes
    floor: float
    highest: float
    choice: EpochsChoice

    def mean(self, weights_ND: Float[np.ndarray, "N E"]) -> Float[np.ndarray, " N"]:
        return self._values(self.fit.at(self.choice.shape.features(weights_ND)))

    def predict(self, weights_ND: Float[np.ndarray, "N E"]) -> Prediction:
        features_NF = self.choice.shape.features(weights_ND)
        mean_N = self._values(self.fit.at(features_NF))
        doubt_N = np.sqrt(1 + self.fit.doubt(features_NF))
        return Prediction(mean_N, (self.choice.sign * mean_N - self.floor) * self.choice.log_sd * doubt_N)

    def _values(self, log_N: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        most = np.log(self.highest - self.floor)
        return np.asarray(self.choice.sign * (self.floor + np.exp(np.minimum(log_N, most))))


@dataclass(frozen=True, eq=False)
class FittedEpochs(Fitted[EpochsChoice]):
    """
    Attributes:
        within: fitted to epochs of both kinds.
        helpful_D: what shares are multiplied by for the benefit.
        goal_D, run_D: for the harm, in what predictions are for and in a run at the target.
    """

    within: Fitted[EpochsChoice]
    helpful_D: Float[np.ndarray, " D"]
    goal_D: Float[np.ndarray, " D"]
    run_D: Float[np.ndarray, " D"]
    choice: EpochsChoice

    def mean(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        return self.within.mean(self._exposed(weights_ND, self.goal_D))

    def predict(self, weights_ND: Float[np.ndarray, "N D"]) -> Prediction:
        return self.within.predict(self._exposed(weights_ND, self.goal_D))

    def at_runs(self) -> FittedEpochs:
        """Of a run at the target, which may repeat less than what predictions are for."""
        return self if np.array_equal(self.goal_D, self.run_D) else replace(self, goal_D=self.run_D)

    def _exposed(
        self, weights_ND: Float[np.ndarray, "N D"], repeats_D: Float[np.ndarray, " D"]
    ) -> Float[np.ndarray, "N E"]:
        return np.hstack([weights_ND * self.helpful_D, weights_ND * repeats_D])
