"""How far a study is: what `mixopt status --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Part, Result, Shares
from mixopt.results.queue import QueuedMixture
from mixopt.results.reused import Reused

Activity = Literal["running", "pausing", "paused", "stopping", "waiting", "interrupted", "ended"]
Phase = Literal["starting", "preparing", "search", "confirming", "finishing", "ended"]


class TrialCount(Part):
    total: int
    by_proxy: Mapping[str, int]


class TrialStates(Part):
    """How many trials are in which state."""

    completed: TrialCount
    stopped: TrialCount
    """Ended early, because they were hopeless."""
    running: TrialCount
    interrupted: TrialCount = TrialCount(total=0, by_proxy={})
    """Begun, and trained by nobody at present: the study goes on with them from their checkpoints."""
    failed: TrialCount

    @property
    def by_name(self) -> dict[str, TrialCount]:
        return {
            "completed": self.completed,
            "stopped": self.stopped,
            "running": self.running,
            **({"interrupted": self.interrupted} if self.interrupted.total else {}),
            "failed": self.failed,
        }


class FailedTrial(Part):
    trial: str
    origin: str
    """Who asked for it."""
    kind: str
    message: str


class MetricNoise(Part):
    run_sd: float
    """Standard deviation of what a seed does to one mixture alone."""
    seed_sd: float
    """Of what it does to all mixtures."""


class NoiseFloor(Part):
    """What mixtures that were trained with several seeds say of the noise, and so of what the study can resolve."""

    mixtures: int
    """How many these are."""
    freedom: int
    """Degrees of freedom that it rests on; with fewer than 5 it may well be half or twice of it."""
    objective: MetricNoise
    metrics: Mapping[str, MetricNoise]
    seeds: int
    """Of the confirmation."""
    resolves: float
    """The least difference between two mixtures that so many seeds of both show, more often than not."""
    seeds_for_half: int
    """How many seeds of both would show half of that."""


class AnswerInShort(Part):
    mixture: Shares
    confirmed: bool
    verdict: str


class Progress(Part):
    """How far the search is, or the confirmation."""

    ended: int
    """Trials that have ended, however."""
    expected: int
    """At most: a search may end earlier."""
    tokens_per_second: float | None = None
    """Of all trials in training together; null where no driver says so, as all that follows."""
    seconds_left: float | None = None
    """Of the phase, at most."""
    seconds_left_in_all: float | None = None
    """With the confirmation that comes after a search."""


class TrialInTraining(Part):
    """A trial that is being trained."""

    trial: str
    origin: str
    """Who asked for it."""
    proxy: str
    seed: int
    tokens: int
    """That it is to be trained on."""
    trained: int | None = None
    """So many tokens of them are done; null where nobody has said so, as before it has begun."""
    tokens_per_second: float | None = None
    seconds: float | None = None
    """Since it was launched."""
    seconds_left: float | None = None


class EndedTrial(Part):
    """A trial that has ended, and how."""

    trial: str
    origin: str
    """Who asked for it."""
    proxy: str
    seed: int
    state: Literal["completed", "stopped", "failed"]
    objective: float | None
    """Null where it measured none, or not yet the baseline that it is judged by."""
    seconds: float
    ended: str | None
    """In UTC, ISO 8601; null where it is not known."""


class Improvement(Part):
    """A best trial until then."""

    after: int
    """So many trials of the target had been measured then."""
    objective: float


class BestSoFar(Part):
    """The search's best trial of the target, beside the best baseline. It was picked as the best: a part is luck."""

    trial: str
    origin: str
    """Who asked for it."""
    objective: float
    unit: Literal["nats_per_token", "bits_per_byte"]
    allowed: bool
    """Whether it keeps the objective's constraint; where not, none does."""
    mixture: Shares
    of: int
    """How many trials of the target the search has measured."""
    baseline: str | None = None
    """The best baseline; null where none was measured."""
    baseline_objective: float | None = None
    difference: float | None = None
    """Its objective minus that of the best baseline, one run each."""
    resolves: float | None = None
    """The least difference that one run each shows, more often than not; null where the noise is not known."""
    improvements: tuple[Improvement, ...] = ()
    """How it came to that, the first first."""


class StatusFields(Part):
    """What is recorded of a study."""

    study: str
    activity: Activity | None = None
    """What its driver is at: pausing and stopping once somebody asked for it; interrupted where there is none, and
    something is left to do. Null where it is not known."""
    driver: str | None = None
    """Who runs it, where that can be seen from here: process and machine."""
    phase: Phase | None = None
    """Null where it is not known."""
    doing: str | None = None
    """What its driver is at, where that is no training."""
    waits: str | None = None
    """What its driver waits for."""
    known_at: str | None = None
    """As of when all this is known, by the clock of its driver: in UTC, ISO 8601."""
    progress: Progress | None = None
    """Null while there is no trial to count."""
    mlflow_away: str | None = None
    """Why MLflow does not take what is recorded, and how much waits for it; null where it does, or the journal is
    elsewhere."""
    trials: TrialStates
    training: tuple[TrialInTraining, ...] = ()
    """What is being trained, where that is known."""
    lately: tuple[EndedTrial, ...] = ()
    """The trials that ended last, the latest last."""
    best: BestSoFar | None = None
    """Null before a trial of the target was measured, and where the objective is not known."""
    flops: float
    """Of what was measured."""
    training_seconds: float
    search_seconds: float | None = None
    """How long the search has run, without its pauses; null where that is not known."""
    time_budget: float | None = None
    """Seconds that it may take, by `budget.time`; null without, and where the study file is not at hand."""
    slower: tuple[str, ...] = ()
    """Trials whose steps were slower than they should have been, and why, in sentences."""
    restarts: int
    """How often trials went on from a checkpoint after their worker had died."""
    failures: tuple[FailedTrial, ...]
    queue: tuple[QueuedMixture, ...] = ()
    """What somebody queued for it to train, where its folder is at hand; docs/how-to/explore.md."""
    noise: NoiseFloor | None = None
    """Null while no two mixtures were trained with the same two seeds, or the study file is not at hand."""
    answer: AnswerInShort | None
    tracking_uri: str
    pool_changes: tuple[str, ...] = ()
    """How today's pools differ from those that were measured, in sentences."""
    reused: Reused | None = None
    """Runs of other studies in the store that count; null where none were asked for (reuse.store)."""


class Status(StatusFields, Result):
    """How far a study is."""

    schema_version: Literal[1] = 1
