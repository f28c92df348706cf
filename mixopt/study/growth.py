"""How the best mixture is expected to move from the proxies to the final run: evidence beside the answer.

What loads SciPy is imported where it is used: answers are shown without.
"""

from __future__ import annotations

import numpy as np

from mixopt.results.scale import ScalePath
from mixopt.study.plan import Plan
from search.errors import SearchError
from search.evidence import Evidence, evidence_of, runs_along
from search.history import History
from search.surrogates import SCALING_LAW, SURROGATES


def why_no_path(plan: Plan, history: History) -> str | None:
    """Why nothing is said of the final run; None where something is."""
    if plan.problem.goal is None:
        return "The study does not say how large the final run is: target.tokens, and target.params."
    from search.recommendation.validation import FEWEST_RUNS

    evidence = _evidence(plan, history)
    if evidence is None:
        return f"Fewer than {FEWEST_RUNS} mixtures were measured at the target."
    refusal = evidence.runs.scales.refusal
    return None if refusal is None else f"It is out of reach: {refusal}."


def path_to_final_run(plan: Plan, history: History) -> ScalePath | None:
    """By the scaling law over all proxies, and over what trials measured on their way; None where it says nothing.

    Raises:
        SearchError: a metric was measured by too few runs.
    """
    from search.recommendation.scale_path import scale_path
    from search.surrogates.loss_model import LossModel

    if why_no_path(plan, history) is not None:
        return None
    evidence = _evidence(plan, history)
    assert evidence is not None
    model = LossModel.fit(SURROGATES[SCALING_LAW](plan.problem.seed), evidence.runs)
    found = scale_path(plan.problem, evidence, model, plan.strategy.settings.trust)
    return None if found is None else ScalePath.of(found)


def _evidence(plan: Plan, history: History) -> Evidence | None:
    """None where too little was measured at the target to say anything."""
    from search.recommendation.validation import FEWEST_RUNS

    try:
        evidence = evidence_of(plan.problem, history, runs_along(plan.problem, history))
    except SearchError:
        return None
    runs = evidence.runs
    there_N = runs.at_target_N & runs.complete_N
    return evidence if len(np.unique(runs.mixture_N[there_N])) >= FEWEST_RUNS else None
