"""Train one proxy: draw its weights, take `recipe.steps` steps over a stream of rows, measure its losses.

    for event in train(recipe, stream, evaluation_sets, seed=1, checkpoint=path):
        ...                                  TrainingProgress, about once a second; at last one TrainingResult

The same recipe, data, seed and machine give the same numbers, to the bit on a CPU, also when the run was killed
and went on from its checkpoint: batches are addressed by step, and only the first weights are random.

B rows, T positions.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import torch

from proxies import checkpoint as checkpoints
from proxies import device
from proxies.errors import ProxyError
from proxies.evaluate import EvaluationLoss, EvaluationTokens, evaluate
from proxies.flops import training_flops
from proxies.models.cross_entropy import IGNORED
from proxies.models.router import load_diagnostics
from proxies.models.transformer import Transformer
from proxies.optimizer import adamw
from proxies.recipe import Recipe
from proxies.result import CurvePoint, TrainingProgress, TrainingResult
from proxies.schedule import learning_rate_share

PROGRESS_SECONDS = 1.0


class Rows(Protocol):
    """A batch of [B, T] int64 tokens; targets are -100 where no loss is taken."""

    @property
    def inputs_BT(self) -> Any: ...

    @property
    def targets_BT(self) -> Any: ...


class RowStream(Protocol):
    """Training data as one endless sequence of rows; row 7 is the same whenever it is asked for."""

    def rows(self, start: int, count: int) -> Rows: ...


class Diverged(RuntimeError):
    """The loss is not finite, or above twice that of guessing uniformly: more steps would not mend it."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"diverged: the loss is {loss:.4g} nats per token after step {step}")
        self.step = step
        self.loss = loss


@dataclass
class _Run:
    """What a run remembers, besides its weights and the optimizer's moments."""

    step: int = 0
    seconds: float = 0.0
    training_losses: list[float] = field(default_factory=list)
    curve: list[CurvePoint] = field(default_factory=list)
    diagnostics: dict[str, float] = field(default_factory=dict)


