"""What does text say of a pool that no run has seen? Each pool is left out of finished runs, and foretold.

    python -m benchmarks.held_out_pool --study STUDY.yaml --runs RUNS.csv [--json FILE]

Laws c + A (v . w)^-g, v the worth of each pool to an evaluation set, are fitted to the runs that gave the pool no more
than 2%. What it is worth to the others' sets nobody has measured then:

    mean         as much as the other pools are, on average: ignorance
    neighbours   as much as those are whose text is near, by sliced transport distance
    diluted      nothing is said: the runs are read as if the pool were not in them

effects   errors of predicted losses, of the other pools' sets, in the runs that used the pool
shares    a mixture of all pools is chosen by these laws, and judged by laws fitted to all runs: how much worse it is
          than the best, for the mean of all sets; beside the natural share of the new pool, and an even one
guesses   for each evaluation set, its own pool is taken away: how much worse than the best mixture of the others is
          the one whose text is nearest (the baseline `transport`); beside the nearest pool alone, the natural and the
          even mixture

Shapes: N runs, D domains, M metrics (each domain's own set, in the same order), R = D - 1 other domains.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.table import Table

from benchmarks.nine_pools import LEAST_SD, SD_PER_NAT, fit_law
from benchmarks.worlds import Laws
from mixopt.runs.table import read
from mixopt.settings.reading import load
from mixopt.study.corpus import prepare_corpus
from proxies.data.corpus import Corpus
from proxies.data.portrait import embed
from search.space import DomainLimits, Space
from search.transport import distances, nearest_mixture

# A run that gave a pool no more has not used it; one that gave it more than most says little of the others.
UNUSED, MOST = 0.02, 0.7
# Runs without a pool to which laws can be fitted, for each pool.
RUNS_A_POOL = 1.5
# How much farther than the nearest a pool is whose word counts 1/e as much; chosen on the nine pools.
REACH = 0.02
# Worths below it are nothing, and no two runs tell how much of it.
LEAST_LOG_WORTH = -10.0


@dataclass(frozen=True)
class Texts:
    """What is known of the pools without a run.

    Attributes:
        points_DPE, sets_DPE: windows of each pool's training text, and of its own evaluation set, as points.
        apart_DD: distances of pools from pools.
        tokens_D: of each pool.
    """

    points_DPE: Float[np.ndarray, "D P E"]
    sets_DPE: Float[np.ndarray, "D P E"]
    apart_DD: Float[np.ndarray, "D D"]
    tokens_D: Float[np.ndarray, " D"]

    @classmethod
    def of(cls, corpus: Corpus, domains: tuple[str, ...]) -> Texts:
        tokenizer = corpus.tokenizer()
        points = [embed(corpus.texts(name, tokenizer)) for name in domains]
        sets = [embed(corpus.evaluation_texts(name, tokenizer)) for name in domains]
        tokens = [float(corpus.domains[name].train_tokens) for name in domains]
        return cls(np.array(points), np.array(sets), distances(points, points), np.array(tokens))

    @property
    def natural_D(self) -> Float[np.ndarray, " D"]:
        natural_D: Float[np.ndarray, " D"] = self.tokens_D / self.tokens_D.sum()
        return natural_D


def laws_of(weights_ND: Float[np.ndarray, "N D"], values_NM: Float[np.ndarray, "N M"]) -> Laws:
    """The law of each pool's own set."""
    mean_N = values_NM.mean(axis=1)
    sd_N = LEAST_SD + SD_PER_NAT * (mean_N - mean_N.min())
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of starts that lead nowhere
        found = [fit_law(weights_ND, values_N, sd_N, own) for own, values_N in enumerate(values_NM.T)]
    floor_M, height_M, power_M, worth_MD = (np.array(each) for each in zip(*found, strict=True))
    return Laws(floor_M, height_M, power_M, worth_MD)


