"""The MLflow store: a study is a parent run, each trial a child run, and one driver at a time the only writer.

Each record is written so that a death at any moment leaves it readable, and so that writing it again changes nothing:

    open(trial)      one request creates the child run with the whole trial in its tags, state running
    progress(...)    metrics for the dashboard; written again after a resume they are the same rows
    close(trial)     the measurement's tags and metrics first, then the state: a trial is closed when its state is

What `history()` reads are the tags alone, so the store is enough to resume from, and metrics are for people.
"""

from __future__ import annotations

import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from search.history import History
from search.trial import Failure, Loss, Measurement, Trial
from tracking import codec, names
from tracking.errors import TrackingAway, TrackingError, TrackingRefused

SCHEMA = "1"
PAGE = 1_000
RESUME = "nothing recorded is lost; when the store works again, run the same command to resume"
RENAME = "give this one another name under `study:`, or restore what was changed"
# Metric names end in a domain's or an expert's name; MLflow refuses longer keys.
LONGEST_METRIC_NAME = 250
ANSWER_WITHIN_SECONDS = 5.0
LONGEST_REASON = 160  # characters; HTTP clients put their whole state into theirs
# MLflow's client would send a request again by itself, for minutes, and a run whose creation was answered too late
# would be created twice. Who calls decides what is sent again, and looks first.
CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class Store:
    """An MLflow tracking store, and in it one experiment.

    Raises:
        TrackingError: the store does not answer.
    """

    def __init__(self, uri: str, experiment: str, artifacts: Path | None = None) -> None:
        """`artifacts`: folder for the experiment's files where the store keeps none itself (SQLite)."""
        self.uri = uri
        # The first use of a new SQLite file logs each of its tables otherwise.
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        for name, value in CLIENT_SETTINGS.items():
            os.environ.setdefault(name, value)
        if uri.startswith(("http://", "https://")):
            _ping(uri)
        elif uri.startswith("sqlite:///"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        with _answering(uri):
            self.client = MlflowClient(tracking_uri=uri)
            location = artifacts.absolute().as_uri() if artifacts is not None and uri.startswith("sqlite:") else None
            self.experiment_id = self._experiment(experiment, location)

    def _experiment(self, name: str, artifacts: str | None) -> str:
        """The id of the experiment, which is made where there is none."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return self.client.create_experiment(name, artifact_location=artifacts)
            except MlflowException as error:
                # Of several studies that begin at once, one makes it.
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self.client.get_experiment_by_name(name)
                assert found is not None, "it exists"
        return found.experiment_id

    def find(self, study: str) -> StudyRecord | None:
        """The record of the study of that name, or None."""
        with _answering(self.uri):
            runs = self.client.search_runs(
                [self.experiment_id],
                f"tags.`{names.KIND}` = '{names.KIND_STUDY}' and tags.`{names.STUDY_NAME}` = '{study}'",
                run_view_type=ViewType.ACTIVE_ONLY,
            )
        if not runs:
            return None
        oldest = min(runs, key=lambda run: (run.info.start_time, run.info.run_id))
        return StudyRecord(self, oldest)

    def tag_experiment(self, tags: Mapping[str, str]) -> None:
        """Keep something with the experiment, such as views that links open."""
        with _answering(self.uri):
            for name, value in tags.items():
                self.client.set_experiment_tag(self.experiment_id, name, value)

    def resume_or_create(self, study: str, settings: Mapping[str, Any], corpus: str) -> StudyRecord:
        """The record of that study, new or as it was left.

        Args:
            settings: what decides the study's numbers.
            corpus: the fingerprint of the tokenised corpus.

        Raises:
            TrackingError: a study of that name exists with other settings or another corpus.
        """
        record = self.find(study)
        if record is None:
            with _answering(self.uri):
                created = self.client.create_run(
                    self.experiment_id,
                    run_name=study,
                    tags={
                        names.KIND: names.KIND_STUDY,
                        names.STUDY_NAME: study,
                        names.SCHEMA_VERSION: SCHEMA,
                        names.CORPUS_FINGERPRINT: corpus,
                        **codec.to_tags(names.STUDY_SETTINGS, json.dumps(settings)),
                    },
                )
            record = self.find(study)
            assert record is not None, "it was just created"
            if record.run_id != created.info.run_id:
                # Another machine was first, between the two requests.
                with _answering(self.uri):
                    self.client.delete_run(created.info.run_id)
        record.require(settings)
        if record.tags[names.CORPUS_FINGERPRINT] != corpus:
            raise TrackingError(
                f"study {study} was begun on other text: its data have changed since",
                hint=f"results on both cannot be compared; {RENAME}",
            )
        with _answering(self.uri):
            self.client.update_run(record.run_id, status="RUNNING")
        return record


class StudyRecord:
    """One study in the store."""

    def __init__(self, store: Store, run: Run) -> None:
        self.store = store
        self.run_id: str = run.info.run_id
        self.tags: dict[str, str] = dict(run.data.tags)
        self.metrics: dict[str, float] = dict(run.data.metrics)  # as they were when this was found
        self._children: dict[str, Run] = {}

    @property
    def study(self) -> str:
        return self.tags[names.STUDY_NAME]

    def require(self, settings: Mapping[str, Any]) -> None:
        """Make sure that the study was begun with these settings, which may be a part of all.

        Raises:
            TrackingError: with the names of those that differ.
        """
        schema = self.tags.get(names.SCHEMA_VERSION)
        if schema != SCHEMA:
            raise TrackingError(
                f"study {self.study} was recorded by another version of mixopt (schema {schema}, this is {SCHEMA})",
                hint=RENAME,
            )
        recorded = self.read(names.STUDY_SETTINGS) or {}
        # What is compared has been through JSON on both sides, where tuples are lists.
        asked = json.loads(json.dumps(settings))
        changed = [name for key in asked for name in _differences(recorded.get(key), asked[key], key)]
        if changed:
            raise TrackingError(
                f"study {self.study} exists with another study file; changed: {', '.join(changed)}", hint=RENAME
            )

    def has_trials(self) -> bool:
        return next(self._child_runs(page_size=1), None) is not None

    def history(self) -> History:
        """Every trial ever opened, from the store."""
        outcomes: dict[str, Measurement | Failure] = {}
        trials: dict[str, Trial] = {}
        self._children.clear()
        for run in self._child_runs():
            tags = run.data.tags
            text = codec.from_tags(names.TRIAL, tags)
            assert text is not None, "a trial's run is created with the trial in its tags"
            trial = codec.trial_from_plain(json.loads(text))
            # Of several runs of a trial (see `_child`) one that is closed counts, else the oldest.
            if trial.id in trials and (trial.id in outcomes or not _is_closed(run)):
                continue
            self._children[trial.id] = run
            trials[trial.id] = trial
            measurement, failure = codec.from_tags(names.MEASUREMENT, tags), codec.from_tags(names.FAILURE, tags)
            if tags[names.STATE] in (names.STATE_COMPLETED, names.STATE_STOPPED) and measurement is not None:
                outcomes[trial.id] = codec.measurement_from_plain(json.loads(measurement))
            elif tags[names.STATE] == names.STATE_FAILED and failure is not None:
                outcomes[trial.id] = codec.failure_from_plain(json.loads(failure))
        return History.of(trials.values(), outcomes)

    def open(self, trial: Trial, new: bool = False, at: int | None = None) -> None:
        """Record a trial before it is launched; a trial that was opened before is running again.

        Args:
            new: it was certainly never opened, so that nobody needs to look for it.
            at: when it was launched, in ms of Unix time; now if it is not given.
        """
        with _answering(self.store.uri):
            if new or self._child(trial) is None:
                self._create(trial, at)
                return
            # Its parameters too: a death may have come between its creation and them.
            running = {names.STATE: names.STATE_RUNNING, names.NOTE: ""}
            self._log(trial, [], running, _parameters(trial))
            self.store.client.update_run(self._run_id(trial), status="RUNNING")

    def progress(self, trial: Trial, tokens: int, losses: Mapping[str, Loss]) -> None:
        """Losses in the middle of a run, for the dashboard."""
        with _answering(self.store.uri):
            self._log(trial, [(names.nats(name), loss.nats_per_token, tokens) for name, loss in losses.items()])

    def close(
        self, trial: Trial, outcome: Measurement | Failure, objective: float | None = None, at: int | None = None
    ) -> None:
        """Record what became of a trial, and when, in ms of Unix time; only its last write makes it count."""
        client = self.store.client
        with _answering(self.store.uri):
            run_id = self._run_id(trial)
            if isinstance(outcome, Measurement):
                tokens = outcome.stopped_at or trial.fidelity.tokens
                final = _measurement_metrics(outcome, objective).items()
                metrics = {(name, tokens): value for name, value in final}
                for point in outcome.curve:
                    metrics[names.TRAINING_LOSS, point.tokens] = point.training_loss
                    # In bits per byte it would be the same curve once more, and of each row MLflow makes a row.
                    metrics |= {
                        (names.nats(name), point.tokens): loss.nats_per_token for name, loss in point.losses.items()
                    }
                tags = codec.to_tags(names.MEASUREMENT, codec.to_json(codec.measurement_to_plain(outcome)))
                self._log(trial, [(name, value, step) for (name, step), value in metrics.items()], tags)
                state = names.STATE_COMPLETED if outcome.stopped_at is None else names.STATE_STOPPED
                status = "FINISHED"
            else:
                note = {names.NOTE: f"{outcome.kind.value}: {outcome.message}"}
                failure = codec.to_json(codec.failure_to_plain(outcome))
                self._log(trial, [], codec.to_tags(names.FAILURE, failure) | note)
                state, status = names.STATE_FAILED, "FAILED"
            client.set_tag(run_id, names.STATE, state)
            client.set_terminated(run_id, status, end_time=at)

    def restarted(self, trial: Trial, start: int, reason: str) -> None:
        """A trial that goes on from its checkpoint, and why."""
        with _answering(self.store.uri):
            self._log(trial, [], {names.STARTS: str(start), names.NOTE: f"start {start}: {reason}"})

    def report(self, metrics: Mapping[str, float], step: int, at: int, tags: Mapping[str, str]) -> None:
        """Metrics of the study itself, at `step` closed trials and `at` (ms of Unix time), and what it remembers."""
        with _answering(self.store.uri):
            self.store.client.log_batch(
                self.run_id,
                metrics=[Metric(name, value, at, step) for name, value in metrics.items()],
                tags=[RunTag(name, value) for name, value in tags.items()],
            )
        self.tags |= tags

    def set_tags(self, tags: Mapping[str, str]) -> None:
        with _answering(self.store.uri):
            self.store.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        self.tags |= tags

    def write(self, key: str, data: Mapping[str, Any], file: str) -> None:
        """Keep a JSON value with the study: whole in its tags, and as an artifact `file` to look at."""
        text = json.dumps(data, allow_nan=False)
        self.set_tags(codec.to_tags(key, text))
        self.attach(json.dumps(data, indent=2), file)

    def read(self, key: str) -> dict[str, Any] | None:
        """What `write` kept under that key, or None."""
        text = codec.from_tags(key, self.tags)
        return None if text is None else json.loads(text)

    def attach(self, text: str, file: str) -> None:
        """Keep a text file with the study."""
        try:
            with _answering(self.store.uri):
                self.store.client.log_text(self.run_id, text, file)
        except TrackingError:
            raise
        except Exception as error:  # each kind of artifact store raises its own
            raise TrackingAway(
                f"the MLflow store {self.store.uri} did not keep {file}: {_first_line(error)}", hint=RESUME
            ) from error

    def finish(self) -> None:
        self.end("FINISHED")

    def end(self, status: str) -> None:
        """Say how the study ended, in MLflow's words."""
        with _answering(self.store.uri):
            self.store.client.set_terminated(self.run_id, status)

    def _child_runs(self, page_size: int = PAGE) -> Iterator[Run]:
        """All trials' runs, oldest first."""
        token = None
        while True:
            with _answering(self.store.uri):
                page = self.store.client.search_runs(
                    [self.store.experiment_id],
                    f"tags.`{names.PARENT_RUN}` = '{self.run_id}' and tags.`{names.KIND}` = '{names.KIND_TRIAL}'",
                    max_results=page_size,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
            yield from page
            token = page.token
            if not token:
                return

    def _create(self, trial: Trial, at: int | None = None) -> Run:
        run = self.store.client.create_run(
            self.store.experiment_id,
            start_time=at,
            run_name=f"{trial.origin} {trial.fidelity.proxy} {trial.id[:6]}",
            tags={
                names.PARENT_RUN: self.run_id,
                names.KIND: names.KIND_TRIAL,
                names.STUDY_NAME: self.study,
                names.TRIAL_ID: trial.id,
                names.STATE: names.STATE_RUNNING,
                names.ORIGIN: trial.origin,
                names.PROXY: trial.fidelity.proxy,
                **codec.to_tags(names.TRIAL, codec.to_json(codec.trial_to_plain(trial))),
            },
        )
        self._children[trial.id] = run
        self._log(trial, [], parameters=_parameters(trial))
        return run

    def _child(self, trial: Trial) -> Run | None:
        """The run of a trial; None if there is none.

        Where a creation was answered too late, and was sent again, there are several: one that is closed is kept, else
        the oldest.
        """
        if trial.id not in self._children:
            found = self.store.client.search_runs(
                [self.store.experiment_id],
                f"tags.`{names.PARENT_RUN}` = '{self.run_id}' and tags.`{names.TRIAL_ID}` = '{trial.id}'",
                order_by=["attributes.start_time ASC"],
            )
            if not found:
                return None
            kept, *doubles = sorted(found, key=lambda run: not _is_closed(run))
            self._children[trial.id] = kept
            for double in doubles:
                self.store.client.delete_run(double.info.run_id)
        return self._children[trial.id]

    def _run_id(self, trial: Trial) -> str:
        """The run of a trial, which is made where the store has lost it."""
        run_id: str = (self._child(trial) or self._create(trial)).info.run_id
        return run_id

    def _log(
        self,
        trial: Trial,
        metrics: Sequence[tuple[str, float, int]],
        tags: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        """Write to a trial's run; metrics are (name, value, step)."""
        run_id = self._run_id(trial)
        # One timestamp for all of a run's metrics: writing a point again after a resume then adds no second row.
        timestamp = self._children[trial.id].info.start_time
        self.store.client.log_batch(
            run_id,
            metrics=[Metric(name[:LONGEST_METRIC_NAME], value, timestamp, step) for name, value, step in metrics],
            params=[Param(name, value) for name, value in (parameters or {}).items()],
            tags=[RunTag(name, value) for name, value in (tags or {}).items()],
        )


def _is_closed(run: Run) -> bool:
    return bool(run.data.tags[names.STATE] != names.STATE_RUNNING)


def _parameters(trial: Trial) -> dict[str, str]:
    """What the dashboard shows of a trial beside its metrics."""
    return {
        "proxy": trial.fidelity.proxy,
        "tokens": str(trial.fidelity.tokens),
        "params": str(trial.fidelity.params),
        "seed": str(trial.seed),
        **{names.weight(domain): f"{weight:.4f}" for domain, weight in trial.mixture.as_dict().items()},
    }


def _measurement_metrics(measurement: Measurement, objective: float | None) -> dict[str, float]:
    return {
        **{names.nats(name): loss.nats_per_token for name, loss in measurement.losses.items()},
        **{names.bits_per_byte(name): loss.bits_per_byte for name, loss in measurement.losses.items()},
        **{names.tokens(domain): float(count) for domain, count in measurement.domain_tokens.items()},
        **{names.epochs(domain): epochs for domain, epochs in measurement.domain_epochs.items()},
        **{names.diagnostic(name): value for name, value in measurement.diagnostics.items()},
        names.FLOPS: measurement.flops,
        names.SECONDS: measurement.seconds,
        **({names.OBJECTIVE: objective} if objective is not None else {}),
    }


def _differences(before: Any, after: Any, path: str = "") -> list[str]:
    """The dotted names of the settings in which two trees of settings differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            difference
            for key in [*before, *(key for key in after if key not in before)]
            for difference in _differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
        ]
    return [] if before == after else [path]


def _ping(uri: str) -> None:
    """MLflow's client retries for minutes; a server that is not there is noticed in seconds."""
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=ANSWER_WITHIN_SECONDS):
            return
    except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError) as error:
        raise TrackingAway(
            f"no MLflow server answers at {uri} ({error})",
            hint="start it, or correct tracking.uri or $MLFLOW_TRACKING_URI",
        ) from error


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, SQLAlchemyError, ConnectionError, RequestException) as error:
        status: int = error.get_http_status_code() if isinstance(error, MlflowException) else 500  # type: ignore[no-untyped-call]
        if 400 <= status < 500 and status not in (408, 429):
            raise TrackingRefused(f"the MLflow store {uri} refused: {_first_line(error)}", hint=RESUME) from error
        raise TrackingAway(f"the MLflow store {uri} does not work: {_first_line(error)}", hint=RESUME) from error


def _first_line(error: Exception) -> str:
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}..."
