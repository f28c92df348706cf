"""The table of a team that does not exist: forty-four runs whose losses are a formula, as an export of a tracker.

As they are a formula, the best mixture is known, and so is what `mixopt fit` misses.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, minimize

DOMAINS = ("web", "code", "maths", "books", "wiki")
NATURAL = (0.62, 0.16, 0.04, 0.12, 0.06)
# The loss of a set is floor + scale * (offset + what helps it) ** -power; a domain helps by so much of its share.
HELPS = {
    "web_heldout": (1.0, 0.05, 0.02, 0.4, 0.5),
    "humaneval": (0.05, 1.0, 0.5, 0.02, 0.1),
    "gsm": (0.1, 0.5, 1.0, 0.1, 0.3),
    "books_heldout": (0.4, 0.02, 0.02, 1.0, 0.3),
}
FLOOR, SCALE, OFFSET, POWER = 2.1, 0.35, 0.02, 0.45
NOISE = 0.006  # what two runs of the same mixture differ by
RUNS, CRASHED, STALE = 44, (9, 23, 31), (17,)
STEPS = 12_000
STALE_AT = STEPS // 3


def losses(weights: Mapping[str, float]) -> dict[str, float]:
    """Without noise."""
    shares_D = np.array([weights[domain] for domain in DOMAINS])
    return {name: FLOOR + SCALE * (OFFSET + float(helps @ shares_D)) ** -POWER for name, helps in _helps().items()}


def mean_loss(weights: Mapping[str, float]) -> float:
    return float(np.mean(list(losses(weights).values())))


def write(path: Path) -> None:
    """Semicolons, decimal commas, percentages, and a second group of columns that sums to 100 as well."""
    draw = np.random.default_rng(7)
    rows = []
    for number in range(RUNS):
        shares_D = draw.dirichlet(np.array(NATURAL) * 6 + 0.3)
        percent_D = np.round(100 * shares_D, 1)
        percent_D[0] = round(100 - percent_D[1:].sum(), 1)
        weights = dict(zip(DOMAINS, percent_D / 100, strict=True))
        measured = {name: loss + NOISE * draw.standard_normal() for name, loss in losses(weights).items()}
        crashed = number in CRASHED
        stopped = draw.integers(500, 5_000) if crashed or number in STALE else STEPS
        step = STALE_AT if number in STALE else stopped
        load_4 = np.round(100 * draw.dirichlet(np.full(4, 40.0)), 1)
        load_4[0] = round(100 - load_4[1:].sum(), 1)
        rows.append(
            {
                "Run": f"mix-{number:02d}",
                "Status": "crashed" if crashed else "finished",
                "Iteration": str(step),
                **{
                    f"sampling {domain} [%]": _comma(value, 1) for domain, value in zip(DOMAINS, percent_D, strict=True)
                },
                **{f"expert {index} [%]": _comma(value, 1) for index, value in enumerate(load_4)},
                "lr": "0,0006",
                **{f"{name} CE": _comma(loss + (0.9 if step < STEPS else 0), 4) for name, loss in measured.items()},
            }
        )
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=";")
        table.writeheader()
        table.writerows(rows)


def _comma(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace(".", ",")


def _helps() -> dict[str, np.ndarray]:
    return {name: np.array(values) for name, values in HELPS.items()}


def _mean_loss_of(shares_D: np.ndarray) -> float:
    return mean_loss(dict(zip(DOMAINS, map(float, shares_D), strict=True)))


def best() -> dict[str, float]:
    """The mixture with the least mean loss, by the formula."""
    found = minimize(
        _mean_loss_of,
        np.full(len(DOMAINS), 1 / len(DOMAINS)),
        method="SLSQP",
        bounds=Bounds(np.zeros(len(DOMAINS)), np.ones(len(DOMAINS))),
        constraints=LinearConstraint(np.ones((1, len(DOMAINS))), 1.0, 1.0),
    )
    return dict(zip(DOMAINS, map(float, found.x), strict=True))


def tell_truth(mixture: Path) -> None:
    """What the formula says of the mixture that `mixopt fit` wrote."""
    recommended = json.loads(mixture.read_text(encoding="utf-8"))
    mixtures = {
        "as the team trains": dict(zip(DOMAINS, NATURAL, strict=True)),
        "recommended": {domain: recommended.get(domain, 0.0) for domain in DOMAINS},
        "the best there is": best(),
    }
    for name, weights in mixtures.items():
        shares = ", ".join(f"{domain} {share:.1%}" for domain, share in weights.items())
        print(f"{name:20} {mean_loss(weights):.4f}   {shares}")


if __name__ == "__main__":
    tell_truth(Path(sys.argv[1]))
