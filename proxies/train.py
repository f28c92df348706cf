"""Train one proxy: draw its weights, take `recipe.steps` steps over a stream of rows, measure its losses.

    for event in train(recipe, stream, evaluation_sets, seed=1, checkpoint=path):
        ...                                  TrainingProgress, about once a second; at last one TrainingResult

The same recipe, seed and machine give the same numbers, to the bit on a CPU, also when the run was killed and
went on from its checkpoint: batches are addressed by step, and nothing random is left after the first weights.

B rows, T positions.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import torch

from proxies import checkpoint as checkpoints
from proxies.errors import ProxyError
from proxies.evaluate import EvaluationLoss, EvaluationTokens, evaluate
from proxies.flops import training_flops
from proxies.models.cross_entropy import IGNORED
from proxies.models.router import assignments
from proxies.models.transformer import Losses, Transformer
from proxies.optimizer import adamw
from proxies.precision import DTYPES
from proxies.recipe import Recipe
from proxies.schedule import learning_rate_share

PROGRESS_SECONDS = 1.0


class Rows(Protocol):
    """A batch; both are [B, T] and int64, targets are -100 where no loss is taken."""

    @property
    def inputs_BT(self) -> Any: ...

    @property
    def targets_BT(self) -> Any: ...


class RowStream(Protocol):
    """Training data as one endless sequence of rows; rows start, start + 1, ... are the same whenever asked for."""

    def rows(self, start: int, count: int) -> Rows: ...


@dataclass(frozen=True)
class CurvePoint:
    """The losses by evaluation set after that many training tokens."""

    tokens: int
    losses: Mapping[str, EvaluationLoss]


@dataclass(frozen=True)
class TrainingProgress:
    """Where a run is; `training_loss` is the mean of the steps since the last report, in nats per token."""

    step: int
    steps: int
    tokens: int
    training_loss: float
    tokens_per_second: float
    evaluation: CurvePoint | None


@dataclass(frozen=True)
class TrainingResult:
    """What a run measured.

    Attributes:
        losses: of each evaluation set, at the end.
        curve: the same at each evaluation, the last one at the end.
        training_losses: mean nats per token of every step's batch.
        flops: of training, by formula; evaluation is not counted.
        seconds: of training and evaluation, over all attempts whose work was kept.
        diagnostics: gradient norm, share of tokens by expert and the like, at the end, by name.
        environment: what it ran on.
    """

    losses: Mapping[str, EvaluationLoss]
    curve: tuple[CurvePoint, ...]
    training_losses: tuple[float, ...]
    steps: int
    tokens: int
    flops: float
    seconds: float
    diagnostics: Mapping[str, float]
    environment: Mapping[str, str]


class Diverged(RuntimeError):
    """The loss is not finite, or above twice that of guessing uniformly: more steps would not mend it."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"diverged: the loss is {loss:.4g} nats per token after step {step}")
        self.step = step
        self.loss = loss