def mean_worth(log_worth_R: Float[np.ndarray, " R"], apart_R: Float[np.ndarray, " R"]) -> float:
    return float(log_worth_R.mean())


def worth_of_neighbours(log_worth_R: Float[np.ndarray, " R"], apart_R: Float[np.ndarray, " R"]) -> float:
    near_R = np.exp(-(apart_R - apart_R.min()) / REACH)
    return float(near_R @ log_worth_R / near_R.sum())


# From logs of what other pools are worth to a set, and how far these are from the one that is foretold, to its own.
Foretell = Callable[[Float[np.ndarray, " R"], Float[np.ndarray, " R"]], float]
WAYS: Mapping[str, Foretell] = {"mean": mean_worth, "neighbours": worth_of_neighbours}


def foretold(laws: Laws, apart_DD: Float[np.ndarray, "D D"], pool: int, how: Foretell) -> Laws:
    """Laws over all pools, from those over the others: with what the pool is worth to their sets, and they to its own.

    The height, floor and power of its own set are the others' mean.
    """
    others = np.delete(np.arange(len(apart_DD)), pool)
    log_worth_RR = np.maximum(np.log(laws.worth_MD), LEAST_LOG_WORTH)
    worth_DD = np.ones((len(apart_DD), len(apart_DD)))
    worth_DD[np.ix_(others, others)] = laws.worth_MD
    for place, metric in enumerate(others):
        rest = np.arange(len(others)) != place
        apart_R = apart_DD[pool, others][rest]
        worth_DD[metric, pool] = np.exp(how(log_worth_RR[place, rest], apart_R))
        # What another pool is worth to the new one's set: as to the sets of its neighbours.
        worth_DD[pool, metric] = np.exp(how(log_worth_RR[rest, place], apart_R))
    floor_M, height_M, power_M = (
        np.insert(each, pool, each.mean()) for each in (laws.floor_M, laws.height_M, laws.power_M)
    )
    return Laws(floor_M, height_M, power_M, worth_DD)


def effects_and_shares(
    weights_ND: Float[np.ndarray, "N D"], values_NM: Float[np.ndarray, "N M"], texts: Texts, pool: int
) -> dict[str, Any] | None:
    """Of one pool; None where too few runs are without it, or hardly any with it."""
    domains = weights_ND.shape[1]
    others = np.delete(np.arange(domains), pool)
    without_N = weights_ND[:, pool] <= UNUSED
    used_N = ~without_N & (weights_ND[:, pool] < MOST)
    if without_N.sum() < RUNS_A_POOL * domains or not used_N.any():
        return None
    known_NR = weights_ND[without_N][:, others]
    known = laws_of(known_NR / known_NR.sum(axis=1, keepdims=True), values_NM[without_N][:, others])
    measured_NR, true = values_NM[used_N][:, others], laws_of(weights_ND, values_NM)
    diluted_NR = weights_ND[used_N][:, others]
    predicted = {"diluted": known.losses(diluted_NR / diluted_NR.sum(axis=1, keepdims=True))}
    even, natural, all_M = 1 / domains, texts.natural_D[pool], np.full(domains, 1 / domains)
    mixtures = {
        name: np.insert((1 - share) * known.best(np.full(domains - 1, 1 / (domains - 1))), pool, share)
        for name, share in (("even share", even), ("natural share", natural))
    }
    for name, how in WAYS.items():
        laws = foretold(known, texts.apart_DD, pool, how)
        predicted[name] = laws.losses(weights_ND[used_N])[:, others]
        mixtures[name] = laws.best(all_M)
    least = true.losses(true.best(all_M)[None]).mean()
    return {
        "runs": [int(without_N.sum()), int(used_N.sum())],
        "effects": {
            name: float(np.sqrt(((found_NR - measured_NR) ** 2).mean(axis=0)).mean())
            for name, found_NR in predicted.items()
        },
        "shares": {name: float(true.losses(mixture_D[None]).mean() - least) for name, mixture_D in mixtures.items()},
    }


