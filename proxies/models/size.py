"""How large a proxy is: every shape of the model, and how many parameters that makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from proxies.errors import ProxyError

Kind = Literal["dense", "moe"]
Scores = Literal["softmax", "sigmoid"]
Balancing = Literal["loss", "bias"]

HEAD_WIDTH = 64
MOST_EXPERTS = 10_000  # of a layer; they would find no memory
# Grouped matrix products on GPUs read rows that start at multiples of 16 bytes: 8 numbers of bfloat16.
NARROWEST_EXPERT = 8


@dataclass(frozen=True)
class Experts:
    """An expert layer: every token passes `top_k` of `count` experts, and the shared one.

    Attributes:
        scores: what the router makes of its logits.
        balancing: what keeps the experts' load even: a term of the loss, or a bias that experts are chosen with
            (see `proxies.models.router`).
    """

    count: int
    top_k: int
    feed_forward: int
    shared_feed_forward: int
    scores: Scores = "softmax"
    balancing: Balancing = "loss"

    @property
    def sparsity(self) -> float:
        """Of the routed experts, the share that a token does not meet."""
        return 1 - self.top_k / self.count


@dataclass(frozen=True)
class ModelSize:
    """The shapes of one model; with `experts`, all layers but the first are expert layers.

    Raises:
        ProxyError: no such model can be built.
    """

    depth: int
    width: int
    heads: int
    feed_forward: int
    vocabulary: int
    sequence_length: int
    experts: Experts | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "experts":
                _check_whole(name, value)
        if self.width % (2 * self.heads):
            raise ProxyError(
                f"model size: width {self.width} does not divide into {self.heads} heads of an even width",
                hint=f"let width be a multiple of {2 * self.heads}, twice the heads, or choose other heads",
            )
        if self.experts is not None:
            self._check_experts(self.experts)

    def _check_experts(self, experts: Experts) -> None:
        for name in ("count", "top_k", "feed_forward", "shared_feed_forward"):
            _check_whole(f"experts.{name}", getattr(experts, name))
        for name, known in (("scores", get_args(Scores)), ("balancing", get_args(Balancing))):
            if getattr(experts, name) not in known:
                raise ProxyError(
                    f"model size: experts.{name} is {getattr(experts, name)!r}", hint=f"let it be {' or '.join(known)}"
                )
        if self.depth < 2:
            raise ProxyError(
                "model size: an moe of depth 1 has no experts, its first layer is dense", hint="let depth be 2 or more"
            )
        if experts.count > MOST_EXPERTS:
            raise ProxyError(
                f"model size: {experts.count:,} experts in a layer",
                hint=f"let it be {MOST_EXPERTS:,} or less: lower experts, sparsity or granularity",
            )
        if experts.top_k > experts.count:
            raise ProxyError(
                f"model size: each token chooses {experts.top_k} of {experts.count} experts",
                hint=f"let top_k be {experts.count} or less",
            )
        for name, value in (("width", self.width), ("experts.feed_forward", experts.feed_forward)):
            if value % NARROWEST_EXPERT:
                raise ProxyError(
                    f"model size: {name} of an moe is {value}", hint=f"let it be a multiple of {NARROWEST_EXPERT}"
                )

    @property
    def expert_layers(self) -> range:
        return range(1, self.depth) if self.experts else range(0)

    @property
    def expert_count(self) -> int:
        return self.experts.count if self.experts else 0

    @property
    def has_bias(self) -> bool:
        """Whether experts are chosen with a bias that balances them."""
        return self.experts is not None and self.experts.balancing == "bias"

    @property
    def embedding_parameters(self) -> int:
        """The token table and the head."""
        return 2 * self.vocabulary * self.width

    @property
    def active_parameters(self) -> int:
        """Parameters that one token's computation meets, embedding and head left out."""
        dense = 4 * self.width**2 + 3 * self.width * self.feed_forward
        if self.experts is None:
            return self.depth * dense
        feed_forward = self.experts.shared_feed_forward + self.experts.top_k * self.experts.feed_forward
        expert = 4 * self.width**2 + 3 * self.width * feed_forward + self.width * self.experts.count
        return dense + len(self.expert_layers) * expert

    @property
    def total_parameters(self) -> int:
        """All parameters: embedding, head and the experts that a token does not meet included."""
        idle = 0
        if self.experts is not None:
            idle = (self.experts.count - self.experts.top_k) * 3 * self.width * self.experts.feed_forward
        return self.embedding_parameters + self.active_parameters + len(self.expert_layers) * idle


