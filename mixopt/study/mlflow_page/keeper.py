"""Keeps the study's page in the dashboard up to date: metrics, the description, the predicted optimum."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from mixopt.results.answer import Answer
from mixopt.study.clock import Seconds
from mixopt.study.forecast import Forecaster
from mixopt.study.mlflow_page.tally import Tally
from mixopt.study.mlflow_page.text import describe_answer, describe_study, forecast_metrics, progress_metrics, title_of
from mixopt.study.mlflow_page.views import links_for
from mixopt.study.plan import Plan
from search.history import History
from search.problem import Standing
from search.recommendation.recommendation import Recommendation
from search.trial import Failure, Measurement, Trial
from tracking import keys
from tracking.recorder import Recorder

# A description is long, and nobody reads it so often.
DESCRIBE_SECONDS = 10.0


class PageKeeper(AbstractContextManager["PageKeeper"]):
    """Told what happens to trials. A context, which ends the forecasts.

    Args:
        restarts: how often trials went on from their checkpoints before.
        seconds: how long the study has run.
    """

    def __init__(
        self, plan: Plan, recorder: Recorder, history: History, restarts: int, seconds: Callable[[], Seconds]
    ) -> None:
        self._plan = plan
        self._recorder = recorder
        self._seconds = seconds
        self._tally = Tally(plan, history, restarts)
        self._forecaster = Forecaster(plan.strategy)
        self._shown: Recommendation | None = None
        self._described = time.monotonic()
        self._is_stale = False

    def opened(self, trial: Trial) -> None:
        self._tally.opened(trial)
        self._is_stale = True

    def restarted(self) -> None:
        self._tally.restarted()
        self._is_stale = True

    def closed(self, trial: Trial, outcome: Measurement | Failure, standing: Standing | None, history: History) -> None:
        """`history` knows of it already."""
        self._tally.closed(trial, outcome, standing, history)
        if self._plan.file.executor.kind != "external":  # whose turns are over before a forecast is computed
            self._forecaster.consider(history)
        forecast, seconds = self._forecaster.latest, self._seconds()
        metrics = progress_metrics(self._plan, self._tally, forecast, seconds)
        if forecast is not None and forecast is not self._shown:
            self._shown = forecast
            metrics |= forecast_metrics(forecast)
        self._recorder.log_metrics(metrics, self._ended, seconds.tags)
        self._is_stale = True

    def refresh(self) -> None:
        """Write the description anew where something has changed, and the last one stood long enough."""
        if self._is_stale and time.monotonic() - self._described > DESCRIBE_SECONDS:
            self._is_stale, self._described = False, time.monotonic()
            forecast, remark = self._forecaster.latest, self._forecaster.remark
            self._recorder.describe(
                describe_study(self._plan, self._tally, self._seconds(), forecast, remark, self._links())
            )

    def answered(self, answer: Answer) -> None:
        self._recorder.log_metrics(
            {}, self._ended, {keys.NOTE: describe_answer(answer, self._links()), keys.RUN_NAME: title_of(answer)}
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forecaster.close()

    def _links(self) -> dict[str, str]:
        return links_for(self._plan.file, self._recorder.experiment_id)  # of a store that may have been away before

    @property
    def _ended(self) -> int:
        return self._tally.searched + self._tally.confirmed
