"""Proxies that train side by side: each learns what it would learn alone, whatever becomes of the others.

In float32 and step by step, alone and together differ only in the order of sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from proxies.errors import ProxyError
from proxies.member import Member
from proxies.pack import Pack
from proxies.recipe import Recipe
from proxies.result import CurvePoint, Diverged, TrainingProgress, TrainingResult
from proxies.slots import BLOCK_STEPS, UNREAD_BLOCKS
from proxies.train import train_pack
from tests.proxies.models.kinds import kinds
from tests.proxies.toy import EVALUATION_SETS, ToyRows, ToyStream, toy_recipe

SAME = 1e-5  # relative; a float32 has 6e-8
MEMBERS = (
    Member(ToyStream(1), seed=1),
    Member(ToyStream(2), seed=2, learning_rate=3e-3),
    Member(ToyStream(3), seed=3, learning_rate=2e-2),
)


def outcomes(recipe: Recipe, members: Sequence[Member], slots: int | None = None) -> list[TrainingResult | Exception]:
    """The last thing that each member yields."""
    events = train_pack(recipe, members, EVALUATION_SETS, slots=slots, checkpoint_seconds=0)
    last = {index: event for index, event in events if not isinstance(event, TrainingProgress)}
    return [last[index] for index in range(len(members))]


def results(recipe: Recipe, members: Sequence[Member], slots: int | None = None) -> list[TrainingResult]:
    return [event for event in outcomes(recipe, members, slots) if isinstance(event, TrainingResult)]


def assert_same(ours: TrainingResult, theirs: TrainingResult) -> None:
    assert ours.training_losses == pytest.approx(theirs.training_losses, rel=SAME)
    assert [point.tokens for point in ours.curve] == [point.tokens for point in theirs.curve]
    for our, their in zip(ours.curve, theirs.curve, strict=True):
        for name, loss in their.losses.items():
            assert our.losses[name].nats_per_token == pytest.approx(loss.nats_per_token, rel=SAME)
            assert our.losses[name].bits_per_byte == pytest.approx(loss.bits_per_byte, rel=SAME)
    assert dict(ours.diagnostics) == pytest.approx(dict(theirs.diagnostics), rel=1e-3)
    assert (ours.steps, ours.tokens, ours.flops) == (theirs.steps, theirs.tokens, theirs.flops)


@kinds
def test_each_member_learns_what_it_would_alone(kind: str) -> None:
    together = results(toy_recipe(kind), MEMBERS)

    for member, result in zip(MEMBERS, together, strict=True):
        (alone,) = results(toy_recipe(kind), [member])
        assert_same(result, alone)
    assert len({result.training_losses for result in together}) == 3


@kinds
def test_a_rate_of_0_leaves_a_member_as_it_is(kind: str) -> None:
    """Also the bias that its experts are chosen with."""
    recipe = toy_recipe(kind)
    pack, rows = Pack(recipe, [1, 2]), ToyStream().rows(0, 2 * recipe.batch_rows)
    inputs_MBT, targets_MBT = (
        torch.as_tensor(part).view(2, recipe.batch_rows, -1) for part in (rows.inputs_BT, rows.targets_BT)
    )
    before = [pack.weights(slot) for slot in range(2)]

    for _ in range(3):
        pack.step(inputs_MBT, targets_MBT, torch.tensor([0.0, 1e-2]))

    assert all(torch.equal(weight, before[0][name]) for name, weight in pack.weights(0).items())
    assert not any(torch.equal(weight, before[1][name]) for name, weight in pack.weights(1).items())


@kinds
@pytest.mark.parametrize("learning_rate", [1e3, 1e30])
def test_a_member_that_diverges_does_not_touch_the_others(kind: str, learning_rate: float) -> None:
    """Neither where its loss is merely large, nor where it is not a number."""
    diverging = replace(MEMBERS[0], learning_rate=learning_rate)
    recipe = toy_recipe(kind)

    failure, *others = outcomes(recipe, [diverging, *MEMBERS[1:]])

    assert isinstance(failure, Diverged)
    for member, result in zip(MEMBERS[1:], others, strict=True):
        (alone,) = results(recipe, [member])
        assert isinstance(result, TrainingResult)
        assert_same(result, alone)


@kinds
def test_a_hopeless_member_ends_early_and_the_others_go_on(kind: str) -> None:
    recipe = toy_recipe(kind)
    stopped = replace(MEMBERS[1], hopeless=lambda point: point.tokens >= 6 * recipe.batch_tokens)

    together = results(recipe, [MEMBERS[0], stopped, MEMBERS[2]])

    whole = [results(recipe, [member])[0] for member in MEMBERS]
    assert_same(together[0], whole[0])
    assert_same(together[2], whole[2])
    assert recipe.evaluation_steps[1] == together[1].steps == 6
    assert together[1].tokens == 6 * recipe.batch_tokens
    assert together[1].flops == whole[1].flops / 2
    assert together[1].training_losses == pytest.approx(whole[1].training_losses[:6], rel=SAME)
    assert [point.tokens for point in together[1].curve] == [point.tokens for point in whole[1].curve[:2]]
    assert together[1].losses == together[1].curve[-1].losses


@kinds
def test_blocks_of_steps_measure_what_single_steps_do(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU takes many steps between two looks at the losses; one member diverges, one is stopped in the middle."""
    recipe = toy_recipe(kind)
    members = [
        replace(MEMBERS[0], learning_rate=1e30),
        replace(MEMBERS[1], hopeless=lambda point: point.tokens >= 6 * recipe.batch_tokens),
        MEMBERS[2],
    ]
    step_by_step = outcomes(recipe, members)

    monkeypatch.setitem(BLOCK_STEPS, "cpu", 5)
    failure, *results_in_blocks = outcomes(recipe, members)

    assert isinstance(failure, Diverged) and isinstance(step_by_step[0], Diverged)
    assert (failure.step, str(failure)) == (step_by_step[0].step, str(step_by_step[0]))
    for ours, alone in zip(results_in_blocks, step_by_step[1:], strict=True):
        assert isinstance(ours, TrainingResult) and isinstance(alone, TrainingResult)
        assert_same(ours, alone)


