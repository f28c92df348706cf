"""The report of a study: what a person looks at.

plan, history, answer document --> summary.py --> content.py --> decision.py, evidence.py --> page.py --> HTML
                                                                 parts.py, figures.py         page.html, style.css
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixopt.assemble import Plan
from search.history import History
from search.recommend import Predictor


def report_page(plan: Plan, history: History, document: Mapping[str, Any], predictor: Predictor | None = None) -> str:
    """The report as HTML.

    Args:
        document: that of mixopt.answer.
        predictor: what the answer rests on, where it is still there; otherwise it is fitted again.

    Raises:
        SearchError, TrackingError: the surrogate cannot be fitted again, or the study's journal is damaged.
    """
    from mixopt.report.page import render
    from mixopt.report.summary import summarise

    return render(summarise(plan, history, document, predictor))