def model_size(
    kind: Kind,
    depth: int,
    vocabulary: int,
    sequence_length: int,
    *,
    width: int | None = None,
    heads: int | None = None,
    feed_forward: int | None = None,
    experts: int | None = None,
    top_k: int | None = None,
    sparsity: float | None = None,
    granularity: int | None = None,
    expert_feed_forward: int | None = None,
    shared_feed_forward: int | None = None,
    scores: Scores | None = None,
    balancing: Balancing | None = None,
) -> ModelSize:
    """Every shape from one dial, the depth; whatever is given is kept.

    Args:
        sparsity: in place of `experts`: of the routed experts, the share that a token does not meet.
        granularity: into how many the experts are split (2401.06066): so many times `experts` and `top_k`, and each so
            many times narrower, where `expert_feed_forward` is not given.

    Raises:
        ProxyError: no such model can be built, or an expert's shape is given to a dense one.
    """
    # 1. Width grows with depth, and a model of one layer still has two heads.
    width = max(128, 64 * depth) if width is None else width
    # 2. Heads are 64 wide, or there is one.
    heads = max(1, width // HEAD_WIDTH) if heads is None else heads
    # 3. SwiGLU has three matrices where a plain feed-forward layer of 4 x width has two: 8/3 x width costs the same.
    feed_forward = _rounded(width * 8 / 3, 64) if feed_forward is None else feed_forward
    if kind == "dense":
        shapes = (experts, top_k, sparsity, granularity, expert_feed_forward, shared_feed_forward, scores, balancing)
        if any(shape is not None for shape in shapes):
            raise ProxyError(
                "model size: a dense model has no experts", hint="set kind to moe, or leave out the experts' shapes"
            )
        return ModelSize(depth, width, heads, feed_forward, vocabulary, sequence_length)
    # 4. Eight experts, two for each token: enough to specialise by domain, few enough that each sees many tokens.
    assert kind == "moe", kind
    if sparsity is not None:
        if experts is not None:
            raise ProxyError("model size: experts and sparsity both say how many there are", hint="leave one out")
        if not 0 <= sparsity < 1:
            raise ProxyError(f"model size: sparsity is {sparsity}", hint="let it be 0 or more, and below 1")
        top_k = 2 if top_k is None else top_k
        experts = round(top_k / (1 - sparsity))
    experts = 8 if experts is None else experts
    top_k = min(2, experts) if top_k is None else top_k
    # 5. Of fine grain, as many parameters and operations in more experts.
    granularity = 1 if granularity is None else granularity
    _check_whole("granularity", granularity)
    experts, top_k = granularity * experts, granularity * top_k
    if granularity > 1 and expert_feed_forward is None and feed_forward < 2 * top_k * NARROWEST_EXPERT:
        raise ProxyError(
            f"model size: granularity {granularity} leaves experts narrower than {NARROWEST_EXPERT}",
            hint="lower granularity or top_k, or raise feed_forward",
        )
    # 6. A token's experts and the shared one do together what the dense feed-forward layer does, about half each.
    if expert_feed_forward is None:
        expert_feed_forward = _rounded(feed_forward / 2 / max(1, top_k), 16 if granularity == 1 else NARROWEST_EXPERT)
    if shared_feed_forward is None:
        shared_feed_forward = max(16, feed_forward - top_k * expert_feed_forward)
    chosen = Experts(
        *(experts, top_k, expert_feed_forward, shared_feed_forward),
        scores="softmax" if scores is None else scores,
        balancing="loss" if balancing is None else balancing,
    )
    return ModelSize(depth, width, heads, feed_forward, vocabulary, sequence_length, chosen)


def _check_whole(name: str, value: int) -> None:
    if not isinstance(value, int) or value < 1:
        raise ProxyError(f"model size: {name} is {value}", hint=f"give {name} a whole number above 0")


def _rounded(value: float, multiple: int) -> int:
    return max(multiple, round(value / multiple) * multiple)
