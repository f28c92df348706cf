"""What a worker does with trials: train their proxies, say how it goes, and end each with an outcome.

On a CPU it is one trial at a time; on a GPU several of one recipe side by side, and where one ends, the next begins. A
trial never raises: whatever kills it becomes a Failure, and the study goes on.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from statistics import fmean
from threading import Thread
from time import perf_counter

import torch

from mixopt.workers.messages import Event, Fetching, TrialEnd, TrialProgress
from proxies.data.corpus import Corpus
from proxies.data.mixing import MixedStream
from proxies.data.node_cache import fetch_corpus, fetched_bytes
from proxies.device import one_thread
from proxies.errors import ProxyError
from proxies.evaluate import EvaluationLoss, GroupLosses
from proxies.member import Member
from proxies.models.size import ModelSize
from proxies.pack import Pack
from proxies.recipe import Recipe
from proxies.result import Diverged, TrainingProgress, TrainingResult
from proxies.train import train_pack
from search.seeds import is_of_search
from search.stopping import StoppingRule
from search.trial import CurvePoint, DocumentGroups, Failure, FailureKind, Loss, Measurement, Trial

# Of the nats of a group of documents, which are some thousands.
DIGITS = 4
# How often a worker looks whether more of the tokens has come.
LOOK_SECONDS = 2.0
# Pieces of the text of all domains together that a kept proxy's mean is taken over.
KEPT_TEXTS = 1024


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs for one trial; small enough to send to another machine.

    Attributes:
        corpus: folder of the prepared corpus, or URL that a node fetches it from once.
        corpus_fingerprint: of the text that the study is about; another is refused.
        checkpoint: file or URL that the training state is kept in, and resumed from; None keeps none.
        available_tokens: tokens of a domain that may be used, where repetition is matched to the final run's.
        stopping: when to give the trial up; None trains it to its end.
        keep: folder that the trained proxy is kept in, as an embedding of documents; None keeps none.
    """

    trial: Trial
    recipe: Recipe
    corpus: str
    corpus_fingerprint: str
    checkpoint: str | None
    study_seed: int
    available_tokens: Mapping[str, int] | None = None
    stopping: StoppingRule | None = None
    keep: str | None = None

    def fits(self, other: Job) -> bool:
        """Whether the two can share a pack: the same recipe and text, and measured on the same documents."""
        return (
            self.recipe == other.recipe
            and self.corpus_fingerprint == other.corpus_fingerprint
            and is_of_search(self.trial.seed) == is_of_search(other.trial.seed)
        )


