"""From the study file to the values of the other rooms: sources, space, recipes, problem, strategy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from mixopt.base.errors import ConfigError, all_at_once
from mixopt.runs import table as run_table
from mixopt.runs.taken import Taken
from mixopt.settings.reading import place_in
from mixopt.settings.schema import EXPERTS, ProxySettings, StudyFile
from mixopt.settings.space import has_supply, space_declared, space_of
from mixopt.study.corpus import relative_to_study
from mixopt.study.inventory import inventory_of
from mixopt.study.nearness import TRANSPORT, Samples
from mixopt.study.notes import (
    confirmation_notes,
    evaluation_notes,
    family_notes,
    pool_notes,
    repetition_notes,
    stopping_notes,
    target_notes,
)
from mixopt.study.objective import objective_of
from mixopt.study.plan import Plan
from mixopt.study.pools import Pools
from mixopt.study.record import measured_corpus, require_subject
from mixopt.workers.command import check_syntax
from proxies.data.corpus import Corpus
from proxies.data.mixing import MixedStream
from proxies.errors import ProxyError
from search.designs.baselines import Baseline, baselines
from search.errors import SearchError
from search.fidelity import Fidelity
from search.frozen_space import FrozenSpace
from search.graded_space import GradedSpace
from search.mixture import Mixture
from search.problem import PROPORTIONAL, Problem, Rung
from search.reuse import Changes, reuse
from search.runs import Runs
from search.scales import Goal
from search.space import Space
from search.strategies import STRATEGIES
from search.strategies.base import Settings
from search.surrogates import SCALING_LAW
from search.trust_region import TrustRegion
from tracking import keys
from tracking.record import Record, Subject

if TYPE_CHECKING:
    from proxies.recipe import Recipe


# Settings of a proxy that its model takes as they are.
MODEL_SETTINGS = {"width", "heads", "feed_forward", *EXPERTS}


# Cold, compiling takes as long as some thousand eager steps, and then saves about every third second.
STEPS_WORTH_COMPILING = 4000


def check_settings(file: StudyFile) -> None:
    """Whatever can be found wrong before any text is read: limits that admit no mixture, impossible models, ...

    Raises:
        ConfigError, SearchError: what is wrong; Mistakes where it is several things.
    """
    trained_here = () if file.executor.is_foreign else tuple(file.proxies)
    all_at_once(
        [
            partial(_check_space, file),
            *(partial(_check_proxy, file, name) for name in trained_here),
            partial(_check_command, file),
        ]
    )


def _check_command(file: StudyFile) -> None:
    if file.executor.run is None:
        return
    try:
        check_syntax(file.executor.run)
    except ConfigError as error:
        raise ConfigError(f"{place_in(file, 'executor', 'run')}: {error.message}", error.hint) from None


def _check_space(file: StudyFile) -> None:
    space = space_declared(file)
    if (kept := _kept(file, space)) and (has_supply(file) or file.reuse.at):
        FrozenSpace(space, kept)
    if has_supply(file) and (grades := _grades(file)):
        GradedSpace(space, grades)
    _earlier_runs(file, space, ())


def _check_proxy(file: StudyFile, name: str) -> None:
    # In whichever number format: which of them the processor computes in takes a second to find out.
    settings = file.proxies[name].model_copy(update={"precision": "fp32"})
    _recipe(file, name, settings, file.corpus.vocabulary)


def make_plan(file: StudyFile, corpus: Corpus | None, taken: Taken | None = None) -> Plan:
    """
    Args:
        corpus: None where another trainer has the text (`executor.is_foreign`).
        taken: what counts of other studies in the store.

    Raises:
        ConfigError, SearchError, ProxyError: the settings contradict each other or the corpus.
    """
    require_levels(file)
    recipes: dict[str, Recipe] = {}
    pools = Pools.declared(file)
    if corpus is not None:
        # Says so now, and not in the first trial, where a domain is too short for a single row.
        MixedStream(corpus, dict.fromkeys(corpus.domains, 1 / len(corpus.domains)), file.corpus.sequence_length, seed=0)
        recipes = {name: _recipe(file, name, settings, corpus.vocabulary) for name, settings in file.proxies.items()}
        pools = Pools.counted(corpus)
    inventory = inventory_of(file, pools)
    supply = {name: each.tokens for name, each in inventory.domains.items()}
    space = space_of(file, supply)
    available = {name: _available_tokens(file, space, recipe) for name, recipe in recipes.items()}
    held = {name: each.counted or each.tokens for name, each in inventory.domains.items()}
    rungs = tuple(
        Rung(
            _fidelity(name, recipes[name]) if name in recipes else _told_fidelity(name, proxy),
            proxy.trials,
            _drawn_from(available.get(name), held),
        )
        for name, proxy in file.proxies.items()
    )
    named = baselines(space, (name for name in dict.fromkeys((PROPORTIONAL, *file.baselines)) if name != TRANSPORT))
    if TRANSPORT in file.baselines:
        assert corpus is not None, "checked with the file"
        named = (*named, Baseline(TRANSPORT, Samples(corpus, space, objective_of(file)).nearest, ()))
    grades = _grades(file)
    named = _in_order(named, GradedSpace(space, grades)) if grades else named
    earlier, reuse_notes = _earlier_runs(file, space, [rung.fidelity for rung in rungs])
    if taken is not None:
        reuse_notes = (*reuse_notes, *taken.notes)
        if taken.runs is not None:
            earlier = taken.runs if earlier is None else earlier.before(taken.runs)
    problem = Problem(
        space=space,
        rungs=rungs,
        objective=objective_of(file),
        baselines={baseline.name: baseline.mixture for baseline in named},
        seed=file.seed,
        earlier=earlier,
        kept=_kept(file, space),
        goal=_goal(file, supply),
        levels={level.name: level.domains for level in file.levels},
        grades=grades,
    )
    _check_reach(file, problem)
    notes = [*reuse_notes]
    if moved := [baseline.name for baseline in named if baseline.broken]:
        outside = f"outside the limits{' or the order of levels' * bool(grades)}"
        notes.append(f"{outside}, and so replaced by the nearest mixture inside: {', '.join(moved)}")
    notes += [
        f"domain {name}: its supply is counted on a sample; give domains.{name}.tokens, the tokens of the whole pool"
        for name, domain in file.domains.items()
        if domain.sample is not None and domain.tokens is None
    ]
    notes += [*target_notes(file), *family_notes(file)]
    if corpus is not None:
        notes += [*pool_notes(file, corpus, problem.objective), *repetition_notes(corpus, available)]
        notes += [*evaluation_notes(corpus, recipes, problem.objective), *stopping_notes(file, recipes)]
        notes += confirmation_notes(file, corpus, problem.objective)
    strategy = STRATEGIES[file.search.strategy](problem, _settings(file))
    plan = Plan(file, pools, corpus, problem, strategy, recipes, available, tuple(notes), taken)
    _check_budget(plan)
    return _with_compiled_recipes(plan)


def plan_as_measured(file: StudyFile, record: Record) -> Plan | None:
    """The plan of a study that has run; None where its tokens are not prepared here, or no longer those of its text.

    Raises:
        TrackingError: it began with another file, or the text was prepared anew since, and is another.
    """
    if file.executor.is_foreign:
        require_subject(record, file)
        return make_plan(file, None)
    corpus = measured_corpus(file, record)
    written = record.written.get(keys.REUSED) if file.reuse.store else None
    taken = None if written is None else Taken.read(written)
    return None if corpus is None else make_plan(file, corpus, taken)


def _drawn_from(available: Mapping[str, int] | None, held: Mapping[str, int]) -> tuple[float, ...]:
    """The tokens of each domain that a proxy's runs draw from: of those that are `held`, what it may use."""
    return tuple(float(min(tokens, available[name]) if available else tokens) for name, tokens in held.items())


