"""What every surrogate is: fitted to measured mixtures, it predicts others, and says how far it may be off.

Shapes: N mixtures, D domains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, TypeVar

import numpy as np
from jaxtyping import Float, Int

from search.runs import present
from search.surrogates.compression import Compression
from search.surrogates.lifting import Mean, at_target
from search.surrogates.rows import Rows, deal_folds
from search.threads import one_thread


@dataclass(frozen=True)
class Prediction:
    """A new measurement is expected at mean_N, give or take sd_N: the surrogate's doubt and the noise, together."""

    mean_N: Float[np.ndarray, " N"]
    sd_N: Float[np.ndarray, " N"]


Predict = Callable[[Float[np.ndarray, "N D"]], Prediction]

# What is costly to choose, as a value that fits to nearly the same rows can be given; None where nothing is.
Choice = TypeVar("Choice")


class Fitted(ABC, Generic[Choice]):
    """A surrogate that knows its rows, and never changes.

    Attributes:
        choice: what was chosen for these rows, or given.
        held_out: each row's mixture predicted at the target by fits to the other folds, NaN for a row that is always
            known; None where the fit did not need it, or was given its choice.
    """

    choice: Choice
    held_out: Prediction | None = None

    def difference_sd(self, one_D: Float[np.ndarray, " D"], other_D: Float[np.ndarray, " D"]) -> float | None:
        """Of the difference of new runs of two mixtures; None where their errors are taken as independent."""
        return None

    def at_runs(self) -> Fitted[Choice]:
        """Predicting for the highest fidelity of the rows; another than itself where it predicts beyond."""
        return self

    @abstractmethod
    def predict(self, weights_ND: Float[np.ndarray, "N D"]) -> Prediction: ...

    def mean(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        """The means of `predict` alone, [N]; overridden where these are far cheaper."""
        return self.predict(weights_ND).mean_N


class Surrogate(ABC, Generic[Choice]):
    """How one number is learned as a function of the mixture. The same seed and rows give the same predictions.

    Attributes:
        fewest_runs: it cannot be fitted to fewer rows.
    """

    fewest_runs: ClassVar[int]

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @one_thread
    def fit(
        self,
        weights_ND: Float[np.ndarray, "N D"],
        values_N: Float[np.ndarray, " N"],
        fidelity_N: Int[np.ndarray, " N"] | None = None,
        choice: Choice | None = None,
    ) -> Fitted[Choice]:
        """Fit to measured values.

        Args:
            fidelity_N: of each run, 0 the cheapest; predictions are for the highest that has runs. Default: all alike.
            choice: of an earlier fit to nearly the same rows, in place of choosing again.
        """
        assert weights_ND.ndim == 2 and values_N.shape == weights_ND.shape[:1], "one value per mixture"
        assert len(values_N) >= self.fewest_runs, f"{len(values_N)} runs, {self.fewest_runs} needed"
        assert np.isfinite(weights_ND).all() and np.isfinite(values_N).all(), "failed trials are no observations"
        fidelity_N = present(np.zeros(len(values_N), dtype=np.int64) if fidelity_N is None else fidelity_N)
        every_N = np.ones(len(values_N), dtype=bool)
        fold_N = deal_folds(weights_ND, fidelity_N == fidelity_N.max(), every_N, self.seed)
        return self.fit_rows(Rows(weights_ND, values_N, fidelity_N, fold_N), choice)

    @abstractmethod
    def fit_rows(self, rows: Rows, choice: Choice | None = None) -> Fitted[Choice]:
        """As `fit`."""

    def begin(self, rows: Rows) -> Fitted[Choice]:
        """A first fit, before anything is held out: `finish` makes of it what `fit_rows` gives."""
        return self.fit_rows(rows)

    def finish(self, rows: Rows, begun: Fitted[Choice]) -> Fitted[Choice]:
        """
        Args:
            begun: by `begin`, on these rows.
        """
        return begun

    def hold_out(self, rows: Rows, fitted: Fitted[Choice]) -> Prediction | None:
        """Each row's mixture predicted by a fit to the other folds; None where folds leave too few to fit to."""
        if fitted.held_out is not None:
            return fitted.held_out
        return hold_out(rows, self.fewest_runs, lambda known: self.fit_rows(known, fitted.choice).at_runs().predict)


@dataclass(frozen=True, eq=False)
class Decompressed(Fitted[Choice]):
    """What was fitted to compressed values, in their own unit again."""

    compression: Compression
    within: Fitted[Choice]
    choice: Choice

    def predict(self, weights_ND: Float[np.ndarray, "N D"]) -> Prediction:
        found = self.within.predict(weights_ND)
        stretch_N = self.compression.stretch(found.mean_N)
        return Prediction(self.compression.inverse(found.mean_N), found.sd_N * stretch_N)

    def mean(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        return self.compression.inverse(self.within.mean(weights_ND))


class SingleScale(Surrogate[Choice]):
    """It knows values of one fidelity only: others are mapped to the target first (search.surrogates.lifting).

    Attributes:
        compresses: whether it is fitted to values of which the far ones are drawn in (search.surrogates.compression),
            where all are of one fidelity: what was mapped from another may be far for that alone.
    """

    compresses: ClassVar[bool] = False

    def fit_rows(self, rows: Rows, choice: Choice | None = None) -> Fitted[Choice]:
        def reference(alone: Rows) -> Mean:
            if len(alone) < self.fewest_runs:
                return lambda wanted_ND: np.full(len(wanted_ND), alone.values_N.mean())
            return self._fit_alike(alone, choice).mean

        if rows.fidelity_N.any():
            return self._fit_alike(at_target(rows, reference), choice)
        if not self.compresses:
            return self._fit_alike(rows, choice)
        compression = Compression.of(rows.values_N)
        within = self._fit_alike(replace(rows, values_N=compression.forward(rows.values_N)), choice)
        return Decompressed(compression, within, within.choice)

    @abstractmethod
    def _fit_alike(self, rows: Rows, choice: Choice | None) -> Fitted[Choice]:
        """Fit to values that are all in the target's units."""


def hold_out(rows: Rows, fewest: int, fit: Callable[[Rows], Predict]) -> Prediction | None:
    """Each row's mixture predicted by a fit to the other folds, NaN for a row that is always known.

    None where a fold would leave fewer than `fewest` others.
    """
    folds = rows.folds(fewest)
    if not folds:
        return None
    mean_N, sd_N = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for out_N in folds:
        found = fit(rows.select(~out_N))(rows.weights_ND[out_N])
        mean_N[out_N], sd_N[out_N] = found.mean_N, found.sd_N
    return Prediction(mean_N, sd_N)


def is_constant(values_N: Float[np.ndarray, " N"]) -> bool:
    """Whether values are equal but for rounding, in whatever unit they are."""
    return bool(np.ptp(values_N) <= 1e-9 * float(np.abs(values_N).max()))
