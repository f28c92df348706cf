"""Runs that a study takes from others, as its record keeps them: what came into the store since changes nothing.

Shapes: N runs, D domains, M metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from pydantic import ValidationError

from mixopt.base.errors import ConfigError
from mixopt.results.reused import OtherStudy, Reused
from search.fidelity import Fidelity
from search.runs import Runs


@dataclass(frozen=True)
class Taken:
    """
    Attributes:
        runs: over the study's domains and its objective's metrics; None where none counts.
        reused: where they come from, and why others do not count.
    """

    runs: Runs | None
    reused: Reused

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        runs = self.runs
        table = None
        if runs is not None:
            table = {
                "runs": list(runs.names),
                "domains": list(runs.domains),
                "metrics": list(runs.metrics),
                "fidelities": [asdict(fidelity) for fidelity in runs.fidelities],
                "fidelity": runs.fidelity_N.tolist(),
                "weights": runs.weights_ND.tolist(),
                "values": [[None if np.isnan(value) else value for value in row_M] for row_M in runs.values_NM],
            }
        return {"reused": self.reused.plain(), "table": table}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Self:
        """
        Raises:
            ConfigError: it is not what `plain` gives.
        """
        try:
            reused, table = Reused.model_validate(plain["reused"]), plain["table"]
            return cls(None if table is None else _runs(table), reused)
        except (ValidationError, LookupError, TypeError, ValueError, AssertionError) as error:
            raise ConfigError(
                "the record of what was taken from other studies is damaged",
                hint="give the study another name under `study:`, and it looks again",
            ) from error

    @property
    def notes(self) -> tuple[str, ...]:
        """In sentences."""
        return tuple(_said(each) for each in self.reused.studies if each.runs) or (
            "reuse.store: no run of another study in the experiment counts here",
        )


def _runs(table: Mapping[str, Any]) -> Runs:
    values = [[np.nan if value is None else float(value) for value in row] for row in table["values"]]
    return Runs(
        names=tuple(table["runs"]),
        domains=tuple(table["domains"]),
        metrics=tuple(table["metrics"]),
        fidelities=tuple(Fidelity(**each) for each in table["fidelities"]),
        weights_ND=np.array(table["weights"], dtype=np.float64),
        fidelity_N=np.array(table["fidelity"], dtype=np.int64),
        values_NM=np.array(values, dtype=np.float64),
    )


def _said(study: OtherStudy) -> str:
    pools = ", ".join(each.pool if each.pool == each.was else f"{each.was} as {each.pool}" for each in study.pools)
    rest = f"; {study.said}" if study.said else ""
    return f"{study.runs} of {study.of} runs of study {study.study} count as evidence, by its pools {pools}{rest}"
