"""The report of a study: what a person looks at.

plan, history, answer --> gather.py --> content.py --> decision.py, sections.py --> page.py --> HTML
                                                       elements.py, plots.py        page.html, style.css
"""

from __future__ import annotations

from mixopt.base.errors import ConfigError
from mixopt.report.content import Content
from mixopt.results.answer import Answer
from mixopt.settings.schema import StudyFile
from mixopt.study.answer import answer_so_far
from mixopt.study.corpus import find_corpus
from mixopt.study.plan import Plan
from mixopt.study.planning import assemble
from search.history import History
from search.recommendation.recommend import Predictor
from tracking.record import Record


def report_page(plan: Plan, history: History, answer: Answer, predictor: Predictor | None = None) -> str:
    """The report as HTML.

    Args:
        predictor: what the answer rests on, where it is still there; otherwise it is fitted again.

    Raises:
        SearchError, TrackingError: the surrogate cannot be fitted again, or the study's journal is damaged.
    """
    from mixopt.report.gather import summarise
    from mixopt.report.page import render

    return render(summarise(plan, history, answer, predictor))


def report_content(file: StudyFile, record: Record) -> Content:
    """What the report says of a study that has run, or runs.

    Raises:
        ConfigError: its tokens are not here.
        SearchError, TrackingError: as report_page, or there is nothing to report yet.
    """
    from mixopt.report.gather import summarise

    corpus = find_corpus(file)
    if corpus is None:
        raise ConfigError(
            f"the tokens of study {file.study} are not prepared here, or its text has changed",
            hint=f"write the report where the study ran, or: mixopt prepare {file.file}",
        )
    return summarise(assemble(file, corpus), record.history, answer_so_far(file, record))
