"""Domains in levels: from the tree that a study file may be written as to its leaves, which are the study's domains.

    domains:                            web.science        a leaf: the pool that is mixed
      web:                              web.news.good
        max: 60%                        web.news.poor
        parts:                          code
          science: {paths: ...}
          news:                         web                60% at most of the three: a group, named by the level
            parts:                      web.news
              good: {paths: ...}
              poor: {paths: ...}
      code: {paths: ...}

A level hands to its parts what they do not say themselves of their text and its repetition; its limits are those of a
group. Where the file names a level in place of a domain (groups, objective, reuse), its leaves are meant. So nothing
that comes after the reading of the file has to know of levels, but what shows them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mixopt.base.shown import shown_name
from mixopt.settings.schema import (
    LONGEST_NAME,
    MOST_NAMES,
    DomainSettings,
    FamilySettings,
    GroupSettings,
    Level,
    ObjectiveSettings,
    ReuseSettings,
    StudyFile,
)

Study = TypeVar("Study", bound=StudyFile)
# Where in the file, and what is wrong there.
Found = tuple[tuple[str, ...], str]
# What the parts of a level have from it, where they say nothing. A kind of text is had whole.
KIND_OF_TEXT = ("text", "prompt", "completion")
# What belongs to the text of a domain itself: where that is sorted into files of its parts, these have their own.
OF_POOL = ("paths", "tokens", "sample", "split")
HANDED_DOWN = ("split", "max_epochs")


@dataclass(frozen=True)
class _Node:
    """A domain or a level as it stands in the file.

    Attributes:
        place: where: `domains`, web, `parts`, news.
        settings: with what it has from the levels above it.
    """

    name: str
    place: tuple[str, ...]
    settings: DomainSettings
    levels: tuple[str, ...]

    @property
    def is_level(self) -> bool:
        return self.settings.parts is not None


def tree_mistakes(study: StudyFile) -> Iterator[Found]:
    """What is wrong with the tree of a study as it was written: nothing else can be said of its domains before."""
    place_of: dict[str, tuple[str, ...]] = {}
    leaves = 0
    for node in _nodes(study.domains):
        if node.name in place_of:
            yield node.place, f"there is a domain {node.name} already, at {'.'.join(place_of[node.name])}; rename one"
        elif len(node.name) > LONGEST_NAME:
            message = f"with its levels its name is {len(node.name)} characters long; shorten one to stay within"
            yield node.place, f"{message} {LONGEST_NAME}"
        place_of[node.name] = node.place
        leaves += not node.is_level
        if node.is_level and node.name in study.groups and _limit_of(node) is not None:
            message = f"{node.name} is a domain with parts, and its limits are a group of that name; choose another"
            yield ("groups", node.name), message
    if leaves < 2:
        yield ("domains",), "needs at least 2; add more"
    if leaves > MOST_NAMES:
        yield ("domains",), f"{leaves:,} domains, parts counted, are more than {MOST_NAMES:,}; join some"


def flattened(study: Study) -> Study:
    """The study over its leaves, with the limits of its levels among its groups; as it is, where no domain has parts.

    Args:
        study: without `tree_mistakes`.
    """
    nodes = list(_nodes(study.domains))
    if not any(node.is_level for node in nodes):
        return study
    leaves = {node.name: node.settings for node in nodes if not node.is_level}
    levels, limits = [], {}
    for node in nodes:
        if node.is_level:
            inside = tuple(each.name for each in nodes if not each.is_level and node.name in each.levels)
            levels.append(Level(node.name, inside, len(node.levels), node.settings.quality))
            if (limit := _limit_of(node)) is not None:
                limits[node.name] = GroupSettings(domains=list(inside), min=limit[0], max=limit[1])
    found = study.model_copy(update={"domains": leaves, "groups": {**study.groups, **limits}})
    found._levels = tuple(levels)
    found._places = {node.name: node.place for node in nodes}
    return found


def spelled_out(study: Study) -> Study:
    """The flattened study with the leaves of each level that it names in its groups, objective and reuse.

    Args:
        study: without mistakes: what it names is there, and nothing twice.
    """
    if not study.levels:
        return study
    inside = _inside(study)
    groups = {
        name: group.model_copy(update={"domains": _leaves(group.domains, inside)})
        for name, group in study.groups.items()
    }
    return study.model_copy(
        update={
            "groups": groups,
            "objective": _objective(study.objective, inside),
            "reuse": _reuse(study.reuse, inside),
        }
    )


def overlaps(study: StudyFile) -> Iterator[Found]:
    """Where a flattened study names a domain by itself and in a level, or in two levels."""
    inside = _inside(study)
    objective, reuse = study.objective, study.reuse
    lists: list[list[Found]] = [
        [(("groups", name, "domains", str(place)), each) for place, each in enumerate(group.domains)]
        for name, group in study.groups.items()
    ]
    lists.append([(("objective", "weights", name), name) for name in objective.weights or {}])
    lists.append([(("objective", "metrics", str(place)), each) for place, each in enumerate(objective.metrics or [])])
    lists.append(
        [
            (("objective", "families", name, "metrics", str(place)), each)
            for name, family in (objective.families or {}).items()
            for place, each in enumerate(family.metrics)
        ]
    )
    lists.append([(("reuse", "keep", str(place)), each) for place, each in enumerate(reuse.keep)])
    lists += [[(("reuse", "split", old), each) for each in parts] for old, parts in reuse.split.items()]
    for name in set(reuse.at or ()) & set(inside):
        yield ("reuse", "at", name), f"{name} has parts; name each of them in keep and at, with its weight"
    for named in lists:
        by: dict[str, str] = {}
        for place, name in named:
            for leaf in inside.get(name, (name,)):
                if leaf in by and (name in inside or by[leaf] in inside):
                    yield place, f"{leaf} is named twice, by {by[leaf]} and by {name}; keep one of the two"
                    break
                by[leaf] = name


def limits_of_levels(study: StudyFile) -> Iterator[Found]:
    """Limits of levels that their parts cannot keep."""
    for level in study.levels:
        limit = study.groups.get(level.name)
        if limit is None or tuple(limit.domains) != level.domains:
            continue
        parts = [study.domains[name] for name in level.domains]
        least = math.fsum(part.min if part.pin is None else part.pin for part in parts)
        most = math.fsum(part.max if part.pin is None else part.pin for part in parts)
        name, place = shown_name(level.name), study.written("domains", level.name)
        if least > limit.max + 1e-9:
            yield place, f"max {limit.max:g} is below {least:g}, to which the minimums in {name} sum; raise it"
        if most < limit.min - 1e-9:
            yield place, f"min {limit.min:g} is above {most:g}, to which the maximums in {name} sum; lower it"


@dataclass(frozen=True)
class Row:
    """A domain or a level as tables show it: the level first, its parts indented below it.

    Attributes:
        label: the last part of its name, indented.
        domains: the leaves that it stands for: itself, or those of the level.
    """

    name: str
    label: str
    depth: int
    domains: tuple[str, ...]
    is_level: bool

    @property
    def page_label(self) -> str:
        """With spaces that a page does not run together."""
        return self.label.replace("  ", "\u00a0" * 4)

    def sum_in(self, shares: Mapping[str, float]) -> float:
        return math.fsum(shares[name] for name in self.domains)


def sum_over(level: str) -> str:
    """What a level's sum is called among the names of domains: no domain can have that name."""
    return f"{level}.*"


