"""Tables of runs from before domains were renamed, split, added or removed, read over the domains of now."""

from __future__ import annotations

from collections.abc import Iterable

from mixopt.base.errors import ConfigError
from mixopt.runs.table import TableSource
from mixopt.settings.space import Limits
from search.errors import SearchError
from search.reuse import Changes, reuse
from search.runs import Runs
from search.space import DomainLimits, Space


def changes(renamed: Iterable[str], split: Iterable[str]) -> Changes:
    """From options `OLD=NEW` and `OLD=PART,PART`.

    Raises:
        ConfigError, SearchError: one has another form, or a domain is in several.
    """
    new_name, parts = dict[str, str](), dict[str, list[str]]()
    for text in renamed:
        old, [new, *more] = _sides(text)
        if not (old and new) or more or old in new_name:
            raise ConfigError(f"--renamed {text} does not give one domain a new name", hint="write --renamed old=new")
        new_name[old] = new
    for text in split:
        old, news = _sides(text)
        if not (old and all(news)) or len(news) < 2 or old in parts:
            raise ConfigError(f"--split {text} does not give one domain its parts", hint="write --split old=part,part")
        parts[old] = news
    return Changes(new_name, parts)


def _sides(text: str) -> tuple[str, list[str]]:
    """What stands before the equals sign, and what after it, by commas."""
    old, _, new = text.partition("=")
    return old.strip(), [name.strip() for name in new.split(",")]


def over_domains_of_now(
    runs: Runs, source: TableSource, what_became: Changes, limits: Limits
) -> tuple[Runs, list[str]]:
    """The runs of a table over the domains that have limits now, and notes on what was done.

    Raises:
        ConfigError: the changes do not fit, the limits do not give a domain's tokens, or no metric is left.
    """
    supplies = []
    for name, domain in limits.domains.items():
        if domain.tokens is None:
            raise ConfigError(
                f"{limits.source}: domains.{name}.tokens is not given",
                hint="the parts of a split domain are known by their tokens: give those of every domain",
            )
        supplies.append(DomainLimits(name, domain.tokens))
    metrics = [what_became.renamed.get(name, name) for name in runs.metrics if name not in what_became.split]
    gone = ", ".join(name for name in runs.metrics if name in what_became.split)
    if not metrics:
        raise ConfigError(
            f"{source}: no metric is left: {gone} was measured on text of domains that are split now",
            hint="add the runs' other metrics, such as benchmarks, to the table",
        )
    try:
        changed, notes = reuse(runs, Space(tuple(supplies)), metrics, runs.fidelities, what_became)
    except SearchError as error:
        raise ConfigError(f"{source}: {error.message}", error.hint) from error
    if gone:
        notes = (*notes, f"metrics called like a domain that is split now are not used: {gone}")
    return changed, [f"{source.name}: {note}" for note in notes]
