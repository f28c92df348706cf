"""From the study file to the values of the other rooms: sources, space, recipes, problem, strategy."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mixopt import run_table
from mixopt.config import ProxySettings, StudyFile, TextSource
from mixopt.errors import ConfigError
from mixopt.exchange import Exchange
from mixopt.units import show_count
from proxies.data.corpus import Corpus, CorpusSettings, Progress, prepare, prepared
from proxies.data.mixing import MixedStream
from proxies.data.sources import Source, check_readable, find_files
from proxies.errors import ProxyError
from search.designs.baselines import baselines
from search.errors import SearchError
from search.fidelity import Fidelity
from search.frozen import FrozenSpace
from search.history import History
from search.mixture import Mixture
from search.objective import NoWorse, Objective, Pareto, WeightedMean, WorstCase
from search.problem import SEARCH_SEED, Problem, Rung
from search.reuse import Changes, reuse
from search.runs import Runs
from search.space import DomainLimits, Group, Space
from search.stopping import stopping_rule
from search.strategies import STRATEGIES
from search.strategies.base import Settings, Strategy
from search.trial import Trial
from search.trust import TrustRegion

if TYPE_CHECKING:
    from mixopt.worker import Job
    from proxies.recipe import Recipe


# Settings of a proxy that its model takes as they are.
MODEL_SETTINGS = {
    *("width", "heads", "feed_forward"),
    *("experts", "top_k", "expert_feed_forward", "shared_feed_forward"),
}


# Of a trial's training; more is worth a note.
MUCH_EVALUATION = 0.05
# Cold, compiling takes as long as some thousand eager steps, and then saves about every third second.
STEPS_WORTH_COMPILING = 4000


@dataclass(frozen=True)
class Plan:
    """A study file and a prepared corpus, understood.

    Attributes:
        recipes: how each proxy is trained, by its name.
        available_tokens: by proxy, the tokens of each domain that it may use; None where it may use all.
        notes: sentences that a careful reader wants to know before the study runs.
    """

    file: StudyFile
    corpus: Corpus
    problem: Problem
    strategy: Strategy
    recipes: Mapping[str, Recipe]
    available_tokens: Mapping[str, Mapping[str, int] | None]
    notes: tuple[str, ...]

    def searched(self, history: History) -> Counter[Fidelity]:
        """How many trials of the search have ended at each fidelity, of those that the strategy expects."""
        ended = history.without_running().trials
        return Counter(trial.fidelity for trial in ended if trial.seed == SEARCH_SEED) & self.strategy.expected

    @property
    def confirmation_size(self) -> int:
        """How many trials the confirmation trains, at most."""
        settings = self.file.confirm
        baselines = len(set(self.problem.baselines.values()))
        return settings.seeds * (settings.candidates + baselines) if settings.candidates else 0

    @property
    def confirmation_flops(self) -> float:
        return self.confirmation_size * self.problem.target.flops

    def job(self, trial: Trial, history: History) -> Job:
        """What a worker needs for the trial, which is launched with so much known."""
        from mixopt.worker import Job

        proxy = trial.fidelity.proxy
        stops = self.file.search.stop_hopeless
        return Job(
            trial,
            self.recipes[proxy],
            corpus=self.exchange.corpus,
            corpus_fingerprint=self.corpus.fingerprint,
            checkpoint=self.exchange.checkpoint(trial),
            study_seed=self.file.seed,
            available_tokens=self.available_tokens[proxy],
            stopping=stopping_rule(self.problem, trial, history) if stops else None,
        )

    @property
    def exchange(self) -> Exchange:
        """Where workers find the tokens and keep their checkpoints."""
        return Exchange.of(self.file, self.corpus)

    def deciding(self) -> dict[str, Any]:
        """What decides the study's numbers: the file's settings, and the recipes that follow from them here.

        Whether steps are compiled changes roundings, and may differ when a study goes on elsewhere: each trial's record
        says how it was trained.
        """
        recipes = {name: asdict(recipe) for name, recipe in self.recipes.items()}
        for recipe in recipes.values():
            del recipe["compiled"]
        return self.file.deciding() | {"recipes": recipes}

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()[:16]


def prepare_corpus(file: StudyFile, on_progress: Callable[[Progress], None]) -> Corpus:
    """The study's tokens: made now, or found as they were made before."""
    return prepare(*_corpus_request(file), on_progress)


def find_corpus(file: StudyFile) -> Corpus | None:
    """The study's tokens where they are prepared already, and still those of its text; None otherwise."""
    return prepared(*_corpus_request(file))