def in_levels(domains: Iterable[str], levels: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """The domains in their order, but those of a level together below it, where the first of them stands.

    Args:
        levels: the leaves of each, outer levels before those inside them.
    """
    yield from _rows(list(domains), {name: frozenset(inside) for name, inside in levels.items()}, levels, ())


def _rows(
    domains: Sequence[str],
    inside: Mapping[str, frozenset[str]],
    levels: Mapping[str, Sequence[str]],
    above: tuple[str, ...],
) -> Iterator[Row]:
    shown: set[str] = set()
    for domain in domains:
        if domain in shown:
            continue
        level = next((name for name, leaves in inside.items() if domain in leaves and name not in above), None)
        if level is None:
            yield Row(domain, _label(domain, above), len(above), (domain,), is_level=False)
            continue
        yield Row(level, _label(level, above), len(above), tuple(levels[level]), is_level=True)
        parts = [each for each in domains if each in inside[level]]
        yield from _rows(parts, inside, levels, (*above, level))
        shown.update(parts)


def _label(name: str, above: Sequence[str]) -> str:
    return "  " * len(above) + (name.removeprefix(f"{above[-1]}.") if above else name)


def _nodes(tree: Mapping[str, DomainSettings], above: _Node | None = None) -> Iterator[_Node]:
    """Every domain and level, each level before its parts."""
    for name, settings in tree.items():
        if above is None:
            node = _Node(name, ("domains", name), settings, ())
        else:
            handed = settings.model_copy(update=_handed_down(above.settings, settings))
            place = (*above.place, "parts", name)
            node = _Node(f"{above.name}.{name}", place, handed, (*above.levels, above.name))
        yield node
        if settings.parts is not None:
            yield from _nodes(settings.parts, node)


def _handed_down(level: DomainSettings, part: DomainSettings) -> dict[str, Any]:
    fields = [*HANDED_DOWN] if set(KIND_OF_TEXT) & part.model_fields_set else [*HANDED_DOWN, *KIND_OF_TEXT]
    return {field: getattr(level, field) for field in fields if field not in part.model_fields_set}


def _limit_of(level: _Node) -> tuple[float, float] | None:
    """The smallest and the largest sum of its parts; None where it sets no limit."""
    settings = level.settings
    if settings.pin is not None:
        return settings.pin, settings.pin
    return (settings.min, settings.max) if (settings.min, settings.max) != (0.0, 1.0) else None


def _inside(study: StudyFile) -> dict[str, tuple[str, ...]]:
    """The leaves of each level, but of one whose name is that of an evaluation set: a metric of another trainer."""
    return {level.name: level.domains for level in study.levels if level.name not in study.evaluation_sets}


def _leaves(names: Iterable[str], inside: Mapping[str, Sequence[str]]) -> list[str]:
    return [leaf for name in names for leaf in inside.get(name, (name,))]


def _objective(settings: ObjectiveSettings, inside: Mapping[str, Sequence[str]]) -> ObjectiveSettings:
    """A level's weight is that of its leaves together, each of them alike."""
    update: dict[str, Any] = {}
    if settings.weights is not None:
        update["weights"] = {
            leaf: weight / len(inside.get(name, (name,)))
            for name, weight in settings.weights.items()
            for leaf in inside.get(name, (name,))
        }
    if settings.metrics is not None:
        update["metrics"] = _leaves(settings.metrics, inside)
    if settings.families is not None:
        update["families"] = {
            name: FamilySettings(metrics=_leaves(family.metrics, inside), weight=family.weight)
            for name, family in settings.families.items()
        }
    return settings.model_copy(update=update)


def _reuse(settings: ReuseSettings, inside: Mapping[str, Sequence[str]]) -> ReuseSettings:
    """A domain that is now a level was split into its leaves."""
    split = {old: _leaves(parts, inside) for old, parts in settings.split.items()}
    split |= {old: list(inside[new]) for old, new in settings.renamed.items() if new in inside}
    renamed = {old: new for old, new in settings.renamed.items() if new not in inside}
    return settings.model_copy(update={"split": split, "renamed": renamed, "keep": _leaves(settings.keep, inside)})