def train(
    recipe: Recipe,
    stream: RowStream,
    evaluation_sets: Mapping[str, EvaluationTokens],
    *,
    seed: int,
    data: str = "",
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 5.0,
) -> Generator[TrainingProgress | TrainingResult]:
    """Train a proxy; the last thing yielded is its result. Until then, this process's torch has one thread.

    Args:
        seed: of the first weights.
        data: what the rows are, in words that differ wherever the rows do; a checkpoint of other data is replaced.
        checkpoint: where the run's state is kept, and taken up again; that of a finished run yields the result
            at once. One that is damaged, or of another recipe, seed or data, is replaced, which is noted in
            diagnostics["checkpoint/replaced"].

    Raises:
        Diverged: the loss exploded.
        ProxyError: there is no such device here, or nothing to evaluate on.
    """
    device.require(recipe.device)
    if not evaluation_sets:
        raise ProxyError("there is no evaluation set to measure the loss on", hint="name at least one")

    with device.one_thread():
        clock = perf_counter()
        weights_seed = hashlib.sha256(f"first weights {seed}".encode()).digest()[:8]
        generator = torch.Generator().manual_seed(int.from_bytes(weights_seed))
        model = Transformer(recipe.model, generator, device.DTYPES[recipe.precision]).to(recipe.device)
        optimizer = adamw(model, recipe)
        identity = f"{recipe}, seed {seed}, trained on {data}, evaluated on {sorted(evaluation_sets)}"
        run = _Run()
        if checkpoint is not None and checkpoint.exists():
            run = _resumed(checkpoint, identity, model, optimizer)
        saved, reported, reported_step = run.seconds, run.seconds, run.step

        while run.step < recipe.steps:
            # 1. One step.
            rows = stream.rows(run.step * recipe.batch_rows, recipe.batch_rows)
            inputs_BT = torch.as_tensor(rows.inputs_BT).to(recipe.device)
            targets_BT = torch.as_tensor(rows.targets_BT).to(recipe.device)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * learning_rate_share(
                    run.step, recipe.steps, warmup_share=recipe.warmup_share, decay_share=recipe.decay_share
                )
            losses = model(inputs_BT, targets_BT)
            loss = losses.nats / (targets_BT != IGNORED).sum().clamp(min=1)
            routing_loss = sum(
                recipe.balance_loss * routing.balance_loss + recipe.router_z_loss * routing.z_loss
                for routing in losses.routings
            )
            (loss + routing_loss).backward()
            gradient_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            optimizer.zero_grad()
            run.step += 1
            run.training_losses.append(loss.item())
            if not run.training_losses[-1] <= 2 * math.log(recipe.model.vocabulary):  # so written, nan is caught
                raise Diverged(run.step, run.training_losses[-1])

            # 2. At some steps, the losses that count.
            point = None
            if run.step in recipe.evaluation_steps:
                point, routing_shares = _evaluated(model, evaluation_sets, run.step, recipe)
                run.curve.append(point)
                run.diagnostics |= {"gradient_norm": gradient_norm.item()}
                run.diagnostics |= load_diagnostics(losses.routings, recipe.model) | routing_shares

            # 3. Save and report.
            run.seconds, clock = run.seconds + perf_counter() - clock, perf_counter()
            if checkpoint is not None and (run.seconds - saved >= checkpoint_seconds or run.step == recipe.steps):
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "run": asdict(run)}
                checkpoints.save(checkpoint, identity, state)
                saved = run.seconds
            if point is not None or run.seconds - reported >= PROGRESS_SECONDS:
                steps = run.step - reported_step
                yield TrainingProgress(
                    step=run.step,
                    steps=recipe.steps,
                    tokens=run.step * recipe.batch_tokens,
                    training_loss=sum(run.training_losses[-steps:]) / steps,
                    tokens_per_second=steps * recipe.batch_tokens / (run.seconds - reported),
                    evaluation=point,
                )
                reported, reported_step = run.seconds, run.step
                clock = perf_counter()  # what the caller did meanwhile is not this run's time

        tokens = recipe.steps * recipe.batch_tokens
        yield TrainingResult(
            losses=run.curve[-1].losses,
            curve=tuple(run.curve),
            training_losses=tuple(run.training_losses),
            steps=recipe.steps,
            tokens=tokens,
            flops=training_flops(recipe.model, tokens),
            seconds=run.seconds,
            diagnostics=run.diagnostics,
            environment=device.environment(recipe.device, recipe.precision),
        )


def _evaluated(
    model: Transformer, sets: Mapping[str, EvaluationTokens], step: int, recipe: Recipe
) -> tuple[CurvePoint, dict[str, float]]:
    """The losses of all sets, and which experts each set's tokens go to, by name."""
    losses: dict[str, EvaluationLoss] = {}
    shares: dict[str, float] = {}
    for name, tokens in sets.items():
        evaluation = evaluate(model, tokens, batch_rows=recipe.batch_rows)
        if not math.isfinite(evaluation.loss.nats_per_token):
            raise Diverged(step, evaluation.loss.nats_per_token)
        losses[name] = evaluation.loss
        shares |= {f"routing/{name}/{key}": value for key, value in evaluation.routing.items()}
    return CurvePoint(step * recipe.batch_tokens, losses), shares


def _resumed(path: Path, identity: str, model: Transformer, optimizer: torch.optim.Optimizer) -> _Run:
    state = checkpoints.load(path, identity)
    if state is None:
        return _Run(diagnostics={"checkpoint/replaced": 1.0})
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    run = _Run(**state["run"])
    run.curve = [
        CurvePoint(point["tokens"], {name: EvaluationLoss(**loss) for name, loss in point["losses"].items()})
        for point in state["run"]["curve"]
    ]
    return run
