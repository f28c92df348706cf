"""From the study file to the values of the other rooms: sources, space, recipes, problem, strategy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixopt.config import ProxySettings, StudyFile, TextSource
from mixopt.errors import ConfigError
from proxies.data.corpus import Corpus, CorpusSettings, Progress, prepare
from proxies.data.sources import Source
from search.designs.baselines import baselines
from search.fidelity import Fidelity
from search.objective import Objective, WeightedMean, WorstCase
from search.problem import Problem, Rung
from search.space import DomainLimits, Group, Space
from search.strategies import strategy
from search.strategies.base import Strategy
from search.trial import Trial

if TYPE_CHECKING:
    from mixopt.worker import Job
    from proxies.train import Recipe


@dataclass(frozen=True)
class Plan:
    """A study file and a prepared corpus, understood.

    Attributes:
        recipes: how each proxy is trained, by its name.
        available_tokens: by proxy, the tokens of each domain that it may use; None where it may use all.
    """

    file: StudyFile
    corpus: Corpus
    problem: Problem
    strategy: Strategy
    recipes: Mapping[str, Recipe]
    available_tokens: Mapping[str, Mapping[str, int] | None]

    @cached_property
    def search_trials(self) -> tuple[Trial, ...]:
        """The trials that the search will ask for, as far as that is known beforehand."""
        return self.strategy.planned or ()

    @property
    def confirmation_size(self) -> int:
        """How many trials the confirmation trains."""
        settings = self.file.confirm
        return settings.seeds * (settings.candidates + len(self.problem.baselines)) if settings.candidates else 0

    @property
    def confirmation_flops(self) -> float:
        return self.confirmation_size * self.problem.target.flops

    def job(self, trial: Trial) -> Job:
        from mixopt.worker import Job

        proxy = trial.fidelity.proxy
        return Job(
            trial,
            self.recipes[proxy],
            corpus=self.corpus.directory.absolute(),
            checkpoint=self.checkpoint(trial),
            study_seed=self.file.seed,
            available_tokens=self.available_tokens[proxy],
        )

    def checkpoint(self, trial: Trial) -> Path:
        """Where the trial's training state is kept while it trains."""
        return (self.file.work_directory / "checkpoints" / f"{trial.id}.pt").absolute()

    def deciding(self) -> dict[str, Any]:
        """What decides the study's numbers: the file's settings, and the recipes that follow from them here."""
        return self.file.deciding() | {"recipes": {name: asdict(recipe) for name, recipe in self.recipes.items()}}

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()[:16]


def prepare_corpus(file: StudyFile, on_progress: Callable[[Progress], None]) -> Corpus:
    """The study's tokens: made now, or found as they were made before."""
    settings = file.corpus
    tokenizer = None if settings.tokenizer is None else str(_relative_to(file.file, settings.tokenizer))
    return prepare(
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
        on_progress,
    )


def assemble(file: StudyFile, corpus: Corpus) -> Plan:
    """
    Raises:
        ConfigError, SearchError, ProxyError: the settings contradict each other or the corpus.
    """
    recipes = {name: _recipe(file, name, settings, corpus) for name, settings in file.proxies.items()}
    space = _space(file, corpus)
    rungs = tuple(
        Rung(_fidelity(name, recipe), file.proxies[name].trials) for name, recipe in recipes.items()
    )
    problem = Problem(
        space=space,
        rungs=rungs,
        objective=_objective(file),
        baselines=baselines(space, tuple(dict.fromkeys(("proportional", *file.baselines)))),
        seed=file.seed,
    )
    available = {name: _available_tokens(file, space, recipe) for name, recipe in recipes.items()}
    _check_rows(file, corpus, recipes)
    return Plan(file, corpus, problem, strategy(file.search.strategy, problem), recipes, available)


def _source(file: StudyFile, name: str, settings: TextSource, sample: int | None) -> Source:
    return Source(
        name=name,
        paths=tuple(str(_relative_to(file.file, path)) for path in settings.paths),
        text_field=settings.text or "text",
        prompt_field=settings.prompt,
        completion_field=settings.completion,
        split=settings.split,
        max_tokens=sample,
    )


def _relative_to(study_file: Path, path: str) -> str | Path:
    """A path of the study file, relative to it; URLs and hub names as they are."""
    if "://" in path or path.startswith("hf:"):
        return path
    return study_file.parent.absolute() / Path(path).expanduser()


def _space(file: StudyFile, corpus: Corpus) -> Space:
    limits = []
    for name, domain in file.domains.items():
        supply = domain.tokens or corpus.domains[name].train_tokens
        least, most = (domain.min, domain.max) if domain.pin is None else (domain.pin, domain.pin)
        limits.append(DomainLimits(name, supply, least, most))
    groups = tuple(
        Group(name, tuple(group.domains), group.min, group.max) for name, group in file.groups.items()
    )
    return Space.build(tuple(limits), groups, file.target.tokens, file.target.max_epochs)


def _objective(file: StudyFile) -> Objective:
    settings = file.objective
    if settings.kind == "worst_case":
        return WorstCase(tuple(settings.metrics or file.evaluation_sets), settings.baseline, settings.unit)
    return WeightedMean(settings.weights or dict.fromkeys(file.evaluation_sets, 1.0), settings.unit)


def _recipe(file: StudyFile, name: str, settings: ProxySettings, corpus: Corpus) -> Recipe:
    from proxies.models.size import model_size
    from proxies.train import recipe

    raise NotImplementedError


def _fidelity(name: str, recipe: Recipe) -> Fidelity:
    raise NotImplementedError


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


def _check_rows(file: StudyFile, corpus: Corpus, recipes: Mapping[str, Recipe]) -> None:
    raise NotImplementedError