def _goal(file: StudyFile, supply: Mapping[str, int]) -> Goal | None:
    if file.target.tokens is None:
        return None
    params = file.target.params
    return Goal(params, file.target.tokens, np.array([supply[name] for name in file.domains], dtype=np.float64))


def _check_reach(file: StudyFile, problem: Problem) -> None:
    """
    Raises:
        ConfigError: the law of scale is to predict the final run, and cannot from these proxies.
    """
    if file.search.surrogate != SCALING_LAW or problem.goal is None:
        return
    fidelities, domains = tuple(rung.fidelity for rung in problem.rungs), problem.space.domains
    none, metrics = np.zeros(0, dtype=np.int64), problem.objective.metrics
    empty = np.zeros((0, len(domains))), none, np.zeros((0, len(metrics)))
    refusal = Runs((), domains, metrics, fidelities, *empty, goal=problem.goal).scales.refusal
    if refusal is not None:
        raise ConfigError(
            f"search.surrogate: scaling_law cannot predict the target: {refusal}".replace(
                "the runs are", "the proxies are"
            ),
            hint="add a proxy of another depth or tokens, or choose another surrogate",
        )


def _settings(file: StudyFile) -> Settings:
    search = file.search
    trust = TrustRegion(search.trust.near_evidence, search.trust.max_kl)
    return Settings(
        search.surrogate, search.acquisition, trust, search.design, search.stop_when_resolved, search.refine
    )


