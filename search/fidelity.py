"""A fidelity: how faithful, and how expensive, one proxy run is."""

from __future__ import annotations

from dataclasses import dataclass, field

from search.errors import SearchError


@dataclass(frozen=True)
class Fidelity:
    """One proxy model trained on a number of tokens. A trial here is a trial wherever these two are the same.

    Attributes:
        proxy: the proxy's name in the study file.
        params: its parameters that take part in a token's computation, embeddings left out.
        tokens: training tokens.
        flops: what one trial costs, floating-point operations of forward and backward passes; how they are counted may
            change between versions, and is no part of what is compared.
    """

    proxy: str
    params: int = field(compare=False)
    tokens: int
    flops: float = field(compare=False)

    def __post_init__(self) -> None:
        if self.tokens <= 0 or self.flops <= 0:
            raise SearchError(f"proxy {self.proxy}: {self.tokens} tokens and {self.flops:g} FLOPs must be above 0")

    def after(self, tokens: int) -> Fidelity:
        """What a trial of this one stands for after so many of its tokens."""
        flops = self.flops * tokens / self.tokens
        return Fidelity(f"{self.proxy} at {tokens} tokens", self.params, tokens, flops)
