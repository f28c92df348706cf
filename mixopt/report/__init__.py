"""The report of a study: what a person looks at.

plan, history, answer document --> summary.py --> content.py --> decision.py, evidence.py --> page.py --> HTML
                                                                 parts.py, figures.py         page.html, style.css
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixopt.answer import answer_so_far
from mixopt.assemble import Plan, assemble, find_corpus
from mixopt.config import StudyFile
from mixopt.errors import ConfigError
from mixopt.recording import known
from mixopt.report.content import Content
from search.history import History
from search.recommend import Predictor
from tracking.store import StudyRecord


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


def report_content(file: StudyFile, record: StudyRecord) -> Content:
    """What the report says of a study that has run, or runs.

    Raises:
        ConfigError: its tokens are not here.
        SearchError, TrackingError: as report_page, or there is nothing to report yet.
    """
    from mixopt.report.summary import summarise

    corpus = find_corpus(file)
    if corpus is None:
        raise ConfigError(
            f"the tokens of study {file.study} are not prepared here, or its text has changed",
            hint=f"write the report where the study ran, or: mixopt prepare {file.file}",
        )
    return summarise(assemble(file, corpus), known(file, record), answer_so_far(file, record))