def _grades(file: StudyFile) -> dict[str, tuple[str, ...]]:
    """The levels of quality of each pool whose order the search keeps."""
    return {
        level.name: level.domains
        for level in file.levels
        if level.quality is not None and level.quality.search == "function"
    }


def _in_order(named: Sequence[Baseline], space: GradedSpace) -> tuple[Baseline, ...]:
    """The baselines; one that reads a level more often than a better one is moved to the nearest that does not."""
    found = []
    for each in named:
        if pairs := space.out_of_order(each.mixture):
            broken = tuple(f"{worse} is read more often than {better}" for better, worse in pairs)
            each = replace(each, mixture=space.project(each.mixture.array), broken=(*each.broken, *broken))
        found.append(each)
    return tuple(found)


def require_levels(file: StudyFile) -> None:
    """
    Raises:
        ConfigError: a domain asks for levels of quality, which are not made yet.
    """
    for name, settings in file.to_be_cut.items():
        own = file.domains[name].quality is settings
        place = place_in(file, *(("domains", name, "quality") if own else ("quality",)))
        raise ConfigError(
            f"{place}: the levels of {name} are not made yet",
            hint=f"make them with: mixopt quality {file.file}",
        )


def _kept(file: StudyFile, space: Space) -> Mixture | None:
    """The relative weights that the search leaves as they are."""
    if not file.reuse.keep:
        return None
    return Mixture.of(file.reuse.at or {name: space.natural[name] for name in file.reuse.keep})


def _earlier_runs(file: StudyFile, space: Space, fidelities: Sequence[Fidelity]) -> tuple[Runs | None, tuple[str, ...]]:
    """The earlier runs that count as evidence, and what was done to them.

    Raises:
        ConfigError: their table is wrong, or has other domains or metrics.
    """
    if file.reuse.runs is None:
        return None, ()
    path, metrics = Path(relative_to_study(file.file, file.reuse.runs)), objective_of(file).metrics
    changes = Changes(file.reuse.renamed, file.reuse.split, file.reuse.merged)
    try:
        table, table_notes = run_table.read_all(path)
    except ConfigError as error:
        raise ConfigError(f"{place_in(file, 'reuse', 'runs')}: {error.message}", error.hint) from error
    gone = changes.changed - changes.renamed.keys()
    used = [name for name in table.metrics if changes.renamed.get(name, name) in metrics and name not in gone]
    table, metric_notes = run_table.choose_metrics(table, path, used)
    # A tokenizer that is trained anew on other text makes losses per token incomparable, even of the same proxy.
    comparable = file.corpus.tokenizer is not None or file.objective.unit == "bits_per_byte"
    known = fidelities if comparable else ()
    try:
        runs, notes = reuse(table, space, metrics, known, changes)
    except SearchError as error:
        raise ConfigError(f"reuse: {error.message}", error.hint) from error
    return runs, (*table_notes, *metric_notes, *notes)


def _recipe(file: StudyFile, name: str, settings: ProxySettings, vocabulary: int) -> Recipe:
    from proxies.models.size import model_size
    from proxies.recipe import recipe

    shapes = settings.model_dump(include=MODEL_SETTINGS, exclude_none=True)
    training = settings.model_dump(include={"learning_rate", "batch_rows", "evaluations"}, exclude_none=True)
    device: Literal["cpu", "cuda"] = "cuda" if file.executor.gpus_per_trial > 0 else "cpu"
    if settings.precision != "auto":
        training["precision"] = settings.precision
    elif device == "cuda":
        training["precision"] = "bf16"  # not asked of this machine: the GPUs may be on others
    try:
        model = model_size(settings.kind, settings.depth, vocabulary, file.corpus.sequence_length, **shapes)
        return recipe(model, settings.tokens, device=device, **training)
    except ProxyError as error:
        raise ConfigError(f"{place_in(file, 'proxies', name)}: {error.message}", error.hint) from error


