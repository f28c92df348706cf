"""Submitting studies: what travels, what is refused, and what a head's answers become. The head here is a fake one that
answers as Ray 2.60 does; tests/e2e/test_jobs.py asks a real one."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import zipfile
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from datasets import Dataset, DatasetDict
from ray.exceptions import AuthenticationError
from typer.testing import CliRunner

from mixopt.base.errors import ConfigError
from mixopt.cli import main as cli
from mixopt.cli import watch
from mixopt.cli.schemas import json_schema
from mixopt.cluster import jobs
from mixopt.cluster.head import HeadAway
from mixopt.cluster.jobs import Cluster
from mixopt.cluster.shipment import FOLDER, check_submittable, packed, shipped_files, without_absent_runs
from mixopt.settings.reading import load
from mixopt.settings.schema import ProxySettings, StudyFile, TargetSettings
from mixopt.study import wishes
from mixopt.supervise import FINAL_STATUS
from proxies.errors import ProxyError
from tests.program import mixopt
from tests.text import write_jsonl

TOKEN = "t" * 40
STUDY = """\
study: test
domains:
  prose: {paths: data/prose.jsonl}
  code:  {paths: [more/, "s3://bucket/code/*.jsonl", /data/code]}
proxies:
  dense: {tokens: 2M}
"""


def study_file(folder: Path, text: str = STUDY) -> StudyFile:
    write_jsonl(folder / "data", {"prose": 3})
    write_jsonl(folder / "more" / "deep", {"code": 3})
    (folder / "study.yaml").write_text(text)
    return load(folder / "study.yaml")


# What travels


def test_files_with_relative_paths_travel_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("stays here")
    files = shipped_files(study_file(tmp_path))
    assert set(files) == {"study.yaml", "data/prose.jsonl", "more/deep/code.jsonl"}
    with packed(files) as archive:
        first = archive.read_bytes()
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(tmp_path / "there")
    assert not archive.exists()
    there = load(tmp_path / "there" / FOLDER / "study.yaml")
    assert set(shipped_files(there)) == set(files), "the study finds there what it found here"
    with packed(shipped_files(there)) as again:
        assert again.read_bytes() == first, "the same files are the same archive, whenever they were written"


def test_globs_tokenizer_evaluation_and_earlier_runs_travel(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "earlier.csv").write_text("run\n")
    text = STUDY.replace("data/prose.jsonl", "./data/../data/p*.jsonl")
    text += "corpus: {tokenizer: tokenizer.json}\nreuse: {runs: earlier.csv}\nevaluation: {task: {paths: data/}}\n"
    files = shipped_files(study_file(tmp_path, text))
    assert set(files) == {"study.yaml", "tokenizer.json", "earlier.csv", "data/prose.jsonl", "more/deep/code.jsonl"}


def test_the_splits_of_a_saved_data_set_stay_apart(tmp_path: Path) -> None:
    saved = {split: Dataset.from_dict({"text": [split]}) for split in ("train", "test", "other")}
    DatasetDict(saved).save_to_disk(tmp_path / "saved")
    text = (
        STUDY.replace("data/prose.jsonl", "saved")
        .replace("[more/,", "[saved,")
        .replace("code:  {", "code: {split: test, ")
    )
    files = shipped_files(study_file(tmp_path, text))
    with packed(files) as archive, zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "there")
    assert set(shipped_files(load(tmp_path / "there" / FOLDER / "study.yaml"))) == set(files)
    assert not any("other" in place for place in files)


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("data/prose.jsonl", "../prose.jsonl", "domains.prose.paths: ../prose.jsonl leaves the study's folder"),
        ("data/prose.jsonl", "data/../../x", "leaves the study's folder"),
        ("data/prose.jsonl", "nothing.jsonl", "no file matches"),
        ("proxies:", "corpus: {tokenizer: t.json}\nproxies:", "corpus.tokenizer: there is no file"),
        ("proxies:", "reuse: {runs: ../old.csv}\nproxies:", "reuse.runs: ../old.csv leaves"),
    ],
)
def test_what_cannot_travel_is_refused_in_one_line(tmp_path: Path, was: str, becomes: str, says: str) -> None:
    file = study_file(tmp_path, STUDY.replace(was, becomes))
    with pytest.raises((ConfigError, ProxyError)) as caught:
        shipped_files(file)
    assert isinstance(caught.value, ConfigError | ProxyError)
    assert says in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_too_much_to_travel_belongs_on_a_shared_volume(tmp_path: Path) -> None:
    file = study_file(tmp_path)
    with (tmp_path / "data" / "prose.jsonl").open("ab") as big:
        big.truncate(100_000_000)
    with pytest.raises(ConfigError, match="100 MB") as caught:
        shipped_files(file)
    assert "volume" in caught.value.hint
    assert "prose.jsonl" in caught.value.hint


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("directory: mine", "directory: mine would lie"),
        ("executor: {kind: in_process}", "in_process trains nothing on a cluster"),
        ("executor: {address: 'ray://x:10001'}", "executor.address: ray://x:10001"),
        ("executor: {shared: mine}", "executor.shared: mine"),
        ("tracking: {uri: 'sqlite:///mlflow.db'}", "tracking.uri: sqlite:///mlflow.db is a file of this machine"),
    ],
)
def test_settings_that_mean_this_machine_are_refused(tmp_path: Path, setting: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_submittable(study_file(tmp_path, f"{STUDY}{setting}\n"))
    assert says in caught.value.message
    assert "\n" not in caught.value.message


def test_settings_that_mean_the_cluster_are_taken(tmp_path: Path) -> None:
    text = f"{STUDY}directory: /shared\nexecutor: {{shared: 's3://bucket/x', address: auto}}\n"
    check_submittable(study_file(tmp_path, f"{text}tracking: {{uri: 'http://mlflow:5000'}}\n"))


def test_a_table_of_earlier_runs_on_the_cluster_is_not_looked_for_here(tmp_path: Path) -> None:
    file = study_file(tmp_path, f"{STUDY}reuse: {{runs: /there/only.csv, keep: [prose, code]}}\n")
    checked = without_absent_runs(file).reuse
    assert (checked.runs, checked.keep) == (None, ["prose", "code"])
    assert file.reuse.runs == "/there/only.csv"


# What a head answers


class Head(ThreadingHTTPServer):
    """Answers like Ray's dashboard: what `answers` holds for a path, a status, or as text where to go instead; a
    deque's items one by one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.answers: dict[str, Any] = {"/api/jobs/": []}
        self.asked: list[str] = []
        self.shown: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    server: Head

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        shown = self.headers.get("Authorization")
        self.server.shown.append(shown)
        answer = self.server.answers.get(self.path, 404)
        if isinstance(answer, deque):
            answer = answer.popleft()
        if shown != f"Bearer {TOKEN}":
            answer = 401 if shown is None else 403
        if isinstance(answer, str):
            self.send_response(302)
            self.send_header("Location", answer)
            self.end_headers()
            return
        self.send_response(answer if isinstance(answer, int) else 200)
        self.end_headers()
        if not isinstance(answer, int):
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        return None


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://elsewhere:1")
    with Head() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def job(study: str, number: int, state: str, **more: Any) -> dict[str, Any]:
    metadata = {"mixopt.study": study, "mixopt.experiment": "mixopt", "mixopt.settings": "0123"}
    return {
        "submission_id": f"mixopt-{study}-{number}",
        "status": state,
        "message": None,
        "entrypoint": "exec python -P -m mixopt.supervise shipped-study/study.yaml",
        "start_time": 1_800_000_000_000,
        "end_time": None,
        "metadata": metadata,
        **more,
    }


