"""One proxy's run: what it trains on, how far it is, what it has measured, and how it survives being killed.

The loop that advances it is `proxies.train`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter

from proxies import checkpoint as checkpoints
from proxies import device
from proxies.errors import ProxyError
from proxies.evaluate import Evaluation, EvaluationLoss, GroupLosses
from proxies.flops import training_flops
from proxies.member import Member, Rows
from proxies.models.size import ModelSize
from proxies.models.transformer import Losses
from proxies.pack import Pack
from proxies.recipe import Recipe
from proxies.result import CurvePoint, Diverged, TrainingProgress, TrainingResult
from proxies.schedule import learning_rate_share

PROGRESS_SECONDS = 1.0
# A run that is killed loses so much, or, where checkpoints are large, fifty times what writing one takes.
CHECKPOINT_SECONDS = 5.0
CHECKPOINT_SHARE = 0.02
UNWRITTEN = "checkpoint/unwritten"


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


class Run:
    """Member number `index` of a pack, from its checkpoint where it has one.

    Attributes:
        failure: how it diverged, if it did.
    """

    def __init__(
        self, member: Member, pack: Pack, index: int, evaluation_sets: Sequence[str], checkpoint_seconds: float
    ) -> None:
        self.index = index
        self.failure: Diverged | None = None
        self._member, self._pack = member, pack
        self._recipe: Recipe = pack.recipe
        self._peak = member.learning_rate or pack.recipe.learning_rate
        self._identity = (
            # Compiled or not, it is the same run: only roundings differ.
            f"{replace(pack.recipe, compiled=False)}, learning rate {self._peak}, seed {member.seed}, "
            f"trained on {member.data}, evaluated on {sorted(evaluation_sets)}"
        )
        self._state = _State()
        if member.checkpoint is not None:
            self._resume(member.checkpoint)
        self._checkpoint_seconds = checkpoint_seconds
        self._next_save = self._state.seconds + checkpoint_seconds
        self._reported = self._state.seconds
        self._reported_step = self._state.step

    @property
    def ended(self) -> bool:
        return self._state.ended or self.failure is not None

    def steps_to_evaluation(self, ahead: int) -> int | None:
        """How many steps lie before its next evaluation, `ahead` of where the run is; None where none is left."""
        here = self._state.step + ahead
        later = [step - here for step in self._recipe.evaluation_steps if step > here]
        return later[0] if later and not self.ended else None

    def rows(self, ahead: int, steps: int) -> Rows:
        """The rows of some steps, [steps x B, T]; where none is left its first ones, to learn nothing from."""
        start = 0 if self.steps_to_evaluation(ahead) is None else self._state.step + ahead
        return self._member.stream.rows(start * self._recipe.batch_rows, steps * self._recipe.batch_rows)

    def learning_rate(self, ahead: int) -> float:
        """That of the step `ahead` of where the run is; 0 once it has ended."""
        step = self._state.step + ahead
        if self.ended:
            return 0.0
        return self._peak * learning_rate_share(
            step, self._recipe.steps, warmup_share=self._recipe.warmup_share, decay_share=self._recipe.decay_share
        )

    def trained(self, losses: Sequence[float], seconds: float) -> None:
        """It has taken steps, one for each of `losses`."""
        self._state.seconds += seconds
        for loss in losses:
            self._state.step += 1
            self._state.training_losses.append(loss)
            if not loss <= 2 * math.log(self._recipe.model.vocabulary):  # so written, nan is caught
                self.failure = Diverged(self._state.step, loss, self._state.seconds)
                return

    @property
    def evaluation_due(self) -> bool:
        return not self.ended and self._state.step in self._recipe.evaluation_steps

    def evaluated(self, evaluation: Evaluation, losses: Losses, gradient_norm: float, seconds: float) -> None:
        self._state.seconds += seconds
        for loss in evaluation.losses.values():
            if not math.isfinite(loss.nats_per_token):
                self.failure = Diverged(self._state.step, loss.nats_per_token, self._state.seconds)
                return
        point = CurvePoint(self._state.step * self._recipe.batch_tokens, evaluation.losses)
        self._state.curve.append(point)
        self._state.groups = dict(evaluation.groups)
        self._state.diagnostics |= {"gradient_norm": gradient_norm, **evaluation.routing}
        self._state.diagnostics |= _load_diagnostics(losses, self.index, self._recipe.model)
        hopeless = self._member.hopeless
        last = self._state.step == self._recipe.steps
        self._state.ended = last or (hopeless is not None and hopeless(point))

    def save(self) -> None:
        """Write the checkpoint, where it is time to; where it cannot be written, training is worth more than it."""
        place = self._member.checkpoint
        if place is None or (not self.ended and self._state.seconds < self._next_save):
            return
        began = perf_counter()
        try:
            checkpoints.save(place, self._identity, self._pack.state(self.index) | {"run": asdict(self._state)})
        except ProxyError:
            self._state.diagnostics[UNWRITTEN] = self._state.diagnostics.get(UNWRITTEN, 0.0) + 1
        written = (perf_counter() - began) * len(self._pack)  # the others write theirs too
        self._next_save = self._state.seconds + max(self._checkpoint_seconds, written / CHECKPOINT_SHARE)

    def report(self) -> TrainingProgress | None:
        """How far it is, where it is time to tell, or it has just measured its losses."""
        state = self._state
        steps, seconds = state.step - self._reported_step, state.seconds - self._reported
        point = state.curve[-1] if state.step in self._recipe.evaluation_steps else None
        if not steps or (point is None and seconds < PROGRESS_SECONDS):
            return None
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

    def end(self) -> TrainingResult | Diverged:
        """What became of a run that has ended; its weights go to whoever keeps them."""
        if self.failure is not None:
            return self.failure
        if self._member.keep is not None:
            self._member.keep({name: weight.cpu() for name, weight in self._pack.weights(self.index).items()})
        return self._result()

    def _result(self) -> TrainingResult:
        state, recipe = self._state, self._recipe
        tokens = state.step * recipe.batch_tokens
        environment = device.environment(recipe.device, recipe.precision) | {"pack": str(len(self._pack))}
        environment["steps"] = "compiled" if self._pack.not_compiled is None else "eager"
        if slower := self._pack.slower:
            environment[device.SLOWER] = slower
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
            environment=environment,
        )

    def _resume(self, place: str | Path) -> None:
        try:
            saved = checkpoints.load(place, self._identity)
        except FileNotFoundError:
            return
        if saved is None:
            self._state.diagnostics["checkpoint/replaced"] = 1.0
            return
        self._pack.restore(self.index, saved)
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