def as_begun(plan: Plan, begun: Subject | None) -> Plan:
    """The plan of a study that goes on, in the number format that it began in, where its file leaves that open.

    `auto` is what the processor multiplies in hardware, and the machine that a study goes on with may be another.
    """
    recorded = {} if begun is None or begun.settings is None else begun.settings.get("recipes", {})
    recipes, notes = dict(plan.recipes), list(plan.notes)
    for name, recipe in plan.recipes.items():
        precision = recorded.get(name, {}).get("precision", recipe.precision)
        if plan.file.proxies[name].precision == "auto" and precision != recipe.precision:
            recipes[name] = replace(recipe, precision=precision)
            notes.append(
                f"proxy {name} goes on in {precision}, as the study began; this machine alone would use "
                f"{recipe.precision}" + (", so its trials take longer here" if precision == "bf16" else "")
            )
    return replace(plan, recipes=recipes, notes=tuple(notes))


def _told_fidelity(name: str, settings: ProxySettings) -> Fidelity:
    """Of a model that another trainer trains, at six operations for each parameter and token (2001.08361)."""
    assert settings.params is not None, "checked with the file"
    return Fidelity(name, settings.params, settings.tokens, 6.0 * settings.params * settings.tokens)


def _fidelity(name: str, recipe: Recipe) -> Fidelity:
    from proxies.flops import training_flops

    tokens = recipe.steps * recipe.batch_tokens
    return Fidelity(name, recipe.model.active_parameters, tokens, training_flops(recipe.model, tokens))


def _available_tokens(file: StudyFile, space: Space, recipe: Recipe) -> dict[str, int] | None:
    """Where repetition is matched: each domain's supply, shrunk as the proxy's tokens are to the final run's.

    A proxy of T tokens on D * T / target tokens of a domain repeats it as often as the final run will repeat D
    (2606.07597).
    """
    if not file.target.repetition_matched:
        return None
    assert file.target.tokens is not None, "checked with the file"
    shrink = recipe.tokens / file.target.tokens
    return {limits.name: max(1, round(limits.tokens * shrink)) for limits in space.limits}


def _with_compiled_recipes(plan: Plan) -> Plan:
    """The plan with those recipes compiled that the file, or their number of steps, asks for."""
    settings = plan.file.executor
    if settings.compile == "never" or not plan.recipes:
        return plan
    from proxies.compilation import missing  # loads torch, which a study that trains elsewhere needs not

    trials = plan.strategy.expected + Counter({plan.problem.target: plan.confirmation_size})
    recipes, notes = dict(plan.recipes), list(plan.notes)
    for rung in plan.problem.rungs:
        recipe = recipes[rung.fidelity.proxy]
        if settings.compile == "auto" and trials[rung.fidelity] * recipe.steps < STEPS_WORTH_COMPILING:
            continue
        if settings.address is None and (lacking := missing(recipe)):
            notes.append(f"proxy {rung.fidelity.proxy} trains slower than it could: compiling it takes {lacking}")
        else:
            recipes[rung.fidelity.proxy] = replace(recipe, compiled=True)
    return replace(plan, recipes=recipes, notes=tuple(notes))


def _check_budget(plan: Plan) -> None:
    """
    Raises:
        ConfigError: the budget pays for nothing but the confirmation.
    """
    budget = plan.file.budget.flops
    cheapest = min(rung.fidelity.flops for rung in plan.problem.rungs)
    if budget is not None and budget < plan.confirmation_flops + cheapest:
        raise ConfigError(
            f"budget.flops {budget:.3g} leaves no trial to the search: the confirmation needs "
            f"{plan.confirmation_flops:.3g}, a trial {cheapest:.3g}",
            hint="raise budget.flops, or lower confirm.seeds, confirm.candidates or the proxies' tokens",
        )
