"""What every strategy is: a pure function of the problem and the history."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from search.designs.choices import TEMPERED_DIRICHLET
from search.fidelity import Fidelity
from search.history import History
from search.problem import Problem
from search.recommendation.recommendation import Recommendation
from search.surrogates import DEFAULT
from search.trial import Trial
from search.trust_region import TrustRegion

# A fidelity is cheap where a run at the target pays for so many of its runs.
CHEAP = 2.0
# More cheap runs than this per domain teach little: they are no warm start but a study of their own.
WARM_RUNS_PER_DOMAIN = 4


@dataclass(frozen=True)
class Settings:
    """What a user may choose about a strategy.

    Attributes:
        surrogate: which one predicts.
        acquisition: which one `bayes` asks by.
        trust: where the answer may lie.
        design: which mixtures are trained before any result is known (search.designs); None: the strategy's own.
        stop_when_resolved: end the search once what it may still gain is lost in the noise of its runs.
        refine: train a small factorial design around the best mixture towards the end, where the trials allow.
    """

    surrogate: str = DEFAULT
    acquisition: str = "log_ei"
    trust: TrustRegion = field(default_factory=TrustRegion)
    design: str | None = None
    stop_when_resolved: bool = True
    refine: bool = True


class Strategy(ABC):
    """Built anew from the problem in every process; nothing is remembered but what follows from problem and history.

    Attributes:
        usual_design: where the settings name none.
    """

    usual_design: ClassVar[str] = TEMPERED_DIRICHLET

    def __init__(self, problem: Problem, settings: Settings | None = None) -> None:
        self.problem = problem
        self.settings = settings or Settings()

    @property
    def design(self) -> str:
        """Which mixtures are trained before any result is known, by name."""
        return self.settings.design or self.usual_design

    @property
    @abstractmethod
    def expected(self) -> Counter[Fidelity]:
        """At most so many trials are asked for at each fidelity, baselines included; known before any result is."""

    @abstractmethod
    def ask(self, history: History, slots: int) -> list[Trial]:
        """At most `slots` trials that were never asked for; none while it waits for running ones, or at the end.

        Raises:
            SearchError: the baseline that the objective needs was not measured, and no trial can be chosen without.
        """

    def foreseen(self, trial: Trial) -> tuple[float, float] | None:
        """Mean and standard deviation of the objective that was expected of a trial when this strategy asked for it.

        None where nothing was: for designs, below the target, and for trials that another process asked for.
        """
        return None

    def why_over(self, history: History) -> str | None:
        """Why nothing more is asked for though trials are left, in a sentence; None where none are, or it waits."""
        return None

    @abstractmethod
    def recommend(self, history: History) -> Recommendation:
        """The answer from what is completed so far.

        Trials with other seeds than the search's are ignored, so confirming does not change the answer.

        Raises:
            SearchError: no trial, or not the baseline that the objective needs, was completed at the target.
        """
