"""Trials that share a process: each ends as it would alone, and none takes another with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fsspec.implementations.local import LocalFileSystem

from mixopt.workers import training
from mixopt.workers.messages import Event, Fetching, TrialEnd
from mixopt.workers.training import Job, run_trials, seed_for
from proxies.data import node_cache
from proxies.data.corpus import Corpus
from proxies.data.mixing import MixedStream
from proxies.data.node_cache import CACHE_VARIABLE, publish
from proxies.data.shards import Shard
from proxies.member import Member
from proxies.recipe import Recipe
from proxies.result import TrainingResult
from proxies.train import train, train_pack
from search.history import History
from search.mixture import Mixture
from search.objective import WeightedMean
from search.stopping import Foretold, StoppingRule
from search.trial import Failure, FailureKind, Measurement, Trial
from tests.e2e.study import STUDY
from tests.simulated import planned

FULL_PRECISION = STUDY.replace("evaluations: 2,", "evaluations: 2, precision: fp32,")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    plan = planned(tmp_path_factory.mktemp("study"), FULL_PRECISION)
    dense = plan.problem.rungs[0].fidelity
    mixtures = [Mixture.of({"prose": share, "code": 0.3, "sums": 0.7 - share}) for share in (0.2, 0.4, 0.6)]
    return [replace(plan.job(Trial(each, dense, seed=0), History()), checkpoint=None) for each in mixtures]


@pytest.fixture
def far(jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job whose tokens this node has to fetch."""
    place = f"file://{tmp_path}/shared"
    publish(Corpus.open(Path(jobs[0].corpus)), place)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "node"))
    monkeypatch.setattr(training, "LOOK_SECONDS", 0.02)
    return replace(jobs[0], corpus=place)


