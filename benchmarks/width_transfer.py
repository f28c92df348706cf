"""Do rules that carry a learning rate from one size to another keep the order of mixtures better than one rate does?

    python -m benchmarks.width_transfer --work DIR                         one core, less than an hour
    python -m benchmarks.width_transfer --work DIR --json benchmarks/results/width-transfer.json

one rate    what `proxies.recipe` does with models as small as these: every size and every weight has the same peak rate
muP         G. Yang et al., "Tensor Programs V", 2203.03466: matrices learn more slowly the wider a model is, the
            embedding does not, and logits begin smaller
CompleteP   N. Dey et al., "Don't be lazy", 2505.01618: muP, and what a layer adds is smaller the deeper a model is

rates       losses on the proportional mixture under each rule, over widths, depths and peak rates: does the best rate
            stay where it is? And where is it after more tokens?
ladder      the mixtures of `benchmarks.fidelity_ladder` at small sizes and at a top one, under each rule: rank
            correlations with the tops and regrets, with 95% intervals by resampling the mixtures. A top has the best
            rate of a sweep at its own size; a small model has the rate that is best at the base, as its rule carries
            it, or the recipe's.

A finished run is kept in DIR/width-transfer.jsonl, and not trained again.

Under a rule a model is the product's own, with other first weights and rates. Steps of Adam do not depend on the scale
of gradients: a factor in the forward pass is the same as one of a weight's first values and of its rate, so that the
model needs none. Of its weight a step takes away as much as at the base: where a rule lowers the rate, the decay that
torch multiplies with it is raised.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any, Literal, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from jaxtyping import Float
from joblib import cpu_count
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import rankdata
from torch import Tensor

from benchmarks.fidelity_ladder import BATCH_ROWS, JUDGED_BY, LENGTH, MIXTURES, RESAMPLES, mixtures
from benchmarks.kept import Kept
from proxies import device
from proxies.allocator import keep_freed_memory
from proxies.data.corpus import Corpus
from proxies.data.mixing import MixedStream
from proxies.evaluate import EvaluationSet, EvaluationTokens, evaluate
from proxies.member import RowStream
from proxies.models.size import ModelSize, model_size
from proxies.optimizer import UNDECAYED, AdamW
from proxies.pack import Pack
from proxies.recipe import Recipe, recipe, step_law_rate
from proxies.schedule import learning_rate_share

Rule = Literal["one rate", "muP", "CompleteP"]
RULES: tuple[Rule, ...] = ("one rate", "muP", "CompleteP")
# One rate for all weights, as `proxies.recipe` has it, and as the law has it that this clamps.
RECIPE, LAW = "recipe's rate", "step law"

BASE_WIDTH, BASE_DEPTH = 64, 2
WIDTHS, DEPTHS = (32, 64, 128, 256), (2, 4, 8)  # widths at the base's depth, depths at the base's width
RATES = tuple(1.25e-3 * 2**doublings for doublings in range(7))
SWEEP_SEEDS = (1, 2)
TOKENS, LONGER = 131_072, (524_288, 2_097_152)
TOP_WIDTH, TOP_TOKENS = 256, 262_144
TOP_RULES: tuple[Rule, ...] = ("one rate", "muP")  # CompleteP says the same of the base's depth
WIDE = 170  # columns of the tables
SMALL = ((32, 2), (64, 2), (128, 2), (64, 4))  # widths and depths


class Scales(NamedTuple):
    """What a rule multiplies a weight's first values, its learning rate and its decay by."""

    first: float = 1.0
    rate: float = 1.0
    decay: float = 1.0


def scales(rule: Rule, weight: str, size: ModelSize) -> Scales:
    """Those of a weight of a dense model, by its name.

    Heads are 64 wide from the base on, so that attention's own scale is the same under every rule; below, where the
    only head is narrower, it is left as it is.
    """
    if rule == "one rate" or weight == UNDECAYED:
        return Scales()
    base = model_size("dense", BASE_DEPTH, size.vocabulary, size.sequence_length, width=BASE_WIDTH)
    is_down = ".down." in weight
    wider = size.feed_forward / base.feed_forward if is_down else size.width / base.width
    first, rate = 1.0, 1 / wider
    if weight.startswith("head."):
        first = wider**-0.5  # the model draws it with wider^-0.5 already: together it is 1 / wider
    if rule == "CompleteP" and (is_down or ".out." in weight):
        deeper = size.depth / base.depth
        first, rate = deeper**-0.5, rate / deeper  # here, too, the model has one half of it
    return Scales(first, rate, 1 / rate)


