"""A first study that fits a budget: its text, what it is judged by, and a size that rests on measured speed.

The size is chosen by an assumed speed, the proxy that comes out is trained for a moment, and the size chosen again by
what it reached, until the proxy that was chosen is one that was measured. So is that of the least study, before a
budget is said to be too small for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from joblib import cpu_count

from mixopt.base.errors import ConfigError
from mixopt.settings.gpus import assumed_flops, assumption
from mixopt.settings.new_study import (
    Judging,
    Pools,
    Size,
    Wanted,
    judging_of,
    pools_in,
    purpose_note,
    sample_note,
    text_of,
)
from mixopt.settings.sizing import (
    BASELINES,
    LEAST_TOKENS,
    MOST_PASSES,
    OF_THE_TIME,
    Budget,
    Scope,
    Sizing,
    Speed,
    UnfitBudget,
    proxy_of,
    size_study,
)
from mixopt.settings.units import show_count, show_duration
from proxies.models.size import ModelSize

# What a proxy reaches on one core where nothing was measured: an assumption.
ASSUMED_CORE_FLOPS = 1e11
PROBE_SECONDS = 2.0
# Of the processors: what others take from the moment on that trials are slower by more than chance.
OTHERS_LOAD = 0.5
# Tokens of an evaluation set that hold many documents, of most kinds.
MANY_HELD_OUT = 32_768
# Proxies that are trained for a moment, at most: each costs seconds.
MOST_PROBES = 4


@dataclass(frozen=True)
class FirstStudy:
    """The text of a study file, and what is said beside it."""

    text: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Machine:
    """What trains the trials.

    Attributes:
        gpu: its name, where one was named and is not here to be measured.
        gpus: that are here.
    """

    gpu: str | None = None
    gpus: int = 0

    @classmethod
    def here(cls, gpu: str | None) -> Machine:
        import torch

        return cls(gpu, torch.cuda.device_count() if gpu is None and torch.cuda.is_available() else 0)

    @property
    def slots(self) -> int:
        return max(1, self.gpus or (1 if self.gpu else cpu_count()))

    @property
    def speed(self) -> Speed:
        if self.gpu is not None:
            return Speed(assumed_flops(self.gpu))
        return Speed(assumed_flops("a100") if self.gpus else ASSUMED_CORE_FLOPS)

    @property
    def words(self) -> str:
        if self.gpu is not None:
            return f"one {self.gpu.lower()}"
        if self.gpus:
            return f"{self.gpus} GPU{'s' * (self.gpus > 1)}"
        return f"{self.slots} core{'s' * (self.slots > 1)}"

    @property
    def used_beside(self) -> str:
        """What else computes here, as the end of a sentence on its speed; "" where hardly anything does."""
        load = os.getloadavg()[0]
        if self.gpus or load < OTHERS_LOAD * self.slots:
            return ""
        return f" while other processes use this machine (a load of {load:.0f}), which makes it slower"


def first_study(
    data: Path | None,
    output: Path,
    wanted: Wanted,
    budget: Budget | None,
    gpu: str | None = None,
    probe: bool = True,
    tell: Callable[[str], None] = lambda doing: None,
) -> FirstStudy:
    """
    Args:
        gpu: the name of one that is elsewhere.
        probe: whether proxies are trained for a moment, where the budget is one of time.
        tell: hears what takes a while.

    Raises:
        ConfigError: `data` holds fewer than two domains; UnfitBudget: the budget pays for no study.
    """
    if wanted.target_params is not None and wanted.target_tokens is None:
        raise ConfigError("--target-params without --target-tokens", hint="give the tokens of the final run as well")
    if gpu is not None:
        assumed_flops(gpu)
    pools = pools_in(data, output)
    judging = judging_of(wanted.objective, pools, output)
    size = None if budget is None else _size(pools, judging, wanted, budget, gpu, probe, tell)
    # That of pretraining is what everybody expects.
    notes = [purpose_note(pools, wanted.purpose)] if wanted.purpose in ("continued", "fine-tuning") else []
    if (sample := sample_note(pools, wanted)) is not None:
        notes.append(sample)
    if size is not None:
        notes += size.why
    return FirstStudy(text_of(pools, output, wanted, judging, size), tuple(notes))


def _size(
    pools: Pools,
    judging: Judging,
    wanted: Wanted,
    budget: Budget,
    gpu: str | None,
    probe: bool,
    tell: Callable[[str], None],
) -> Size:
    domains = len(pools.domains)
    supply = None if pools.tokens is None else sum(pools.tokens.values())
    scope = Scope(domains, domains + len(judging.evaluation), most_params=wanted.target_params, supply=supply)
    if budget.kind == "flops":
        sizing = size_study(scope, budget, Speed(ASSUMED_CORE_FLOPS))
        return Size(sizing, budget, (*_why(sizing, scope, budget), *_unknown(pools, sizing, ())))
    machine = Machine.here(gpu)
    if budget.kind == "gpu_time" and not machine.gpus and machine.gpu is None:
        raise UnfitBudget(
            f"--budget {budget.said} counts GPU hours, and there is no GPU here",
            hint="name the one that you mean: --gpu h100; or give a time such as 2h",
        )
    scope = replace(scope, slots=machine.slots)
    speed = machine.speed
    measures = probe and machine.gpu is None
    beside = machine.used_beside if measures else ""
    for _ in range(MOST_PROBES if measures else 0):
        model, tokens = _likely(scope, budget, speed)
        if model.depth in speed.measured:
            break
        tell(f"measuring the speed of a proxy of {model.depth} layer{'s' * (model.depth > 1)}")
        reached = _measured(model, tokens, bool(machine.gpus))
        speed = replace(speed, measured={**speed.measured, model.depth: reached})
    try:
        sizing = size_study(scope, budget, speed)
    except UnfitBudget as mistake:
        how = _by_speed(speed, proxy_of(1), machine) + beside
        raise UnfitBudget(f"{mistake.message}, {how}", mistake.hint) from mistake
    how = _by_speed(speed, sizing.model, machine) + beside
    why = (*_why(sizing, scope, budget, how), *_unknown(pools, sizing, () if measures else ("speed",)))
    executor = "gpus_per_trial: 1" if machine.gpus or machine.gpu else None
    return Size(sizing, budget, why, executor)


def _likely(scope: Scope, budget: Budget, speed: Speed) -> tuple[ModelSize, int]:
    """The proxy that comes out by that speed, with its tokens; of the least study where the budget seems too small."""
    try:
        sizing = size_study(scope, budget, speed)
    except UnfitBudget:
        return proxy_of(1), LEAST_TOKENS[1]
    return sizing.model, sizing.tokens


def _by_speed(speed: Speed, model: ModelSize, machine: Machine) -> str:
    """What the time of a study rests on."""
    reached = show_count(speed.tokens_per_second(model))
    if model.depth in speed.measured:
        return f"by {reached} tokens/s of one trial, measured here with {machine.words}"
    if machine.gpu is not None:
        return f"by {reached} tokens/s, {assumption(machine.gpu)}; nothing was measured"
    if speed.measured:
        return f"by {reached} tokens/s of one trial, reckoned from what another proxy reached here"
    return f"by {reached} tokens/s of one trial, assumed for {machine.words}; nothing was measured"


def _measured(model: ModelSize, tokens: int, on_gpu: bool) -> float:
    """Tokens a second of one trial of that proxy here."""
    from proxies.allocator import keep_freed_memory
    from proxies.pack_speed import eager_speed
    from proxies.recipe import recipe

    keep_freed_memory()  # as workers do
    if on_gpu:
        return eager_speed(recipe(model, tokens, device="cuda", precision="bf16"), PROBE_SECONDS)
    return eager_speed(recipe(model, tokens), PROBE_SECONDS)


def _why(sizing: Sizing, scope: Scope, budget: Budget, how: str | None = None) -> tuple[str, ...]:
    """What was chosen, and for which reasons."""
    model, params = sizing.model, sizing.model.active_parameters
    confirmed = sizing.runs - sizing.trials - BASELINES
    takes = f"{sizing.flops:.2g} FLOPs" if how is None or sizing.seconds is None else ""
    if budget.kind == "time" and sizing.seconds is not None:
        takes = f"about {show_duration(sizing.seconds)} with {scope.slots} at a time"
    elif budget.kind == "gpu_time":
        takes = f"{sizing.flops:.2g} FLOPs"
    size = (
        f"Sized for a budget of {budget.said}: {sizing.trials} trials, {BASELINES} baselines and {confirmed} runs of "
        f"the confirmation, {sizing.runs} in all, take {takes}{'' if how is None else ', ' + how}."
    )
    if budget.kind != "flops":
        size += f" {1 - OF_THE_TIME:.0%} is kept for starts, fits and proposals."
    reason = (
        f"{model.depth} layer{'s have' if model.depth > 1 else ' has'} {show_count(params)} parameters; "
        f"{show_count(sizing.tokens)} tokens are "
        f"{sizing.tokens / params:.0f} for each. Tokens come before layers: they matter more to how mixtures rank. "
        f"{sizing.trials} trials are {sizing.trials / scope.domains:.0f} for each domain; a regression wants 3, "
        "better 4."
    )
    if sizing.is_short_of_text:
        reason += (
            f" The text is what limits them, not the budget: more than {MOST_PASSES} passes over it teach little. With "
            "more text, or none of it left out, the budget would pay for longer runs."
        )
    if sizing.is_scarce:
        reason += (
            f" This is the least: one candidate and {sizing.seeds} seeds, and short runs. With three or four times the "
            "budget the answer would be confirmed better."
        )
    if sizing.validation_tokens < MANY_HELD_OUT:
        reason += (
            f" An evaluation set has {sizing.validation_tokens:,} tokens: where documents are long that is a handful, "
            "which says little of others. mixopt plan counts them; where there are few, raise corpus.validation_tokens."
        )
    return size, reason


def _unknown(pools: Pools, sizing: Sizing, more: tuple[str, ...]) -> tuple[str, ...]:
    """What no size can know before anything has run."""
    said = []
    if pools.tokens is not None:
        fewest = min(pools.tokens, key=lambda name: pools.tokens[name] if pools.tokens else 0.0)
        said.append(
            f"how many tokens the text has (by its size about {show_count(sum(pools.tokens.values()))}, the fewest in "
            f"{fewest}: {show_count(pools.tokens[fewest])})"
        )
    said.append("how much runs differ by their seeds, and so which differences so many seeds show")
    said.append("whether proxies of this size rank mixtures as the final run does")
    if "speed" in more:
        said.insert(0, "how fast it trains")
    return (f"Not known before anything runs: {'; '.join(said)}. mixopt plan counts and measures what it can.",)
