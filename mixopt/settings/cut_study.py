"""The study file over levels of quality: the file as it was written, with parts in the domains that were cut.

    domains:                                      domains:
      web: {paths: web/*.jsonl, max: 60%,           web:
            quality: {scorer: repetition}}            max: 60%
                                                      quality: {scorer: repetition}
                                                      parts:
                                                        q1: {paths: pools/web/q1.jsonl}
                                                        ...

What the file judged by a domain's own held-out text it judges by that of its best level: else the levels to be left out
would count as much as the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mixopt.base import plain_yaml
from mixopt.settings.editing import as_written, with_setting, without_setting
from mixopt.settings.levels import OF_POOL
from mixopt.settings.schema import LONGEST_NAME, StudyFile

ENDING = "-levels"

HEADER = """\
# Written by mixopt quality, from {file}: its domains are cut into levels of quality, q1 the best.
#   mixopt plan {new}        what will run, and how long it will take
#   mixopt run {new}         run it, or go on where it was left
"""


@dataclass(frozen=True)
class PartOfDomain:
    """
    Attributes:
        name: of the level.
        path: as the new study file names it.
        share: of the domain's text.
    """

    name: str
    path: str
    share: float


def cut_study(file: StudyFile, cut: Mapping[str, tuple[PartOfDomain, ...]], new: str) -> str:
    """The text of the new study file; what it does not concern stays as it was written, comments included.

    Args:
        file: as it was read; `to_be_cut` has the domains that were.
        cut: the levels of these, best first.
        new: what the new file will be called.

    Raises:
        ConfigError: the file is written so that nothing can be put into it.
    """
    text = with_setting(file.text, ("study",), f"{file.study[: LONGEST_NAME - len(ENDING)]}{ENDING}")
    text = without_setting(text, ("quality",))
    for name, parts in cut.items():
        text = with_setting(text, file.written("domains", name), _cut_domain(file, name, parts))
    for place, value in _judged_by_best(file, {name: f"{name}.{parts[0].name}" for name, parts in cut.items()}):
        text = with_setting(text, ("objective", *place), value)
    return HEADER.format(file=file.file.name, new=new) + "\n" + text


def _cut_domain(file: StudyFile, name: str, parts: Iterable[PartOfDomain]) -> dict[str, Any]:
    _, domain = plain_yaml.read(file.text, strict=True)
    for key in file.written("domains", name):
        domain = domain[key]
    tokens = file.domains[name].tokens
    return {
        **{key: value for key, value in domain.items() if key not in OF_POOL},
        "quality": file.to_be_cut[name].model_dump(mode="json", exclude_unset=True),
        "parts": {
            part.name: {"paths": part.path} | ({} if tokens is None else {"tokens": max(round(tokens * part.share), 1)})
            for part in parts
        },
    }


def _judged_by_best(file: StudyFile, best: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What of the objective changes: the best level of each domain stands in the place of the domain."""
    if file.metrics is not None:
        return  # another trainer's own
    # As it was read, over leaves: where the file names a domain with parts, the best level of each of these counts.
    objective = file.objective
    if objective.weights is not None:
        if best.keys() & objective.weights.keys():
            yield ("weights",), {best.get(name, name): as_written(each) for name, each in objective.weights.items()}
    elif objective.metrics is not None:
        if best.keys() & {*objective.metrics}:
            yield ("metrics",), [best.get(name, name) for name in objective.metrics]
    elif objective.families is not None:
        for family, settings in objective.families.items():
            if best.keys() & {*settings.metrics}:
                yield ("families", family, "metrics"), [best.get(name, name) for name in settings.metrics]
    else:
        judged = [best.get(name, name) for name in (*file.domains, *file.evaluation)]
        key = "metrics" if objective.kind == "worst_case" else "weights"
        yield (key,), judged if key == "metrics" else dict.fromkeys(judged, 1)
