"""The MLflow store, which people look at: a study is a parent run, each trial a child run.

Each write leaves the store readable wherever a death cuts it off, and changes nothing when it is made again:

    open(trial)      one request creates the child run, state running
    progress(...)    metrics for the dashboard; written again after a resume they are the same rows
    close(trial)     the measurement's metrics first, then the state: a trial is closed when its state is
    keep(journal)    the journal as a compressed artifact under one of two names, then the tag that says which of them

What a study is resumed from is its journal (tracking/journal.py), or the copy of it that `keep` left here. Studies that
began with a version before 0.2 have none: tracking/legacy.py reads them from the tags of their runs.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import zstandard
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LifecycleStage, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from search.errors import LONGEST_REASON, first_line
from search.trial import Failure, Loss, Measurement, Trial
from tracking import keys
from tracking.address import sqlite_file, with_driver
from tracking.database import MOVE_IT, damage, require_database
from tracking.entries import Entry
from tracking.errors import TrackingAway, TrackingError, TrackingRefused
from tracking.journal import Journal, checked_lines, entries_in, subject_in
from tracking.legacy import entries_in_tags, subject_in_tags
from tracking.record import Record, Subject

PAGE = 1_000
RESUME = "nothing recorded is lost; when the store works again, run the same command to resume"
NOT_LET_IN = (401, 403)
LOG_IN = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, of a user who may write"
# Metric names end in a domain's or an expert's name; MLflow refuses longer keys.
LONGEST_METRIC_NAME = 250
# MLflow's limits of a data set's fields, and of how many come with one request.
LONGEST_DIGEST, LONGEST_SOURCE, DATASETS_AT_ONCE = 36, 60_000, 100
ANSWER_WITHIN_SECONDS = 5.0
MADE_WITHIN_SECONDS = 120.0  # the tables of a new SQLite store
LONGEST_IN_NOTE = 2_000  # characters of a message, and of the end of a traceback: MLflow takes 5,000 in a tag
# A copy of the journal that is renewed while it is read is read once more.
READ_AGAIN = 3
AT_THE_STUDY = "look at it where the study runs; its journal has everything"
# MLflow's client would send a request again by itself, for minutes, and a run whose creation was answered too late
# would be created twice. Who calls decides what is sent again, and looks first.
CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # What is sent, and the login that it is sent with, is for the server that was named.
    "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass(frozen=True)
class Copy:
    """A copy of a study's journal that the store keeps.

    Attributes:
        file: the artifact.
        entries: how many it has.
        sha256: of the compressed file.
        journal: id of the journal that it is a copy of.
        last: the checksum of its last line, by which a journal is known that goes on there; "" where it was not kept.
    """

    file: str
    entries: int
    sha256: str
    journal: str
    last: str = ""


@dataclass(frozen=True)
class PoolShown:
    """A pool of text as MLflow's page shows it, a data set of the study; no text is copied.

    Attributes:
        digest: of its tokens, or of what is said of it.
        source: where it lies, as the study file says it.
        profile: numbers of it, such as its documents and tokens.
    """

    name: str
    digest: str
    source: str
    profile: Mapping[str, float | int | str]


class Store:
    """An MLflow tracking store, and in it one experiment.

    Raises:
        TrackingError: the store does not answer.
    """

    def __init__(self, uri: str, experiment: str, artifacts: Path | None = None) -> None:
        """`artifacts`: folder for the experiment's files where the store keeps none itself (SQLite)."""
        self.uri = uri
        if (file := sqlite_file(uri)) is not None:
            _be_quiet()
            _make_database(file)
        with _answering(uri):
            self.client = _connect(uri)
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
        if found.lifecycle_stage == LifecycleStage.DELETED:
            raise TrackingError(
                f"the MLflow experiment {name} in {self.uri} was deleted",
                hint=f"MLFLOW_TRACKING_URI={self.uri} mlflow experiments restore --experiment-id "
                f"{found.experiment_id}, or name another under tracking.experiment",
            )
        return found.experiment_id

    def find(self, study: str) -> StudyRun | None:
        """The run of the study of that name, or None."""
        with _answering(self.uri):
            runs = self.client.search_runs(
                [self.experiment_id],
                f"tags.`{keys.KIND}` = '{keys.KIND_STUDY}' and tags.`{keys.STUDY_NAME}` = '{study}'",
                run_view_type=ViewType.ACTIVE_ONLY,
            )
        if not runs:
            return None
        oldest = min(runs, key=lambda run: (run.info.start_time, run.info.run_id))
        return StudyRun(self, oldest)

    def studies(self) -> list[StudyRun]:
        """The studies of the experiment, by name; of two runs of one name the older."""
        found: dict[str, StudyRun] = {}
        token: str | None = None
        while True:
            with _answering(self.uri):
                page = self.client.search_runs(
                    [self.experiment_id],
                    f"tags.`{keys.KIND}` = '{keys.KIND_STUDY}'",
                    run_view_type=ViewType.ACTIVE_ONLY,
                    max_results=PAGE,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
            for run in page:
                if run.data.tags.get(keys.STUDY_NAME):
                    found.setdefault(run.data.tags[keys.STUDY_NAME], StudyRun(self, run))
            token = page.token
            if not token:
                return [found[name] for name in sorted(found)]

    def tag_experiment(self, tags: Mapping[str, str]) -> None:
        """Keep something with the experiment, such as views that links open."""
        with _answering(self.uri):
            for name, value in tags.items():
                self.client.set_experiment_tag(self.experiment_id, name, value)

    def find_or_create(self, study: str) -> StudyRun:
        """The run of the study of that name, which is made where there is none."""
        run = self.find(study)
        if run is None:
            with _answering(self.uri):
                created = self.client.create_run(
                    self.experiment_id,
                    run_name=study,
                    tags={keys.KIND: keys.KIND_STUDY, keys.STUDY_NAME: study, keys.SCHEMA_VERSION: keys.SCHEMA},
                )
            run = self.find(study)
            assert run is not None, "it was just created"
            if run.run_id != created.info.run_id:
                # Another machine was first, between the two requests.
                with _answering(self.uri):
                    self.client.delete_run(created.info.run_id)
        return run


def count_experiments(uri: str) -> int:
    """How many experiments a store has, a thousand at most; nothing is made in it.

    Raises:
        TrackingError: it does not answer, or is none that this MLflow can read.
    """
    with _answering(uri):
        return len(_connect(uri).search_experiments(max_results=PAGE))


def _connect(uri: str) -> MlflowClient:
    """
    Raises:
        TrackingError: no MLflow server, or database, answers there.
    """
    _be_quiet()
    for name, value in CLIENT_SETTINGS.items():
        os.environ.setdefault(name, value)
    if uri.startswith(("http://", "https://")):
        _ping(uri)
    else:
        require_database(uri)
    return MlflowClient(tracking_uri=with_driver(uri))


def _be_quiet() -> None:
    # The first use of a new SQLite file logs each of its tables otherwise.
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Of each statement that a database does not take, its traceback; what is raised says it in one line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


class StudyRun:
    """One study in the store.

    Attributes:
        tags: as they were when this was found, and as they were written since.
    """

    def __init__(self, store: Store, run: Run) -> None:
        self.store = store
        self.run_id: str = run.info.run_id
        self.tags: dict[str, str] = dict(run.data.tags)
        self._children: dict[str, Run] = {}

    @property
    def study(self) -> str:
        return self.tags[keys.STUDY_NAME]

    def current_tags(self) -> dict[str, str]:
        """Its tags as they are now; `tags` stay as they were."""
        with _answering(self.store.uri):
            return dict(self.store.client.get_run(self.run_id).data.tags)

    def record(self) -> Record | None:
        """The whole record; as `entries`."""
        found = self.entries()
        if found is None:
            return None
        now = self.tags.get(keys.NOW) if self.tags.get(keys.DRIVER) else None
        return replace(Record.of(*found), now=now)

    def entries(self) -> tuple[Subject, list[Entry]] | None:
        """Everything that was recorded of the study, in one download; None where nothing was recorded yet.

        Raises:
            TrackingError: it was recorded by a version of mixopt that is not known here, or the copy is damaged.
        """
        if self._is_of_before:
            return subject_in_tags(self.tags), list(entries_in_tags(self.tags, self.child_runs()))
        journal = self._journal()
        if journal is None:
            return None
        where = (journal, self._copy_name, AT_THE_STUDY)
        return subject_in(*where), list(entries_in(*where))

    def subject(self) -> Subject | None:
        """What the study is about, as `entries`; None where nothing was recorded yet."""
        if self._is_of_before:
            return subject_in_tags(self.tags)
        journal = self._journal()
        return None if journal is None else subject_in(journal, self._copy_name, AT_THE_STUDY)

    @property
    def _is_of_before(self) -> bool:
        """Whether a version before 0.2 recorded it, in tags."""
        return self.tags.get(keys.SCHEMA_VERSION) == keys.SCHEMA_BEFORE

    @property
    def _copy_name(self) -> str:
        return f"the record of study {self.study} in {self.store.uri}"

    def _journal(self) -> io.BytesIO | None:
        """The copy of the journal, unpacked; None where there is none yet."""
        schema = self.tags.get(keys.SCHEMA_VERSION)
        if schema != keys.SCHEMA:
            raise TrackingError(
                f"study {self.study} was recorded by another version of mixopt (schema {schema}, this is "
                f"{keys.SCHEMA})",
                hint="read it with that version, or give this one another name under `study:`",
            )
        copy = self.copy()
        for _ in range(READ_AGAIN):
            if copy is None:
                return None
            compressed = self._download(copy.file)
            if hashlib.sha256(compressed).hexdigest() == copy.sha256:
                with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(compressed)) as stream:
                    return io.BytesIO(stream.read())
            self.tags = self.current_tags()  # it was renewed meanwhile
            copy = self.copy()
        raise TrackingError(
            f"{self._copy_name} is damaged: {copy.file if copy else 'its copy'} is not what was kept",
            hint=AT_THE_STUDY,
        )

    def keep(self, journal: Journal, check: Callable[[], None] = lambda: None) -> int:
        """Copy the journal as it is now to the store, whole and compressed; returns how many entries it has.

        Args:
            check: raises where the study is another driver's by now; asked before the copy counts.

        Raises:
            DamagedJournal: a line of it is not what was written.
        """
        checked = checked_lines(journal.path)
        compressed = zstandard.ZstdCompressor(write_checksum=True).compress(checked.text)
        # Never over the copy that the tag names: a death in the middle must leave that one whole. Nor over that of
        # another journal, whose driver may have taken the study over just now.
        last, names = self.copy(), keys.copies(journal.id)
        file = names[1] if last is not None and last.file == names[0] else names[0]
        folder, _, name = file.rpartition("/")
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / name
            path.write_bytes(compressed)
            with self._keeping(file):
                self.store.client.log_artifact(self.run_id, str(path), folder)
        check()
        copy = Copy(file, checked.entries, hashlib.sha256(compressed).hexdigest(), journal.id, checked.last)
        self.set_tags({keys.COPY: json.dumps(copy.__dict__)})
        return checked.entries

    def copy(self) -> Copy | None:
        """The last copy of the journal; None where there is none yet."""
        text = self.tags.get(keys.COPY)
        try:
            return None if text is None else Copy(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise TrackingError(f"study {self.study}: the tag {keys.COPY} is not as it was written") from error

    def read(self, file: str) -> str:
        """A text file that was kept with the study.

        Raises:
            TrackingError: the store does not give it.
        """
        return self._download(file).decode(errors="replace")

    def _download(self, file: str) -> bytes:
        """An artifact, whole."""
        with tempfile.TemporaryDirectory() as directory:
            try:
                with _answering(self.store.uri):
                    path = self.store.client.download_artifacts(self.run_id, file, directory)
                return Path(path).read_bytes()
            except TrackingError:
                raise
            except Exception as error:  # each kind of artifact store raises its own
                reason = first_line(error, LONGEST_REASON)
                raise TrackingAway(
                    f"the MLflow store {self.store.uri} did not give {file}: {reason}", hint=RESUME
                ) from error

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
            running = {keys.STATE: keys.STATE_RUNNING, keys.NOTE: ""}
            self._log(trial, [], running, _parameters(trial))
            self.store.client.update_run(self._run_id(trial), status="RUNNING")

    def progress(self, trial: Trial, tokens: int, losses: Mapping[str, Loss]) -> None:
        """Losses in the middle of a run, for the dashboard."""
        with _answering(self.store.uri):
            self._log(trial, [(keys.nats(name), loss.nats_per_token, tokens) for name, loss in losses.items()])

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
                    metrics[keys.TRAINING_LOSS, point.tokens] = point.training_loss
                    # In bits per byte it would be the same curve once more, and of each row MLflow makes a row.
                    metrics |= {
                        (keys.nats(name), point.tokens): loss.nats_per_token for name, loss in point.losses.items()
                    }
                self._log(trial, [(name, value, step) for (name, step), value in metrics.items()])
                state = keys.STATE_COMPLETED if outcome.stopped_at is None else keys.STATE_STOPPED
                status = "FINISHED"
            else:
                note = {keys.NOTE: _failure_note(outcome)}
                self._log(trial, [], note)
                state, status = keys.STATE_FAILED, "FAILED"
            client.set_tag(run_id, keys.STATE, state)
            client.set_terminated(run_id, status, end_time=at)

    def interrupt(self, trial: Trial) -> None:
        """Show that nobody trains the trial at present; `open` shows that it runs again."""
        with _answering(self.store.uri):
            run_id = self._run_id(trial)
            self.store.client.set_tag(run_id, keys.STATE, keys.STATE_INTERRUPTED)
            self.store.client.set_terminated(run_id, "KILLED")

    def restarted(self, trial: Trial, start: int, reason: str) -> None:
        """A trial that goes on from its checkpoint, and why."""
        with _answering(self.store.uri):
            self._log(trial, [], {keys.STARTS: str(start), keys.NOTE: f"start {start}: {reason}"})

    def log_metrics(self, metrics: Mapping[str, float], step: int, at: int, tags: Mapping[str, str]) -> None:
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

    def show_pools(self, pools: Sequence[PoolShown]) -> None:
        """The pools as the run's data sets; shown again they are the same."""
        datasets = [
            DatasetInput(
                Dataset(
                    pool.name,
                    pool.digest[:LONGEST_DIGEST],
                    "external" if "://" in pool.source else "local",
                    json.dumps({"uri": pool.source})[:LONGEST_SOURCE],
                    profile=json.dumps(dict(pool.profile)),
                ),
                [InputTag(keys.DATASET_CONTEXT, "training")],
            )
            for pool in pools
        ]
        with _answering(self.store.uri):
            for first in range(0, len(datasets), DATASETS_AT_ONCE):
                self.store.client.log_inputs(self.run_id, datasets[first : first + DATASETS_AT_ONCE])

    def attach(self, text: str, file: str) -> None:
        """Keep a text file with the study."""
        with self._keeping(file):
            self.store.client.log_text(self.run_id, text, file)

    @contextmanager
    def _keeping(self, file: str) -> Iterator[None]:
        """Whatever an artifact store raises becomes a TrackingError."""
        try:
            with _answering(self.store.uri):
                yield
        except TrackingError:
            raise
        except Exception as error:  # each kind of artifact store raises its own
            reason = first_line(error, LONGEST_REASON)
            raise TrackingAway(
                f"the MLflow store {self.store.uri} did not keep {file}: {reason}", hint=RESUME
            ) from error

    def begin(self) -> None:
        """Say that the study runs."""
        with _answering(self.store.uri):
            self.store.client.update_run(self.run_id, status="RUNNING", name=self.study)

    def end(self, status: str) -> None:
        """Say how the study ended, in MLflow's words."""
        with _answering(self.store.uri):
            self.store.client.set_terminated(self.run_id, status)

    def child_runs(self, page_size: int = PAGE) -> Iterator[Run]:
        """All trials' runs, oldest first."""
        token = None
        while True:
            with _answering(self.store.uri):
                page = self.store.client.search_runs(
                    [self.store.experiment_id],
                    f"tags.`{keys.PARENT_RUN}` = '{self.run_id}' and tags.`{keys.KIND}` = '{keys.KIND_TRIAL}'",
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
                keys.PARENT_RUN: self.run_id,
                keys.KIND: keys.KIND_TRIAL,
                keys.STUDY_NAME: self.study,
                keys.TRIAL_ID: trial.id,
                keys.STATE: keys.STATE_RUNNING,
                keys.ORIGIN: trial.origin,
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
                f"tags.`{keys.PARENT_RUN}` = '{self.run_id}' and tags.`{keys.TRIAL_ID}` = '{trial.id}'",
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


def _failure_note(failure: Failure) -> str:
    """What stands at the head of a failed trial's page, in Markdown: why it failed, and the end of its traceback."""
    said = f"{failure.kind.value}: {failure.message}"[:LONGEST_IN_NOTE]
    if not failure.traceback:
        return said
    return f"{said}\n\n```\n{failure.traceback[-LONGEST_IN_NOTE:].replace('```', '')}\n```"


def _is_closed(run: Run) -> bool:
    return run.data.tags[keys.STATE] not in (keys.STATE_RUNNING, keys.STATE_INTERRUPTED)


def _parameters(trial: Trial) -> dict[str, str]:
    """What the dashboard shows of a trial beside its metrics."""
    return {
        keys.PARAM_PROXY: trial.fidelity.proxy,
        keys.PARAM_TOKENS: str(trial.fidelity.tokens),
        keys.PARAM_PARAMS: str(trial.fidelity.params),
        keys.PARAM_SEED: str(trial.seed),
        **{keys.weight(domain): f"{weight:.4f}" for domain, weight in trial.mixture.as_dict().items()},
    }


def _measurement_metrics(measurement: Measurement, objective: float | None) -> dict[str, float]:
    return {
        **{keys.nats(name): loss.nats_per_token for name, loss in measurement.losses.items()},
        **{keys.bits_per_byte(name): loss.bits_per_byte for name, loss in measurement.losses.items()},
        **{keys.tokens(domain): float(count) for domain, count in measurement.domain_tokens.items()},
        **{keys.epochs(domain): epochs for domain, epochs in measurement.domain_epochs.items()},
        **{keys.diagnostic(name): value for name, value in measurement.diagnostics.items()},
        keys.FLOPS: measurement.flops,
        keys.SECONDS: measurement.seconds,
        **({keys.OBJECTIVE: objective} if objective is not None else {}),
    }


def _ping(uri: str) -> None:
    """MLflow's client retries for minutes; a server that is not there is noticed in seconds.

    Asked by MLflow's own client, so that it goes by the same certificates, proxies and logins as all that follows.
    """
    hint = "start it, or correct tracking.uri or $MLFLOW_TRACKING_URI"
    try:
        answer = http_request(  # type: ignore[no-untyped-call]
            get_default_host_creds(uri),  # type: ignore[no-untyped-call]
            "/health",
            "GET",
            max_retries=0,
            timeout=ANSWER_WITHIN_SECONDS,
            raise_on_status=False,
        )
    except (MlflowException, RequestException, OSError, ValueError) as error:
        raise TrackingAway(f"no MLflow server answers at {uri} ({_reason(error)})", hint=hint) from error
    if answer.is_redirect:
        raise TrackingError(
            f"the MLflow server at {uri} redirects to {answer.headers['Location']}, where no login is sent",
            hint="give the address that answers by itself in tracking.uri or $MLFLOW_TRACKING_URI",
        )
    if answer.status_code in NOT_LET_IN:
        raise TrackingRefused(f"the MLflow server at {uri} asks who you are (status {answer.status_code})", LOG_IN)
    if answer.status_code != 200:
        raise TrackingAway(f"no MLflow server answers at {uri} (status {answer.status_code})", hint=hint)


def _make_database(path: Path) -> None:
    """A new SQLite store under another name until its tables are there: a death in between leaves nothing half-made.

    Raises:
        TrackingError: the database is damaged, or another process makes it and does not come to an end.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return  # another process made it meanwhile
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        try:
            with _answering(f"sqlite:///{path}"):
                MlflowClient(tracking_uri=f"sqlite:///{temporary}").search_experiments(max_results=1)
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """
    Raises:
        TrackingError: another process holds the lock, and does not let go of it.
    """
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(lock, timeout=MADE_WITHIN_SECONDS))
        except Timeout as error:
            raise TrackingError(
                f"another process has been making the MLflow store beside {lock} for {MADE_WITHIN_SECONDS:g} s",
                hint="wait for it, or end it, then run this again",
            ) from error
        yield


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, SQLAlchemyError, ConnectionError, RequestException) as error:
        if damaged := damage(uri, error):
            raise TrackingError(f"the MLflow store {uri} is damaged: {damaged}", hint=MOVE_IT) from error
        if "out-of-date database schema" in str(error):
            raise TrackingError(
                f"the MLflow store {uri} is of another version of MLflow than the one here",
                hint=f"of an older one: back it up, then mlflow db upgrade {uri}; of a newer one: install that",
            ) from error
        status: int = error.get_http_status_code() if isinstance(error, MlflowException) else 500  # type: ignore[no-untyped-call]
        if status in NOT_LET_IN:
            raise TrackingRefused(f"the MLflow store {uri} does not let you in (status {status})", LOG_IN) from error
        if "RESOURCE_DOES_NOT_EXIST" in str(error):
            raise TrackingRefused(
                f"the MLflow store {uri} no longer has what this study recorded there: {_reason(error)}",
                hint="is it another database than before? Start it with that one; or run again, and this one gets all",
            ) from error
        if 400 <= status < 500 and status not in (408, 429):
            raise TrackingRefused(f"the MLflow store {uri} refused: {_reason(error)}", hint=RESUME) from error
        raise TrackingAway(f"the MLflow store {uri} does not work: {_reason(error)}", hint=RESUME) from error


def _reason(error: Exception) -> str:
    return first_line(_why_unanswered(error) or error, LONGEST_REASON)


def _why_unanswered(error: BaseException) -> BaseException | None:
    """Of a request that was not answered the innermost error, in the system's own words, such as "timed out".

    What MLflow and `requests` say around it begins with long addresses. None where no request failed.
    """
    asking, inner = isinstance(error, RequestException), error
    while (further := inner.__cause__ if inner.__suppress_context__ else inner.__context__) is not None:
        inner = further
        asking = asking or isinstance(inner, RequestException)
    return inner if asking else None
