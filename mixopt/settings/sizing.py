"""How large a first study is: proxy, trials and confirmation that fit a budget. Counts alone: nothing is measured here.

What is counted is what `mixopt plan` counts: the trials of the search, the baselines among them, and the confirmation,
at most. A study with little to spend has few, short runs; more is spent on tokens first (docs/fidelity-ladder.md), then
on larger proxies, then on more trials and seeds.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown
from mixopt.settings.units import parse_amount, parse_duration, show_duration
from proxies.flops import training_flops_per_token
from proxies.models.size import ModelSize, model_size
from proxies.recipe import recipe

# Enough for a regression over the domains (Olmix, 2602.12237: from 3 on).
RUNS_PER_DOMAIN, LEAST_RUNS_PER_DOMAIN = 4, 3
BASELINES = 4
DEPTHS = (24, 16, 12, 8, 6, 4, 3, 2, 1)
# A proxy of more than two layers is worth it once it has so many tokens for each parameter (2203.15556: about 20).
TOKENS_PER_PARAMETER = 20
# Nothing is learned of mixtures from more tokens than this many for each parameter: what is left is not spent.
MOST_TOKENS_PER_PARAMETER = 200
# Tokens without which a proxy of two layers, or of one, is not taken: with a tenth of them a small one still ranked
# mixtures at .96 (docs/fidelity-ladder.md), on one kind of text.
LEAST_TOKENS = {2: 1_000_000, 1: 250_000}
# Passes over the text, after which a proxy learns little from more tokens (2305.16264).
MOST_PASSES = 4
# Of a time budget, what training and evaluation may take: the rest is for starts, fits and proposals.
OF_THE_TIME = 0.8
# Of a run's time; a token that is evaluated costs a third of one that is trained on.
EVALUATION_SHARE = 0.05
LEAST_VALIDATION, MOST_VALIDATION = 4096, 65_536
VOCABULARY, SEQUENCE_LENGTH = 4096, 256

# A study takes more than this: whoever writes so few meant minutes, or hours.
LEAST_FLOPS = 1e9

GPU_HOURS = re.compile(r"\s*(.*?)\s*gpu[-\s]?h(?:ours?)?\s*", re.IGNORECASE)


class UnfitBudget(ConfigError):
    """A budget that pays for no study, or that cannot be counted here; another one may do."""


@dataclass(frozen=True)
class Budget:
    """What a study may take: seconds of waiting, FLOPs of all its trials, or seconds of GPUs."""

    kind: Literal["time", "flops", "gpu_time"]
    amount: float
    said: str


def parse_budget(text: str) -> Budget:
    """The budget that `2h`, `1e18` or `20gpuh` is.

    Raises:
        ConfigError: it is none.
    """
    try:
        if (gpu := GPU_HOURS.fullmatch(text)) is not None:
            return Budget("gpu_time", 3600 * parse_amount(gpu[1]), text)
        plain = re.sub(r"\s*flops?\s*$", "", text, flags=re.IGNORECASE)
        if plain == text and re.search(r"[smhd]\s*$", text):
            return Budget("time", _above_nothing(parse_duration(text)), text)
        flops = parse_amount(plain)
    except ValueError:
        raise ConfigError(
            f"{shown(text)} is no budget", hint="write a time such as 2h, FLOPs such as 1e18, or GPU hours: 20gpuh"
        ) from None
    if flops < LEAST_FLOPS:
        raise ConfigError(
            f"{shown(text)} has no unit, and so few FLOPs are no study",
            hint=f"write a time ({plain}m, {plain}h), FLOPs such as 1e18, or GPU hours ({plain}gpuh)",
        )
    return Budget("flops", flops, text)


def _above_nothing(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("no time")
    return seconds


@dataclass(frozen=True)
class Speed:
    """How fast proxies train, one trial at a time.

    Attributes:
        assumed: FLOP/s where nothing was measured.
        measured: tokens a second, by depth.
    """

    assumed: float
    measured: Mapping[int, float] = field(default_factory=dict)

    def tokens_per_second(self, model: ModelSize) -> float:
        """As measured; else as many FLOP/s as the proxy nearest to it reached."""
        if model.depth in self.measured:
            return self.measured[model.depth]
        flops = self.assumed
        if self.measured:
            nearest = min(self.measured, key=lambda depth: abs(math.log(depth / model.depth)))
            flops = self.measured[nearest] * training_flops_per_token(proxy_of(nearest))
        return flops / training_flops_per_token(model)


@dataclass(frozen=True)
class Scope:
    """What a study is about, as far as its cost goes.

    Attributes:
        sets: evaluation sets, the domains' own among them.
        slots: trials at a time.
        most_params: of the final run, which no proxy exceeds.
        supply: tokens of the text, about; None where nobody knows.
    """

    domains: int
    sets: int
    slots: int = 1
    most_params: int | None = None
    supply: float | None = None


@dataclass(frozen=True)
class Sizing:
    """A study's size; `flops` and `runs` as `mixopt plan` counts them, at most.

    Attributes:
        seconds: of waiting, by the speed; None where only FLOPs were counted.
        confirmation_seconds: of these, what comes after the search.
        is_scarce: the budget was too small for the usual number of trials and seeds.
        is_short_of_text: more tokens could be paid for than the text gives without many repetitions.
    """

    model: ModelSize
    tokens: int
    trials: int
    candidates: int
    seeds: int
    evaluations: int
    validation_tokens: int
    runs: int
    flops: float
    seconds: float | None
    confirmation_seconds: float | None
    is_scarce: bool
    is_short_of_text: bool


@dataclass(frozen=True)
class _Tier:
    """How much is tried and confirmed, where proxies of so many layers can be paid for."""

    runs_per_domain: int
    least: int
    candidates: int
    seeds: int
    depth: int
    evaluations: int = 4

    @property
    def least_validation(self) -> int:
        """Tokens of each evaluation set: what is measured less often may have more documents."""
        return LEAST_VALIDATION * 4 // self.evaluations

    def trials(self, domains: int) -> int:
        return max(self.least, self.runs_per_domain * domains)


TIERS = (
    _Tier(6, 32, 3, 5, depth=4),
    _Tier(RUNS_PER_DOMAIN, 24, 2, 3, depth=2),
    # Nothing is left for a curve of losses; held-out documents are needed more.
    _Tier(LEAST_RUNS_PER_DOMAIN, 12, 1, 2, depth=1, evaluations=1),
)


def proxy_of(depth: int) -> ModelSize:
    return model_size("dense", depth, VOCABULARY, SEQUENCE_LENGTH)


def trained_tokens(model: ModelSize, tokens: int) -> int:
    """Of one run, in whole steps."""
    # In whichever number format: it changes no count, and takes a second to find out.
    steps = recipe(model, tokens, device="cpu", precision="fp32")
    return steps.steps * steps.batch_tokens


def size_study(scope: Scope, budget: Budget, speed: Speed) -> Sizing:
    """The largest study, by the rules at the head of this file, that the budget pays for.

    Raises:
        UnfitBudget: it pays for none.
    """
    for tier in TIERS:
        for depth in DEPTHS:
            if depth < tier.depth and not _is_short(scope, tier.depth):
                break
            model = proxy_of(depth)
            if scope.most_params is not None and model.active_parameters > scope.most_params and depth > 1:
                continue
            least = _least_tokens(model)
            most = max(least, MOST_TOKENS_PER_PARAMETER * model.active_parameters)
            given = None if scope.supply is None else MOST_PASSES * scope.supply
            if given is not None and given < least and depth > 1:
                continue
            most_given = most if given is None else min(most, max(least, int(given)))
            tokens = _affordable(_Study(scope, tier, model, speed), budget, most_given)
            if tokens is not None and tokens >= least:
                is_short = given is not None and most_given < most and 1.1 * tokens >= most_given
                return _Study(scope, tier, model, speed).sized(tokens, budget, is_short)
    smallest = _Study(scope, TIERS[-1], proxy_of(1), speed)
    wanted = smallest.cost(LEAST_TOKENS[1], budget)
    if budget.kind == "flops":
        said = f"{wanted:.1e} FLOPs"
    else:
        said = show_duration(wanted / OF_THE_TIME) + (" of a GPU" if budget.kind == "gpu_time" else "")
    raise UnfitBudget(
        f"a budget of {budget.said} is too small for {scope.domains} domains: the least study, {smallest.runs} runs of "
        f"{LEAST_TOKENS[1]:,} tokens, takes {said}",
        hint="raise the budget, or merge domains",
    )


def _is_short(scope: Scope, depth: int) -> bool:
    """Whether it is the text, and not the budget, that has too little for proxies of so many layers."""
    return scope.supply is not None and MOST_PASSES * scope.supply < _least_tokens(proxy_of(depth))


def _least_tokens(model: ModelSize) -> int:
    return LEAST_TOKENS.get(model.depth, TOKENS_PER_PARAMETER * model.active_parameters)


@dataclass(frozen=True)
class _Study:
    """A study but for the tokens of its runs."""

    scope: Scope
    tier: _Tier
    model: ModelSize
    speed: Speed

    @property
    def trials(self) -> int:
        return self.tier.trials(self.scope.domains)

    @property
    def searched(self) -> int:
        return self.trials + BASELINES

    @property
    def confirmed(self) -> int:
        return self.tier.seeds * self._of_a_seed

    @property
    def _of_a_seed(self) -> int:
        return self.tier.candidates + BASELINES

    @property
    def runs(self) -> int:
        return self.searched + self.confirmed

    def cost(self, tokens: int, budget: Budget) -> float:
        """In what the budget counts, training and evaluating all runs."""
        if budget.kind == "flops":
            return self.runs * self._flops(tokens)
        if budget.kind == "gpu_time":
            return self.runs * self._seconds_of_run(tokens)
        return sum(self._seconds(tokens))

    def sized(self, tokens: int, budget: Budget, is_short_of_text: bool) -> Sizing:
        seconds = None if budget.kind == "flops" else self._seconds(tokens)
        return Sizing(
            model=self.model,
            tokens=tokens,
            trials=self.trials,
            candidates=self.tier.candidates,
            seeds=self.tier.seeds,
            evaluations=self.tier.evaluations,
            validation_tokens=self._validation(tokens),
            runs=self.runs,
            flops=self.runs * self._flops(tokens),
            seconds=None if seconds is None else sum(seconds),
            confirmation_seconds=None if seconds is None else seconds[1],
            is_scarce=self.tier is TIERS[-1],
            is_short_of_text=is_short_of_text,
        )

    def _flops(self, tokens: int) -> float:
        return float(training_flops_per_token(self.model) * trained_tokens(self.model, tokens))

    def _seconds_of_run(self, tokens: int) -> float:
        evaluated = self.tier.evaluations * self.scope.sets * self._validation(tokens) / 3
        return (trained_tokens(self.model, tokens) + evaluated) / self.speed.tokens_per_second(self.model)

    def _seconds(self, tokens: int) -> tuple[float, float]:
        """Of search and confirmation, whose seeds come one after the other; a last round may be half empty."""
        slots, run = self.scope.slots, self._seconds_of_run(tokens)
        rounds = self.tier.seeds * math.ceil(self._of_a_seed / slots)
        return run * math.ceil(self.searched / slots), run * rounds

    def _validation(self, tokens: int) -> int:
        """Tokens of each evaluation set, a power of two, so that evaluation takes little of a run."""
        wanted = EVALUATION_SHARE * 3 * tokens / (self.tier.evaluations * self.scope.sets)
        power: int = 2 ** int(math.log2(max(wanted, 1)))
        return min(max(power, self.tier.least_validation), MOST_VALIDATION)


def _affordable(study: _Study, budget: Budget, most: int) -> int | None:
    """The most tokens of a run, in two figures and up to `most`, that the budget pays for; None: it pays for none."""
    limit = budget.amount if budget.kind == "flops" else OF_THE_TIME * budget.amount
    choices = _two_figures(most)
    place = bisect_right(choices, limit, key=lambda tokens: study.cost(tokens, budget))
    return choices[place - 1] if place else None


def _two_figures(most: int) -> list[int]:
    """The numbers from ten thousand to `most` that are written with two figures."""
    decades = range(3, int(math.log10(max(most, 10))) + 1)
    return [figures * 10**decade for decade in decades for figures in range(10, 100) if figures * 10**decade <= most]
