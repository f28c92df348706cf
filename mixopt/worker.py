"""What a worker does with one trial: train the proxy, say how it goes, and end with an outcome.

A trial never raises: whatever kills it becomes a Failure, and the study goes on.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from time import perf_counter

import torch

from mixopt.events import Closed, Event, Progressed
from proxies.data.corpus import Corpus
from proxies.data.mixing import MixedStream
from proxies.errors import ProxyError
from proxies.evaluate import EvaluationLoss
from proxies.recipe import Recipe
from proxies.result import TrainingProgress, TrainingResult
from proxies.run import Diverged
from proxies.train import train
from search.trial import CurvePoint, Failure, FailureKind, Loss, Measurement, Trial


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs for one trial; small enough to send to another machine.

    Attributes:
        corpus: folder of the prepared corpus, reachable from the worker.
        corpus_fingerprint: of the text that the study is about; another is refused.
        checkpoint: file that the training state is kept in, and resumed from; None keeps none.
        available_tokens: tokens of a domain that may be used, where repetition is matched to the final run's.
    """

    trial: Trial
    recipe: Recipe
    corpus: Path
    corpus_fingerprint: str
    checkpoint: Path | None
    study_seed: int
    available_tokens: Mapping[str, int] | None = None


def seed_for(study_seed: int, replicate: int, purpose: str) -> int:
    """A seed for one purpose, below 2^63.

    The trial's mixture is left out on purpose: trials of one replicate share initial weights and the order of
    each domain's text, so that what differs between their losses is the mixture (common random numbers).
    """
    digest = hashlib.sha256(f"{study_seed}/{replicate}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def run_trial(job: Job) -> Iterator[Event]:
    """Train one trial; the last event is its outcome."""
    began = perf_counter()
    try:
        yield from _train(job)
    except Exception as error:
        # Whatever it was, it is one trial's death and not the study's.
        yield Closed(job.trial, _failure(error, perf_counter() - began))


def _failure(error: Exception, seconds: float) -> Failure:
    if isinstance(error, Diverged):
        return Failure(FailureKind.DIVERGED, str(error), seconds)
    # torch raises a plain RuntimeError where the system refuses it memory on a CPU.
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error):
        return Failure(FailureKind.OUT_OF_MEMORY, str(error) or "no memory left", seconds)
    place = traceback.extract_tb(error.__traceback__)[-1]
    message = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
    return Failure(FailureKind.ERROR, message, seconds)


def _train(job: Job) -> Iterator[Event]:
    trial = job.trial
    corpus = Corpus.open(job.corpus)
    if corpus.fingerprint != job.corpus_fingerprint:
        raise ProxyError(f"the corpus in {job.corpus} was replaced while the study ran")
    stream = MixedStream(
        corpus,
        trial.mixture.as_dict(),
        job.recipe.model.sequence_length,
        seed=seed_for(job.study_seed, trial.seed, "order of text"),
        available_tokens=job.available_tokens,
    )
    evaluation_sets = {name: corpus.evaluation(name) for name in corpus.evaluation_sets}
    if job.checkpoint is not None:
        job.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    steps = train(
        job.recipe,
        stream,
        evaluation_sets,
        seed=seed_for(job.study_seed, trial.seed, "initial weights"),
        data=f"trial {trial.id} on corpus {corpus.fingerprint}",
        checkpoint=job.checkpoint,
    )
    for step in steps:
        match step:
            case TrainingProgress():
                losses = _losses(step.evaluation.losses) if step.evaluation else None
                yield Progressed(trial, step.tokens, step.training_loss, step.tokens_per_second, losses)
            case TrainingResult():
                domain_tokens, domain_epochs = stream.realised(step.steps * job.recipe.batch_rows)
                measurement = Measurement(
                    losses=_losses(step.losses),
                    curve=_curve(step, job.recipe),
                    domain_tokens=dict.fromkeys(corpus.domains, 0) | domain_tokens,
                    domain_epochs=dict.fromkeys(corpus.domains, 0.0) | domain_epochs,
                    flops=step.flops,
                    seconds=step.seconds,
                    diagnostics=step.diagnostics,
                    environment=step.environment,
                )
                yield Closed(trial, measurement)


def _curve(result: TrainingResult, recipe: Recipe) -> tuple[CurvePoint, ...]:
    steps = [0, *recipe.evaluation_steps]
    return tuple(
        CurvePoint(point.tokens, _losses(point.losses), fmean(result.training_losses[begin:end]))
        for point, (begin, end) in zip(result.curve, pairwise(steps), strict=True)
    )


def _losses(losses: Mapping[str, EvaluationLoss]) -> dict[str, Loss]:
    return {name: Loss(loss.nats_per_token, loss.bits_per_byte) for name, loss in losses.items()}