class ScaledAdamW(AdamW):
    """The product's optimizer, one for each pair of rate and decay, and one norm of all gradients."""

    def __init__(self, weights: Mapping[str, Tensor], recipe: Recipe, scales: Mapping[str, Scales]) -> None:
        super().__init__(weights, recipe)
        self._parts: list[tuple[float, list[str], AdamW]] = []
        for rate, decay in sorted({(each.rate, each.decay) for each in scales.values()}):
            part = {name: weight for name, weight in weights.items() if scales[name][1:] == (rate, decay)}
            optimizer = AdamW(part, replace(recipe, weight_decay=recipe.weight_decay * decay))
            self._parts.append((rate, list(part), optimizer))

    def step(self, gradients: Mapping[str, Tensor], rate_M: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(torch.stack([each.norm() for each in gradients.values()]))
        # What is clipped as a whole is not clipped again in parts.
        if norm > self._recipe.clip:
            gradients = {name: each * (self._recipe.clip / norm) for name, each in gradients.items()}
        for rate, names, optimizer in self._parts:
            optimizer.step({name: gradients[name] for name in names}, rate * rate_M)
        return norm.view(1)


class ScaledPack(Pack):
    """One proxy under a rule."""

    def __init__(self, recipe: Recipe, seed: int, rule: Rule) -> None:
        super().__init__(recipe, [seed])
        of_weights = {name: scales(rule, name, recipe.model) for name in self._weights}
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.mul_(of_weights[name].first)
        self._optimizer = ScaledAdamW(self._weights, recipe, of_weights)


def train(pack: Pack, stream: RowStream, evaluation_sets: Mapping[str, EvaluationTokens]) -> dict[str, float]:
    """All of a recipe's steps; what is lost then on each set, in nats per token."""
    chosen = pack.recipe
    with device.one_thread():
        sets = {name: EvaluationSet(each, chosen, pack.micro_batches.rows) for name, each in evaluation_sets.items()}
        pack.compile()
        for step in range(chosen.steps):
            rows = stream.rows(step * chosen.batch_rows, chosen.batch_rows)
            share = learning_rate_share(
                step, chosen.steps, warmup_share=chosen.warmup_share, decay_share=chosen.decay_share
            )
            inputs_MBT, targets_MBT = (torch.as_tensor(part)[None] for part in (rows.inputs_BT, rows.targets_BT))
            pack.step(inputs_MBT, targets_MBT, torch.tensor([chosen.learning_rate * share]))
        losses = evaluate(pack, 0, sets).losses
    return {name: loss.nats_per_token for name, loss in losses.items()}


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        rate: the peak rate at the base, which the rule carries to this size.
        mixture: its number in the design; None is the proportional one.
    """

    rule: Rule
    rate: float
    width: int = BASE_WIDTH
    depth: int = BASE_DEPTH
    tokens: int = TOKENS
    seed: int = 1
    mixture: int | None = None

    @property
    def plainest(self) -> Run:
        """The same run under the first rule that says the same of this size."""
        if self.rule == "CompleteP" and self.depth == BASE_DEPTH:
            return replace(self, rule="muP").plainest
        return replace(self, rule="one rate") if self.rule == "muP" and self.width == BASE_WIDTH else self


class Runs:
    """Losses of runs by set, trained when they are first asked for."""

    def __init__(self, work: Path) -> None:
        directory, self.design = mixtures(work)
        self._corpus = Corpus.open(directory)
        self.vocabulary = self._corpus.vocabulary
        tokens = {name: each.train_tokens for name, each in self._corpus.domains.items()}
        self._proportional = {name: each / sum(tokens.values()) for name, each in tokens.items()}
        self._kept = Kept(work / "width-transfer.jsonl")
        self.used: dict[Run, dict[str, Any]] = {}

    def losses(self, run: Run) -> dict[str, float]:
        run = run.plainest
        if run not in self.used:
            # A run on other text is another run.
            key = f"{self._corpus.fingerprint} {MIXTURES} {run}"
            if (kept := self._kept.get(key)) is None:
                kept = self._train(run)
                self._kept.add(key, kept)
            self.used[run] = kept
        losses: dict[str, float] = self.used[run]["losses"]
        return losses

    def objective(self, run: Run) -> float:
        return fmean(self.losses(run)[name] for name in JUDGED_BY)

    def over_mixtures(self, run: Run) -> Float[np.ndarray, " N"]:
        """The objective of all mixtures of the design."""
        return np.array([self.objective(replace(run, mixture=mixture)) for mixture in range(MIXTURES)])

    def _train(self, run: Run) -> dict[str, Any]:
        keep_freed_memory()
        size = model_size("dense", run.depth, self._corpus.vocabulary, LENGTH, width=run.width)
        chosen = recipe(size, run.tokens, batch_rows=BATCH_ROWS, learning_rate=run.rate, compiled=True)
        weights = self._proportional if run.mixture is None else self.design[run.mixture]
        stream = MixedStream(self._corpus, weights, LENGTH, seed=run.seed)
        sets = {name: self._corpus.evaluation(name) for name in self._corpus.evaluation_sets}
        began = perf_counter()
        losses = train(ScaledPack(chosen, run.seed, run.rule), stream, sets)
        return {"losses": losses, "seconds": perf_counter() - began}


def sweep(runs: Runs, rule: Rule, width: int, depth: int, tokens: int, seeds: Sequence[int]) -> dict[str, Any]:
    """Objectives on the proportional mixture, by rate: means of seeds."""
    losses = [
        fmean(runs.objective(Run(rule, rate, width, depth, tokens, seed)) for seed in seeds)
        for rate in track(RATES, f"{rule}, width {width}, depth {depth}")
    ]
    best = int(np.argmin(losses))
    vertex = float(best)
    if 0 < best < len(RATES) - 1:
        before, here, after = losses[best - 1 : best + 2]
        vertex = best + (before - after) / (2 * (before - 2 * here + after))
    return {
        "rule": rule,
        "width": width,
        "depth": depth,
        "tokens": tokens,
        "seeds": len(seeds),
        "losses": losses,
        "best": RATES[best],
        # Of the parabola through the best and its neighbours.
        "best_between": RATES[0] * 2**vertex,
    }


def sweeps(runs: Runs) -> list[dict[str, Any]]:
    lines = [
        sweep(runs, rule, width, BASE_DEPTH, TOKENS, SWEEP_SEEDS) for rule in ("one rate", "muP") for width in WIDTHS
    ]
    lines += [
        sweep(runs, rule, BASE_WIDTH, depth, TOKENS, SWEEP_SEEDS)
        for rule in ("one rate", "CompleteP")
        for depth in DEPTHS
    ]
    lines += [sweep(runs, "one rate", width, BASE_DEPTH, tokens, (1,)) for width in (64, 128) for tokens in LONGER]
    return lines


def ladder(runs: Runs) -> dict[str, Any]:
    base = sweep(runs, "one rate", BASE_WIDTH, BASE_DEPTH, TOKENS, SWEEP_SEEDS)
    top_sweeps = [sweep(runs, rule, TOP_WIDTH, BASE_DEPTH, TOP_TOKENS, (1,)) for rule in TOP_RULES]
    tops = {one["rule"]: Run(one["rule"], one["best"], TOP_WIDTH, BASE_DEPTH, TOP_TOKENS) for one in top_sweeps}
    at_top = {rule: runs.over_mixtures(run) for rule, run in tops.items()}
    lines: list[dict[str, Any]] = []
    by_way: dict[str, list[Compared]] = {}
    for width, depth in SMALL:
        size = model_size("dense", depth, runs.vocabulary, LENGTH, width=width)
        ways = {RECIPE: Run("one rate", recipe(size, TOKENS).learning_rate, width, depth)}
        ways |= {LAW: Run("one rate", step_law_rate(size, TOKENS), width, depth)}
        ways |= {rule: Run(rule, base["best"], width, depth) for rule in RULES}
        at = {way: compared(runs.over_mixtures(run), at_top) for way, run in ways.items()}
        lines += [_line(way, run, at[way], at) for way, run in ways.items()]
        for way, one in at.items():
            by_way.setdefault(way, []).append(one)
    means = {way: {top: mean([one[top] for one in sizes]) for top in at_top} for way, sizes in by_way.items()}
    lines += [_line(way, None, each, means) for way, each in means.items()]
    again = replace(tops["one rate"], seed=2)
    lines.append(_line("top, another seed", again, compared(runs.over_mixtures(again), at_top), {}))
    return {"base": base, "tops": top_sweeps, "rungs": lines}


class Agreement(NamedTuple):
    """How the order of one rung agrees with that of a top.

    Attributes:
        spearman, regret: the rank correlation; what the rung's best mixture loses at the top above the top's best.
        spearman_R, regret_R: of each resampled design.
    """

    spearman: float
    regret: float
    spearman_R: Float[np.ndarray, " R"]
    regret_R: Float[np.ndarray, " R"]


Compared = dict[str, Agreement]  # by the rule of the top


def compared(own_N: Float[np.ndarray, " N"], at_top: Mapping[str, Float[np.ndarray, " N"]]) -> Compared:
    """Every rung's designs are resampled alike, so that differences can be taken."""
    picks_RN = np.random.default_rng(0).integers(len(own_N), size=(RESAMPLES, len(own_N)))

    def agreement(top_N: Float[np.ndarray, " N"]) -> Agreement:
        all_1N = np.arange(len(own_N))[None]
        (spearman,), (regret,) = _spearman_and_regret(own_N[all_1N], top_N[all_1N])
        return Agreement(float(spearman), float(regret), *_spearman_and_regret(own_N[picks_RN], top_N[picks_RN]))

    return {rule: agreement(top_N) for rule, top_N in at_top.items()}


def _spearman_and_regret(
    own_RN: Float[np.ndarray, "R N"], top_RN: Float[np.ndarray, "R N"]
) -> tuple[Float[np.ndarray, " R"], Float[np.ndarray, " R"]]:
    ranks = [rankdata(each_RN, axis=1) for each_RN in (own_RN, top_RN)]
    own, top = (each_RN - each_RN.mean(axis=1, keepdims=True) for each_RN in ranks)
    spearman_R = (own * top).sum(axis=1) / np.sqrt((own**2).sum(axis=1) * (top**2).sum(axis=1))
    picked_R = np.take_along_axis(top_RN, own_RN.argmin(axis=1)[:, None], axis=1)[:, 0]
    return spearman_R, picked_R - top_RN.min(axis=1)


def mean(agreements: Sequence[Agreement]) -> Agreement:
    """Over several sizes."""
    return Agreement(
        fmean(one.spearman for one in agreements),
        fmean(one.regret for one in agreements),
        np.mean([one.spearman_R for one in agreements], axis=0),
        np.mean([one.regret_R for one in agreements], axis=0),
    )


def _line(way: str, run: Run | None, agreements: Compared, at_size: Mapping[str, Compared]) -> dict[str, Any]:
    """What is written of a rung, or of the mean of all sizes; differences are to the recipe's rate at the same size."""
    line: dict[str, Any] = {"way": way, "run": None if run is None else asdict(run), "tops": {}}
    for top, each in agreements.items():
        line["tops"][top] = {
            "spearman": each.spearman,
            "interval": np.quantile(each.spearman_R, [0.025, 0.975]).tolist(),
            "regret_nats": each.regret,
            "mean_regret_nats": float(each.regret_R.mean()),
        }
        if at_size and way != RECIPE:
            than = at_size[RECIPE][top]
            line["tops"][top] |= {
                "better_by": each.spearman - than.spearman,
                "better_by_interval": np.quantile(each.spearman_R - than.spearman_R, [0.025, 0.975]).tolist(),
                "regret_less_by_interval": np.quantile(than.regret_R - each.regret_R, [0.025, 0.975]).tolist(),
            }
    return line


def shown_sweeps(lines: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="nats on the proportional mixture, by peak rate at the base")
    for column in ("rule", "width", "depth", "tokens", *(f"{rate:.2g}" for rate in RATES), "best"):
        table.add_column(column, justify="left" if column == "rule" else "right", no_wrap=True)
    for line in lines:
        shape = (f"{line[key]:,}" for key in ("width", "depth", "tokens"))
        table.add_row(line["rule"], *shape, *(f"{loss:.3f}" for loss in line["losses"]), f"{line['best_between']:.2g}")
    return table


def shown_ladder(lines: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=f"agreement with the tops, over {MIXTURES} mixtures: rank correlation (95%), better by, regret")
    for column in ("way", "width", "depth", "rate", *(f"top of {rule}" for rule in TOP_RULES)):
        table.add_column(column, no_wrap=True)
    for line in lines:
        cells = []
        for top in line["tops"].values():
            low, high = top["interval"]
            cell = f"{top['spearman']:.3f} ({low:.2f} to {high:.2f})"
            if "better_by" in top:
                low, high = top["better_by_interval"]
                cell += f", {top['better_by']:+.3f} ({low:+.2f} to {high:+.2f})"
            cells.append(f"{cell}, {top['regret_nats']:.3f}")
        run = line["run"]
        shape = ("all", "all", "") if run is None else (str(run["width"]), str(run["depth"]), f"{run['rate']:.2g}")
        table.add_row(line["way"], *shape, *cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["rates", "ladder"], help="one of the two parts")
    parser.add_argument("--work", type=Path, required=True, help="folder of the demo's text and of finished runs")
    parser.add_argument("--json", type=Path, help="also write the figures, and every run, here")
    options = parser.parse_args()
    runs, console = Runs(options.work), Console(width=WIDE)
    document: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": f"{cpu_count()} cores, {platform.processor() or platform.machine()}",
        "torch": torch.__version__,
        "rates": list(RATES),
    }
    if options.only != "ladder":
        document["sweeps"] = sweeps(runs)
        console.print(shown_sweeps(document["sweeps"]))
    if options.only != "rates":
        document["ladder"] = ladder(runs)
        console.print(shown_sweeps(document["ladder"]["tops"]))
        console.print(shown_ladder(document["ladder"]["rungs"]))
    if options.json:
        document["design"] = runs.design
        document["runs"] = [asdict(run) | each for run, each in runs.used.items()]
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
