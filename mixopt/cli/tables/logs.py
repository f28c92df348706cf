"""What `mixopt logs --trial` shows a person."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from mixopt.results.logs import TrialLog
from mixopt.settings.units import show_count


def trial_table(log: TrialLog) -> RenderableType:
    shares = ", ".join(f"{domain} {share:.1%}" for domain, share in log.mixture.items())
    lines = [
        f"trial {log.trial} of study {log.study} is {log.state}",
        f"{log.origin}, proxy {log.proxy}, {show_count(log.tokens)} tokens, seed {log.seed}",
        shares,
        *(f"started again: {reason}" for reason in log.restarts),
    ]
    if log.kind is not None:
        lines.append(f"{log.kind}: {log.message}")
    if log.state == "failed":
        lines += ["", log.traceback or "no traceback: nothing was raised in it, or an earlier version recorded it"]
    return Text("\n".join(lines))
