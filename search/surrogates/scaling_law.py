"""A joint law of size, tokens and mixture: it predicts the run of the goal, at a scale that was never trained.

Along each axis k, tokens or parameters, a fidelity has a place x_k, in logarithms and in units of what the fidelities
are apart: -1 the smallest, 0 the largest, the goal usually beyond.

    value(w, x)  = level(x) + amplitude(x) * height(w, x)
    level(x)     = c + sum_k h_k (exp(-a_k x_k) - 1) / (exp(a_k) - 1)     of the mean mixture: power laws
    amplitude(x) = b exp(-sum_k m_k x_k)                                  what mixtures differ by
    height(w, x) = S^-g, standardised over the fitted mixtures at x
    S(w, x)      = sum_i v_i exp(sum_k d_ik x_k) w_i                      a token's worth has an exponent of its own

S is that of the law of effective data. Beside it BiMix's is fitted, sum_i F_i (w_i T + e_i)^-p_i, its factors moving as
v does; of the two the one with the larger evidence predicts.

With d = 0 the best mixture is the same at every scale (the additive law of M. Shukor et al., "Scaling Laws for Optimal
Data Mixtures", arXiv 2507.09404, 2025). With d, domains that have more to tell take over as runs grow, as in F. Kang et
al., "AutoScale", arXiv 2407.20177, 2024, and C. Ge et al., "BiMix", arXiv 2405.14908, 2024. That level, amplitude and
height have parameters of their own is this project's: real levels fall by much where what mixtures differ by does not.
Where nothing tells what growth does, it is the law of effective data.

1. The mode of the posterior under weak normal priors, by least squares with analytic derivatives: errors beyond ROBUST
   times the noise count by their size, not its square (Huber), the noise is each fidelity's own, and what a fidelity's
   level misses of the law is a parameter, too, so that it bends nothing else.
2. Two fidelities tell how far levels fell, not how they go on falling: there the prior of the exponents speaks, and the
   doubt about it is in the interval. Where fidelities grow along both axes at once, they tell the sum, not the parts.
3. Linearised at the mode (Laplace), so that the doubt grows with the distance; leave-one-out errors widen it as in
   search.surrogates.law. Beyond what was trained the law itself is in doubt: LEVEL_DOUBT of what the level falls
   there, and a domain's own exponent may be another there, by PACE_DOUBT.

Shapes: N runs, D domains, L fidelities, K axes, Q parameters, A = N + Q errors, priors among them.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import OptimizeResult, least_squares

from search.scales import Axes
from search.surrogates.base import Fitted, Prediction, Surrogate, is_constant
from search.surrogates.bimix import BiMix
from search.surrogates.effective_data import EffectiveData
from search.surrogates.law import (
    ASSUMED_NOISE,
    FINE,
    LEAST_NOISE,
    MOST_NOISE,
    MOST_STEPS,
    REACH,
    ROUGH,
    SLOPE_SD,
    Curve,
    Law,
    correlations,
)
from search.surrogates.rows import Rows

# Exponents of losses in parameters and tokens are .2 to .4 (2203.15556, 2404.10102), lower where part of a loss hardly
# falls; of what mixtures differ by, 0 to .2.
LOG_EXPONENT, LOG_EXPONENT_SD = float(np.log(0.25)), 0.5
FADING, FADING_SD = 0.05, 0.1
# Of the exponents that domains have of their own.
DRIFT_SD = 0.1
# A fidelity's level is off the law by this share of what levels differ by.
OFF_SHARE = 0.03
# In standard deviations of the noise: beyond, a run is odd.
ROBUST = 2.5
# The noise of a fidelity is drawn to that of all as if by so many further runs.
PRIOR_RUNS = 8.0
LEVEL_DOUBT, PACE_DOUBT = 0.25, 0.1


@dataclass(frozen=True)
class Form:
    """How a height depends on the mixture.

    Attributes:
        first: where in theta the block of the domains' worths begins, which move.
        blocks: of a parameter for each domain.
        own_tokens: whether its shares and offsets (BiMix's) are taken for tokens of the domain's own, w_i T, so that
            terms fall with their own powers as all tokens grow.
    """

    law: type[Law]
    first: int
    blocks: int
    own_tokens: bool


# The law of effective data, and BiMix's, whose terms have a power each.
FORMS = (Form(EffectiveData, 1, 1, own_tokens=False), Form(BiMix, 0, 3, own_tokens=True))


class AnyScale(Fitted[Form]):
    """Predicting for one scale, it can be asked of any other.

    Attributes:
        freedom: how many independent normal numbers its errors are made of.
    """

    freedom: int

    @abstractmethod
    def at_scale(self, params: float, tokens: float) -> AnyScale:
        """Predicting for another scale; NaN where it is as the goal's."""

    @abstractmethod
    def spread(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N Q"]:
        """What predictions move by with each of Q independent normal numbers: how they err together, [N, Q]."""


@dataclass(frozen=True, eq=False)
class Unscaled(AnyScale):
    """A law of mixtures alone, where nothing tells what growth does."""

    law: Fitted[None]
    choice: Form
    freedom: int = 1

    def predict(self, weights_ND: Float[np.ndarray, "N D"]) -> Prediction:
        return self.law.predict(weights_ND)

    def mean(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        return self.law.mean(weights_ND)

    def difference_sd(self, one_D: Float[np.ndarray, " D"], other_D: Float[np.ndarray, " D"]) -> float:
        return float(np.hypot(*self.predict(np.array([one_D, other_D])).sd_N))

    def at_scale(self, params: float, tokens: float) -> Unscaled:
        return self

    def spread(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N Q"]:
        return np.zeros((len(weights_ND), 1))


class ScalingLaw(Surrogate[Form]):
    fewest_runs = 4

    def fit_rows(self, rows: Rows, choice: Form | None = None) -> Fitted[Form]:
        axes = None if rows.scales is None else rows.scales.axes
        if axes is None or not axes.names or is_constant(rows.values_N):
            return Unscaled(EffectiveData(self.seed).fit_rows(rows), choice or FORMS[0])
        forms = FORMS if choice is None else (choice,)
        return max((_fit(rows, axes, form) for form in forms), key=lambda fitted: fitted.evidence)


@dataclass(frozen=True, eq=False)
class Joint:
    """The law over fitted rows, as a function of its parameters.

    The parameters: c, b, log g, log v (D), then along each axis h, log a, m, d (D); then what each fidelity's level is
    off by (L), and by how much levels are higher before the learning rate falls.

    Attributes:
        stable_L: 1 where it has not fallen, 0 else.
    """

    form: Form
    fitted_ND: Float[np.ndarray, "N D"]
    axes: Axes
    stable_L: Float[np.ndarray, " L"]

    @property
    def domains(self) -> int:
        return int(self.fitted_ND.shape[1])

    @property
    def of_form(self) -> int:
        """How many parameters theta the form has."""
        return self.form.first + self.form.blocks * self.domains

    @property
    def parameters(self) -> int:
        return 2 + self.of_form + len(self.axes.names) * (3 + self.domains) + len(self.stable_L) + 1

    @property
    def drifts(self) -> list[slice]:
        """Along each axis, where the domains' own exponents are."""
        return [slice(at + 3, at + 3 + self.domains) for at in map(self._of_axis, range(len(self.axes.names)))]

    @cached_property
    def _curve(self) -> Curve:
        return Curve(self.form.law().shape, self.fitted_ND)

    def at(
        self,
        parameters_Q: Float[np.ndarray, " Q"],
        weights_ND: Float[np.ndarray, "N D"],
        place_K: Float[np.ndarray, " K"],
        fidelity: int | None = None,
    ) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N Q"]]:
        """Standardised values of mixtures at a place, [N], and their derivatives by the parameters, [N, Q].

        Args:
            fidelity: the one that was trained there, which has an offset of its own.
        """
        level, level_Q = self.level(parameters_Q, place_K, fidelity)
        height_N, height_NQ = self._heights(parameters_Q, weights_ND, place_K)
        amplitude, amplitude_Q = self._amplitude(parameters_Q, place_K)
        slopes_NQ = level_Q + np.outer(height_N, amplitude_Q) + amplitude * height_NQ
        return level + amplitude * height_N, slopes_NQ

    def level(
        self, parameters_Q: Float[np.ndarray, " Q"], place_K: Float[np.ndarray, " K"], fidelity: int | None = None
    ) -> tuple[float, Float[np.ndarray, " Q"]]:
        """Of the mean mixture, and its derivatives."""
        level, slopes_Q = float(parameters_Q[0]), np.zeros_like(parameters_Q)
        slopes_Q[0] = 1.0
        for axis, place in enumerate(place_K):
            at = self._of_axis(axis)
            fallen, exponent = parameters_Q[at], float(np.exp(parameters_Q[at + 1]))
            whole, part = np.expm1(exponent), np.expm1(-exponent * place)
            level += fallen * part / whole
            slopes_Q[at] = part / whole
            by_exponent = -place * (part + 1) / whole - part * (whole + 1) / whole**2
            slopes_Q[at + 1] = fallen * exponent * by_exponent
        if fidelity is not None:
            first = self.parameters - 1 - len(self.stable_L)
            level += parameters_Q[first + fidelity] + parameters_Q[-1] * self.stable_L[fidelity]
            slopes_Q[first + fidelity], slopes_Q[-1] = 1.0, self.stable_L[fidelity]
        return float(level), slopes_Q

    def amplitude(self, parameters_Q: Float[np.ndarray, " Q"], place_K: Float[np.ndarray, " K"]) -> float:
        return self._amplitude(parameters_Q, place_K)[0]

    def bounds(self, parameters_Q: Float[np.ndarray, " Q"], place_K: Float[np.ndarray, " K"]) -> tuple[float, float]:
        """Of values there, a power of nearly nothing explodes: what the fitted mixtures are predicted, and a bit."""
        fitted_N = self.at(parameters_Q, self.fitted_ND, place_K)[0]
        reach = REACH * abs(self.amplitude(parameters_Q, place_K))
        return float(fitted_N.min() - reach), float(fitted_N.max() + reach)

    def _amplitude(
        self, parameters_Q: Float[np.ndarray, " Q"], place_K: Float[np.ndarray, " K"]
    ) -> tuple[float, Float[np.ndarray, " Q"]]:
        fading_at = [self._of_axis(axis) + 2 for axis in range(len(place_K))]
        faded = float(np.exp(-parameters_Q[fading_at] @ place_K))
        slopes_Q = np.zeros_like(parameters_Q)
        slopes_Q[1] = faded
        slopes_Q[fading_at] = -place_K * parameters_Q[1] * faded
        return float(parameters_Q[1]) * faded, slopes_Q

    def _heights(
        self,
        parameters_Q: Float[np.ndarray, " Q"],
        weights_ND: Float[np.ndarray, "N D"],
        place_K: Float[np.ndarray, " K"],
    ) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N Q"]]:
        moving = slice(self.form.first, self.form.first + self.domains)
        theta_P = parameters_Q[2 : 2 + self.of_form].copy()
        for place, drift in zip(place_K, self.drifts, strict=True):
            theta_P[moving] += place * parameters_Q[drift]
        grown = self._grown(place_K) if self.form.own_tokens else 0.0
        powers = slice(self.domains, 2 * self.domains)
        if grown:
            # F (w t + e)^-a = F t^-a (w + e/t)^-a
            power_D = np.exp(theta_P[powers])
            theta_P[: self.domains] -= grown * power_D
            theta_P[2 * self.domains :] -= grown
        height_N, by_curve_NQ = self._curve.at(np.concatenate([[0.0, 1.0], theta_P]), weights_ND)
        by_theta_NP = by_curve_NQ[:, 2:]
        if grown:
            by_theta_NP[:, powers] -= grown * power_D * by_theta_NP[:, : self.domains]
        slopes_NQ = np.zeros((len(weights_ND), len(parameters_Q)))
        slopes_NQ[:, 2 : 2 + self.of_form] = by_theta_NP
        for place, drift in zip(place_K, self.drifts, strict=True):
            slopes_NQ[:, drift] = place * by_theta_NP[:, moving]
        return height_N, slopes_NQ

    def _grown(self, place_K: Float[np.ndarray, " K"]) -> float:
        """The logarithm of how many times the most tokens that were trained there are at a place."""
        if "tokens" not in self.axes.names:
            return 0.0
        axis = self.axes.names.index("tokens")
        return float(place_K[axis] * self.axes.span_K[axis])

    def _of_axis(self, axis: int) -> int:
        """Where its parameters begin."""
        return 2 + self.of_form + axis * (3 + self.domains)


def _fit(rows: Rows, axes: Axes, form: Form) -> FittedScalingLaw:
    assert rows.scales is not None
    weights_ND, values_N, fidelity_N = rows.weights_ND, rows.values_N, rows.fidelity_N
    stable_L = np.zeros(rows.fidelities) if rows.scales.stable_L is None else rows.scales.stable_L.astype(np.float64)
    joint = Joint(form, weights_ND, axes, stable_L)
    mean_L = np.bincount(fidelity_N, values_N) / np.bincount(fidelity_N)
    centre = float(mean_L[-1])
    within_N = values_N - mean_L[fidelity_N]
    scale = max(float(within_N.std()), 1e-12 * abs(centre), float(np.finfo(float).tiny))
    target_N, level_L = (values_N - centre) / scale, (mean_L - centre) / scale
    prior_mean_Q, prior_sd_Q = _prior(joint, level_L)
    places = [np.flatnonzero(fidelity_N == fidelity) for fidelity in range(rows.fidelities)]

    def curve(parameters_Q: Float[np.ndarray, " Q"]) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N Q"]]:
        found_N, slopes_NQ = np.empty(len(rows)), np.empty((len(rows), joint.parameters))
        for fidelity, here in enumerate(places):
            found_N[here], slopes_NQ[here] = joint.at(parameters_Q, weights_ND[here], axes.place_LK[fidelity], fidelity)
        return found_N, slopes_NQ

    def search(start_Q: Float[np.ndarray, " Q"], noise_N: Float[np.ndarray, " N"], tolerance: float) -> OptimizeResult:
        def misfit(parameters_Q: Float[np.ndarray, " Q"]) -> Float[np.ndarray, " A"]:
            error_N = curve(parameters_Q)[0] - target_N
            return np.append(error_N / noise_N, (parameters_Q - prior_mean_Q) / prior_sd_Q)

        def jacobian(parameters_Q: Float[np.ndarray, " Q"]) -> Float[np.ndarray, "A Q"]:
            return np.vstack([curve(parameters_Q)[1] / noise_N[:, None], np.diag(1 / prior_sd_Q)])

        return least_squares(
            misfit, start_Q, jacobian, loss="huber", f_scale=ROBUST, ftol=tolerance, max_nfev=MOST_STEPS
        )

    rise_D = correlations(weights_ND, within_N / scale)
    noise_N = np.full(len(rows), ASSUMED_NOISE)
    starts = []
    for sign in (1.0, -1.0):
        start_Q = prior_mean_Q.copy()
        start_Q[1], start_Q[2 : 2 + joint.of_form] = sign, form.law().start(sign * rise_D)
        starts.append(start_Q)
    found = min((search(start_Q, noise_N, ROUGH) for start_Q in starts), key=lambda result: float(result.cost))
    for _ in range(2):
        noise_N = _noise(found.fun[: len(rows)] * noise_N, fidelity_N, joint.domains)
        found = search(found.x, noise_N, FINE)

    factor_QQ = np.linalg.qr(found.jac).R
    root_QQ = np.linalg.inv(factor_QQ)
    spare_N = np.maximum(1 - ((found.jac[: len(rows)] @ root_QQ) ** 2).sum(axis=1), 0.05)
    left_out_N = np.clip(found.fun[: len(rows)], -ROBUST, ROBUST) / spare_N
    widening = max(1.0, float((left_out_N**2 * spare_N).mean()))
    noise = float(noise_N[fidelity_N == rows.fidelities - 1][0])
    off = float(prior_sd_Q[-2])
    # Laplace's, up to what all forms share.
    evidence = -float(
        found.cost + np.log(noise_N).sum() + np.log(np.abs(np.diag(factor_QQ))).sum() + np.log(prior_sd_Q).sum()
    )
    return FittedScalingLaw(joint, found.x, root_QQ, noise, off, widening, centre, scale, axes.goal_K, form, evidence)


def _prior(joint: Joint, level_L: Float[np.ndarray, " L"]) -> tuple[Float[np.ndarray, " Q"], Float[np.ndarray, " Q"]]:
    """Mean and standard deviation of the parameters, twice [Q].

    Args:
        level_L: the mean of each fidelity's values, standardised.
    """
    domains, axes, range_ = joint.domains, joint.axes, float(np.ptp(level_L))
    exponent_K = np.exp(LOG_EXPONENT) * axes.span_K
    part_LK = np.expm1(-exponent_K * axes.place_LK) / np.expm1(exponent_K)
    # Where growth was along both axes at once, the least of both is half of it along either.
    fallen_K = np.linalg.lstsq(part_LK - part_LK[-1], level_L - level_L[-1], rcond=1e-6)[0]
    theta_mean_P, theta_sd_P = joint.form.law().prior(domains)
    mean, sd = [0.0, 0.0, *theta_mean_P], [1 + range_, SLOPE_SD, *theta_sd_P]
    for fallen, exponent, span in zip(fallen_K, exponent_K, axes.span_K, strict=True):
        mean += [float(fallen), float(np.log(exponent)), FADING * span, *np.zeros(domains)]
        sd += [1 + range_ / 2, LOG_EXPONENT_SD, FADING_SD * span, *np.full(domains, DRIFT_SD * span)]
    mean += [0.0] * (len(level_L) + 1)
    # Hardly anything, where there is nothing to be off: a standard deviation of 0 divides by it.
    sd += [OFF_SHARE * range_ + 1e-3] * len(level_L) + [1 + range_ / 2]
    return np.array(mean), np.array(sd)


def _noise(
    error_N: Float[np.ndarray, " N"], fidelity_N: Int[np.ndarray, " N"], domains: int
) -> Float[np.ndarray, " N"]:
    """The standard deviation of the noise of each run, from its fidelity's errors and a bit of all, [N]."""
    width = float(np.median(np.abs(error_N))) / 0.6745
    square_N = np.minimum(np.abs(error_N), ROBUST * max(width, LEAST_NOISE)) ** 2
    freedom = max(len(error_N) - 2 * domains - 3, len(error_N) / 2) / len(error_N)
    overall = square_N.mean() / freedom
    count_L = np.bincount(fidelity_N)
    variance_L = (np.bincount(fidelity_N, square_N) / freedom + PRIOR_RUNS * overall) / (count_L + PRIOR_RUNS)
    noise_N: Float[np.ndarray, " N"] = np.clip(np.sqrt(variance_L), LEAST_NOISE, MOST_NOISE)[fidelity_N]
    return noise_N


@dataclass(frozen=True, eq=False)
class FittedScalingLaw(AnyScale):
    """
    Attributes:
        root_QQ: the parameters' covariance is root root'.
        noise, off: standard deviations of a run at the largest fidelity, and of what a level misses of the law.
        place_K: that predictions are for.
    """

    joint: Joint
    parameters_Q: Float[np.ndarray, " Q"]
    root_QQ: Float[np.ndarray, "Q Q"]
    noise: float
    off: float
    widening: float
    centre: float
    scale: float
    place_K: Float[np.ndarray, " K"]
    choice: Form
    evidence: float

    def mean(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        return self._values(self.joint.at(self.parameters_Q, weights_ND, self.place_K, self._fidelity)[0])

    def predict(self, weights_ND: Float[np.ndarray, "N D"]) -> Prediction:
        found_N, slopes_NQ = self.joint.at(self.parameters_Q, weights_ND, self.place_K, self._fidelity)
        doubt_N = (self._errors(slopes_NQ) ** 2).sum(axis=1)
        variance_N = self.widening * self.noise**2 + doubt_N + self._level_variance
        return Prediction(self._values(found_N), self.scale * np.sqrt(variance_N))

    def spread(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N Q"]:
        slopes_NQ = self.joint.at(self.parameters_Q, weights_ND, self.place_K, self._fidelity)[1]
        return self.scale * self._errors(slopes_NQ)

    def _errors(self, slopes_NQ: Float[np.ndarray, "N Q"]) -> Float[np.ndarray, "N R"]:
        """What standardised predictions move by with each of R normal numbers: parameters, then changes of pace."""
        turns = [
            (beyond * span * PACE_DOUBT / place if beyond else 0.0) * slopes_NQ[:, drift]
            for beyond, span, place, drift in zip(
                self._beyond_K, self.joint.axes.span_K, self.place_K, self.joint.drifts, strict=True
            )
        ]
        return np.hstack([np.sqrt(self.widening) * slopes_NQ @ self.root_QQ, *turns])

    @property
    def freedom(self) -> int:  # type: ignore[override]
        return len(self.parameters_Q) + len(self.joint.axes.names) * self.joint.domains

    def difference_sd(self, one_D: Float[np.ndarray, " D"], other_D: Float[np.ndarray, " D"]) -> float:
        one_R, other_R = self.spread(np.array([one_D, other_D]))
        noise = 2 * self.widening * (self.scale * self.noise) ** 2
        return float(np.sqrt(noise + ((one_R - other_R) ** 2).sum()))

    def at_runs(self) -> FittedScalingLaw:
        return replace(self, place_K=self.joint.axes.place_LK[-1])

    def at_scale(self, params: float, tokens: float) -> FittedScalingLaw:
        axes, asked = self.joint.axes, {"params": params, "tokens": tokens}
        log_K = np.log([asked[name] for name in axes.names])
        return replace(self, place_K=np.where(np.isfinite(log_K), (log_K - axes.top_K) / axes.span_K, axes.goal_K))

    @property
    def _fidelity(self) -> int | None:
        """The one that was trained where predictions are for, and whose offset they have, if it was."""
        near_L = np.abs(self.joint.axes.place_LK - self.place_K).max(axis=1) < 1e-9
        decayed = np.flatnonzero(near_L & (self.joint.stable_L == 0))
        return int(decayed[-1]) if len(decayed) else None

    @cached_property
    def _beyond_K(self) -> Float[np.ndarray, " K"]:
        """By how many spans the place is outside what was trained."""
        beyond_K: Float[np.ndarray, " K"] = np.maximum(self.place_K, 0) + np.maximum(-1 - self.place_K, 0)
        return beyond_K

    @property
    def _level_variance(self) -> float:
        inside = self.joint.level(self.parameters_Q, np.clip(self.place_K, -1, 0))[0]
        fallen = self.joint.level(self.parameters_Q, self.place_K)[0] - inside
        return (LEVEL_DOUBT * fallen) ** 2 + (self.off**2 if self._fidelity is None else 0.0)

    @cached_property
    def _bounds(self) -> tuple[float, float]:
        return self.joint.bounds(self.parameters_Q, self.place_K)

    def _values(self, found_N: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        return np.asarray(self.centre + self.scale * np.clip(found_N, *self._bounds))
