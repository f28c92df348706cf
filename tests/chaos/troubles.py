"""What hurts and does not kill at once: disks that fill up, servers that hang or send elsewhere, too little memory,
drivers that die again and again.

Whether a trouble met whom it was meant for is asked of that: of what the driver said, what the journal recorded, what
the supervisor did. One that nobody noticed has an empty `Came.seen`.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil

from mixopt.cluster.jobs import ENDED, Cluster
from mixopt.supervise import MOST_DEATHS
from tests.chaos.faults import AWAY_SECONDS, NODES, Came, Service, drivers, killed
from tests.processes import LOOPBACK
from tracking.entries import Restarted
from tracking.journal import read, read_record

# MLflow's client gives a request up after 20 s.
HUNG_SECONDS = 30.0
SEEN_WITHIN_SECONDS = 90.0
# With a trial between two deaths; one more than the supervisor would bear without.
DEATHS = MOST_DEATHS + 1
# A driver takes so long to start, find its workers and train, on a busy machine.
TRIAL_WITHIN_SECONDS = 240.0
LOOK_SECONDS = 0.2
# Of the machine's memory, the part that a node may use: less than is in use before it starts.
NO_MEMORY = {"RAY_memory_usage_threshold": "0.01"}


@dataclass(frozen=True)
class Target:
    """The study that a trouble is for, as it is seen from outside; `folder` is where it works on the cluster."""

    name: str
    folder: Path
    cluster: Cluster
    submit: Callable[[], object]

    @property
    def state(self) -> str:
        return self.cluster.job(self.name).state

    @property
    def job(self) -> str:
        return self.cluster.job(self.name).id

    @property
    def said(self) -> list[str]:
        """The lines that its job has printed."""
        return self.cluster.log(self.cluster.job(self.name)).splitlines()

    @property
    def ended(self) -> int:
        """How many of its trials have."""
        return len(read_record(self._journal).history.completed)

    @property
    def restarts(self) -> list[str]:
        """Why trials were started again, each time."""
        return [entry.reason for entry in read(self._journal) if isinstance(entry, Restarted)]

    @property
    def _journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def says(self, words: str, since: int) -> str:
        """The first line after so many that matches a pattern, once there is one; "" where it does not come."""
        return awaited(lambda: next((line for line in self.said[since:] if re.search(words, line)), ""))


def awaited(seen: Callable[[], str], seconds: float = SEEN_WITHIN_SECONDS) -> str:
    """What is seen once it is not "", and "" where it is not within so long."""
    deadline = time.monotonic() + seconds
    while not (found := seen()) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return found


def fill_disk(service: Service, target: Target) -> Came:
    """No room where the study works, until the driver has died of it and some seconds more.

    What is removed meanwhile, such as the checkpoint of a trial that has ended, makes no room either.
    """
    assert service.has_own_disk, "another's would be filled"
    said = len(target.said)
    filler = service.studies / "filler"

    def died() -> str:
        _fill(filler)
        words = f"{re.escape(str(service.studies))}.*No space left on device"
        return next((line for line in target.said[said:] if re.search(words, line)), "")

    try:
        seen = awaited(died)
        time.sleep(AWAY_SECONDS)
    finally:
        filler.unlink(missing_ok=True)
    return Came(seen)


def _fill(filler: Path) -> None:
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def hang_mlflow(service: Service, target: Target) -> Came:
    """SIGSTOP: it takes connections and requests, and answers none, for longer than a request may take."""
    said, ended, began = len(target.said), target.ended, time.monotonic()
    members = service.family("mlflow")
    try:
        for each in members:
            each.suspend()
        seen = target.says("MLflow.*(timed out|timeout)", said)
        time.sleep(max(0.0, HUNG_SECONDS - (time.monotonic() - began)))
        meanwhile = target.ended - ended
    finally:
        for each in members:
            with suppress(psutil.NoSuchProcess):
                each.resume()
    return Came(seen and f"{seen} ({meanwhile} trials ended while it hung)")


def redirect_mlflow(service: Service, target: Target) -> Came:
    """Something in the place of MLflow that sends everybody to another host.

    Raises:
        AssertionError: somebody went there.
    """
    said = len(target.said)
    service.kill("mlflow")
    with _redirecting(service.site.ports["mlflow"]) as here:
        seen = target.says("MLflow.*302", said)
        time.sleep(AWAY_SECONDS)
    service.start("mlflow")
    assert not here.elsewhere, f"went to the other host: {here.elsewhere}"
    logins = sum(here.logins)
    return Came(seen and f"{seen} ({logins} requests with a login were redirected)" if logins else "")


@dataclass
class _Asked:
    """Requests to a server that redirects: whether each had a login; and what came to where it redirects to."""

    logins: list[bool] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


@contextmanager
def _redirecting(port: int) -> Iterator[_Asked]:
    """An HTTP server that redirects all requests to another one, which notes what comes."""
    asked = _Asked()

    class Elsewhere(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            asked.elsewhere.append(self.rfile.readline().decode(errors="replace"))
            self.close_connection = True

    class Here(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.logins.append("Authorization" in self.headers)
            self.send_response(302)
            self.send_header("Location", f"http://{LOOPBACK}:{elsewhere.server_port}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    with ExitStack() as stack:
        elsewhere = stack.enter_context(ThreadingHTTPServer((LOOPBACK, 0), Elsewhere))
        for server in (elsewhere, stack.enter_context(ThreadingHTTPServer((LOOPBACK, port), Here))):
            Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        yield asked


def starve_node(service: Service, target: Target, chance: random.Random) -> Came:
    """A node whose memory is used up, so that Ray ends what trains there, until one trial's record says so."""
    node = chance.choice(NODES)
    before = len(target.restarts)
    service.kill(node)
    service.start(node, NO_MEMORY)
    seen = awaited(lambda: next((why for why in target.restarts[before:] if "memory" in why), ""))
    service.kill(node)
    service.start(node)
    return Came(seen)


def kill_driver_often(service: Service, target: Target) -> Came | None:
    """A driver that dies more often than its supervisor bears, each time after one more trial has ended."""
    job, said, deaths = target.job, len(target.said), 0
    while deaths < DEATHS and target.state not in ENDED and killed(drivers(service)):
        deaths += 1
        ended = target.ended  # of a journal that nobody writes to at present
        if not awaited(lambda: "more" if target.ended > ended else "", TRIAL_WITHIN_SECONDS):  # noqa: B023
            break
    else:
        known = sum("the study died by signal SIGKILL; it goes on" in line for line in target.said[said:])
        if deaths == known == DEATHS and target.job == job and target.state in ("RUNNING", "SUCCEEDED"):
            return Came(f"its supervisor went on after {known} deaths, and a trial ended after each")
    return Came("") if deaths else None


def kill_driver_until_given_up(service: Service, target: Target) -> Came | None:
    """A driver that dies as soon as it is there; what was given up is submitted again."""
    deaths = 0
    deadline = time.monotonic() + TRIAL_WITHIN_SECONDS
    while target.state not in ENDED and time.monotonic() < deadline:
        deaths += killed(drivers(service))
        time.sleep(LOOK_SECONDS)
    if not deaths:
        return None
    job = target.cluster.job(target.name)
    given_up = re.search(r"the study died \d+ times, the last time by signal SIGKILL, and no trial.*", job.message)
    if job.state in ENDED:
        target.submit()
    return Came(given_up[0] if given_up and job.state == "FAILED" else "")
