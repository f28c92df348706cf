"""Studies on a Ray cluster, as Ray Jobs: submit, find, watch, ask, cancel.

Job number n of a study is `mixopt-<study>-<n>`. Ray takes each id once, so that two people who submit the same study at
the same moment get the same job; a job that ended is followed by number n + 1, which goes on where the study was left.
Ray's own client ships the files and follows the log; everything else the head is asked directly.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import secrets
import shlex
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mixopt.base.errors import ConfigError, all_at_once
from mixopt.cluster.head import Head, HeadAway
from mixopt.results.jobs import Job
from mixopt.settings.environment import ADDRESS_VARIABLE, JOB_VARIABLE
from mixopt.settings.schema import ExecutorSettings, StudyFile
from mixopt.study.wishes import CANCELLED_WITHIN_SECONDS
from mixopt.workers.demand import fitting, starts_nodes
from proxies.retry import pauses_within
from search.errors import first_line

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

# Metadata of a job. The last, where the study's folder is, is missing in jobs of versions before 0.2.
STUDY, EXPERIMENT, SETTINGS = "mixopt.study", "mixopt.experiment", "mixopt.settings"
DIRECTORY = "mixopt.directory"
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
DIGESTS = re.compile(r"[0-9a-f]{16}\.[0-9a-f]{16}")
RETRY_FAILED = "--retry-failed"

ASKED_WITHIN_SECONDS = 60.0
AWAY_AT_MOST_SECONDS = 120.0
LOOK_AGAIN_SECONDS = 1.0
# A line may have died without a word, a new one begins with the whole log.
SILENCE_SECONDS = 600.0
# The autoscaler of a head that was just started says what it can start after some seconds.
REPORTED_WITHIN = 10


@dataclass(frozen=True)
class StudyJob:
    """One submission of a study.

    Attributes:
        number: which one; the later ones resumed the study.
        state: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        message: Ray's explanation of the state, with the end of the log where it failed.
        settings: digests of the study file's settings, as `_digests` has them; that of earlier versions was another
            kind, and says nothing here.
        retries_failed: it trains failed trials again.
        directory: that the study file names; "" where that is the cluster's own.
    """

    study: str
    number: int
    state: str
    message: str
    experiment: str
    settings: str
    retries_failed: bool
    started: datetime | None
    ended: datetime | None
    directory: str = ""

    @property
    def id(self) -> str:
        return _job_id(self.study, self.number)

    @property
    def tells_settings(self) -> bool:
        """Whether it is known which settings it was submitted with."""
        return DIGESTS.fullmatch(self.settings) is not None

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def summary(self) -> Job:
        """What programs are told of it."""
        return Job(
            study=self.study,
            job=self.id,
            state=self.state,
            message=self.message,
            attempts=self.number,
            started=_shown(self.started),
            ended=_shown(self.ended),
            experiment=self.experiment,
        )


class Cluster:
    """The studies on a Ray cluster.

    Raises:
        ConfigError: the address is none of a head, or the cluster's token is not at hand.
    """

    def __init__(self, address: str) -> None:
        self.head = Head(address)

    def jobs(self) -> list[StudyJob]:
        """The latest job of each study, by name."""
        found: dict[str, StudyJob] = {}
        for job in self._all():
            if job.study not in found or found[job.study].number < job.number:
                found[job.study] = job
        return [found[study] for study in sorted(found)]

    def _all(self) -> list[StudyJob]:
        """Every job of every study."""
        return [job for answer in self.head.ask("/api/jobs/") if (job := _study_job(answer)) is not None]

    def job(self, study: str, number: int | None = None) -> StudyJob:
        """The study's job of that number; the latest where none is given.

        Raises:
            ConfigError: it has none.
        """
        job = self.find(study)
        if job is not None and number is not None:
            numbered = {job.number: job for job in self._all() if job.study == study}
            if number not in numbered:
                have = ", ".join(str(each) for each in sorted(numbered))
                raise ConfigError(f"study {study} has no job {number} at {self.head.address}", hint=f"it has {have}")
            return numbered[number]
        if job is None:
            raise ConfigError(
                f"study {study} was never submitted to {self.head.address}",
                hint=f"mixopt list{self.head.option} shows which were; "
                "a head that was replaced has forgotten all: submit it again",
            )
        return job

    def find(self, study: str) -> StudyJob | None:
        """The study's latest job, if it has one."""
        return next((job for job in self.jobs() if job.study == study), None)

    def submit(self, file: StudyFile, retry_failed: bool = False) -> tuple[StudyJob, bool]:
        """The study's job, and whether it is a new one: a study that waits or runs gets no second one.

        Raises:
            ConfigError, ProxyError, SearchError: something is wrong with the file, it runs otherwise than is asked
                for, its trials fit on no node, or its files cannot travel.
        """
        from mixopt.cluster.shipment import check_submittable

        check_submittable(file)
        settings = _digests(file)
        latest = self.find(file.study)
        if latest is not None and not latest.has_ended:
            return self._same(latest, settings, retry_failed), False
        self.check(file)
        number = latest.number + 1 if latest else 1
        try:
            self._submit(file, _job_id(file.study, number), settings, retry_failed)
        except RuntimeError as error:
            other = self.find(file.study)
            if other is None or other.number != number:
                raise ConfigError(
                    f"{self.head.address} refused study {file.study}: {first_line(error)}",
                    hint="look at the head's logs",
                ) from error
            return self._same(other, settings, retry_failed), False  # somebody else was first, just now
        return self.job(file.study), True

    def check(self, file: StudyFile) -> None:
        """Whatever would keep a study from being submitted.

        Raises:
            ConfigError, ProxyError, SearchError: something is wrong with the file, its trials fit on no node, or its
                files cannot travel; Mistakes where it is several things.
        """
        from mixopt.cluster.shipment import check_submittable, shipped_files, without_absent_runs
        from mixopt.study.planning import check_settings

        all_at_once(
            (
                lambda: check_submittable(file),
                lambda: check_settings(without_absent_runs(file)),
                lambda: shipped_files(file),
                lambda: self._require_room(file.executor),
            )
        )

    def cancel(self, job: StudyJob) -> StudyJob:
        """The job once it has ended; what it recorded is kept.

        Raises:
            ConfigError: it does not end.
        """
        if not job.has_ended:
            self.head.ask(f"/api/jobs/{job.id}/stop", "POST")
        return self.await_end(job, CANCELLED_WITHIN_SECONDS)

    def await_end(self, job: StudyJob, seconds: float) -> StudyJob:
        """The job as it ended.

        Raises:
            ConfigError: after so long it has not.
        """
        for pause in pauses_within(seconds, LOOK_AGAIN_SECONDS / 4):
            if job.has_ended:
                break
            time.sleep(pause)
            job = self._again(job)
        if not job.has_ended:
            raise ConfigError(
                f"{job.id} is still {job.state.lower()} after {seconds:.0f} s",
                hint=f"look into its log: mixopt logs {job.study}{self.head.option}",
            )
        return job

    def ask(self, job: StudyJob, word: str) -> None:
        """Ask something of the study that a job runs: a job of its own writes the word there, beside the journal.

        Args:
            word: a `Wish`, or resume.

        Raises:
            ConfigError: nobody heard it.
        """
        where = [job.study, *([job.directory] if job.directory else [])]
        command = ["exec", "python", "-P", "-m", "mixopt.study.wishes", word, *map(shlex.quote, where)]
        id = f"mixopt-ask-{job.study}-{secrets.token_hex(4)}"
        with self.head.answering():
            try:
                self._client().submit_job(entrypoint=" ".join(command), submission_id=id, entrypoint_num_cpus=0)
            except RuntimeError as error:
                raise ConfigError(
                    f"{self.head.address} refused to ask study {job.study}: {first_line(error)}",
                    hint="look at the head's logs",
                ) from error
        state = "PENDING"
        for pause in pauses_within(ASKED_WITHIN_SECONDS, LOOK_AGAIN_SECONDS / 4):
            state = self.head.ask(f"/api/jobs/{id}")["status"]
            if state in ENDED:
                break
            time.sleep(pause)
        if state != "SUCCEEDED":
            said = (self.head.ask(f"/api/jobs/{id}/logs")["logs"] or "").strip().splitlines()
            why = said[-1] if said else f"its messenger is {state.lower()}"
            raise ConfigError(f"study {job.study} was not reached: {why[:200]}", hint="mixopt cancel ends its job")

    def log(self, job: StudyJob) -> str:
        """All that the job has printed."""
        text: str = self.head.ask(f"/api/jobs/{job.id}/logs")["logs"] or ""
        return text

    def follow(
        self, job: StudyJob, write: Callable[[str], object], remark: Callable[[str], object], written: int = 0
    ) -> StudyJob:
        """Writes the log as it grows, until the job ends; waits, with a remark, for a head that is away for a moment.

        Args:
            written: characters of it that are left out.

        Returns the job as it ended.
        """
        with self.head.answering():
            client = self._client()
        return asyncio.run(self._follow(job, client, write, remark, written))

    async def _follow(
        self,
        job: StudyJob,
        client: JobSubmissionClient,
        write: Callable[[str], object],
        remark: Callable[[str], object],
        written: int,
    ) -> StudyJob:
        while not job.has_ended:
            # From its beginning each time, so that what was written before is left out.
            chunks, read = client.tail_job_logs(job.id), 0
            while (chunk := await _next(chunks)) is not None:
                write(chunk[max(written - read, 0) :])
                read += len(chunk)
                written = max(written, read)
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            job = await self._once_back(job, remark)
        write(self.log(job)[written:])
        return job

    async def _once_back(self, job: StudyJob, remark: Callable[[str], object]) -> StudyJob:
        """The job as it is now, or as soon as the head answers again."""
        remarked = False
        for pause in pauses_within(AWAY_AT_MOST_SECONDS, LOOK_AGAIN_SECONDS):
            try:
                return self._again(job)
            except HeadAway:
                if not remarked:
                    remark(f"{self.head.address} does not answer; waiting {AWAY_AT_MOST_SECONDS:.0f} s for it")
                    remarked = True
            await asyncio.sleep(pause)
        return self._again(job)

    def _again(self, job: StudyJob) -> StudyJob:
        """The same job as it is now."""
        again = _study_job(self.head.ask(f"/api/jobs/{job.id}"))
        assert again is not None, "it was one"
        return again

    def nodes(self) -> list[dict[str, float]]:
        """The resources of each node that is alive, as Ray names them: CPU, GPU and others."""
        answer = self.head.ask("/api/v0/nodes?limit=10000")
        return [node["resources_total"] for node in answer["data"]["result"]["result"] if node["state"] == "ALIVE"]

    @property
    def room(self) -> str:
        """What its nodes have together."""
        nodes = self.nodes()
        processors, gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
        return f"{len(nodes)} nodes with {processors:g} CPUs and {gpus:g} GPUs"

    def _require_room(self, executor: ExecutorSettings) -> None:
        """Raises ConfigError where a trial would wait for a node that does not exist, and that nobody starts."""
        nodes = self.nodes()
        have = Counter((node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)
        cpus, gpus = executor.cpus_per_trial, executor.gpus_per_trial
        if any(fitting(node, cpus, gpus) for node in nodes) or self._can_grow():
            return
        if not any(node_cpus for node_cpus, _ in have):
            raise ConfigError(
                f"no node that trains has joined {self.head.address} yet", hint="wait for its nodes, then submit again"
            )
        listed = "; ".join(f"{count} x {each[0]:g} CPUs, {each[1]:g} GPUs" for each, count in sorted(have.items()))
        raise ConfigError(
            f"a trial asks for {cpus:g} CPUs and {gpus:g} GPUs, no node has them; the nodes: {listed}",
            hint="lower executor.cpus_per_trial or executor.gpus_per_trial, or add a node",
        )

    def _can_grow(self) -> bool:
        """Whether the cluster starts nodes by itself. Ray's second autoscaler says nothing here; it may."""
        report = None
        for pause in (*[1.0] * REPORTED_WITHIN, 0.0):
            status = self.head.ask("/api/cluster_status")["data"].get("clusterStatus")
            if status is None:
                return True
            # A head that was started a moment ago has no report, or one without even itself in it.
            if report := (status.get("autoscalerReport") or {}).get("nodeTypeMapping"):
                break
            time.sleep(pause)
        return starts_nodes(report)

    def _submit(self, file: StudyFile, job_id: str, settings: str, retry_failed: bool) -> None:
        from mixopt.cluster.shipment import FOLDER, packed, shipped_files

        # `exec`: the signal that stops the job reaches the supervisor, and not a shell. `-P`: its folder holds data.
        command = f"exec python -P -m mixopt.supervise {FOLDER}/{shlex.quote(file.file.name)}"
        with packed(shipped_files(file)) as archive, self.head.answering():
            self._client().submit_job(
                entrypoint=f"{command} {RETRY_FAILED}" if retry_failed else command,
                submission_id=job_id,
                # Whatever is secret the cluster has of its own: everybody who may list its jobs reads this.
                runtime_env={"working_dir": str(archive), "env_vars": {JOB_VARIABLE: job_id}},
                metadata={
                    STUDY: file.study,
                    EXPERIMENT: file.tracking.experiment,
                    SETTINGS: settings,
                    DIRECTORY: file.directory or "",
                },
                entrypoint_num_cpus=0,  # a driver that held a CPU could wait for ever for its own trials
            )

    def _same(self, job: StudyJob, settings: str, retry_failed: bool) -> StudyJob:
        """The job of a study that is submitted again, where there is nothing else that the user wants."""
        stop_first = f"end it first (mixopt cancel {job.study}{self.head.option})"
        its_state = f"study {job.study} is {job.state.lower()} as {job.id}"
        if job.tells_settings and job.settings != settings:
            same_question = job.settings.partition(".")[0] == settings.partition(".")[0]
            raise ConfigError(
                f"{its_state}, with other settings than this file's",
                hint=f"{stop_first}, then submit it again: it goes on with these"
                if same_question
                else "they ask another question: give this one another name under `study:`",
            )
        if retry_failed and not job.retries_failed:
            raise ConfigError(f"{its_state}, without {RETRY_FAILED}", hint=f"{stop_first}, then submit it again")
        return job

    def _client(self) -> JobSubmissionClient:
        # It listens to this variable before it looks at its argument.
        os.environ[ADDRESS_VARIABLE] = self.head.address
        from ray.job_submission import JobSubmissionClient

        for its_module in ("dashboard_sdk", "job.sdk"):
            logging.getLogger(f"ray.dashboard.modules.{its_module}").setLevel(logging.WARNING)
        try:
            return JobSubmissionClient(self.head.address)
        except RuntimeError as error:
            raise ConfigError(
                f"this machine's Ray does not go with {self.head.address}: {first_line(error)}",
                hint="have the cluster's version here",
            ) from error


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
    prefix, _, number = (answer["submission_id"] or "").rpartition("-")
    if not {STUDY, EXPERIMENT, SETTINGS} <= metadata.keys():
        return None
    if prefix != f"mixopt-{metadata[STUDY]}" or not number.isdecimal():
        return None
    return StudyJob(
        study=metadata[STUDY],
        number=int(number),
        state=answer["status"],
        message=answer["message"] or "",
        experiment=metadata[EXPERIMENT],
        settings=metadata[SETTINGS],
        retries_failed=answer["entrypoint"].endswith(f" {RETRY_FAILED}"),
        started=_moment(answer["start_time"]),
        ended=_moment(answer["end_time"]),
        directory=metadata.get(DIRECTORY, ""),
    )


def _moment(milliseconds: int | None) -> datetime | None:
    return None if not milliseconds else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _shown(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _digests(file: StudyFile) -> str:
    """One of what decides the question, as for the study's record, and one of all that is said: trials and budget, too.

    Neither counts what a file leaves open: versions that know settings of which others know nothing agree about it.
    """
    return ".".join(
        hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        for settings in (file.deciding(), file.model_dump(mode="json", exclude_defaults=True))
    )
