"""A recipe: everything that decides a run's numbers, besides its data and its seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from proxies.device import Device, Precision, native_precision
from proxies.errors import ProxyError
from proxies.models.size import ModelSize

MAX_LEARNING_RATE = 5e-3
MIN_BATCH_ROWS = 8
MIN_STEPS = 50


@dataclass(frozen=True)
class Recipe:
    """How one proxy is trained.

    Attributes:
        tokens: training tokens asked for; the run takes the nearest whole number of steps.
        batch_rows: rows of `model.sequence_length` tokens in a step.
        learning_rate: its peak; it warms up for `warmup_share` of the steps and decays for `decay_share`.
        clip: gradients are scaled down to this norm.
        balance_loss: weight of the experts' load-balancing loss.
        router_z_loss: weight of the router's z loss.
        bias_rate: how far a step moves the biases that experts are chosen with, where these balance them.
        evaluations: how often the loss is measured, the last time at the end.
        compiled: compile the step where the machine can; its losses differ by rounding.

    Raises:
        ProxyError: no run could follow it.
    """

    model: ModelSize
    tokens: int
    batch_rows: int
    learning_rate: float
    precision: Precision
    device: Device
    warmup_share: float = 0.05
    decay_share: float = 0.2
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    balance_loss: float = 0.01
    router_z_loss: float = 0.001
    bias_rate: float = 0.01
    evaluations: int = 4
    compiled: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_rows", "learning_rate", "clip", "evaluations", "bias_rate"):
            self._require(name, getattr(self, name) > 0, "a number above 0")
        for name in ("weight_decay", "balance_loss", "router_z_loss"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        self._require("betas", all(0 <= beta < 1 for beta in self.betas), "two numbers from 0 to below 1")
        self._require("precision", self.precision in get_args(Precision), f"one of {', '.join(get_args(Precision))}")
        self._require("device", self.device in get_args(Device), f"one of {', '.join(get_args(Device))}")
        for name in ("warmup_share", "decay_share"):
            self._require(name, 0 <= getattr(self, name) <= 1, "a share of the steps, 0 to 1")
        self._require("decay_share", self.warmup_share + self.decay_share <= 1, "at most what warmup_share leaves")
        if self.tokens < self.batch_tokens:
            raise ProxyError(
                f"recipe: {self.tokens} training tokens are less than one batch of {self.batch_tokens}",
                hint="train on more tokens, or lower batch_rows or sequence_length",
            )

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise ProxyError(f"recipe: {name} is {getattr(self, name)}", hint=f"let {name} be {wanted}")

    @property
    def batch_tokens(self) -> int:
        return self.batch_rows * self.model.sequence_length

    @property
    def steps(self) -> int:
        return round(self.tokens / self.batch_tokens)

    @property
    def evaluation_steps(self) -> tuple[int, ...]:
        """After which steps the loss is measured: evenly spaced until the decay begins, and at the end."""
        stable, points = self.steps * (1 - self.decay_share), self.evaluations - 1
        stable_steps = {round(stable * point / points) for point in range(1, points + 1)}
        return tuple(sorted((stable_steps - {0}) | {self.steps}))


def recipe(model: ModelSize, tokens: int, *, device: Device = "cpu", **overrides: Any) -> Recipe:
    """A recipe with batch and learning rate by the Step law (2503.04715), N parameters and D tokens.

    The law was fitted from 60M parameters up; where it leaves sensible ground below, it is clamped.

    Args:
        overrides: fields of `Recipe`, kept as given.
    """
    # 1. The law's learning rate: for the smallest models, whose batch does not grow with the tokens, up to several
    #    times the best one. How mixtures rank hardly depends on it (docs/fidelity-ladder.md).
    learning_rate = min(MAX_LEARNING_RATE, step_law_rate(model, tokens))
    # 2. Batch 0.58 D^0.571 tokens, but enough rows to average over domains...
    batch_rows = max(MIN_BATCH_ROWS, round(0.58 * tokens**0.571 / model.sequence_length))
    # 3. ...and, which matters more, enough steps to learn at all.
    batch_rows = max(1, min(batch_rows, tokens // (MIN_STEPS * model.sequence_length)))
    derived: dict[str, Any] = {"learning_rate": learning_rate, "batch_rows": batch_rows}
    # 4. Where a bias balances the experts, no loss does.
    if model.has_bias:
        derived["balance_loss"] = 0.0
    # 5. A sigmoid's scores have no common sum that a z loss would keep small.
    if model.experts is not None and model.experts.scores == "sigmoid":
        derived["router_z_loss"] = 0.0
    if "precision" not in overrides:
        derived["precision"] = native_precision(device)
    return Recipe(model=model, tokens=tokens, device=device, **(derived | overrides))


def step_law_rate(model: ModelSize, tokens: int) -> float:
    """The Step law's peak learning rate 1.79 N^-0.713 D^0.307, as it is."""
    # N counts all experts, and neither embedding nor head, as in the law's own fits.
    parameters = model.total_parameters - model.embedding_parameters
    rate: float = 1.79 * parameters**-0.713 * tokens**0.307
    return rate