@dataclass
class _Run:
    """What a run has to remember, besides its weights and the optimizer's moments."""

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
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 5.0,
) -> Iterator[TrainingProgress | TrainingResult]:
    """Train a proxy; the last thing yielded is its result.

    Args:
        seed: of the first weights.
        checkpoint: where the run's state is kept, and taken up again; of a finished run it yields the result at
            once. One that is damaged, or of another recipe or seed, is replaced, and that is noted in
            diagnostics["checkpoint/replaced"].

    Raises:
        Diverged: the loss exploded.
        ProxyError: the device is missing, or an evaluation set is empty.
    """
    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise ProxyError("recipe: device is cuda, but torch finds no GPU here", hint="set device to cpu")
    if not evaluation_sets:
        raise ProxyError("no evaluation set to measure the loss on", hint="name at least one")

    with _one_thread():
        clock = perf_counter()
        generator = torch.Generator().manual_seed(_derived(seed, "first weights"))
        model = Transformer(recipe.model, generator, DTYPES[recipe.precision]).to(recipe.device)
        optimizer = adamw(model, recipe)
        identity = f"{recipe} seed {seed} evaluated on {sorted(evaluation_sets)}"
        run = _Run()
        if checkpoint is not None and checkpoint.exists():
            run = _resumed(checkpoint, identity, model, optimizer)
        reported = saved = run.seconds
        reported_step = run.step

        while run.step < recipe.steps:
            # 1. One step.
            rows = stream.rows(run.step * recipe.batch_rows, recipe.batch_rows)
            inputs_BT, targets_BT = (torch.as_tensor(x).to(recipe.device) for x in (rows.inputs_BT, rows.targets_BT))
            share = learning_rate_share(
                run.step, recipe.steps, warmup_share=recipe.warmup_share, decay_share=recipe.decay_share
            )
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * share
            losses: Losses = model(inputs_BT, targets_BT)
            loss = losses.nats / (targets_BT != IGNORED).sum().clamp(min=1)
            routing_loss = sum(
                recipe.balance_loss * routing.balance_loss + recipe.router_z_loss * routing.z_loss
                for routing in losses.routings
            )
            (loss + routing_loss).backward()
            gradient_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            run.step += 1
            run.training_losses.append(_checked(loss.item(), run.step, recipe))

            # 2. Now and then, the losses that count.
            point = None
            if run.step in recipe.evaluation_steps:
                point, routing_shares = _evaluated(model, evaluation_sets, run.step, recipe)
                run.curve.append(point)
                run.diagnostics |= {"gradient_norm": gradient_norm.item()} | _expert_load(losses) | routing_shares

            # 3. Save, report.
            run.seconds, clock = run.seconds + perf_counter() - clock, perf_counter()
            finished = run.step == recipe.steps
            if checkpoint is not None and (finished or run.seconds - saved >= checkpoint_seconds):
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "run": asdict(run)}
                checkpoints.save(checkpoint, identity, state)
                saved = run.seconds
            if point is not None or run.seconds - reported >= PROGRESS_SECONDS:
                new_losses = run.training_losses[reported_step:]
                speed = len(new_losses) * recipe.batch_tokens / (run.seconds - reported)
                yield TrainingProgress(
                    step=run.step,
                    steps=recipe.steps,
                    tokens=run.step * recipe.batch_tokens,
                    training_loss=sum(new_losses) / len(new_losses),
                    tokens_per_second=speed,
                    evaluation=point,
                )
                reported, reported_step = run.seconds, run.step
                clock = perf_counter()  # what the caller did meanwhile is not this run's time

        yield TrainingResult(
            losses=run.curve[-1].losses,
            curve=tuple(run.curve),
            training_losses=tuple(run.training_losses),
            steps=recipe.steps,
            tokens=recipe.steps * recipe.batch_tokens,
            flops=training_flops(recipe.model, recipe.steps * recipe.batch_tokens),
            seconds=run.seconds,
            diagnostics=run.diagnostics,
            environment=_environment(recipe),
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """A trial is one core's work: sums split over threads come out in other bits, and trials run side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _derived(seed: int, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:8])


def _resumed(path: Path, identity: str, model: Transformer, optimizer: torch.optim.AdamW) -> _Run:
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


def _checked(loss: float, step: int, recipe: Recipe) -> float:
    if not loss <= 2 * math.log(recipe.model.vocabulary):  # so written, it is true of nan
        raise Diverged(step, loss)
    return loss


def _evaluated(
    model: Transformer, sets: Mapping[str, EvaluationTokens], step: int, recipe: Recipe
) -> tuple[CurvePoint, dict[str, float]]:
    losses, shares = {}, {}
    for name, tokens in sets.items():
        evaluation = evaluate(model, tokens, batch_rows=recipe.batch_rows)
        if not math.isfinite(evaluation.loss.nats_per_token):
            raise Diverged(step, evaluation.loss.nats_per_token)
        losses[name] = evaluation.loss
        for layer, share_E in zip(recipe.model.expert_layers, evaluation.expert_share_LE.tolist(), strict=True):
            shares |= {f"routing/{name}/layer{layer}/expert{expert}": share for expert, share in enumerate(share_E)}
            entropy = -sum(share * math.log(share) for share in share_E if share > 0)
            shares[f"routing/{name}/layer{layer}/entropy_nats"] = entropy
    return CurvePoint(step * recipe.batch_tokens, losses), shares


def _expert_load(losses: Losses) -> dict[str, float]:
    return {}


def _environment(recipe: Recipe) -> dict[str, str]:
    processor = (
        torch.cuda.get_device_name() if recipe.device == "cuda" else str(torch.cpu.get_capabilities()["cpu_name"])
    )
    return {
        "device": recipe.device,
        "processor": processor,
        "precision": recipe.precision,
        "torch": torch.__version__,
        "threads": "1",
    }
