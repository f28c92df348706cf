"""Studies on a Ray cluster, as Ray Jobs: submit, find, watch, stop.

Job number n of a study is `mixopt-<study>-<n>`. Ray takes each id once, so that two people who submit the same study at
the same moment get the same job; a job that ended is followed by number n + 1, which goes on where the study was left.
The head's HTTP interface is asked directly, with a time limit: Ray's own client would wait for ever for a head that is
not there. It ships the files and follows the log.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import logging
import os
import re
import shlex
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mixopt.config import JOB_VARIABLE, ExecutorSettings, StudyFile
from mixopt.errors import ConfigError
from mixopt.ray_access import MODE_VARIABLE, use_cluster_token

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"

STUDY, EXPERIMENT, SETTINGS = "mixopt.study", "mixopt.experiment", "mixopt.settings"  # metadata of a job
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")

ANSWER_WITHIN_SECONDS = 10.0
STOP_WITHIN_SECONDS = 60.0
AWAY_AT_MOST_SECONDS = 120.0
LOOK_AGAIN_SECONDS = 1.0
SILENCE_SECONDS = 60.0


class ClusterAway(ConfigError):
    """The head does not answer."""


@dataclass(frozen=True)
class StudyJob:
    """One submission of a study.

    Attributes:
        number: which one; the later ones resumed the study.
        state: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        message: Ray's explanation of the state, with the end of the log where it failed.
        settings: digest of the study file's settings.
    """

    study: str
    number: int
    state: str
    message: str
    experiment: str
    settings: str
    started: datetime | None
    ended: datetime | None

    @property
    def id(self) -> str:
        return _job_id(self.study, self.number)

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    def as_document(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "job": self.id,
            "state": self.state,
            "message": self.message,
            "attempts": self.number,
            "started": self.started and self.started.isoformat(timespec="seconds"),
            "ended": self.ended and self.ended.isoformat(timespec="seconds"),
            "experiment": self.experiment,
        }


class Cluster:
    """The head of a Ray cluster.

    Raises:
        ConfigError: the address is none, or the cluster's token is not at hand.
    """

    def __init__(self, address: str) -> None:
        if not re.match(r"https?://[^/\s]+/?$", address):
            raise ConfigError(
                f"--address {address} is not the address of a cluster's head", hint="write it as http://head:8265"
            )
        self.address = address.rstrip("/")
        self._token = use_cluster_token()

    def jobs(self) -> list[StudyJob]:
        """The latest job of each study, by name."""
        found: dict[str, StudyJob] = {}
        for answer in self._ask("/api/jobs/"):
            job = _study_job(answer)
            if job is not None and (job.study not in found or found[job.study].number < job.number):
                found[job.study] = job
        return [found[study] for study in sorted(found)]

    def job(self, study: str) -> StudyJob:
        """The study's latest job.

        Raises:
            ConfigError: it has none.
        """
        job = self._latest(study)
        if job is None:
            raise ConfigError(
                f"study {study} was never submitted to {self.address}",
                hint="mixopt list shows which were; a head that was replaced has forgotten all: submit it again",
            )
        return job

    def submit(self, file: StudyFile, retry_failed: bool = False) -> tuple[StudyJob, bool]:
        """The study's job, and whether it is a new one: a study that waits or runs gets no second one.

        Raises:
            ConfigError, ProxyError, SearchError: something is wrong with the file, it runs with other settings, its
                trials fit on no node, or its files cannot travel.
        """
        from mixopt.assemble import check
        from mixopt.shipment import check_submittable, without_absent_runs

        check_submittable(file)
        settings = _digest(file)
        latest = self._latest(file.study)
        if latest is not None and not latest.has_ended:
            return _same(latest, settings), False
        check(without_absent_runs(file))
        self._require_room(file.executor)
        number = latest.number + 1 if latest else 1
        try:
            self._submit(file, _job_id(file.study, number), settings, retry_failed)
        except RuntimeError as error:
            other = self._latest(file.study)
            if other is None or other.number != number:
                reason = str(error).splitlines()[0]
                raise ConfigError(
                    f"{self.address} refused study {file.study}: {reason}", hint="look at the head's logs"
                ) from error
            return _same(other, settings), False  # somebody else was first, just now
        return self.job(file.study), True

    def stop(self, job: StudyJob) -> StudyJob:
        """The job once it has ended; what it recorded is kept.

        Raises:
            ConfigError: it does not end.
        """
        if not job.has_ended:
            self._ask(f"/api/jobs/{job.id}/stop", "POST")
        deadline = time.monotonic() + STOP_WITHIN_SECONDS
        while not job.has_ended:
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"{job.id} is still {job.state} after {STOP_WITHIN_SECONDS:.0f} s", hint="look into its logs"
                )
            time.sleep(LOOK_AGAIN_SECONDS / 4)
            job = self._again(job)
        return job

    def log(self, job: StudyJob) -> str:
        """All that the job has printed."""
        text: str = self._ask(f"/api/jobs/{job.id}/logs")["logs"] or ""
        return text

    def follow(self, job: StudyJob, write: Callable[[str], object]) -> StudyJob:
        """Writes the log as it grows, until the job ends; waits for a head that is away for a moment.

        Returns the job as it ended.
        """
        with self._answering():
            client = self._client()
        return asyncio.run(self._follow(job, client, write))

    async def _follow(self, job: StudyJob, client: JobSubmissionClient, write: Callable[[str], object]) -> StudyJob:
        written = 0
        while not job.has_ended:
            # From its beginning each time, so that what was written before is left out.
            chunks, read = client.tail_job_logs(job.id), 0
            while (chunk := await _next(chunks)) is not None:
                write(chunk[max(written - read, 0) :])
                read += len(chunk)
                written = max(written, read)
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            job = await self._once_back(job)
        write(self.log(job)[written:])
        return job

    async def _once_back(self, job: StudyJob) -> StudyJob:
        """The job as it is now, or as soon as the head answers again."""
        deadline = time.monotonic() + AWAY_AT_MOST_SECONDS
        while True:
            try:
                return self._again(job)
            except ClusterAway:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    def _latest(self, study: str) -> StudyJob | None:
        return next((job for job in self.jobs() if job.study == study), None)

    def _again(self, job: StudyJob) -> StudyJob:
        """The same job as it is now."""
        again = _study_job(self._ask(f"/api/jobs/{job.id}"))
        assert again is not None, "it was one"
        return again

    def _require_room(self, executor: ExecutorSettings) -> None:
        """Raises ConfigError where a trial would wait for a node that does not exist."""
        answer = self._ask("/api/v0/nodes?limit=10000")
        nodes = [node["resources_total"] for node in answer["data"]["result"]["result"] if node["state"] == "ALIVE"]
        have = Counter((node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)
        cpus, gpus = executor.cpus_per_trial, executor.gpus_per_trial
        if not any(cpus <= node_cpus and gpus <= node_gpus for node_cpus, node_gpus in have):
            listed = "; ".join(f"{count} x {each[0]:g} CPUs, {each[1]:g} GPUs" for each, count in sorted(have.items()))
            raise ConfigError(
                f"a trial asks for {cpus:g} CPUs and {gpus:g} GPUs, no node has them; the nodes: {listed or 'none'}",
                hint="lower executor.cpus_per_trial or executor.gpus_per_trial, or add a node",
            )

    def _submit(self, file: StudyFile, job_id: str, settings: str, retry_failed: bool) -> None:
        from mixopt.shipment import packed, shipped_files

        # `exec`: the signal that stops the job reaches the supervisor, and not a shell.
        command = f"exec python -m mixopt.supervise {shlex.quote(file.file.name)}"
        with packed(shipped_files(file)) as archive, self._answering():
            self._client().submit_job(
                entrypoint=f"{command} --retry-failed" if retry_failed else command,
                submission_id=job_id,
                # Whatever is secret the cluster has of its own: everybody who may list its jobs reads this.
                runtime_env={"working_dir": str(archive), "env_vars": {JOB_VARIABLE: job_id}},
                metadata={STUDY: file.study, EXPERIMENT: file.tracking.experiment, SETTINGS: settings},
                entrypoint_num_cpus=0,  # a driver that held a CPU could wait for ever for its own trials
            )

    def _client(self) -> JobSubmissionClient:
        # It listens to this variable before it looks at its argument.
        os.environ[ADDRESS_VARIABLE] = self.address
        from ray.job_submission import JobSubmissionClient

        for its_module in ("dashboard_sdk", "job.sdk"):
            logging.getLogger(f"ray.dashboard.modules.{its_module}").setLevel(logging.WARNING)
        return JobSubmissionClient(self.address)

    def _ask(self, path: str, method: str = "GET") -> Any:
        """What the head answers.

        Raises:
            ClusterAway: nothing, or that it cannot at the moment.
            ConfigError: that this client may not ask, or that there is no such thing.
        """
        headers = {"Authorization": f"Bearer {self._token.value}"} if self._token else {}
        request = urllib.request.Request(self.address + path, method=method, headers=headers)
        try:
            with self._answering(), urllib.request.urlopen(request, timeout=ANSWER_WITHIN_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise self._refusal(error, path) from error

    @contextmanager
    def _answering(self) -> Iterator[None]:
        away = f"no Ray head answers at {self.address}"
        try:
            yield
        except urllib.error.HTTPError:
            raise  # an answer, if not a welcome one
        except OSError as error:
            reason = getattr(error, "reason", None) or error
            raise ClusterAway(f"{away}: {reason}", hint="check --address, and that the cluster is up") from error
        except (http.client.HTTPException, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ClusterAway(f"{away}, but something else does", hint="check --address and its port") from error

    def _refusal(self, error: urllib.error.HTTPError, path: str) -> ConfigError:
        match error.code:
            case 401:
                return ConfigError(
                    f"{self.address} asks for a token, and {MODE_VARIABLE}=disabled shows none",
                    hint=f"unset {MODE_VARIABLE} and give the cluster's token",
                )
            case 403:
                place = self._token.place if self._token else MODE_VARIABLE
                return ConfigError(
                    f"{self.address} does not accept the token in {place}", hint="ask for this cluster's own token"
                )
            case 404:
                return ConfigError(
                    f"{self.address} knows nothing of {path}",
                    hint="is it the head of a Ray cluster? One that was replaced has forgotten its jobs: submit again",
                )
            case _:
                return ClusterAway(
                    f"{self.address} answers {error.code} {error.reason}", hint="look at the head's logs"
                )


async def _next(chunks: AsyncIterator[str]) -> str | None:
    """None where there is no more, or whatever has cut the line."""
    import aiohttp

    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            return await anext(chunks, None)
    except (TimeoutError, RuntimeError, OSError, aiohttp.ClientError):
        return None


def _job_id(study: str, number: int) -> str:
    return f"mixopt-{study}-{number}"


def _study_job(answer: dict[str, Any]) -> StudyJob | None:
    """The job in Ray's description of one; None where it is no study's."""
    metadata = answer["metadata"] or {}
    study, (prefix, _, number) = metadata.get(STUDY), (answer["submission_id"] or "").rpartition("-")
    if study is None or prefix != f"mixopt-{study}" or not number.isdecimal():
        return None
    return StudyJob(
        study=study,
        number=int(number),
        state=answer["status"],
        message=answer["message"] or "",
        experiment=metadata[EXPERIMENT],
        settings=metadata[SETTINGS],
        started=_moment(answer["start_time"]),
        ended=_moment(answer["end_time"]),
    )


def _moment(milliseconds: int | None) -> datetime | None:
    return None if not milliseconds else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _digest(file: StudyFile) -> str:
    return hashlib.sha256(json.dumps(file.model_dump(mode="json")).encode()).hexdigest()[:16]


def _same(job: StudyJob, settings: str) -> StudyJob:
    if job.settings != settings:
        raise ConfigError(
            f"study {job.study} is {job.state.lower()} as {job.id}, with other settings than this file's",
            hint=f"stop it first (mixopt stop {job.study}), or give this one another name under `study:`",
        )
    return job
