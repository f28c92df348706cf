"""One proxy's run: what it trains on, how far it is, what it has measured, and how it survives being killed.

The loop that advances it is `proxies.train`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from proxies import checkpoint as checkpoints
from proxies import device
from proxies.errors import ProxyError
from proxies.evaluate import Evaluation, EvaluationLoss, GroupLosses
from proxies.flops import training_flops
from proxies.member import Member
from proxies.micro_batches import MicroBatches
from proxies.models.size import ModelSize
from proxies.models.transformer import Losses
from proxies.pack import Pack
from proxies.recipe import Recipe
from proxies.result import CurvePoint, Diverged, TrainingProgress, TrainingResult
from proxies.row_feed import Wanted
from proxies.schedule import learning_rate_share

PROGRESS_SECONDS = 1.0
# A run that is killed loses so much, or, where checkpoints are large, fifty times what writing one takes.
CHECKPOINT_SECONDS = 5.0
CHECKPOINT_SHARE = 0.02
UNWRITTEN = "checkpoint/unwritten"
FORMAT = 2  # of checkpoints: one of another is replaced


@dataclass
class _State:
    """What a run remembers, besides its weights and the optimizer's moments."""

    step: int = 0
    ended: bool = False
    seconds: float = 0.0
    training_losses: list[float] = field(default_factory=list)
    curve: list[CurvePoint] = field(default_factory=list)
    groups: dict[str, GroupLosses] = field(default_factory=dict)  # at the last evaluation
    diagnostics: dict[str, float] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)  # of where it ended