def check(file: StudyFile) -> None:
    """Whatever can be found wrong before any text is read: limits that admit no mixture, impossible models, ...

    Raises:
        ConfigError, SearchError: what is wrong.
    """
    counted = all(domain.tokens for domain in file.domains.values())
    space = _space(file, {name: domain.tokens or 1 for name, domain in file.domains.items()}, with_supply=counted)
    if (kept := _kept(file, space)) and (counted or file.reuse.at):
        FrozenSpace(space, kept)
    _earlier(file, space, ())
    for name, settings in file.proxies.items():
        _recipe(file, name, settings, file.corpus.vocabulary)


def check_sources(file: StudyFile) -> None:
    """Look for each file of the study's text and read its beginning.

    Raises:
        ProxyError: something is missing, or cannot be read.
    """
    domains, evaluations, *_ = _corpus_request(file)
    for source in (*domains, *evaluations):
        check_readable(source, find_files(source))


def assemble(file: StudyFile, corpus: Corpus) -> Plan:
    """
    Raises:
        ConfigError, SearchError, ProxyError: the settings contradict each other or the corpus.
    """
    # Says so now, and not in the first trial, where a domain is too short for a single row.
    MixedStream(corpus, dict.fromkeys(corpus.domains, 1 / len(corpus.domains)), file.corpus.sequence_length, seed=0)
    recipes = {name: _recipe(file, name, settings, corpus.vocabulary) for name, settings in file.proxies.items()}
    supply = {name: domain.tokens or corpus.domains[name].train_tokens for name, domain in file.domains.items()}
    space = _space(file, supply)
    rungs = tuple(Rung(_fidelity(name, recipe), file.proxies[name].trials) for name, recipe in recipes.items())
    named = baselines(space, dict.fromkeys(("proportional", *file.baselines)))
    earlier, reuse_notes = _earlier(file, space, [rung.fidelity for rung in rungs])
    problem = Problem(
        space=space,
        rungs=rungs,
        objective=_objective(file),
        baselines={baseline.name: baseline.mixture for baseline in named},
        seed=file.seed,
        earlier=earlier,
        kept=_kept(file, space),
    )
    notes = [*reuse_notes]
    if moved := [baseline.name for baseline in named if baseline.broken]:
        notes.append(f"outside the limits, and so replaced by the nearest mixture inside: {', '.join(moved)}")
    available = {name: _available_tokens(file, space, recipe) for name, recipe in recipes.items()}
    notes += [
        f"domain {name}: its supply is counted on a sample; give domains.{name}.tokens, the tokens of the whole pool"
        for name, domain in file.domains.items()
        if domain.sample is not None and domain.tokens is None
    ]
    notes += _repetition_notes(corpus, available)
    strategy = STRATEGIES[file.search.strategy](problem, _settings(file))
    notes += [*_evaluation_notes(corpus, recipes), *_stopping_notes(file, recipes)]
    plan = Plan(file, corpus, problem, strategy, recipes, available, tuple(notes))
    _check_budget(plan)
    return _compiled(plan)


def _corpus_request(file: StudyFile) -> tuple[list[Source], list[Source], CorpusSettings, Path]:
    """Domains, evaluation sets, settings and folder of the study's corpus."""
    settings = file.corpus
    tokenizer = None if settings.tokenizer is None else _relative_to(file.file, settings.tokenizer)
    return (
        [_source(file, name, domain, domain.sample) for name, domain in file.domains.items()],
        [_source(file, name, evaluation, None) for name, evaluation in file.evaluation.items()],
        CorpusSettings(
            tokenizer_file=tokenizer,
            vocabulary=settings.vocabulary,
            validation_tokens=settings.validation_tokens,
            validation_share=settings.validation_share,
            workers=settings.workers,
        ),
        file.work_directory / "corpus",
    )


def _source(file: StudyFile, name: str, settings: TextSource, sample: int | None) -> Source:
    return Source(
        name=name,
        paths=tuple(_relative_to(file.file, path) for path in settings.paths),
        text_field=settings.text or "text",
        prompt_field=settings.prompt,
        completion_field=settings.completion,
        split=settings.split,
        max_tokens=sample,
    )


def _relative_to(study_file: Path, path: str) -> str:
    """A path of the study file, relative to it; URLs and hub names as they are."""
    if "://" in path or path.startswith("hf:"):
        return path
    return os.path.normpath(study_file.parent.absolute() / Path(path).expanduser())


