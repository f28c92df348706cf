"""Which mixture to take after a confirmation: what each rule costs where the truth is known.

    python -m benchmarks.confirmation
    python -m benchmarks.confirmation --json benchmarks/results/confirmation.json

A candidate is confirmed beside five mixtures that are worse by .04 on average, with a standard deviation of .05: about
a fifth of them are in truth better. Each is measured with a few seeds; a seed does the same to all, and each run has
its own noise. Regret is how much worse the chosen mixture is in truth than the best of the six; optimism, how much
better its advantage over the first looked than it is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np
from rich.console import Console
from scipy.stats import t

from mixopt.cli.tables.table import plain_table
from search.mixture import Mixture
from search.recommendation.confirmation import Outcome, winner

OTHERS, WORSE, SPREAD = 5, 0.04, 0.05
STUDIES = 2_000
Rule = Callable[[Sequence[Outcome]], int]


@dataclass(frozen=True)
class Row:
    """Means over the studies, by rule, in the objective's unit."""

    noise: float
    seeds: int
    regret: dict[str, float]
    optimism: dict[str, float]


def product(outcomes: Sequence[Outcome]) -> int:
    """What mixopt does with the same seeds of all mixtures."""
    return list(outcomes).index(winner(outcomes, [0.0, *[WORSE] * (len(outcomes) - 1)]))


def always_first(outcomes: Sequence[Outcome]) -> int:
    return 0


def lowest(outcomes: Sequence[Outcome]) -> int:
    return int(np.argmin([np.mean(list(outcome.values.values())) for outcome in outcomes]))


def own_interval(outcomes: Sequence[Outcome]) -> int:
    """The lowest of those whose own differences from the first are shown below 0, all comparisons together."""
    values_MS = np.array([list(outcome.values.values()) for outcome in outcomes])
    differences_OS = values_MS[1:] - values_MS[0]
    seeds = differences_OS.shape[1]
    reach = t.ppf(1 - 0.05 / 2 / len(differences_OS), seeds - 1)
    shown_O = differences_OS.mean(axis=1) < -reach * differences_OS.std(axis=1, ddof=1) / np.sqrt(seeds)
    return int(1 + np.where(shown_O, differences_OS.mean(axis=1), np.inf).argmin()) if shown_O.any() else 0


RULES: dict[str, Rule] = {
    "mixopt": product,
    "each other's own interval, Bonferroni": own_interval,
    "always the first": always_first,
    "the lowest mean": lowest,
}


def outcomes_of(values_MS: np.ndarray) -> list[Outcome]:
    labels = ["proposed", "baseline:proportional", *(f"baseline:{number}" for number in range(2, len(values_MS)))]
    return [
        Outcome(
            label,
            Mixture.of({"web": 1 + place, "code": 1}),
            dict(enumerate(map(float, row), start=1)),
            float((row - values_MS[1]).mean()),
            None,
            "not compared",
            "",
        )
        for place, (label, row) in enumerate(zip(labels, values_MS, strict=True))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for noise in (0.005, 0.02, 0.05):
        for seeds in (2, 3, 5):
            rng = np.random.default_rng([int(1000 * noise), seeds])
            regret, optimism = (dict.fromkeys(RULES, 0.0) for _ in range(2))
            for _ in range(STUDIES):
                truth_M = np.append(0.0, rng.normal(WORSE, SPREAD, OTHERS))
                shared_S = rng.standard_normal(seeds)
                values_MS = truth_M[:, None] + shared_S + noise * rng.standard_normal((OTHERS + 1, seeds))
                outcomes = outcomes_of(values_MS)
                for rule, choose in RULES.items():
                    chosen = choose(outcomes)
                    looked = values_MS[0].mean() - values_MS[chosen].mean()
                    regret[rule] += float(truth_M[chosen] - truth_M.min()) / STUDIES
                    optimism[rule] += float(looked - (truth_M[0] - truth_M[chosen])) / STUDIES
            rows.append(Row(noise, seeds, regret, optimism))
    table = plain_table(">noise", ">seeds", *(f">{rule}" for rule in RULES), title="regret (optimism), in 0.001")
    for row in rows:
        shown = [f"{1000 * row.regret[rule]:.1f} ({1000 * row.optimism[rule]:.1f})" for rule in RULES]
        table.add_row(f"{row.noise:g}", str(row.seeds), *shown)
    Console().print(table)
    if options.json:
        document = {"date": date.today().isoformat(), "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
