"""What `mixopt init` asks in a terminal: four things, each with an answer that Enter gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, get_args

from mixopt.base.console import err
from mixopt.base.errors import ConfigError
from mixopt.settings.new_study import Purpose, Wanted, judging_of, pools_in
from mixopt.settings.sizing import Budget, parse_budget
from mixopt.settings.units import count_of

Answer = TypeVar("Answer")


def ask_for_study(data: Path | None, output: Path) -> tuple[Wanted, Budget | None]:
    """
    Raises:
        ConfigError: `data` holds fewer than two domains.
        KeyboardInterrupt: somebody leaves, also by the end of input.
    """
    pools = pools_in(data, output)
    err.print(f"domains: {', '.join(pools.domains)}", soft_wrap=True)
    err.print("Four questions; Enter leaves a thing open.\n")

    def purpose_of(text: str) -> Purpose:
        for known in get_args(Purpose):
            if known.startswith(text.lower()):
                found: Purpose = known
                return found
        raise ConfigError(f"{text} is none of them", hint=f"write {', '.join(get_args(Purpose))}")

    def target_of(text: str) -> tuple[int | None, int | None]:
        numbers = text.replace(",", " ").split()
        if len(numbers) != 2:
            raise ConfigError("that is not two numbers", hint="write parameters and tokens, such as: 7B 100B")
        params, tokens = numbers
        return count_of("parameters", params), count_of("tokens", tokens)

    def objective_of(text: str) -> tuple[str, ...]:
        parts = tuple(text.replace(",", " ").split())
        judging_of(parts, pools, output)  # says what is wrong now
        return parts

    purpose = _ask("What for: pretraining, continued or fine-tuning", purpose_of)
    params, tokens = _ask("The final run's parameters and tokens, such as 7B 100B", target_of) or (None, None)
    objective = _ask("What counts: domains, files to judge by (code=2 exam.jsonl), or a kind; all alike", objective_of)
    budget = _ask("What may the study take: 2h here, 1e18 FLOPs, 20gpuh", parse_budget)
    return Wanted(purpose, params, tokens, objective or ()), budget


def _ask(question: str, read: Callable[[str], Answer]) -> Answer | None:
    """The answer, asked again while it is not one; None where nothing is said."""
    while True:
        err.print(f"{question}: ", end="", soft_wrap=True)
        try:
            text = input().strip()
        except EOFError:
            raise KeyboardInterrupt from None
        if not text:
            return None
        try:
            return read(text)
        except ConfigError as mistake:
            hint = f"; {mistake.hint}" if mistake.hint else ""
            err.print(f"{mistake.message}{hint}", style="yellow", soft_wrap=True)