class Run:
    """A member in training, from its checkpoint where it has one.

    It is told of steps (`told`), whose losses are read then or later (`trained`); evaluated when a step for that has
    come (`evaluation_due`, `evaluated`); saved when it is time and all losses are read (`save_due`, `save`); and once
    it has `ended`, its `outcome` is known as soon as its checkpoints are written.

    Attributes:
        index: which member it is, in the order in which they began.
        failure: what it died of, if it did.
    """

    def __init__(
        self,
        index: int,
        member: Member,
        recipe: Recipe,
        evaluation_sets: Sequence[str],
        writer: checkpoints.Writer,
        checkpoint_seconds: float,
    ) -> None:
        self.index = index
        self.failure: Exception | None = None
        self._pack: Pack | None = None
        self._slot = -1
        self._member, self._recipe, self._writer = member, recipe, writer
        self._peak = member.learning_rate or recipe.learning_rate
        self._identity = (
            # Compiled or not, it is the same run: only roundings differ.
            f"format {FORMAT}, {replace(recipe, compiled=False)}, learning rate {self._peak}, seed {member.seed}, "
            f"trained on {member.data}, evaluated on {sorted(evaluation_sets)}"
        )
        self._state = _State()
        self._saved: dict[str, Any] | None = None  # weights and moments to go on from, until they are in a slot
        if member.checkpoint is not None:
            try:
                self._resume(member.checkpoint)
            except ProxyError as error:
                self.failure = error
        self._told = self._state.step
        self._writing: deque[Future[float]] = deque()
        self._checkpoint_seconds = checkpoint_seconds
        self._last_save = self._state.seconds
        self._next_save = self._last_save + checkpoint_seconds
        self._reported = self._state.seconds
        self._reported_step = self._state.step

    def take_slot(self, pack: Pack, slot: int) -> None:
        """Its weights and moments go into this slot of the pack, where it trains until it ends."""
        self._pack, self._slot = pack, slot
        if self._saved is None:
            pack.begin(slot, self._member.seed)
        else:
            pack.restore(slot, self._saved)
            self._saved = None

    @property
    def ended(self) -> bool:
        return self._state.ended or self.failure is not None

    @property
    def steps_to_evaluation(self) -> int | None:
        """How many steps lie before the next evaluation after those that it was told of; None where none follows."""
        later = (step for step in self._recipe.evaluation_steps if step > self._told)
        return None if self.ended or (step := next(later, None)) is None else step - self._told

    @property
    def wanted(self) -> Wanted | None:
        """The rows that it trains on next; None where it has no steps left."""
        return None if self.steps_to_evaluation is None else Wanted(self._member.stream, self._told)

    def told(self, steps: int) -> None:
        """Its slot takes so many steps."""
        self._told += steps

    def learning_rate(self, ahead: int) -> float:
        """That of the step `ahead` of those that it was told of; above 0."""
        return self._peak * learning_rate_share(
            self._told + ahead,
            self._recipe.steps,
            warmup_share=self._recipe.warmup_share,
            decay_share=self._recipe.decay_share,
        )

    def trained(self, losses: Sequence[float]) -> None:
        """The losses of its next steps were read."""
        for loss in losses:
            if self.ended:
                return  # its slot went on, for nothing
            self._state.step += 1
            self._state.training_losses.append(loss)
            if not loss <= 2 * math.log(self._recipe.model.vocabulary):  # so written, nan is caught
                self.failure = Diverged(self._state.step, loss, self._state.seconds)

    def spent(self, seconds: float) -> None:
        """Time passed while it had its slot."""
        self._state.seconds += seconds

    @property
    def evaluation_due(self) -> bool:
        """Whether the steps that it was told of end where its losses on the evaluation sets are measured."""
        steps, measured = self._recipe.evaluation_steps, len(self._state.curve)
        return not self.ended and measured < len(steps) and steps[measured] == self._told

    def evaluated(self, evaluation: Evaluation) -> None:
        """Its losses on the evaluation sets, after the last step that it was told of."""
        assert self._pack is not None
        for loss in evaluation.losses.values():
            if not math.isfinite(loss.nats_per_token):
                self.failure = Diverged(self._state.step, loss.nats_per_token, self._state.seconds)
                return
        point = CurvePoint(self._state.step * self._recipe.batch_tokens, evaluation.losses)
        self._state.curve.append(point)
        self._state.groups = dict(evaluation.groups)
        norm = self._pack.gradient_norm_M[self._slot].item()
        self._state.diagnostics |= {"gradient_norm": norm, **evaluation.routing}
        self._state.diagnostics |= _load_diagnostics(self._pack.losses, self._slot, self._recipe.model)
        last = self._state.step == self._recipe.steps
        self._state.environment = self._environment()
        try:
            self._state.ended = last or (self._member.hopeless is not None and self._member.hopeless(point))
        except Exception as error:  # whatever it was, it is this member's: the others go on
            self.failure = error

    @property
    def is_read(self) -> bool:
        """Whether the losses of all steps that it was told of have been read."""
        return self._state.step == self._told

    @property
    def save_due(self) -> bool:
        """Whether it is time for a checkpoint. It is of one step, so that all losses have to be read before."""
        if self._member.checkpoint is None or self.failure is not None:
            return False
        return self._state.ended or (not self._writing and self._state.seconds >= self._next_save)

    def save(self) -> None:
        """Begin to write the checkpoint; where it cannot be written, training is worth more than it."""
        assert self._member.checkpoint is not None and self._pack is not None and self.is_read
        self._last_save = self._state.seconds
        state = self._pack.state(self._slot) | {"run": asdict(self._state)}
        self._writing.append(self._writer.save(self._member.checkpoint, self._identity, state))

    def note_written(self, wait: bool = False) -> bool:
        """Take note of checkpoints that are written by now; whether all are."""
        members = 1 if self._pack is None else len(self._pack)
        while self._writing:
            if not wait and not self._writing[0].done():
                return False
            seconds = 0.0
            try:
                seconds = self._writing.popleft().result() * members  # the others write theirs too
            except ProxyError:
                self._state.diagnostics[UNWRITTEN] = self._state.diagnostics.get(UNWRITTEN, 0.0) + 1
            self._next_save = self._last_save + max(self._checkpoint_seconds, seconds / CHECKPOINT_SHARE)
        return True

    def report(self) -> TrainingProgress | None:
        """How far it is, where it is time to tell, or it has just measured its losses."""
        state = self._state
        steps, seconds = state.step - self._reported_step, state.seconds - self._reported
        point = state.curve[-1] if state.curve and state.step in self._recipe.evaluation_steps else None
        if not steps or (point is None and seconds < PROGRESS_SECONDS):
            return None
        assert self._pack is not None
        self._reported, self._reported_step = state.seconds, state.step
        return TrainingProgress(
            step=state.step,
            steps=self._recipe.steps,
            tokens=state.step * self._recipe.batch_tokens,
            training_loss=sum(state.training_losses[-steps:]) / steps,
            tokens_per_second=steps * self._recipe.batch_tokens / seconds,
            evaluation=point,
            slower=self._pack.slower,
        )

    def end(self) -> None:
        """It has ended; its weights go to whoever keeps them."""
        if self.failure is not None or self._member.keep is None:
            return
        if self._saved is not None:  # it was finished before, and had no slot
            weights = self._saved["weights"]
        else:
            assert self._pack is not None
            weights = self._pack.weights(self._slot)
        try:
            self._member.keep(weights)
        except Exception as error:  # whatever it was, it is this member's: the others go on
            self.failure = error

    def outcome(self, wait: bool) -> TrainingResult | Exception | None:
        """What became of a run that has ended; None while a checkpoint of it is being written."""
        if not self.note_written(wait):
            return None
        return self._result() if self.failure is None else self.failure

    def _result(self) -> TrainingResult:
        state, recipe = self._state, self._recipe
        tokens = state.step * recipe.batch_tokens
        return TrainingResult(
            losses=state.curve[-1].losses,
            groups=state.groups,
            curve=tuple(state.curve),
            training_losses=tuple(state.training_losses),
            steps=state.step,
            tokens=tokens,
            flops=training_flops(recipe.model, tokens),
            seconds=state.seconds,
            diagnostics=state.diagnostics,
            environment=state.environment,
        )

    def _environment(self) -> dict[str, str]:
        assert self._pack is not None
        environment = device.environment(self._recipe.device, self._recipe.precision) | {"pack": str(len(self._pack))}
        environment["steps"] = "compiled" if self._pack.not_compiled is None else "eager"
        if (micro := self._pack.micro_batches) != MicroBatches(self._recipe.batch_rows, False):
            environment["micro_batches"] = f"{micro.rows} rows" + (", layers recomputed" if micro.recomputed else "")
        if slower := self._pack.slower:
            environment[device.SLOWER] = slower
        return environment

    def _resume(self, place: str | Path) -> None:
        try:
            saved = checkpoints.load(place, self._identity)
        except FileNotFoundError:
            return
        if saved is None:
            self._state.diagnostics["checkpoint/replaced"] = 1.0
            return
        self._saved = saved
        self._state = _State(**saved["run"])
        self._state.curve = [
            CurvePoint(point["tokens"], {name: EvaluationLoss(**loss) for name, loss in point["losses"].items()})
            for point in saved["run"]["curve"]
        ]
        self._state.groups = {name: GroupLosses(**each) for name, each in saved["run"].get("groups", {}).items()}


def _load_diagnostics(losses: Losses, member: int, size: ModelSize) -> Mapping[str, float]:
    """How evenly each expert layer is used: max_over_mean is 1 where all experts have the same load."""
    numbers = {}
    for index, layer in enumerate(size.expert_layers):
        load_E = losses.load_MLE[member, index]
        numbers[f"expert_load/layer{layer}/max_over_mean"] = (load_E.max() / load_E.float().mean()).item()
        numbers[f"expert_load/layer{layer}/balance_loss"] = losses.balance_loss_ML[member, index].item()
        numbers[f"expert_load/layer{layer}/z_loss"] = losses.z_loss_ML[member, index].item()
    return numbers
