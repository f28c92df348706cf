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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from mixopt.base import plain_yaml
from mixopt.settings.schema import LONGEST_NAME, QualitySettings, StudyFile

ENDING = "-levels"
# What belongs to the text of a domain without parts.
OF_TEXT = ("paths", "tokens", "sample")
WIDTH = 120

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
    """
    Args:
        file: as it was read; `to_be_cut` has the domains that were.
        cut: the levels of these, best first.
        new: what the new file will be called.
    """
    _, data = plain_yaml.read(file.text, strict=True)
    data["study"] = f"{file.study[: LONGEST_NAME - len(ENDING)]}{ENDING}"
    data.pop("quality", None)
    for name, parts in cut.items():
        _cut_domain(data, file, name, parts)
    _judge_by_best(data, file, {name: f"{name}.{parts[0].name}" for name, parts in cut.items()})
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=WIDTH, default_flow_style=None)
    return HEADER.format(file=file.file.name, new=new) + "\n" + text


def _cut_domain(data: dict[str, Any], file: StudyFile, name: str, parts: Iterable[PartOfDomain]) -> None:
    domain = data
    for key in file.written("domains", name):
        domain = domain[key]
    for key in OF_TEXT:
        domain.pop(key, None)
    domain["quality"] = _as_written(file.to_be_cut[name])
    tokens = file.domains[name].tokens
    domain["parts"] = {
        part.name: {"paths": part.path} | ({} if tokens is None else {"tokens": max(round(tokens * part.share), 1)})
        for part in parts
    }


def _as_written(quality: QualitySettings) -> dict[str, Any]:
    return quality.model_dump(mode="json", exclude_unset=True)


def _judge_by_best(data: dict[str, Any], file: StudyFile, best: Mapping[str, str]) -> None:
    """In the objective, the best level of each domain in the place of the domain."""
    if file.metrics is not None:
        return  # another trainer's own
    objective = data.setdefault("objective", {})
    if objective.get("weights"):
        objective["weights"] = {best.get(name, name): weight for name, weight in objective["weights"].items()}
    elif objective.get("metrics"):
        objective["metrics"] = [best.get(name, name) for name in objective["metrics"]]
    elif objective.get("families"):
        for family in objective["families"].values():
            family["metrics"] = [best.get(name, name) for name in family["metrics"]]
    else:
        judged = [best.get(name, name) for name in (*file.domains, *file.evaluation)]
        objective |= (
            {"metrics": judged} if objective.get("kind") == "worst_case" else {"weights": dict.fromkeys(judged, 1)}
        )