def nodes(*have: dict[str, float]) -> dict[str, Any]:
    listed = [{"state": "ALIVE", "resources_total": node} for node in have]
    dead = {"state": "DEAD", "resources_total": {"CPU": 512.0, "GPU": 64.0}}
    return {"data": {"result": {"result": [*listed, dead]}}}


NODES = "/api/v0/nodes?limit=10000"
STATUS = "/api/cluster_status"


def autoscaler(node_types: dict[str, str] | None) -> dict[str, Any]:
    """What Ray's first autoscaler reports, by node its type; None before its first report."""
    report = {} if node_types is None else {"autoscalerReport": {"nodeTypeMapping": node_types}}
    return {"data": {"clusterStatus": report}}


FIXED = autoscaler({"ff01": "node_ff01", "ff02": "node_ff02"})


def test_the_latest_job_of_each_study_counts_and_other_jobs_do_not(head: Head) -> None:
    head.answers["/api/jobs/"] = [
        job("a", 10, "RUNNING"),
        job("b", 1, "FAILED", message="no room"),
        job("a", 9, "STOPPED"),
        job("a", 11, "RUNNING", submission_id="raysubmit_x"),
        {**job("c", 1, "RUNNING"), "metadata": {}},
        {**job("d", 1, "RUNNING"), "submission_id": None, "metadata": None},
        {**job("e", 1, "RUNNING"), "metadata": {"mixopt.study": "e"}},
    ]
    found = Cluster(head.address).jobs()
    assert [(each.study, each.number, each.state) for each in found] == [("a", 10, "RUNNING"), ("b", 1, "FAILED")]
    assert found[0].summary.started == "2027-01-15T08:00:00+00:00"
    assert found[1].has_ended
    assert found[1].message == "no room"