def test_a_worker_whose_node_fetches_the_tokens_says_so_as_long_as_they_come(
    far: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a network that stands still in the middle: nothing is said meanwhile, so that it can be noticed."""
    stands_still, goes_on = threading.Event(), threading.Event()
    copy = LocalFileSystem.get_file

    def slowly(*arguments: Any, **options: Any) -> None:
        if stands_still.is_set():
            assert goes_on.wait(30)
        stands_still.set()
        copy(*arguments, **options)

    monkeypatch.setattr(LocalFileSystem, "get_file", slowly)
    monkeypatch.setattr(node_cache, "AT_A_TIME", 1)
    events = run_trials([far])
    assert isinstance(next(events), Fetching)
    silent = threading.Timer(0.3, goes_on.set)
    silent.start()
    fetching = [event for event in events if isinstance(event, Fetching)]
    assert len(fetching) < 10, "it is not said again and again while nothing comes"


def test_a_worker_whose_node_compares_what_it_fetched_says_so(
    far: Job, jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow disk this takes long, and nothing comes any more."""
    began, compare = threading.Event(), Shard.check_content

    def slowly(shard: Shard, folder: Path) -> None:
        began.set()
        time.sleep(0.1)
        compare(shard, folder)

    monkeypatch.setattr(Shard, "check_content", slowly)
    said = [began.is_set() for event in run_trials([far]) if isinstance(event, Fetching)]
    assert said.count(True) >= len(Corpus.open(Path(jobs[0].corpus)).shards) // 2
    assert not list((tmp_path / "node").rglob("compared"))


def outcomes(jobs: list[Job]) -> dict[str, Measurement | Failure]:
    events: list[Event] = list(run_trials(jobs))
    closed = [event for event in events if isinstance(event, TrialEnd)]
    assert len(closed) == len(jobs)
    found = {event.trial.id: event.outcome for event in closed}
    return {job.trial.id: found[job.trial.id] for job in jobs}


def losses(outcome: Measurement | Failure) -> list[float]:
    assert isinstance(outcome, Measurement), outcome
    return [loss.nats_per_token for loss in outcome.losses.values()]


def test_a_pack_measures_what_each_trial_measures_alone(jobs: list[Job]) -> None:
    together = outcomes(jobs)

    for job in jobs:
        alone = outcomes([job])[job.trial.id]
        np.testing.assert_allclose(losses(together[job.trial.id]), losses(alone), rtol=1e-4)
        assert isinstance(alone, Measurement)
        assert together[job.trial.id].domain_tokens == alone.domain_tokens  # type: ignore[union-attr]


def test_a_confirmation_is_measured_on_documents_that_the_search_does_not_see(jobs: list[Job]) -> None:
    corpus = Corpus.open(Path(jobs[0].corpus))
    confirmation = replace(jobs[0], trial=replace(jobs[0].trial, seed=1))
    assert confirmation.fits(confirmation) and not confirmation.fits(jobs[0])

    [outcome] = outcomes([confirmation]).values()

    assert isinstance(outcome, Measurement)
    assert outcome.documents.keys() == set(corpus.evaluation_sets) == set(corpus.confirmed_apart)
    for name, groups in outcome.documents.items():
        tokens = corpus.confirmation(name)
        assert groups.bytes == tokens.bytes_G
        assert sum(groups.tokens) == len(tokens.tokens_N) - 1
        assert sum(groups.nats) / sum(groups.tokens) == pytest.approx(outcome.losses[name].nats_per_token, abs=1e-4)
    assert outcome.curve[-1].losses == outcome.losses
    on_the_searchs = _trained_alone(confirmation, corpus)
    for name, loss in outcome.losses.items():
        assert loss.nats_per_token != pytest.approx(on_the_searchs[name], rel=1e-3)
    [searched] = outcomes([jobs[0]]).values()
    assert isinstance(searched, Measurement) and not searched.documents


def _trained_alone(job: Job, corpus: Corpus) -> dict[str, float]:
    """The losses of the same training on what the search ranks mixtures by."""
    length, order = job.recipe.model.sequence_length, seed_for(job.study_seed, job.trial.seed, "order of text")
    stream = MixedStream(corpus, job.trial.mixture.as_dict(), length, seed=order)
    sets = {name: corpus.evaluation(name) for name in corpus.evaluation_sets}
    first_weights = seed_for(job.study_seed, job.trial.seed, "initial weights")
    *_, result = train(job.recipe, stream, sets, seed=first_weights)
    assert isinstance(result, TrainingResult)
    return {name: loss.nats_per_token for name, loss in result.losses.items()}


def test_a_hopeless_trial_is_a_measurement_at_fewer_tokens(jobs: list[Job]) -> None:
    recipe = jobs[0].recipe
    half = recipe.evaluation_steps[0] * recipe.batch_tokens
    certain = Foretold(mean_x=0.0, mean_y=0.0, slope=1.0, residual_sd=0.0, spread_x=1.0, trials=100)
    rule = StoppingRule(WeightedMean({"prose": 1.0}), median=0.1, foretold={half: certain}, baseline={})
    hopeless = replace(jobs[0], stopping=rule)

    ended = outcomes([hopeless, jobs[1]])

    stopped = ended[hopeless.trial.id]
    assert isinstance(stopped, Measurement)
    assert stopped.stopped_at == half == stopped.curve[-1].tokens
    assert sum(stopped.domain_tokens.values()) == half
    whole = ended[jobs[1].trial.id]
    assert isinstance(whole, Measurement) and whole.stopped_at is None


def test_a_pack_that_memory_has_no_room_for_is_trained_in_halves(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def short_of_memory(recipe: Recipe, members: Sequence[Member], sets: Any, *, slots: int, more: Any) -> Any:
        sizes.append((len(members), slots))
        if slots > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train_pack(recipe, members, sets, slots=slots, more=more)

    monkeypatch.setattr("mixopt.workers.training.train_pack", short_of_memory)
    assert all(isinstance(outcome, Measurement) for outcome in outcomes(jobs).values())
    assert sizes == [(3, 3), (3, 1)], "half as many at a time, the others wait"


def test_a_trial_that_memory_has_no_room_for_is_a_failure_and_the_next_is_tried(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_of_memory(recipe: Recipe, members: Sequence[Member], sets: Any, *, slots: int, more: Any) -> Any:
        if len(members) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train_pack(recipe, members, sets, slots=slots, more=more)

    monkeypatch.setattr("mixopt.workers.training.train_pack", short_of_memory)
    first, second, third = outcomes(jobs).values()
    for failed in (first, second):
        assert isinstance(failed, Failure) and failed.kind is FailureKind.OUT_OF_MEMORY
    assert isinstance(third, Measurement)


def test_one_trial_in_many_slots_is_tried_in_fewer(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def short_of_memory(recipe: Recipe, members: Sequence[Member], sets: Any, *, slots: int, more: Any) -> Any:
        tried.append(slots)
        if slots > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train_pack(recipe, members, sets, slots=slots, more=more)

    monkeypatch.setattr("mixopt.workers.training.train_pack", short_of_memory)
    [end] = [event for event in run_trials(jobs[:1], slots=16) if isinstance(event, TrialEnd)]
    assert isinstance(end.outcome, Measurement) and tried == [16, 8, 4, 2]


def test_a_trial_that_cannot_begin_takes_no_other_with_it(jobs: list[Job], tmp_path: Path) -> None:
    """Neither one whose rows cannot be made, nor one whose checkpoint cannot be read."""
    strange = Mixture.of({"prose": 0.5, "nowhere": 0.5})
    (tmp_path / "folder").mkdir()
    ended = outcomes(
        [
            replace(jobs[0], trial=replace(jobs[0].trial, mixture=strange)),
            replace(jobs[1], checkpoint=str(tmp_path / "folder")),
            jobs[2],
        ]
    )
    first, second, third = ended.values()
    assert isinstance(first, Failure) and "no domain nowhere" in first.message
    assert isinstance(second, Failure) and "folder" in second.message
    assert isinstance(third, Measurement)


def test_a_trial_that_had_ended_is_no_failure_where_another_breaks(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while its last checkpoint is being written."""
    whole = MixedStream.rows
    streams: list[MixedStream] = []

    def breaks(stream: MixedStream, start: int, count: int) -> Any:
        if not any(stream is each for each in streams):
            streams.append(stream)
        if len(streams) > 1:
            time.sleep(0.05)
            raise OSError("the disk is gone")
        return whole(stream, start, count)

    monkeypatch.setattr(MixedStream, "rows", breaks)
    kept = [replace(job, checkpoint=str(tmp_path / job.trial.id)) for job in jobs[:2]]
    ended = {event.trial.id: event.outcome for event in run_trials(kept, slots=1) if isinstance(event, TrialEnd)}
    assert isinstance(ended[jobs[0].trial.id], Measurement)
    broken = ended[jobs[1].trial.id]
    assert isinstance(broken, Failure) and "the disk is gone" in broken.message


def test_trials_may_come_while_others_train(jobs: list[Job]) -> None:
    coming = jobs[1:]

    def more(wanted: int, idle: bool) -> list[Job]:
        return [coming.pop()] if coming and idle else []

    ended = [event.trial.id for event in run_trials(jobs[:1], slots=2, more=more) if isinstance(event, TrialEnd)]
    assert ended == [job.trial.id for job in (jobs[0], jobs[2], jobs[1])]


def test_what_kills_the_process_of_a_pack_is_the_failure_of_each(jobs: list[Job]) -> None:
    gone = [replace(job, corpus="/nowhere") for job in jobs[:2]]

    for outcome in outcomes(gone).values():
        assert isinstance(outcome, Failure)
        assert outcome.kind is FailureKind.ERROR
        assert "/nowhere" in outcome.message
        assert "training.py" in outcome.traceback.partition("/nowhere")[0], "where it was noticed"
