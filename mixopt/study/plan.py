"""A plan: a study file and its prepared corpus, understood; what the loop runs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mixopt.runs.taken import Taken
from mixopt.settings.schema import StudyFile
from mixopt.study.exchange import Exchange
from mixopt.study.pools import Pools
from mixopt.workers.foreign import Order
from proxies.data.corpus import Corpus
from search.fidelity import Fidelity
from search.history import History
from search.problem import Problem
from search.recommendation.confirmation_trials import confirmation_size
from search.seeds import is_of_search
from search.stopping import stopping_rule
from search.strategies.base import Strategy
from search.trial import Trial

if TYPE_CHECKING:
    from mixopt.workers.training import Job
    from proxies.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """A study file and its pools, understood.

    Attributes:
        pools: what is known of its text.
        corpus: its text as tokens; None where another trainer has it.
        recipes: how each proxy is trained, by its name; none where another trainer trains them.
        available_tokens: by proxy, the tokens of each domain that it may use; None where it may use all.
        notes: sentences that a careful reader wants to know before the study runs.
        taken: what counts of other studies in the store; None where none is asked.
    """

    file: StudyFile
    pools: Pools
    corpus: Corpus | None
    problem: Problem
    strategy: Strategy
    recipes: Mapping[str, Recipe]
    available_tokens: Mapping[str, Mapping[str, int] | None]
    notes: tuple[str, ...]
    taken: Taken | None = None

    def searched(self, history: History) -> Counter[Fidelity]:
        """How many trials of the search have ended at each fidelity, of those that the strategy expects."""
        ended = history.without_running().trials
        return Counter(trial.fidelity for trial in ended if is_of_search(trial.seed)) & self.strategy.expected

    @property
    def confirmation_size(self) -> int:
        """How many trials the confirmation trains, at most."""
        settings = self.file.confirm
        return confirmation_size(self.problem, settings.candidates, settings.seeds) if settings.candidates else 0

    @property
    def confirmation_flops(self) -> float:
        return self.confirmation_size * self.problem.target.flops

    def given(self, trial: Trial, history: History) -> Job | Order:
        """What whoever trains the trial needs for it, which is launched with so much known."""
        return self.order(trial) if self.file.executor.is_foreign else self.job(trial, history)

    def job(self, trial: Trial, history: History) -> Job:
        """What one of mixopt's workers needs for the trial."""
        from mixopt.workers.training import Job

        proxy = trial.fidelity.proxy
        stops = self.file.search.stop_hopeless
        return Job(
            trial,
            self.recipes[proxy],
            corpus=self.exchange.corpus,
            corpus_fingerprint=self.pools.fingerprint,
            checkpoint=self.exchange.checkpoint(trial),
            study_seed=self.file.seed,
            available_tokens=self.available_tokens[proxy],
            stopping=stopping_rule(self.problem, trial, history) if stops else None,
        )

    def order(self, trial: Trial) -> Order:
        """What another trainer needs for the trial."""
        space = self.problem.space
        return Order(
            trial,
            metrics=self.problem.objective.metrics,
            supply={limits.name: limits.tokens for limits in space.limits},
            study_seed=self.file.seed,
            folder=self.file.work_directory.absolute() / "trials" / trial.id,
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
        return self.file.deciding() | {"recipes": {name: _deciding(recipe) for name, recipe in self.recipes.items()}}

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()[:16]


def _deciding(recipe: Recipe) -> dict[str, Any]:
    """Of a recipe, what decides a trial's numbers.

    What recipes had not from the beginning is left out where it is as it was then: studies begun earlier go on.
    """
    told = asdict(recipe)
    del told["compiled"]
    if not recipe.model.has_bias:
        del told["bias_rate"]
    if recipe.model.experts is not None:
        for name, before in (("scores", "softmax"), ("balancing", "loss")):
            if told["model"]["experts"][name] == before:
                del told["model"]["experts"][name]
    return told