def guesses(true: Laws, texts: Texts, metric: int) -> dict[str, float]:
    """Losses of an evaluation set, above that of the best mixture of the pools that are not its own."""
    others = np.delete(np.arange(len(texts.tokens_D)), metric)
    worth_R = true.worth_MD[metric, others]
    space = Space(tuple(DomainLimits(f"pool {place}", int(texts.tokens_D[place])) for place in others))
    nearest = distances(list(texts.points_DPE[others]), [texts.sets_DPE[metric]])[:, 0].argmin()
    even_R = np.full(len(others), 1 / len(others))
    mixtures = {
        "transport": nearest_mixture(space, texts.points_DPE[others], texts.sets_DPE[[metric]], np.ones(1)).array,
        "nearest pool": np.eye(len(others))[nearest],
        "natural": space.natural.array,
        "even": even_R,
    }

    law = Laws(true.floor_M[[metric]], true.height_M[[metric]], true.power_M[[metric]], worth_R[None])

    def loss(mixture_R: Float[np.ndarray, " R"]) -> float:
        return float(law.losses(mixture_R[None])[0, 0])

    best = loss(np.eye(len(others))[worth_R.argmax()])
    return {name: loss(mixture_R) - best for name, mixture_R in mixtures.items()}


def measure(
    domains: tuple[str, ...], weights_ND: Float[np.ndarray, "N D"], values_NM: Float[np.ndarray, "N M"], texts: Texts
) -> dict[str, Any]:
    """All three, by pool."""
    found = {name: effects_and_shares(weights_ND, values_NM, texts, place) for place, name in enumerate(domains)}
    true = laws_of(weights_ND, values_NM)
    return {
        "runs": len(weights_ND),
        "pools": {name: each for name, each in found.items() if each is not None},
        "left out, too few runs without it": [name for name, each in found.items() if each is None],
        "guesses": {name: guesses(true, texts, place) for place, name in enumerate(domains)},
    }


def tables(found: dict[str, Any]) -> list[Table]:
    """Means over pools, and how many of them are better than by the first way named."""
    parts = {
        "Errors of predicted losses (nats), mean": ({k: v["effects"] for k, v in found["pools"].items()}, "mean"),
        "Mixture with the pool: above the best (nats)": ({k: v["shares"] for k, v in found["pools"].items()}, "mean"),
        "Sets without their own pool: above the best (nats)": (found["guesses"], "natural"),
    }
    made = []
    for title, (rows, against) in parts.items():
        if not rows:
            continue
        table = Table(title=title)
        ways = list(next(iter(rows.values())))
        for column in ("pool", *ways):
            table.add_column(column, justify="left" if column == "pool" else "right")
        for name, row in rows.items():
            table.add_row(name, *(f"{row[way]:.3f}" for way in ways))
        better = [sum(row[way] < row[against] for row in rows.values()) for way in ways]
        table.add_row("mean", *(f"{np.mean([row[way] for row in rows.values()]):.3f}" for way in ways), style="bold")
        table.add_row(f"better than {against}", *(f"{count} of {len(rows)}" for count in better))
        made.append(table)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True, help="the study file, whose text is here")
    parser.add_argument("--runs", type=Path, required=True, help="its runs, or others on the same pools: mixopt runs")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    corpus = prepare_corpus(load(options.study), lambda step: None)
    runs, _ = read(options.runs)
    domains = tuple(corpus.domains)
    order_D, order_M = [[names.index(name) for name in domains] for names in (runs.domains, runs.metrics)]
    texts = Texts.of(corpus, domains)
    found = measure(domains, runs.weights_ND[:, order_D], runs.values_NM[:, order_M], texts)
    console = Console(width=100)
    for table in tables(found):
        console.print(table)
    if options.json:
        options.json.write_text(json.dumps({"date": date.today().isoformat()} | found, indent=2) + "\n")


if __name__ == "__main__":
    main()
