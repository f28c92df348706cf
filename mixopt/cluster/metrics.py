"""A cluster in numbers, in the text format that Prometheus reads (its textfile collector, say).

Ray's own ports for Prometheus ask for no token, and are closed. This asks the head as every command does, with the
token, and tells what a keeper wants to be woken for: the head is away, nodes are gone, a study failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mixopt.cluster.head import HeadAway
from mixopt.cluster.jobs import Cluster

STATES = ("PENDING", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED")


def metrics_text(cluster: Cluster) -> str:
    """
    Raises:
        ConfigError: the head does not accept the token, or is none.
    """
    return "".join(f"{line}\n" for line in _lines(cluster))


def _lines(cluster: Cluster) -> Iterator[str]:
    try:
        nodes, jobs = cluster.nodes(), cluster.jobs()
    except HeadAway:
        yield from _metric("mixopt_head_up", "Whether the head answers.", {"": 0})
        return
    yield from _metric("mixopt_head_up", "Whether the head answers.", {"": 1})
    yield from _metric("mixopt_nodes", "Nodes that are alive.", {"": len(nodes)})
    for kind in ("CPU", "GPU"):
        count = sum(node.get(kind, 0) for node in nodes)
        yield from _metric(f"mixopt_{kind.lower()}s", f"{kind}s of the nodes that are alive.", {"": count})
    states = {f'{{study="{job.study}",state="{state}"}}': int(job.state == state) for job in jobs for state in STATES}
    yield from _metric("mixopt_study_state", "1 for the state that a study's latest job is in.", states)
    attempts = {f'{{study="{job.study}"}}': job.number for job in jobs}
    yield from _metric("mixopt_study_attempts", "How often a study was submitted.", attempts)


def _metric(name: str, about: str, values: Mapping[str, float]) -> Iterator[str]:
    """A gauge; `values` by labels, whose texts are names of studies and states, which need no escapes."""
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} gauge"
    yield from (f"{name}{labels} {value:g}" for labels, value in values.items())
