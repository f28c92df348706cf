"""What a study will cost: counted exactly in tokens and FLOPs, and in time from a short measured training."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
from joblib import cpu_count

from mixopt.base.errors import ConfigError
from mixopt.results.plan import PackSpeed, PlanEstimate, PlannedDomain, PlannedLevel, ProxyPlan
from mixopt.settings.gpus import assumed_flops, assumption
from mixopt.settings.reading import place_in
from mixopt.settings.schema import StudyFile
from mixopt.settings.units import show_count
from mixopt.study.plan import Plan
from mixopt.workers.messages import TrialEnd, TrialProgress
from mixopt.workers.training import run_trials
from proxies.allocator import keep_freed_memory
from proxies.device import SLOWER
from proxies.recipe import Recipe
from search.history import History
from search.noise import resolved
from search.objective import UNITS
from search.problem import PROPORTIONAL
from search.recommendation.validation import FEWEST_RUNS
from search.strategies.reserved import reserved
from search.trial import Failure, Trial

PROBE_SECONDS = 4.0


def measures(file: StudyFile, probe: bool, gpu: str | None) -> bool:
    """Whether proxies will be trained for a moment; told before the text is read.

    Raises:
        ConfigError: there is no GPU here to measure them on, or no such GPU is known.
    """
    if gpu is not None:
        assumed_flops(gpu)
    on_gpu = file.executor.gpus_per_trial > 0
    probe = probe and not file.executor.is_foreign and not (gpu and on_gpu)
    if probe and on_gpu:
        import torch

        if not torch.cuda.is_available():
            place = place_in(file, "executor", "gpus_per_trial")
            raise ConfigError(
                f"{place} asks for GPUs, and this machine has none to measure on",
                hint="plan where the GPUs are, or name the one that you mean: mixopt plan --gpu h100",
            )
    return probe


def estimate(plan: Plan, probe: bool, gpu: str | None = None) -> PlanEstimate:
    """What will run, at most; with `probe`, each proxy that mixopt trains is trained for a moment and nothing kept.

    Args:
        gpu: the name of one, for whose speed there is an assumption. Nothing is measured for a study that asks for
            GPUs then.

    Raises:
        ConfigError: a proxy does not train, there is no GPU here to measure it on, or no such GPU is known.
    """
    probe = measures(plan.file, probe, gpu)
    searched = plan.strategy.expected
    target = plan.problem.target.proxy
    proxies: list[ProxyPlan] = []
    slower: list[str] = []
    for rung in plan.problem.rungs:
        fidelity = rung.fidelity
        confirmed = plan.confirmation_size if fidelity.proxy == target else 0
        trials = searched[fidelity] + confirmed
        speed, why = _measure_speed(plan, fidelity.proxy) if probe else (None, "")
        slower += [f"proxy {fidelity.proxy} trains slower than it should: {why}"] if why else []
        proxies.append(
            ProxyPlan(
                proxy=fidelity.proxy,
                kind=plan.file.proxies[fidelity.proxy].kind if plan.recipes else "yours",
                params=fidelity.params,
                tokens=fidelity.tokens,
                flops=fidelity.flops,
                search_trials=searched[fidelity],
                confirmation_trials=confirmed,
                total_tokens=trials * fidelity.tokens,
                total_flops=trials * fidelity.flops,
                tokens_per_second=speed,
                pack=_best_pack(plan.recipes[fidelity.proxy]) if probe else None,
            )
        )
    device, at_a_time = next((recipe.device for recipe in plan.recipes.values()), None), slots(plan)
    flops = sum(each.total_flops for each in proxies)
    training = sum(each.total_tokens / _task_speed(plan, each) for each in proxies) if probe else None
    gpu_hours: float | None = None
    gpu_hours_are: str | None = None
    if gpu is not None:
        gpu_hours, gpu_hours_are = flops / assumed_flops(gpu) / 3600, assumption(gpu)
    elif training is not None and device == "cuda":
        gpu_hours, gpu_hours_are = training * plan.file.executor.gpus_per_trial / 3600, "measured"
    return PlanEstimate(
        study=plan.file.study,
        device=device,
        slots=at_a_time,
        proxies=tuple(proxies),
        trials=sum(each.search_trials + each.confirmation_trials for each in proxies),
        total_tokens=sum(each.total_tokens for each in proxies),
        total_flops=flops,
        notes=(*plan.notes, *slower, *_experts(plan), *_few_mixtures(plan), *_idle_slots(plan), *_resolution(plan)),
        training_seconds=training,
        wall_seconds=None if training is None or at_a_time is None else training / at_a_time,
        gpu_hours=gpu_hours,
        gpu_hours_are=gpu_hours_are,
        target_tokens=plan.problem.space.target_tokens,
        domains=_domains(plan),
        reused=None if plan.taken is None else plan.taken.reused,
        levels=_levels(plan),
    )


def _domains(plan: Plan) -> dict[str, PlannedDomain]:
    """What each domain can give, within the limits and its inventory."""
    space, proportional = plan.problem.space, plan.problem.baselines[PROPORTIONAL]
    run = space.target_tokens
    return {
        limit.name: PlannedDomain(
            tokens=limit.tokens,
            proportional=proportional[limit.name],
            most=float(most),
            epochs=None if run is None else proportional[limit.name] * run / limit.tokens,
            epochs_of_most=None if run is None else float(most) * run / limit.tokens,
            max_epochs=space.most_epochs(limit.name),
        )
        for limit, most in zip(space.limits, space.most_D, strict=True)
    }


def _levels(plan: Plan) -> dict[str, PlannedLevel]:
    space, proportional = plan.problem.space, plan.problem.baselines[PROPORTIONAL]
    return {
        name: PlannedLevel(
            domains=domains,
            tokens=sum(limit.tokens for limit in space.limits if limit.name in domains),
            proportional=math.fsum(proportional[domain] for domain in domains),
            most=space.most_of(domains),
        )
        for name, domains in plan.problem.levels.items()
    }


def _few_mixtures(plan: Plan) -> list[str]:
    """A note where the search cannot try enough mixtures for a regression."""
    trials, earlier = plan.strategy.expected, plan.problem.earlier
    # Every proxy is trained on mixtures of one design, after which bayes chooses its own at the target.
    mixtures = max(trials.values())
    if plan.file.search.strategy == "bayes":
        below = max((trials[rung.fidelity] for rung in plan.problem.rungs[:-1]), default=0)
        mixtures = max(below, len(set(plan.problem.baselines.values()))) + plan.problem.rungs[-1].trials
    if earlier is not None:
        mixtures += len(np.unique(earlier.mixture_N))
    if mixtures >= FEWEST_RUNS:
        return []
    return [
        f"the search has {mixtures} mixtures at most, too few for a regression, {FEWEST_RUNS} the least: its answer "
        "will be the best that was tried; raise the trials of the proxies"
    ]


def _experts(plan: Plan) -> list[str]:
    """What the settings of experts come to."""
    return [
        f"proxy {proxy}: {experts.count} experts in each layer but the first, of which a token meets {experts.top_k} "
        f"({experts.sparsity:.1%} sparse), beside a shared one; {show_count(recipe.model.total_parameters)} parameters "
        "in all, embeddings included"
        for proxy, recipe in plan.recipes.items()
        if (experts := recipe.model.experts) is not None
    ]


def _idle_slots(plan: Plan) -> list[str]:
    """A note for each proxy that has fewer trials than a pack has slots."""
    pack, expected = plan.file.executor.pack, plan.strategy.expected
    few = {rung.fidelity.proxy: trials for rung in plan.problem.rungs if (trials := expected[rung.fidelity]) < pack}
    return [
        f"proxy {proxy} has {trials} trials in the search, fewer than the {pack} slots of a pack: the empty ones cost "
        "their share of each step for nothing; lower executor.pack"
        for proxy, trials in few.items()
    ]


def _resolution(plan: Plan) -> list[str]:
    """What the study will be able to tell apart, and how the search spends its trials on that."""
    notes, seeds, trials = [], plan.file.confirm.seeds, plan.problem.rungs[-1].trials
    if plan.file.search.strategy == "bayes":
        spent = [
            f"up to {count} {what}" for what, count in reserved(plan.problem, plan.strategy.settings).items() if count
        ]
        if spent:
            notes.append(f"of the {trials} trials of {plan.problem.target.proxy}, {' and '.join(spent)}")
        if plan.file.search.stop_when_resolved:
            notes.append("the search ends earlier where nothing is left to gain (search.stop_when_resolved)")
    notes += _early_ends(plan)
    if plan.file.confirm.candidates:
        notes.append(
            f"{seeds} seeds show differences from about {resolved(1.0, seeds):.1f} times what one run is off by, which "
            f"mixopt status says once runs are repeated; half of that takes {4 * seeds} seeds (confirm.seeds), or more "
            "tokens for each trial"
        )
    return notes


def _early_ends(plan: Plan) -> list[str]:
    """What the study file names as enough."""
    search, unit = plan.file.search, UNITS[plan.problem.objective.unit]
    named = {
        "stop_at_objective": f"at an objective of {search.stop_at_objective} {unit}",
        "stop_without_improvement": f"after {search.stop_without_improvement} trials in a row that are no better",
        "stop_at_gain_width": f"once the gain is known within {search.stop_at_gain_width} {unit}",
    }
    return [
        f"the search ends earlier {when} (search.{criterion})"
        for criterion, when in named.items()
        if getattr(search, criterion) is not None
    ]


def slots(plan: Plan) -> int | None:
    """How many trials, or packs of them, will run at a time, without asking a cluster: by the file, or this machine.

    None where that is up to another trainer.
    """
    settings = plan.file.executor
    if settings.is_foreign:
        return settings.slots or (1 if settings.kind == "command" else None)
    if settings.kind == "in_process":
        return 1
    here = int(cpu_count() / settings.cpus_per_trial)
    if settings.gpus_per_trial > 0:
        import torch

        here = min(here, int(torch.cuda.device_count() / settings.gpus_per_trial))
    here = max(1, here)
    if settings.slots is None:
        return here
    wanted = -(-settings.slots // settings.pack)
    return min(wanted, here) if settings.address is None else wanted


def _task_speed(plan: Plan, proxy: ProxyPlan) -> float:
    """Tokens a second of one trial, or of a pack where the study trains packs."""
    if proxy.pack is not None and plan.file.executor.pack > 1:
        return proxy.pack.tokens_per_second
    assert proxy.tokens_per_second is not None, "it was measured"
    return proxy.tokens_per_second


def _best_pack(recipe: Recipe) -> PackSpeed | None:
    """How many of a proxy this machine's GPU trains side by side; None where the study uses none."""
    if recipe.device != "cuda":
        return None
    from proxies.pack_speed import best_pack, pack_speeds

    speeds = pack_speeds(recipe)
    members = best_pack(speeds)
    return PackSpeed(members=members, tokens_per_second=speeds[members])


def _measure_speed(plan: Plan, proxy: str) -> tuple[float, str]:
    """Tokens a second of one trial of that proxy, and why these are fewer than they should be.

    Raises:
        ConfigError: the proxy does not train.
    """
    fidelity = next(rung.fidelity for rung in plan.problem.rungs if rung.fidelity.proxy == proxy)
    trial = Trial(plan.problem.baselines[PROPORTIONAL], fidelity, seed=0, origin="probe")
    keep_freed_memory()  # as workers do
    deadline = None  # from the first report on: before, its steps may be compiled
    assert plan.corpus is not None, "mixopt trains it"
    job = replace(plan.job(trial, History()), corpus=str(plan.corpus.directory), checkpoint=None)
    for event in run_trials([job]):
        if isinstance(event, TrialEnd):
            if isinstance(event.outcome, Failure):
                raise ConfigError(f"proxies.{proxy}: does not train: {event.outcome.message}")
            return fidelity.tokens / event.outcome.seconds, event.outcome.environment.get(SLOWER, "")
        if isinstance(event, TrialProgress):
            deadline = deadline or time.monotonic() + PROBE_SECONDS
            if time.monotonic() > deadline:
                return event.tokens_per_second, event.slower
    raise AssertionError("a trial ends with an outcome")