def test_names_that_end_alike_are_different_studies(head: Head) -> None:
    head.answers["/api/jobs/"] = [job("a", 1, "STOPPED"), job("a-1", 2, "RUNNING")]
    assert [each.id for each in Cluster(head.address).jobs()] == ["mixopt-a-1", "mixopt-a-1-2"]
    with pytest.raises(ConfigError, match="never submitted"):
        Cluster(head.address).job("a-1-2")


def test_a_study_that_runs_is_not_submitted_twice_nor_with_other_settings(head: Head, tmp_path: Path) -> None:
    head.answers["/api/jobs/"] = [submitted_as(study_file(tmp_path))]
    for changed, hint in (
        (STUDY.replace("2M", "2M, trials: 7"), "end it first (mixopt cancel test"),
        (STUDY.replace("2M", "3M"), "give this one another name under `study:`"),
    ):
        with pytest.raises(ConfigError, match="mixopt-test-3, with other settings") as caught:
            Cluster(head.address).submit(study_file(tmp_path, changed))
        assert hint in caught.value.hint
    assert head.asked == ["GET /api/jobs/"] * 2


def submitted_as(file: StudyFile) -> dict[str, Any]:
    return job("test", 3, "PENDING", metadata=job("test", 3, "")["metadata"] | {"mixopt.settings": jobs._digests(file)})


def test_the_file_of_a_client_that_knows_fewer_settings_is_the_same_study(head: Head, tmp_path: Path) -> None:
    class LaterProxy(ProxySettings):
        warmup: float | None = None

    class LaterTarget(TargetSettings):
        merged: bool | None = None

    class LaterStudy(StudyFile):
        proxies: dict[str, LaterProxy]  # type: ignore[assignment]
        target: LaterTarget = LaterTarget()
        curriculum: list[str] | None = None

    file = study_file(tmp_path)
    later = LaterStudy.model_validate(yaml.safe_load(STUDY) | {"proxies": {"dense": {"tokens": 2_000_000}}})
    later._file, later._text = file.file, file.text
    head.answers["/api/jobs/"] = [submitted_as(file)]
    assert Cluster(head.address).submit(later) == (Cluster(head.address).job("test"), False)


def test_a_job_of_a_version_that_told_its_settings_otherwise_is_the_study_of_its_name(
    head: Head, tmp_path: Path
) -> None:
    head.answers["/api/jobs/"] = [job("test", 3, "PENDING")]
    done = mixopt("submit", study_file(tmp_path).file, "--address", head.address)
    assert done.status == 0, done.stderr
    assert "study test is already pending" in done.stdout
    assert done.stderr == (
        "note: it was submitted by an earlier version of mixopt: whether with the settings of this file is not known\n"
    )


def test_whether_a_study_could_be_submitted_is_told_with_what_the_cluster_has(head: Head, tmp_path: Path) -> None:
    file = study_file(tmp_path)
    head.answers |= {NODES: nodes({"CPU": 8.0, "GPU": 1.0}, {"CPU": 2.0}), STATUS: FIXED}
    done = mixopt("validate", file.file, "--address", head.address)
    assert done.status == 0, done.stderr
    assert done.stderr == f"note: {head.address} has 2 nodes with 10 CPUs and 1 GPUs\n"
    more = "executor: {kind: in_process, gpus_per_trial: 2}\ncorpus: {tokenizer: gone.json}\n"
    done = mixopt("validate", study_file(tmp_path, STUDY + more).file, "--address", head.address)
    assert done.status == 2
    assert [line.split(";")[0].removeprefix(f"error: {file.file}: ") for line in done.stderr.splitlines()] == [
        "executor.kind: in_process trains nothing on a cluster",
        f"error: corpus.tokenizer: there is no file {tmp_path}/gone.json",
        "error: a trial asks for 1 CPUs and 2 GPUs, no node has them",
    ]
    assert not any("POST" in asked for asked in head.asked)


class Desk:
    """Ray's client, where it takes jobs: the head shows them as running."""

    def __init__(self, head: Head) -> None:
        self.head = head

    def __call__(self, address: str) -> Desk:
        return self

    def submit_job(self, *, submission_id: str, entrypoint: str, metadata: dict[str, str], **_: object) -> str:
        number = int(submission_id.rpartition("-")[2])
        taken = job(metadata["mixopt.study"], number, "RUNNING", entrypoint=entrypoint, metadata=metadata)
        self.head.answers["/api/jobs/"].append(taken)
        return submission_id


