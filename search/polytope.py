"""A polytope: the points that keep linear equalities and inequalities, and the one of them nearest to any point.

Shapes: D dimensions, E equality and C inequality constraints, K free directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

# A row of which no more is left along any free direction cannot be broken by one.
ROUNDING = 1e-10
# Constraints that contradict each other by less do so by rounding.
CONTRADICTION = 2e-6
# The shortest step to a polytope, of length r, leaves a squared residual of 1 / (1 + r^2); where less is left there is
# no step.
LEAST_RESIDUAL = 1e-9


@dataclass(frozen=True, eq=False)
class Polytope:
    """
    Attributes:
        equal_ED, equal_E: it is where equal_ED @ point = equal_E, as near as that can be had,
        rows_CD, floor_C: and rows_CD @ point >= floor_C.
    """

    equal_ED: Float[np.ndarray, "E D"]
    equal_E: Float[np.ndarray, " E"]
    rows_CD: Float[np.ndarray, "C D"]
    floor_C: Float[np.ndarray, " C"]

    def nearest(self, point_D: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"] | None:
        """The point of it nearest to another in Euclidean distance; None where it is empty.

        The equalities are eliminated through a basis of their null space; what is left, the shortest step that
        keeps the inequalities, is a least-distance problem and so one non-negative least-squares problem
        (Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23).
        """
        from scipy.optimize import nnls

        nearest_D = point_D - self._inverse_DE @ (self.equal_ED @ point_D - self.equal_E)
        shortfall_C = self.floor_C - self.rows_CD @ nearest_D
        off_E = np.abs(self.equal_ED @ nearest_D - self.equal_E)
        if max(off_E.max(initial=0), shortfall_C[~self._breakable_C].max(initial=0)) > CONTRADICTION:
            return None
        rows_CK, shortfall_C = (self.rows_CD @ self._basis_DK)[self._breakable_C], shortfall_C[self._breakable_C]
        if shortfall_C.max(initial=0) <= 0:
            return np.asarray(nearest_D)
        system = np.vstack([rows_CK.T, shortfall_C])
        wanted = np.append(np.zeros(rows_CK.shape[1]), 1.0)
        residual = system @ nnls(system, wanted, maxiter=20 * system.shape[1])[0] - wanted
        if -residual[-1] < LEAST_RESIDUAL:
            return None
        return np.asarray(nearest_D - self._basis_DK @ (residual[:-1] / residual[-1]))

    @cached_property
    def _inverse_DE(self) -> Float[np.ndarray, "D E"]:
        return np.asarray(np.linalg.pinv(self.equal_ED))

    @cached_property
    def _basis_DK(self) -> Float[np.ndarray, "D K"]:
        """An orthonormal basis of the directions that the equalities leave free."""
        _, singular, right_DD = np.linalg.svd(self.equal_ED)
        basis_DK: Float[np.ndarray, "D K"] = right_DD[(singular > ROUNDING).sum() :].T
        return basis_DK

    @cached_property
    def _breakable_C(self) -> Bool[np.ndarray, " C"]:
        """Which inequalities a free direction can break."""
        breakable_C: Bool[np.ndarray, " C"] = np.linalg.norm(self.rows_CD @ self._basis_DK, axis=1) > ROUNDING
        return breakable_C