def _space(file: StudyFile, supply: Mapping[str, int], with_supply: bool = True) -> Space:
    """The space over `supply` tokens a domain; they limit the shares only `with_supply`."""
    limits = []
    for name, domain in file.domains.items():
        least, most = (domain.min, domain.max) if domain.pin is None else (domain.pin, domain.pin)
        limits.append(DomainLimits(name, supply[name], least, most))
    groups = tuple(Group(name, tuple(group.domains), group.min, group.max) for name, group in file.groups.items())
    target = file.target.tokens if with_supply else None
    return Space(tuple(limits), groups, target, file.target.max_epochs)


def _objective(file: StudyFile) -> Objective:
    settings = file.objective
    if settings.kind == "worst_case":
        return WorstCase(tuple(settings.metrics or file.evaluation_sets), settings.baseline, settings.unit)
    mean = WeightedMean(settings.weights or dict.fromkeys(file.evaluation_sets, 1.0), settings.unit)
    match settings.kind:
        case "weighted":
            return mean
        case "no_worse":
            return NoWorse(mean, settings.allowance or 0.0, settings.baseline)
        case "pareto":
            return Pareto(mean)


def _settings(file: StudyFile) -> Settings:
    search = file.search
    return Settings(search.surrogate, search.acquisition, TrustRegion(search.trust.near_evidence, search.trust.max_kl))


def _kept(file: StudyFile, space: Space) -> Mixture | None:
    """The relative weights that the search leaves as they are."""
    if not file.reuse.keep:
        return None
    return Mixture.of(file.reuse.at or {name: space.natural[name] for name in file.reuse.keep})


def _earlier(file: StudyFile, space: Space, fidelities: Sequence[Fidelity]) -> tuple[Runs | None, tuple[str, ...]]:
    """The earlier runs that count as evidence, and what was done to them.

    Raises:
        ConfigError: their table is wrong, or has other domains or metrics.
    """
    if file.reuse.runs is None:
        return None, ()
    path, metrics = Path(_relative_to(file.file, file.reuse.runs)), _objective(file).metrics
    changes = Changes(file.reuse.renamed, file.reuse.split)
    table, table_notes = run_table.read_all(path)
    used = [name for name in table.metrics if changes.renamed.get(name, name) in metrics and name not in changes.split]
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
        raise ConfigError(f"proxies.{name}: {error.message}", error.hint) from error


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


def _repetition_notes(corpus: Corpus, available: Mapping[str, Mapping[str, int] | None]) -> list[str]:
    """Where repetition cannot be matched, because the files hold less than the proxy would need."""
    return [
        f"proxy {proxy} repeats domain {domain} more often than the final run: "
        f"its files hold {show_count(corpus.domains[domain].train_tokens)} tokens, {show_count(tokens)} are needed"
        for proxy, needed in available.items()
        for domain, tokens in (needed or {}).items()
        if tokens > corpus.domains[domain].train_tokens
    ]


def _evaluation_notes(corpus: Corpus, recipes: Mapping[str, Recipe]) -> list[str]:
    """Where evaluation, which costs a third of training for each token, takes much of a trial's time."""
    tokens = sum(len(corpus.evaluation(name).tokens_N) for name in corpus.evaluation_sets)
    shares = {name: len(recipe.evaluation_steps) * tokens / 3 / recipe.tokens for name, recipe in recipes.items()}
    return [
        f"proxy {name} spends about {share / (1 + share):.0%} of its time on evaluation; "
        "lower corpus.validation_tokens or its evaluations, or train it on more tokens"
        for name, share in shares.items()
        if share > MUCH_EVALUATION
    ]


def _stopping_notes(file: StudyFile, recipes: Mapping[str, Recipe]) -> list[str]:
    """Where hopeless trials are to be stopped, and none can be."""
    if not file.search.stop_hopeless:
        return []
    if file.objective.kind == "pareto":
        return [
            "search.stop_hopeless stops nothing in a pareto search: the worst in one loss may be the best in another"
        ]
    return [
        f"proxy {name} is never stopped early: it is evaluated only at its end; raise its evaluations"
        for name, recipe in recipes.items()
        if len(recipe.evaluation_steps) == 1
    ]


def _compiled(plan: Plan) -> Plan:
    """The plan with those recipes compiled that the file, or their number of steps, asks for."""
    from proxies.compilation import missing

    settings = plan.file.executor
    if settings.compile == "never":
        return plan
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