def test_failed_trials_of_a_study_that_runs_are_not_forgotten_in_silence(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", Desk(head))
    file = study_file(tmp_path)
    head.answers[NODES] = nodes({"CPU": 2.0})
    cluster = Cluster(head.address)
    assert cluster.submit(file) == (cluster.job("test"), True)
    assert cluster.submit(file) == (cluster.job("test"), False)
    with pytest.raises(ConfigError, match="running as mixopt-test-1, without --retry-failed") as caught:
        cluster.submit(file, retry_failed=True)
    assert f"end it first (mixopt cancel test --address {head.address})" in caught.value.hint
    [running] = head.answers["/api/jobs/"]
    running["entrypoint"] += " --retry-failed"
    assert cluster.submit(file, retry_failed=True) == (cluster.job("test"), False)


def test_commands_that_are_suggested_go_to_this_cluster(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        Cluster(f"{head.address}/").job("a")
    assert f"mixopt list --address {head.address} shows" in caught.value.hint
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", f"{head.address}/")
    with pytest.raises(ConfigError) as caught:
        Cluster(head.address).job("a")
    assert "mixopt list shows" in caught.value.hint


def test_the_status_of_a_study_file_that_the_cluster_does_not_know_is_that_of_this_machine(
    head: Head, tmp_path: Path
) -> None:
    study = study_file(tmp_path, STUDY).file
    asked = CliRunner().invoke(cli.app, ["status", str(study), "--address", head.address])
    assert f"test was never submitted to {head.address}; on this machine:" in asked.stderr
    assert "study test has not run yet" in str(asked.exception), "it was looked for in the record here"
    assert not (tmp_path / ".mixopt").exists(), "to look makes nothing"
    asked = CliRunner().invoke(cli.app, ["status", "test", "--address", head.address])
    assert isinstance(asked.exception, ConfigError)
    assert "never submitted" in asked.exception.message, "a name alone is nothing on this machine"


def test_the_list_of_studies_says_whose_time_it_is(head: Head) -> None:
    head.answers["/api/jobs/"] = [job("a", 1, "RUNNING")]
    listed = CliRunner().invoke(cli.app, ["list", "--address", head.address]).stdout.splitlines()
    assert "started (UTC)" in listed[0]
    assert "2027-01-15 08:00" in listed[-1]


def test_the_status_of_a_job_has_no_empty_lines(head: Head) -> None:
    head.answers["/api/jobs/"] = [job("a", 1, "RUNNING")]
    shown = CliRunner().invoke(cli.app, ["status", "a", "--address", head.address]).stdout.splitlines()
    assert shown[0] == "study a: mixopt-a-1 is running"
    assert all(shown)


@pytest.mark.parametrize(
    ("schema", "command"), [("jobs", ["list"]), ("job-alone", ["status", "a"]), ("asked", ["cancel", "a"])]
)
def test_what_programs_are_told_of_jobs_is_what_its_schema_says(head: Head, schema: str, command: list[str]) -> None:
    head.answers["/api/jobs/"] = [job("a", 1, "STOPPED", end_time=1_800_000_060_000)]
    printed = CliRunner().invoke(cli.app, [*command, "--address", head.address, "--json"]).stdout
    jsonschema.validate(json.loads(printed), json_schema(schema))


def test_a_gpu_that_no_node_has_is_said_before_anything_waits_for_it(head: Head, tmp_path: Path) -> None:
    file = study_file(tmp_path, f"{STUDY}executor: {{gpus_per_trial: 0.5, cpus_per_trial: 4}}\n")
    head.answers[NODES] = nodes({"CPU": 8.0}, {"CPU": 2.0, "GPU": 4.0}, {"CPU": 8.0}, {"memory": 1.0})
    head.answers[STATUS] = FIXED
    with pytest.raises(ConfigError) as caught:
        Cluster(head.address).submit(file)
    assert "4 CPUs and 0.5 GPUs" in caught.value.message
    assert "1 x 0 CPUs, 0 GPUs; 1 x 2 CPUs, 4 GPUs; 2 x 8 CPUs, 0 GPUs" in caught.value.message
    assert not any("POST" in asked for asked in head.asked)


@pytest.mark.parametrize("have", [[{"memory": 1.0}], [{"CPU": 1.0}]])
@pytest.mark.parametrize(
    ("status", "grows"),
    [
        (FIXED, False),
        (autoscaler(None), False),
        (autoscaler({"ff01": "headgroup"}), True),
        ({"data": {"clusterStatus": None}}, True),
    ],
)
def test_a_cluster_that_grows_needs_no_node_yet(
    head: Head,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    have: list[dict[str, float]],
    status: dict[str, Any],
    grows: bool,
) -> None:
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", Desk(head))
    monkeypatch.setattr("mixopt.cluster.jobs.REPORTED_WITHIN", 0)
    file = study_file(tmp_path, f"{STUDY}executor: {{cpus_per_trial: 2}}\n")
    head.answers |= {NODES: nodes(*have), STATUS: status}
    cluster = Cluster(head.address)
    if grows:
        assert cluster.submit(file)[1]
    else:
        with pytest.raises(ConfigError, match="has joined" if have == [{"memory": 1.0}] else "no node has them"):
            cluster.submit(file)


def test_stopping_asks_once_and_waits_for_the_end(head: Head) -> None:
    head.answers |= {"/api/jobs/": [job("a", 1, "RUNNING")], "/api/jobs/mixopt-a-1/stop": {"stopped": True}}
    head.answers["/api/jobs/mixopt-a-1"] = job("a", 1, "STOPPED", end_time=1_800_000_060_000)
    cluster = Cluster(head.address)
    stopped = cluster.cancel(cluster.job("a"))
    assert stopped.state == "STOPPED"
    assert cluster.cancel(stopped) == stopped
    assert [asked for asked in head.asked if asked.startswith("POST")] == ["POST /api/jobs/mixopt-a-1/stop"]


class Messenger:
    """Ray's client, where it takes a job that asks something of a study: it ends as it is told to."""

    def __init__(self, head: Head, status: str, log: str = "") -> None:
        self.head, self.status, self.log = head, status, log
        self.entrypoints: list[str] = []

    def __call__(self, address: str) -> Messenger:
        return self

    def submit_job(self, *, submission_id: str, entrypoint: str, **_: object) -> str:
        self.entrypoints.append(entrypoint)
        self.head.answers |= {
            f"/api/jobs/{submission_id}": {"status": self.status},
            f"/api/jobs/{submission_id}/logs": {"logs": self.log},
        }
        return submission_id


@pytest.mark.parametrize(
    ("command", "word"),
    [(["pause"], "pause"), (["resume"], "resume"), (["stop"], "stop"), (["stop", "--confirm"], "stop-and-confirm")],
)
def test_what_is_asked_of_a_submitted_study_travels_as_a_job(
    head: Head, command: list[str], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    messenger = Messenger(head, "SUCCEEDED")
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", messenger)
    monkeypatch.setattr(jobs, "LOOK_AGAIN_SECONDS", 0.01)
    running = job("a", 1, "RUNNING")
    running["metadata"]["mixopt.directory"] = "/shared/my studies"
    head.answers |= {"/api/jobs/": [running], "/api/jobs/mixopt-a-1": job("a", 1, "SUCCEEDED")}
    asked = CliRunner().invoke(cli.app, [*command, "a", "--address", head.address, "--json"])
    assert asked.exit_code == 0, asked.exception
    assert messenger.entrypoints == [f"exec python -P -m mixopt.study.wishes {word} a '/shared/my studies'"]
    jsonschema.validate(json.loads(asked.stdout), json_schema("asked"))
    state, ended = ("SUCCEEDED", True) if command == ["stop"] else ("RUNNING", False)
    answer = json.loads(asked.stdout)
    told = ("a", command[0], "mixopt-a-1", state, ended)
    assert tuple(answer[key] for key in ("study", "asked", "job", "state", "ended")) == told


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize(
    ("verb", "state", "status"),
    [("stop", "SUCCEEDED", 0), ("stop", "FAILED", 1), ("stop", "STOPPED", 1), ("cancel", "STOPPED", 0)],
)
def test_who_stops_a_submitted_study_learns_by_the_status_whether_it_has_an_answer(
    head: Head, verb: str, state: str, status: int, running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", Messenger(head, "SUCCEEDED"))
    monkeypatch.setattr(jobs, "LOOK_AGAIN_SECONDS", 0.01)
    head.answers |= {
        "/api/jobs/": [job("a", 1, "RUNNING" if running else state)],
        "/api/jobs/mixopt-a-1": job("a", 1, state),
        "/api/jobs/mixopt-a-1/stop": {"stopped": True},
    }
    asked = CliRunner().invoke(cli.app, [verb, "a", "--address", head.address])
    assert asked.exit_code == status, asked.exception
    assert f"is {state.lower()}" in asked.stdout
    assert ("shows its answer" in asked.stdout) == (running and state == "SUCCEEDED")


@pytest.mark.parametrize(("verb", "limit"), [("stop", "ANSWER_WITHIN_SECONDS"), ("cancel", "CANCELLED_WITHIN_SECONDS")])
def test_a_submitted_study_that_does_not_end_is_an_error(
    head: Head, verb: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", Messenger(head, "SUCCEEDED"))
    monkeypatch.setattr(jobs, "LOOK_AGAIN_SECONDS", 0.01)
    for module in (wishes, jobs):
        monkeypatch.setattr(module, limit, 0.1, raising=False)
    head.answers |= {
        "/api/jobs/": [job("a", 1, "RUNNING")],
        "/api/jobs/mixopt-a-1": job("a", 1, "RUNNING"),
        "/api/jobs/mixopt-a-1/stop": {"stopped": True},
    }
    asked = CliRunner().invoke(cli.app, [verb, "a", "--address", head.address])
    assert isinstance(asked.exception, ConfigError)
    assert "mixopt-a-1 is still running after" in asked.exception.message
    assert "mixopt logs a" in asked.exception.hint


def test_a_study_that_did_not_hear_says_why_and_how_it_is_ended_all_the_same(
    head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "nobody runs study a in /shared at this moment; ask again once it has begun"
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", Messenger(head, "FAILED", f"\n{said}\n"))
    head.answers["/api/jobs/"] = [job("a", 1, "RUNNING")]
    asked = CliRunner().invoke(cli.app, ["pause", "a", "--address", head.address])
    assert isinstance(asked.exception, ConfigError)
    assert asked.exception.message == f"study a was not reached: {said}"
    assert "mixopt cancel" in asked.exception.hint


def test_a_job_that_has_ended_cannot_be_paused(head: Head) -> None:
    head.answers["/api/jobs/"] = [job("a", 1, "STOPPED")]
    asked = CliRunner().invoke(cli.app, ["pause", "a", "--address", head.address])
    assert isinstance(asked.exception, ConfigError)
    assert asked.exception.message == "study a is not running: mixopt-a-1 is stopped"


def test_the_log_of_an_earlier_submission_is_shown_by_its_number(head: Head) -> None:
    head.answers |= {
        "/api/jobs/": [job("a", 3, "RUNNING"), job("a", 1, "STOPPED"), job("b", 2, "FAILED")],
        "/api/jobs/mixopt-a-1/logs": {"logs": "of the first\n"},
        "/api/jobs/mixopt-a-3/logs": {"logs": "of the third\n"},
    }
    asked = CliRunner().invoke(cli.app, ["logs", "a", "--address", head.address])
    assert asked.stdout == "of the third\n"
    asked = CliRunner().invoke(cli.app, ["logs", "a", "--job", "1", "--address", head.address])
    assert asked.stdout == "of the first\n"
    asked = CliRunner().invoke(cli.app, ["logs", "a", "--job", "2", "--address", head.address])
    assert isinstance(asked.exception, ConfigError)
    assert f"study a has no job 2 at {head.address}" in asked.exception.message
    assert asked.exception.hint == "it has 1, 3"


@pytest.mark.parametrize(("answer", "says"), [([], "was never submitted"), (503, "what is known without it")])
def test_the_log_of_a_study_that_ran_here_is_shown_though_a_cluster_is_named(
    head: Head, tmp_path: Path, answer: object, says: str
) -> None:
    head.answers["/api/jobs/"] = answer
    file = study_file(tmp_path)
    file.work_directory.mkdir(parents=True)
    (file.work_directory / "mixopt.log").write_text("what happened here\n")
    asked = CliRunner().invoke(cli.app, ["logs", str(file.file), "--address", head.address])
    assert (asked.exit_code, asked.stdout) == (0, "what happened here\n")
    assert says in asked.stderr
    for more in (["-f"], ["--job", "1"]):
        asked = CliRunner().invoke(cli.app, ["logs", str(file.file), *more, "--address", head.address])
        assert isinstance(asked.exception, ConfigError), "what ran here is neither followed nor numbered"
        assert head.address in asked.exception.message


def test_a_head_that_is_away_takes_nothing_from_what_is_known_here(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head.answers["/api/jobs/"] = 503
    study = study_file(tmp_path, STUDY).file
    asked = CliRunner().invoke(cli.app, ["status", str(study), "--address", head.address])
    assert f"{head.address} answers 503 Service Unavailable; what is known without it:" in asked.stderr
    assert "study test has not run yet" in str(asked.exception), "it was looked for in the record here"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    asked = CliRunner().invoke(cli.app, ["status", "test", "--address", head.address])
    assert isinstance(asked.exception, HeadAway), "by its name alone it is known to MLflow, which nothing names"


def test_a_submitted_study_is_watched_through_a_head_that_is_away_until_its_job_has_ended(
    head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(watch, "ASK_SECONDS", 0.01)
    monkeypatch.setattr(watch, "LOOKING_SHARE", 1.0)
    for last, status in (("SUCCEEDED", 0), ("FAILED", 1)):
        running = [job("a", 1, "RUNNING")]
        head.answers["/api/jobs/"] = deque([running, running, 503, running, [job("a", 1, last)]])
        done = mixopt("watch", "a", "--address", head.address)
        assert done.status == status
        lines = done.stdout.splitlines()
        assert lines[:2] == ["study a: mixopt-a-1 is running", "to see its trials from here, set MLFLOW_TRACKING_URI"]
        assert lines[2] == f"study a: mixopt-a-1 is {last.lower()}", "what is as before is not said again"
        assert done.stderr.count("answers 503") == 1
    head.answers["/api/jobs/"] = 503
    assert mixopt("watch", "a", "--address", head.address).status == 2, "nothing was ever seen"


class Line:
    """Ray's client, where it follows a log: each connection gets its chunks, and may end in an error."""

    def __init__(self, *connections: list[str | Exception]) -> None:
        self.connections = deque(connections)

    def __call__(self, address: str) -> Line:
        return self

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        assert job_id == "mixopt-a-1"
        for chunk in self.connections.popleft():
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk


def test_a_log_is_followed_through_cut_lines_with_nothing_missing_and_nothing_twice(
    head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LOOK_AGAIN_SECONDS", 0.01)
    states = [503, job("a", 1, "RUNNING"), job("a", 1, "RUNNING"), job("a", 1, "SUCCEEDED")]
    head.answers |= {
        "/api/jobs/": [job("a", 1, "RUNNING")],
        "/api/jobs/mixopt-a-1": deque(states),
        "/api/jobs/mixopt-a-1/logs": {"logs": "one\ntwo\nthree\nfour\n"},
    }
    cut = RuntimeError("WebSocket connection closed unexpectedly")
    line = Line(["one\n", "tw", cut], ["one\ntwo\n", ConnectionResetError()], ["one\n", "two\nth"])
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", line)
    written: list[str] = []
    remarks: list[str] = []
    cluster = Cluster(head.address)
    ended = cluster.follow(cluster.job("a"), written.append, remarks.append)
    assert ended.state == "SUCCEEDED"
    assert "".join(written) == "one\ntwo\nthree\nfour\n"
    assert written[:2] == ["one\n", "tw"], "as it comes"
    assert len(remarks) == 1 and "does not answer; waiting" in remarks[0]


def test_a_reader_that_goes_away_ends_the_following(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", Line(["one\n"]))
    head.answers["/api/jobs/"] = [job("a", 1, "RUNNING")]

    def closed(_: str) -> None:
        raise BrokenPipeError

    cluster = Cluster(head.address)
    with pytest.raises(BrokenPipeError):
        cluster.follow(cluster.job("a"), closed, print)


def test_a_head_that_was_replaced_has_forgotten(head: Head) -> None:
    head.answers["/api/jobs/"] = [job("a", 1, "RUNNING")]
    cluster = Cluster(head.address)
    with pytest.raises(ConfigError, match="knows nothing of /api/jobs/mixopt-a-1/logs") as caught:
        cluster.log(cluster.job("a"))
    assert "submit again" in caught.value.hint


@pytest.mark.parametrize("answer", [500, 503, b"<html>"])
def test_what_is_no_answer_of_a_head_is_a_head_that_is_away(head: Head, answer: object) -> None:
    head.answers["/api/jobs/"] = answer
    with pytest.raises(HeadAway):
        Cluster(head.address).jobs()


@pytest.mark.parametrize(
    ("job", "setting", "status"),
    [(False, "directory: {}", 2), (True, "directory: {}", 75), (True, "executor: {{shared: {}}}", 75)],
)
def test_what_may_pass_on_a_cluster_is_no_mistake_of_the_users(
    job: bool, setting: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").write_text("a file, where there should be a folder")
    study = study_file(tmp_path, f"{STUDY}{setting.format(tmp_path / 'full')}\n").file
    for variable in ("DATASETS_VERBOSITY", "HF_HUB_VERBOSITY"):
        monkeypatch.setenv(variable, "error")
    monkeypatch.setattr(sys, "argv", ["mixopt", "run", str(study)])
    if job:
        monkeypatch.setenv("MIXOPT_JOB", "mixopt-test-1")
        monkeypatch.setenv("MIXOPT_DIRECTORY", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == status
    assert (status in FINAL_STATUS) is not job


def test_nobody_answers() -> None:
    with Head() as gone:
        address = gone.address
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        with pytest.raises(HeadAway, match=f"no Ray head answers at {address}: .*Connection refused"):
            Cluster(address).jobs()


def test_a_wrong_token_and_none(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "w" * 40)
    with pytest.raises(ConfigError, match="does not accept the token in RAY_AUTH_TOKEN") as caught:
        Cluster(head.address).jobs()
    assert "w" * 40 not in f"{caught.value.message} {caught.value.hint}"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ConfigError, match="asks for a token"):
        Cluster(head.address).jobs()


@pytest.mark.parametrize(
    "address", ["head:8265", "ray://head:10001", "auto", "file:///etc/passwd", "http://", "http://a/b"]
)
def test_addresses_that_are_none_of_a_head(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ConfigError, match="is not the address"):
        Cluster(address)


def test_a_cluster_in_numbers(head: Head) -> None:
    alive = [{"state": "ALIVE", "resources_total": {"CPU": 4.0, "GPU": 1.0}}, {"state": "DEAD", "resources_total": {}}]
    head.answers["/api/v0/nodes?limit=10000"] = {"data": {"result": {"result": alive}}}
    head.answers["/api/jobs/"] = [job("web", 1, "FAILED"), job("web", 2, "FAILED"), job("code", 1, "RUNNING")]
    done = mixopt("metrics", "--address", head.address)
    assert done.status == 0, done.stderr
    lines = done.stdout.splitlines()
    for line in ("mixopt_head_up 1", "mixopt_nodes 1", "mixopt_cpus 4", "mixopt_gpus 1"):
        assert line in lines
    assert 'mixopt_study_state{study="web",state="FAILED"} 1' in lines
    assert 'mixopt_study_state{study="web",state="RUNNING"} 0' in lines
    assert 'mixopt_study_attempts{study="web"} 2' in lines
    assert all(re.fullmatch(r'# (HELP|TYPE) .*|[a-z_]+({(\w+="\w+",?)+})? [\d.]+', line) for line in lines)
    head.answers["/api/jobs/"] = 503
    assert mixopt("metrics", "--address", head.address).stdout.splitlines()[-1] == "mixopt_head_up 0"


def test_a_token_follows_no_redirect(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a wrong address, a company's login page or a captive network would have it."""
    with Head() as elsewhere:
        thread = threading.Thread(target=elsewhere.serve_forever, args=(0.02,))
        thread.start()
        head.answers["/api/jobs/"] = f"{elsewhere.address}/api/jobs/"
        with pytest.raises(ConfigError) as caught:
            Cluster(head.address).jobs()
        elsewhere.shutdown()
        thread.join()
    assert f"{head.address}/api/jobs/ redirects to {elsewhere.address}/api/jobs/" in caught.value.message
    assert not elsewhere.asked


@pytest.mark.parametrize("shown", ["/api/version", "/api/jobs/mixopt-a-1/logs/tail"])
def test_nor_does_it_where_rays_own_client_asks(head: Head, shown: str) -> None:
    """To submit, and to follow a log."""
    with Head() as elsewhere:
        thread = threading.Thread(target=elsewhere.serve_forever, args=(0.02,))
        thread.start()
        elsewhere.answers["/api/version"] = {"ray_version": ray.__version__}
        head.answers["/api/version"] = {"ray_version": ray.__version__}
        head.answers[shown] = f"{elsewhere.address}{shown}"
        head.answers["/api/jobs/mixopt-a-1"] = job("a", 1, "SUCCEEDED")
        head.answers["/api/jobs/mixopt-a-1/logs"] = {"logs": ""}
        head.answers["/api/jobs/"] = [job("a", 1, "RUNNING")]
        cluster = Cluster(head.address)
        with suppress(AuthenticationError):
            cluster.follow(cluster.job("a"), lambda text: None, lambda text: None)
        elsewhere.shutdown()
        thread.join()
    assert f"GET {shown}" in head.asked
    assert not [line for line in elsewhere.shown if line and TOKEN in line]


def test_a_password_that_the_machine_keeps_does_not_take_the_tokens_place(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert Cluster(head.address).jobs() == []


def test_a_port_that_speaks_no_http_is_said_in_one_line(head: Head) -> None:
    """As one that belongs to another program."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"220 mail.example ready\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(HeadAway, match=f"no Ray head answers at {address}, but something else does"):
            Cluster(address).jobs()
        thread.join()
