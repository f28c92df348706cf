"""Bayesian optimisation: cheap runs first, then at the target whatever is most worth training, given all that is known.

1. The baselines at every rung, the target's first; then two of them again, with further seeds: so the noise is known.
2. A warm start: a design at the cheapest rung, for about what one target run costs. Where no rung is cheap, or what it
   tells was known before, a small design at the target, and the designs that the study asks for below it.
3. At each rung between, as many mixtures as one target run would pay for, then trials at the target: each the mixture
   with the highest acquisition (search.acquisitions), running trials counted as done with what is expected of them.
   Where that is one that was trained, it is trained again with a further seed.
4. Now and then instead a control, far from all that was trained and not hopeless.
5. Towards the end a local stage around the best mixture (search.designs.factorial).
6. The end, before all trials are spent, once what can still be gained is lost in the noise of the runs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from search.acquisitions import ACQUISITIONS
from search.acquisitions.base import Acquisition
from search.acquisitions.fitting import MetricFit, enough, fit_metrics
from search.designs.choices import AROUND_BASELINES
from search.errors import SearchError
from search.evidence import Evidence, evidence_of, gather, runs_of
from search.fidelity import Fidelity
from search.history import History
from search.mixture import Mixture
from search.noise import resolved
from search.objective import UNITS, Pareto, WeightedMean
from search.problem import Problem, Rung
from search.recommendation.ranking import rank_correlation
from search.recommendation.recommend import recommend
from search.recommendation.recommendation import Recommendation
from search.seeds import SEARCH_SEED, is_of_search, of_repeat
from search.strategies.base import CHEAP, WARM_RUNS_PER_DOMAIN, Settings, Strategy
from search.strategies.fixed_design import baselines_and_design
from search.strategies.reserved import AFTER_REFINING, refinement_runs, repeats
from search.threads import one_thread
from search.trial import Trial

if TYPE_CHECKING:
    from search.acquisitions.propose import Proposals

# A rung between the cheapest and the target is cheap where a target run pays for so many of its runs.
CHEAP_BETWEEN = 3.0
# With so many target runs it is known how the cheap ones carry over.
FEWEST_AT_TARGET = 6
# Rank correlation of target runs with what the cheap ones predict of them, below which these are no help; and, as it
# would be were the cheap ones predicted perfectly, above which better predictions would help.
UNRELATED, RELATED = 0.3, 0.7
# Share of the cheap runs' variance beyond which more of them improve predictions little, and below which it is not
# believed: the correlation would be divided by next to nothing.
WELL_EXPLAINED, LEAST_EXPLAINED = 0.9, 0.3
# Target trials wait for the cheap ones, soon done, while more than this share of them is running.
STILL_RUNNING = 0.25
# Mixtures of the design at the target, where nothing cheaper is trained first: so many more than domains.
MORE_THAN_DOMAINS = 3
# One of so many target trials is a control.
CONTROL_EVERY = 8
# The search ends where nothing is left that is expected to beat the best baseline by as much as a confirmation with so
# many seeds would show; or where it expects to gain no more than this share of the noise of a run.
CONFIRMED_SEEDS = 3
WORTH_SEARCHING = 0.1
# It does not end before so many mixtures for each domain were chosen by what is known.
LEAST_CHOSEN = 0.5
REFINE = "refine"


class Carried(NamedTuple):
    """What the cheap runs tell of the target.

    Attributes:
        correlation: of target runs, by rank, with what the cheap ones predict of them.
        explained: the share of the cheap runs' variance that is predicted when they are left out.
    """

    correlation: float
    explained: float


def warm_start(cost_ratio: float, domains: int, carried: Carried | None = None) -> int:
    """How many mixtures to train at the cheapest rung.

    Args:
        cost_ratio: of a run at the target to one there.
        carried: None while it is not known.
    """
    if cost_ratio < CHEAP:
        return 0
    first = min(int(cost_ratio), WARM_RUNS_PER_DOMAIN * domains)
    if carried is None:
        return first
    if carried.correlation < UNRELATED:
        return 0
    attainable = carried.correlation / max(carried.explained, LEAST_EXPLAINED) ** 0.5
    return 2 * first if attainable > RELATED and carried.explained < WELL_EXPLAINED else first


class Bayes(Strategy):
    usual_design = AROUND_BASELINES

    def __init__(self, problem: Problem, settings: Settings | None = None) -> None:
        """
        Raises:
            SearchError: the space holds fewer distinct mixtures than a rung asks for, or the acquisition and the
                objective do not go together.
        """
        super().__init__(problem, settings)
        pareto = isinstance(problem.objective, Pareto)
        if self.settings.acquisition == "hypervolume" and not pareto:
            raise SearchError("acquisition hypervolume is for a pareto objective", hint="choose log_ei")
        self._origin = "hypervolume" if pareto else self.settings.acquisition
        if problem.objective.is_constrained and not self._acquisition.by_metric:
            raise SearchError(
                f"acquisition {self._origin} looks at the objective alone, and cannot keep its constraints",
                hint="choose log_ei",
            )
        self._target = problem.rungs[-1]
        self._baselines = History().new(problem.baseline_trials)
        self._baseline_ids = {trial.id for trial in self._baselines}
        designed = [trial for trial in baselines_and_design(problem, self.design) if trial.id not in self._baseline_ids]
        self._designs = [[trial for trial in designed if trial.fidelity == rung.fidelity] for rung in problem.rungs]
        self._cost_ratio = problem.target.flops / problem.rungs[0].fidelity.flops
        self._domains = len(problem.space.domains)
        self._earlier = 0 if problem.earlier is None else len(problem.earlier)
        self._warm = max(min(warm_start(self._cost_ratio, self._domains), problem.rungs[0].trials) - self._earlier, 0)
        # Below the target, and not much cheaper: no warm start, but trained as the study asks for it.
        asked_for = () if self._cost_ratio >= CHEAP or problem.pool is not None else self._designs[:-1]
        self._as_dear = [trial for designed in asked_for for trial in designed]
        # What the last question was put with: it is often put again, and what was costly to choose is passed on.
        self._learned: tuple[History, Evidence, tuple[MetricFit, ...]] | None = None
        self._unrefined: tuple[History, Proposals] | None = None
        # By trial; for the record alone, nothing is decided by it.
        self._foreseen: dict[str, tuple[float, float]] = {}

    @property
    def expected(self) -> Counter[Fidelity]:
        expected = Counter(trial.fidelity for trial in self._baselines)
        expected[self.problem.target] += self._target.trials
        expected += Counter(trial.fidelity for trial in self._as_dear)
        if self._warm:
            cheapest = self.problem.rungs[0]
            expected[cheapest.fidelity] += min(2 * self._warm + self._earlier, cheapest.trials)
        for rung in self.problem.rungs[1:-1]:
            expected[rung.fidelity] += self._share(rung)
        return expected

    def ask(self, history: History, slots: int) -> list[Trial]:
        """None while most of the warm start is being trained and nothing of it is left to ask."""
        if slots <= 0:
            return []
        known = [*self._baselines, *repeats(self.problem, history), *self._opening(history)]
        asked = history.new(known)[:slots]
        history = history.opened(*asked)
        if len(asked) < slots and not self._waits(history):
            learned = self._learn(history)
            slots -= len(asked)
            asked += self._chosen(history, slots, *learned) if learned else self._unchosen(history, slots)
        return asked

    def foreseen(self, trial: Trial) -> tuple[float, float] | None:
        return self._foreseen.get(trial.id)

    def why_over(self, history: History) -> str | None:
        from search.acquisitions.propose import Proposals

        if self._due(history) is None or (learned := self._learn(history)) is None:
            return None
        with one_thread:
            return self._over(history, Proposals.of(self.problem, self._acquisition, *learned, self.settings.trust))

    def recommend(self, history: History) -> Recommendation:
        return recommend(self.problem, gather(self.problem, history), self.settings.surrogate, self.settings.trust)

    @cached_property
    def _acquisition(self) -> Acquisition:
        return ACQUISITIONS[self._origin]()

    def _opening(self, history: History) -> list[Trial]:
        """The warm start, as long as what is known by now says that it should be; or the small design."""
        if not self._warm:
            small = min(self._domains + MORE_THAN_DOMAINS - self._earlier, self._target.trials // 2)
            return [*self._as_dear, *self._designs[-1][: max(small, 0)]]
        wanted = warm_start(self._cost_ratio, self._domains, self._carried(history)) - self._earlier
        return [replace(trial, origin="warm") for trial in self._designs[0][: max(wanted, 0)]]

    def _asked(self, history: History, rung: Rung) -> int:
        """How many of the search's trials are of this rung, baselines aside."""
        return sum(
            trial.fidelity == rung.fidelity and is_of_search(trial.seed) and trial.id not in self._baseline_ids
            for trial in history.trials
        )

    def _waits(self, history: History) -> bool:
        cheapest = self.problem.rungs[0]
        running = sum(trial.fidelity == cheapest.fidelity for trial in history.running)
        return self._warm > 0 and running > STILL_RUNNING * self._asked(history, cheapest)

    def _share(self, rung: Rung) -> int:
        """How many trials a rung between the cheapest and the target gets."""
        ratio = self.problem.target.flops / rung.fidelity.flops
        return min(int(ratio), rung.trials) if ratio >= CHEAP_BETWEEN else 0

    def _due(self, history: History) -> Rung | None:
        """The rung that the next trial is for; None when all have theirs."""
        for rung in self.problem.rungs[1:-1]:
            if self._asked(history, rung) < self._share(rung):
                return rung
        return self._target if self._asked(history, self._target) < self._target.trials else None

    def _unchosen(self, history: History, slots: int) -> list[Trial]:
        """With too little to learn from, more of the design: half of the budget at most while results may come."""
        if self._warm and history.running:
            return []
        most = self._target.trials // 2 if history.running else self._target.trials
        left = max(most - self._asked(history, self._target), 0)
        return history.new(self._designs[-1])[: min(slots, left)]

    def _chosen(self, history: History, slots: int, evidence: Evidence, fits: tuple[MetricFit, ...]) -> list[Trial]:
        """One after the other, each counted as running for the next."""
        from search.acquisitions.propose import Proposals

        if self._due(history) is None:
            return []
        running = [trial for trial in history.running if is_of_search(trial.seed)]
        asked: list[Trial] = []
        with one_thread:
            measured = Proposals.of(self.problem, self._acquisition, evidence, fits, self.settings.trust)
            if self._over(history, measured) is not None:
                return []
            proposals = measured.believing(running)
            while len(asked) < slots and (rung := self._due(history)):
                trial = self._next(history, rung, proposals)
                if trial is None:
                    break
                asked.append(trial)
                # Of the search's seed: what another does to all mixtures is not foreseen.
                if trial.fidelity == self.problem.target and trial.seed == SEARCH_SEED:
                    self._foreseen[trial.id] = proposals.foresees(trial.mixture)
                history = history.opened(trial)
                proposals = proposals.believing([trial])
        return asked

    def _next(self, history: History, rung: Rung, proposals: Proposals) -> Trial | None:
        """The next trial of a rung; None where every mixture was tried."""
        place = self._asked(history, rung) + 1
        number = self._refinement(history, place) if rung is self._target else None
        if number is not None:
            step = Trial(self._before_refining(history).refinement(number), rung.fidelity, SEARCH_SEED, REFINE)
            if history.new([step]):
                return step
        is_late = place > self._first_refined
        if rung is self._target and self.problem.pool is None and place % CONTROL_EVERY == 0 and not is_late:
            control = proposals.control(self._taken(history, rung))
            if control is not None:
                return Trial(control, rung.fidelity, SEARCH_SEED, "control")
        best = proposals.best(rung.fidelity, self._taken(history, rung), self._repeatable(history, rung))
        if best is None:
            return None
        seeds = [trial.seed for trial in history.trials if (trial.mixture, trial.fidelity) == (best, rung.fidelity)]
        # Numbers below stand for those of the baselines' repeats, so that mixtures share seeds.
        free = (seed for seed in (SEARCH_SEED, *map(of_repeat, range(1, len(seeds) + 1))) if seed not in seeds)
        return Trial(best, rung.fidelity, next(free), self._origin)

    @property
    def _has_one_best(self) -> bool:
        """Whether a single mixture is looked for, anywhere: not a whole front, nor the best of a pool to its end."""
        return self.problem.pool is None and not isinstance(self.problem.objective, Pareto)

    def _refinement(self, history: History, place: int) -> int | None:
        """Which run of the local stage the trial at the target at this place is; None where it is another trial."""
        number = sum(trial.origin == REFINE for trial in history.trials)
        return number if place > self._first_refined and number < self._refined else None

    @cached_property
    def _refined(self) -> int:
        """How many runs the local stage has."""
        refines = self.settings.refine and self._has_one_best
        return refinement_runs(self._domains, self._target.trials) if refines else 0

    @property
    def _first_refined(self) -> int:
        """After so many trials at the target the local stage begins; all of them, where there is none."""
        return self._target.trials - (self._refined + AFTER_REFINING if self._refined else 0)

    def _before_refining(self, history: History) -> Proposals:
        """What was believed before: the local stage is around one mixture, whatever its first runs say."""
        from search.acquisitions.propose import Proposals

        before = history.only(lambda trial: trial.origin != REFINE).without_running()
        if self._unrefined is None or self._unrefined[0] != before:
            # From nothing, not from the last fits: an interrupted search goes on around the same mixture.
            found = self._fitted(before, ())
            assert found is not None, "more is known than when the search began to choose"
            proposals = Proposals.of(self.problem, self._acquisition, *found, self.settings.trust)
            self._unrefined = before, proposals
        return self._unrefined[1]

    def _taken(self, history: History, rung: Rung) -> list[Mixture]:
        return [trial.mixture for trial in history.trials if trial.fidelity == rung.fidelity]

    def _repeatable(self, history: History, rung: Rung) -> list[Mixture]:
        """What was measured at the target, and is not being trained again."""
        if rung is not self._target or self.problem.pool is not None:
            return []
        running = [trial.mixture for trial in history.running]
        completed = [entry.trial for entry in history.at(rung.fidelity) if is_of_search(entry.trial.seed)]
        return list(dict.fromkeys(trial.mixture for trial in completed if trial.mixture not in running))

    def _over(self, history: History, proposals: Proposals) -> str | None:
        """Why what is left to gain is not worth a trial, because it could not be told from noise; None while it is."""
        if not self.settings.stop_when_resolved or not self._has_one_best:
            return None
        chosen = sum(trial.origin == self._origin and trial.seed == SEARCH_SEED for trial in history.trials)
        if self._due(history) is not self._target or chosen < LEAST_CHOSEN * self._domains:
            return None
        trials = sum(is_of_search(entry.trial.seed) for entry in history.at(self.problem.target))
        found = proposals.prospect
        unit = UNITS[self.problem.objective.unit]
        shown = resolved(found.run_sd, CONFIRMED_SEEDS)
        if found.beyond_baselines < shown:
            return (
                f"after {trials} trials {found.best_baseline} is within {found.beyond_baselines:.4f} {unit} of "
                f"anything that is left to find; {CONFIRMED_SEEDS} seeds of both would show {shown:.4f}"
            )
        if found.gain < WORTH_SEARCHING * found.run_sd:
            return (
                f"after {trials} trials more of them are expected to gain {found.gain:.4f} {unit} at most, where one "
                f"run is off by {found.run_sd:.4f}"
            )
        return None

    def _learn(self, history: History) -> tuple[Evidence, tuple[MetricFit, ...]] | None:
        """What is known, as the acquisition wants it, and the processes fitted to it; None where it is too little."""
        baseline = self.problem.objective.baseline
        if baseline and Trial(self.problem.baselines[baseline], self.problem.target, SEARCH_SEED) in history.running:
            return None
        known = history.without_running()
        if self._learned is None or self._learned[0] != known:
            found = self._fitted(known, () if self._learned is None else self._learned[2])
            if found is None:
                return None
            self._learned = known, *found
        return self._learned[1:]

    def _fitted(self, known: History, earlier: tuple[MetricFit, ...]) -> tuple[Evidence, tuple[MetricFit, ...]] | None:
        """The same of a history in which nothing is running; `earlier` fits are where these begin."""
        evidence = evidence_of(self.problem, known, runs_of(self.problem, known))
        if not self._acquisition.by_metric:
            evidence = _judged(evidence)
        if not enough(evidence.runs):
            return None
        return evidence, fit_metrics(evidence.runs, self.problem.seed, earlier)

    def _carried(self, history: History) -> Carried | None:
        """As `warm_start` wants it; None while it is not known."""
        if len(history.at(self.problem.target)) < FEWEST_AT_TARGET or (learned := self._learn(history)) is None:
            return None
        evidence, fits = learned
        known_N = np.isfinite(evidence.at_target_N)
        if known_N.sum() < FEWEST_AT_TARGET or any(fit.process.lines.reference == fit.process.target for fit in fits):
            return None
        predicted_NM = np.column_stack([fit.process.carried_over(evidence.runs.weights_ND[known_N]) for fit in fits])
        predicted_N = evidence.objective.value(predicted_NM, evidence.baseline_M)
        correlation = rank_correlation(predicted_N, evidence.at_target_N[known_N])
        return Carried(correlation or 0.0, float(np.mean([fit.process.explained for fit in fits])))


def _judged(evidence: Evidence) -> Evidence:
    """The same runs with the objective, in the units of their own fidelities, as their only metric."""
    runs = replace(evidence.runs, metrics=("objective",), values_NM=evidence.objective_N[:, None])
    return Evidence(runs, WeightedMean({"objective": 1.0}))
