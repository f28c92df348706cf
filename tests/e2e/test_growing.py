"""A study on a cluster that has no node that trains, and starts one when it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mixopt.cluster.jobs import Cluster
from mixopt.workers import ray_room
from mixopt.workers.executor import Unwanted
from mixopt.workers.messages import Event, Notice, TrialEnd
from mixopt.workers.ray_cluster import RayCluster
from search.history import History
from search.trial import Measurement, Trial
from tests.e2e.head import Head, new_head
from tests.e2e.study import answer_of, write_study
from tests.simulated import planned
from tests.waiting import until

pytestmark = pytest.mark.slow

# Ray's own nodes for tests: processes of this machine.
AUTOSCALING = """\
cluster_name: growing
provider: {type: fake_multinode, gcs_address: "GCS", use_node_id_as_ip: true}
max_workers: 2
upscaling_speed: 1
idle_timeout_minutes: 0.2
head_node_type: ray.head.default
available_node_types:
  ray.head.default: {resources: {CPU: 0}, node_config: {}, max_workers: 0}
  trains: {resources: {CPU: 2, object_store_memory: 100000000}, node_config: {}, min_workers: 0, max_workers: 1}
auth: {}
docker: {}
file_mounts: {}
file_mounts_sync_continuously: false
cluster_synced_files: []
rsync_exclude: []
rsync_filter: []
initialization_commands: []
setup_commands: []
head_setup_commands: []
worker_setup_commands: []
head_start_ray_commands: []
worker_start_ray_commands: []
"""
FAKE_CLUSTER = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
SUBMITTED = """\
study: small
domains:
  prose: {paths: data/prose.jsonl}
  code:  {paths: data/code.jsonl}
corpus: {vocabulary: 300, validation_tokens: 1k, sequence_length: 32}
proxies: {dense: {depth: 1, width: 32, heads: 2, tokens: 4k, batch_rows: 8, evaluations: 2, trials: 3}}
baselines: [proportional]
confirm: {candidates: 0}
"""
WITHIN_SECONDS = 180
ASKED_FOR = "no node has room for a trial yet; the cluster was asked for one"


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with new_head(cpus=0, autoscaling=AUTOSCALING, variables=FAKE_CLUSTER) as started:
        yield started


@pytest.fixture(autouse=True)
def without_nodes(head: Head) -> None:
    """Those of the test before have gone."""
    until(lambda: nodes(Cluster(head.address)) == [], WITHIN_SECONDS)


def test_a_study_asks_for_a_node_and_gives_it_back(head: Head, tmp_path: Path) -> None:
    study = write_study(tmp_path, SUBMITTED)
    (tmp_path / ".mixopt").rename(head.directory)
    cluster = Cluster(head.address)

    assert answer_of("submit", study)["submitted"]

    await_it(lambda: cluster.job("small").has_ended, cluster)
    log = cluster.log(cluster.job("small"))
    assert cluster.job("small").state == "SUCCEEDED", log
    assert ASKED_FOR in log
    assert "there is room for 2 trials now" in log
    assert nodes(cluster) == [2]
    # Nothing is asked for any more, so the node goes once it was idle for a while.
    await_it(lambda: nodes(cluster) == [], cluster)


def test_a_compile_that_waits_for_a_node_is_given_up_once_nobody_wants_it(head: Head, tmp_path: Path) -> None:
    [recipe] = planned(tmp_path, SUBMITTED).recipes.values()
    remarks: list[str] = []
    with RayCluster("unwanted", head.gcs, cpus_per_trial=2.0) as cluster:
        began = time.monotonic()
        with pytest.raises(Unwanted):
            cluster.compile(recipe, remarks.append, lambda: time.monotonic() - began < 2)
        assert time.monotonic() - began < 10
    assert remarks[0] == ASKED_FOR


def test_room_is_said_to_have_come_before_the_first_trial_ends(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, SUBMITTED)
    job = plan.job(Trial(plan.problem.baselines["proportional"], plan.problem.rungs[0].fidelity, seed=0), History())
    seen: list[Event] = []
    monkeypatch.setattr(ray_room, "LOOK_SECONDS", 1000.0)  # as if the trial ended before it is time to look
    with RayCluster("sees", head.gcs) as cluster:
        cluster.launch(replace(job, recipe=replace(job.recipe, compiled=False), checkpoint=None))

        def ends() -> bool:
            seen.extend(cluster.events())
            return any(isinstance(event, TrialEnd) for event in seen)

        until(ends, WITHIN_SECONDS)
    said = [event.text for event in seen if isinstance(event, Notice)]
    # A node that the test before had asked for may come at this moment: then there is room from the beginning.
    assert said in ([ASKED_FOR, "there is room for 2 trials now"], [])
    assert isinstance(seen[-1], TrialEnd)
    assert isinstance(seen[-1].outcome, Measurement), seen[-1].outcome


def nodes(cluster: Cluster) -> list[float]:
    """The processors of each node that trains."""
    return [node["CPU"] for node in cluster.nodes() if node.get("CPU")]


def await_it(condition: Callable[[], bool], cluster: Cluster) -> None:
    until(condition, WITHIN_SECONDS, otherwise=lambda: cluster.log(cluster.job("small")))