def seed_for(study_seed: int, replicate: int, purpose: str) -> int:
    """A seed for one purpose, below 2^63.

    The trial's mixture is left out on purpose: trials of one replicate share initial weights and the order of
    each domain's text, so that what differs between their losses is the mixture (common random numbers).
    """
    digest = hashlib.sha256(f"{study_seed}/{replicate}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def compile_ahead(recipe: Recipe, members: int) -> str | None:
    """Compile the steps of a pack of this recipe for the trials to come; returns why that failed, if it did."""
    with one_thread():
        pack = Pack(recipe, [None] * members)
        pack.compile()
        return pack.not_compiled


# Asked for more jobs that fit: for how many there is room, and whether nobody trains, so that it may wait for some.
MoreJobs = Callable[[int, bool], Sequence[Job]]


def _no_more(wanted: int, idle: bool) -> Sequence[Job]:
    return ()


def run_trials(jobs: Sequence[Job], slots: int | None = None, more: MoreJobs = _no_more) -> Iterator[Event]:
    """Train trials that fit each other side by side; the last event of each is its outcome.

    Args:
        slots: how many train at a time; None is all of `jobs`.
    """
    began, slots = perf_counter(), slots or len(jobs)
    open_jobs = {job.trial.id: job for job in jobs}  # in the order in which they begin

    def more_noted(wanted: int, idle: bool) -> Sequence[Job]:
        come = more(wanted, idle)
        open_jobs.update({job.trial.id: job for job in come})
        return come

    failure = None
    try:
        for event in _train(jobs, slots, more_noted):
            if isinstance(event, TrialEnd):
                del open_jobs[event.trial.id]
            yield event
    except Exception as error:
        # Whatever it was, it is these trials' death and not the study's.
        failure = _failure(error, perf_counter() - began)
    if failure is None:
        return
    left = list(open_jobs.values())
    if failure.kind is not FailureKind.OUT_OF_MEMORY:
        yield from (TrialEnd(job.trial, failure) for job in left)
        return
    # Only here, where the error is gone, has the pack that it came from given its memory back.
    torch.cuda.empty_cache()
    if slots == 1:  # even alone, the one that trained found none
        yield TrialEnd(left.pop(0).trial, failure)
    if left:
        yield from run_trials(left, max(1, slots // 2), more)


def _failure(error: Exception, seconds: float) -> Failure:
    if isinstance(error, Diverged):
        return Failure(FailureKind.DIVERGED, str(error), seconds)
    # torch raises a plain RuntimeError where the system refuses it memory on a CPU.
    whole = "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error):
        return Failure(FailureKind.OUT_OF_MEMORY, str(error) or "no memory left", seconds, whole)
    message = f"{type(error).__name__}: {error}"
    if places := traceback.extract_tb(error.__traceback__):
        message += f" ({Path(places[-1].filename).name}:{places[-1].lineno})"
    return Failure(FailureKind.ERROR, message, seconds, whole)


def _train(jobs: Sequence[Job], slots: int, more: MoreJobs) -> Iterator[Event]:
    recipe = jobs[0].recipe
    corpus = yield from _corpus(jobs[0].corpus, jobs[0].corpus_fingerprint)
    number = count()
    training: dict[int, tuple[Trial, MixedStream]] = {}  # by the member's index
    stillborn: list[TrialEnd] = []

    def members(jobs: Sequence[Job]) -> list[Member]:
        made = []
        for job in jobs:
            assert job.fits(jobs[0]) and job.recipe == recipe
            try:
                stream = _stream(job, corpus)
            except ProxyError as error:  # this trial's alone: the others go on
                stillborn.append(TrialEnd(job.trial, _failure(error, 0.0)))
                continue
            made.append(_member(job, stream, corpus))
            training[next(number)] = job.trial, stream
        return made

    def more_members(wanted: int, idle: bool) -> list[Member]:
        return members(more(wanted, idle))

    # A confirmation is measured on documents that chose nothing, as its seeds chose nothing.
    tokens_of = corpus.evaluation if is_of_search(jobs[0].trial.seed) else corpus.confirmation
    evaluation_sets = {name: tokens_of(name) for name in corpus.evaluation_sets}
    for index, step in train_pack(recipe, members(jobs), evaluation_sets, slots=slots, more=more_members):
        yield from _emptied(stillborn)
        trial, stream = training[index]
        match step:
            case TrainingProgress():
                losses = _losses(step.evaluation.losses) if step.evaluation else None
                speed = step.tokens_per_second
                yield TrialProgress(trial, step.tokens, step.training_loss, speed, losses, step.slower)
                continue
            case TrainingResult():
                yield TrialEnd(trial, _measurement(step, recipe, stream, corpus))
            case Diverged():
                yield TrialEnd(trial, _failure(step, step.seconds))
            case Exception():
                yield TrialEnd(trial, _failure(step, 0.0))
        del training[index]
    yield from _emptied(stillborn)


def _emptied(ends: list[TrialEnd]) -> Iterator[TrialEnd]:
    while ends:
        yield ends.pop(0)


def _corpus(place: str, fingerprint: str) -> Generator[Fetching, None, Corpus]:
    if "://" in place:
        return Corpus.open((yield from _fetched(place, fingerprint)))
    if not Path(place).exists():
        raise ProxyError(f"there is no {place} on this node; nodes that share no folder need executor.shared")
    corpus = Corpus.open(Path(place))
    if corpus.fingerprint != fingerprint:
        raise ProxyError(f"the corpus in {place} was replaced while the study ran")
    return corpus


def _fetched(place: str, fingerprint: str) -> Generator[Fetching, None, Path]:
    """The folder of the corpus on this node; says so whenever more of it has come, which may take hours in all."""
    fetched: Future[Path] = Future()

    def fetch() -> None:
        try:
            fetched.set_result(fetch_corpus(place, fingerprint))
        except BaseException as error:
            fetched.set_exception(error)

    # A daemon: a worker that is ended does not wait for it.
    Thread(target=fetch, name="fetch", daemon=True).start()
    here = 0
    while not wait([fetched], timeout=LOOK_SECONDS).done:
        before, here = here, fetched_bytes(fingerprint)
        if here != before:
            yield Fetching()
    return fetched.result()


def _stream(job: Job, corpus: Corpus) -> MixedStream:
    return MixedStream(
        corpus,
        job.trial.mixture.as_dict(),
        job.recipe.model.sequence_length,
        seed=seed_for(job.study_seed, job.trial.seed, "order of text"),
        available_tokens=job.available_tokens,
    )


def _member(job: Job, stream: MixedStream, corpus: Corpus) -> Member:
    rule = job.stopping
    return Member(
        stream,
        seed=seed_for(job.study_seed, job.trial.seed, "initial weights"),
        data=f"trial {job.trial.id} on corpus {corpus.fingerprint}",
        checkpoint=job.checkpoint,
        hopeless=None if rule is None else lambda point: rule.hopeless(point.tokens, _losses(point.losses)),
        keep=None if job.keep is None else partial(_keep, Path(job.keep), job.recipe.model, corpus),
    )


def _keep(folder: Path, size: ModelSize, corpus: Corpus, weights: Mapping[str, torch.Tensor]) -> None:
    from proxies.domains.embedding.hidden_states import keep

    tokenizer = corpus.tokenizer()
    each = max(1, KEPT_TEXTS // len(corpus.domains))
    texts = [text for name in corpus.domains for text in corpus.texts(name, tokenizer, each)]
    keep(folder, size, {name: weight.numpy() for name, weight in weights.items()}, tokenizer, texts)


def _measurement(result: TrainingResult, recipe: Recipe, stream: MixedStream, corpus: Corpus) -> Measurement:
    domain_tokens, domain_epochs = stream.realised(result.steps * recipe.batch_rows)
    return Measurement(
        losses=_losses(result.losses),
        curve=_curve(result, recipe),
        domain_tokens=dict.fromkeys(corpus.domains, 0) | domain_tokens,
        domain_epochs=dict.fromkeys(corpus.domains, 0.0) | domain_epochs,
        flops=result.flops,
        seconds=result.seconds,
        diagnostics=result.diagnostics,
        environment=result.environment,
        stopped_at=result.tokens if result.steps < recipe.steps else None,
        documents={name: _document_groups(groups) for name, groups in result.groups.items()},
    )


def _curve(result: TrainingResult, recipe: Recipe) -> tuple[CurvePoint, ...]:
    steps = [0, *recipe.evaluation_steps]
    return tuple(
        CurvePoint(point.tokens, _losses(point.losses), fmean(result.training_losses[begin:end]))
        for point, (begin, end) in zip(result.curve, pairwise(steps), strict=False)  # of a stopped run the first ones
    )


def _document_groups(groups: GroupLosses) -> DocumentGroups:
    """Rounded, because a journal keeps them of every trial."""
    return DocumentGroups(tuple(round(nats, DIGITS) for nats in groups.nats_G), groups.tokens_G, groups.bytes_G)


def _losses(losses: Mapping[str, EvaluationLoss]) -> dict[str, Loss]:
    return {name: Loss(loss.nats_per_token, loss.bits_per_byte) for name, loss in losses.items()}