@kinds
@pytest.mark.parametrize(("block_steps", "unread_blocks"), [(1, 0), (5, 1)])
def test_where_one_ends_the_next_begins_and_learns_what_it_would_alone(
    kind: str, block_steps: int, unread_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven members in two slots: one diverges, two are stopped, one was finished before. As a CPU does it, and as a
    GPU does, which is told of some steps while the losses of others are not read yet."""
    recipe = toy_recipe(kind)
    members = [
        replace(MEMBERS[0], hopeless=lambda point: point.tokens >= 3 * recipe.batch_tokens),
        MEMBERS[1],
        replace(MEMBERS[2], learning_rate=1e30),
        Member(ToyStream(4), seed=4),
        Member(ToyStream(5), seed=5, hopeless=lambda point: point.tokens >= 6 * recipe.batch_tokens),
        Member(ToyStream(6), seed=6),
        Member(ToyStream(7), seed=7, learning_rate=2e-3),
    ]
    alone = [outcomes(recipe, [member])[0] for member in members]
    assert isinstance(alone[2], Diverged)

    monkeypatch.setitem(BLOCK_STEPS, "cpu", block_steps)
    monkeypatch.setitem(UNREAD_BLOCKS, "cpu", unread_blocks)
    for ours, theirs in zip(outcomes(recipe, members, slots=2), alone, strict=True):
        if isinstance(theirs, Diverged):
            assert isinstance(ours, Diverged) and (ours.step, str(ours)) == (theirs.step, str(theirs))
        else:
            assert isinstance(ours, TrainingResult) and isinstance(theirs, TrainingResult)
            assert_same(ours, theirs)


@pytest.mark.parametrize("pause", [0.0, 0.01])
def test_blocks_whose_losses_are_read_late_are_saved_as_they_were(
    pause: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved is one step, whenever the time for it comes."""
    recipe = toy_recipe("dense", steps=60)
    whole = results(recipe, MEMBERS)
    monkeypatch.setitem(BLOCK_STEPS, "cpu", 3)
    monkeypatch.setitem(UNREAD_BLOCKS, "cpu", 1)
    monkeypatch.setattr("proxies.run.CHECKPOINT_SHARE", 1e9)
    for stopped_after in (5, 9):
        begun = train_pack(recipe, kept_in(tmp_path), EVALUATION_SETS, slots=2, checkpoint_seconds=pause)
        for _ in range(stopped_after):
            next(begun)
        begun.close()

    for ours, theirs in zip(results(recipe, kept_in(tmp_path), slots=2), whole, strict=True):
        assert_same(ours, theirs)


def test_a_slot_is_not_left_idle_while_members_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four slots, members that end after one, two, three or four quarters of their steps."""
    recipe = toy_recipe("dense", steps=16, evaluations=4, decay_share=0.25)
    quarters = [1, 2, 3, 4] * 4
    members = [
        Member(ToyStream(seed), seed=seed, hopeless=partial(_is_after, recipe, quarter))
        for seed, quarter in enumerate(quarters)
    ]
    rates: list[list[float]] = []
    step = Pack.step

    def watched(pack: Pack, inputs_MBT: Tensor, targets_MBT: Tensor, rate_M: Tensor) -> Tensor:
        rates.append(rate_M.tolist())
        return step(pack, inputs_MBT, targets_MBT, rate_M)

    monkeypatch.setattr(Pack, "step", watched)
    assert [result.steps for result in results(recipe, members, slots=4)] == [4 * quarter for quarter in quarters]

    taken = sum(4 * quarter for quarter in quarters)
    assert sum(rate > 0 for rate_M in rates for rate in rate_M) == taken
    idle = [rate_M for rate_M in rates if 0 in rate_M]
    assert len(rates) - len(idle) >= 0.8 * taken / 4, "only at the end, when nobody waits any more"
    assert idle == rates[-len(idle) :]


def _is_after(recipe: Recipe, quarters: int, point: CurvePoint) -> bool:
    return point.tokens >= quarters * recipe.steps // 4 * recipe.batch_tokens


def test_members_may_come_while_others_train() -> None:
    recipe, coming, asked = toy_recipe("dense"), [MEMBERS[1], MEMBERS[2]], list[tuple[int, bool]]()

    def more(wanted: int, idle: bool) -> list[Member]:
        asked.append((wanted, idle))
        return [coming.pop(0)] if coming and len(asked) > 3 else []

    events = list(train_pack(recipe, MEMBERS[:1], EVALUATION_SETS, slots=2, more=more))
    last = {index: event for index, event in events if isinstance(event, TrainingResult)}
    for index, member in enumerate(MEMBERS):
        assert_same(last[index], results(recipe, [member])[0])
    assert asked[0] == (1, False) and asked[-1] == (2, True)


def _raise(point: CurvePoint) -> bool:
    raise Interrupted


@dataclass(frozen=True)
class Strange(ToyStream):
    """Tokens of another vocabulary."""

    def rows(self, start: int, count: int) -> ToyRows:
        rows = super().rows(start, count)
        return ToyRows(rows.inputs_BT + 37, rows.targets_BT)


@kinds
def test_what_one_member_brings_along_breaks_no_other(kind: str) -> None:
    """Beside each other, tokens beyond the vocabulary would be looked up among another member's."""
    recipe = toy_recipe(kind)
    broken = {
        0: replace(MEMBERS[0], stream=WatchedStream(1, last=3 * recipe.batch_rows)),
        1: replace(MEMBERS[0], hopeless=_raise),
        2: replace(MEMBERS[0], stream=Strange(1)),
    }
    ended = outcomes(recipe, [*broken.values(), MEMBERS[1]])

    assert isinstance(ended[0], Interrupted) and isinstance(ended[1], Interrupted)
    assert isinstance(ended[2], ProxyError) and "the model knows 0 to 36" in str(ended[2])
    (alone,) = results(recipe, [MEMBERS[1]])
    assert isinstance(ended[3], TrainingResult)
    assert_same(ended[3], alone)


def test_members_that_cannot_train_are_refused(tmp_path: Path) -> None:
    for rate in (0.0, -1.0, float("nan")):
        with pytest.raises(ProxyError, match="learning_rate is"):
            Member(ToyStream(), seed=1, learning_rate=rate)
    twice = [replace(member, checkpoint=tmp_path / "run") for member in MEMBERS]
    with pytest.raises(ProxyError, match="the same checkpoint"):
        outcomes(toy_recipe("dense"), twice)


def test_a_pack_without_a_slot_is_refused() -> None:
    for slots in (0, -1):
        with pytest.raises(ProxyError, match="trains nothing"):
            outcomes(toy_recipe("dense"), MEMBERS, slots=slots)


def test_whether_it_is_hopeless_is_asked_at_each_evaluation_but_the_last() -> None:
    asked: list[CurvePoint] = []

    def never(point: CurvePoint) -> bool:
        asked.append(point)
        return False

    (result,) = results(toy_recipe("dense"), [replace(MEMBERS[0], hopeless=never)])

    assert tuple(asked) == result.curve[:-1]


def test_a_run_that_was_hopeless_stays_finished(tmp_path: Path) -> None:
    stopped = replace(MEMBERS[0], checkpoint=tmp_path / "run", hopeless=lambda point: True)
    (first,) = results(toy_recipe("dense"), [stopped])

    events = list(train_pack(toy_recipe("dense"), [stopped], EVALUATION_SETS))

    assert events == [(0, first)]


class Interrupted(Exception):
    pass


@dataclass(frozen=True)
class WatchedStream(ToyStream):
    """Notes which rows it is asked for, and breaks at row `last`."""

    last: int = 10**9
    asked: list[int] = field(default_factory=list)

    def rows(self, start: int, count: int) -> ToyRows:
        if start >= self.last:
            raise Interrupted
        self.asked.append(start)
        return super().rows(start, count)


def watched(members: Sequence[Member]) -> tuple[list[WatchedStream], list[Member]]:
    streams = [WatchedStream(member.seed) for member in members]
    return streams, [replace(member, stream=stream) for member, stream in zip(members, streams, strict=True)]


def kept_in(folder: Path) -> list[Member]:
    return [replace(member, checkpoint=folder / str(member.seed)) for member in MEMBERS]


@kinds
def test_members_go_on_together_from_where_each_of_them_was(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxies.run.CHECKPOINT_SHARE", 1e9)  # a checkpoint at every step
    recipe, members = toy_recipe(kind), kept_in(tmp_path)
    for member, steps in ((members[0], 2), (members[1], 7)):
        stream = WatchedStream(member.seed, last=steps * recipe.batch_rows)
        (broken,) = outcomes(recipe, [replace(member, stream=stream)])
        assert isinstance(broken, Interrupted)

    streams, members = watched(members)
    together = results(recipe, members)

    first, second, third = (stream.asked[0] // recipe.batch_rows for stream in streams)
    assert 0 < first <= 2 and 0 < second <= 7 and third == 0
    for member, result in zip(MEMBERS, together, strict=True):
        (whole,) = results(recipe, [member])
        assert_same(result, whole)


def test_a_member_that_is_finished_answers_before_the_others_begin(tmp_path: Path) -> None:
    recipe, members = toy_recipe("dense"), kept_in(tmp_path)
    (finished,) = results(recipe, [members[1]])

    streams, members = watched(members)
    index, event = next(train_pack(recipe, members, EVALUATION_SETS))

    assert index == 1
    assert isinstance(event, TrainingResult)
    assert event == replace(finished, environment=event.environment)  # which tells that it was asked for in a pack
    assert not any(stream.asked for stream in streams)
    for ours, alone in zip(results(recipe, members), MEMBERS, strict=True):
        assert_same(ours, results(recipe, [alone])[0])
