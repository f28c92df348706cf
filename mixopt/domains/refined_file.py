"""The study file over refined pools: the text of the study's own, changed where it has to be.

What it is judged by stays: where the study has runs, each domain that is split or merged leaves its held-out documents
as an evaluation set, which takes its place in the objective, so that these runs measured what the new ones will. Where
it has none, the parts of a domain take its weight, by their text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown_name
from mixopt.settings.editing import as_written, check_editable, with_setting, without_setting
from mixopt.settings.levels import KIND_OF_TEXT, OF_POOL
from mixopt.settings.schema import LONGEST_NAME, DomainSettings, Name, StudyFile


@dataclass(frozen=True)
class Refinement:
    """
    Attributes:
        split: how many parts each domain is to have.
        merged: by new name, the domains that it is to consist of.
    """

    split: Mapping[str, int]
    merged: Mapping[str, Sequence[str]]

    @property
    def changed(self) -> tuple[str, ...]:
        """The domains that are no leaves any more, or are no more."""
        return (*self.split, *(name for old in self.merged.values() for name in old))

    def before(self, file: StudyFile, domain: str) -> str:
        """The evaluation set of a domain's held-out documents as the study had them, by a name that is free."""
        taken = {*file.domains, *file.evaluation, *(level.name for level in file.levels), *self.merged}
        names = chain([f"{domain}_before"], (f"{domain}_before_{number}" for number in count(2)))
        return next(name for name in names if name not in taken)


@dataclass(frozen=True)
class Part:
    """A pool that a domain was split into; `share`: of the domain's text."""

    path: str
    share: float


@dataclass(frozen=True)
class Earlier:
    """What the study leaves for the new one.

    Attributes:
        runs: their table.
        held_out: file of the held-out documents of each changed domain that the study is judged by.
        tokenizer: that the runs' losses are by.
        tokens: that each merged domain has.
    """

    runs: str
    held_out: Mapping[str, str]
    tokenizer: str
    tokens: Mapping[str, float]


def check(file: StudyFile, asked: Refinement) -> None:
    """
    Raises:
        ConfigError: what is asked for cannot be done with this study.
    """
    check_editable(file.text, file.file)
    levels = {level.name for level in file.levels}
    if file.executor.is_foreign:
        raise ConfigError(
            f"{file.file}: executor.kind: {file.executor.kind} reads no text, so there are no pools to refine",
            hint="sort the text with mixopt domains DATA, and name the new domains in the file",
        )
    seen: set[str] = set()
    for name in asked.changed:
        if name in levels:
            some = next(level.domains[0] for level in file.levels if level.name == name)
            raise ConfigError(f"domain {name} has parts already", hint=f"name one of them, such as {some}")
        if name not in file.domains:
            raise ConfigError(f"{file.file} has no domain {name}", hint=f"choose from {', '.join(file.domains)}")
        if name in seen:
            raise ConfigError(f"domain {name} is to become several things", hint="split or merge it once")
        seen.add(name)
        if name in {*file.reuse.keep} and (name not in asked.split or file.reuse.at):
            raise ConfigError(f"reuse.keep holds {name} as it is", hint="take it out of reuse.keep first")
    for new, old in asked.merged.items():
        try:
            TypeAdapter(Name).validate_python(new)
        except ValidationError:
            raise ConfigError(
                f"a merged domain cannot be called {shown_name(new)}",
                hint=f"take at most {LONGEST_NAME} letters, digits, _, . and -, the first a letter, a digit or _",
            ) from None
        if len(old) < 2:
            raise ConfigError(f"{new} is to be of fewer than two domains", hint="name two at least")
        if new in levels or (new in file.domains and new not in old):
            raise ConfigError(f"there is a domain {new} already", hint="choose another name")
        _check_merge(file, new, old)


def refined_text(
    file: StudyFile,
    asked: Refinement,
    parts: Mapping[str, Mapping[str, Part]],
    study: str,
    earlier: Earlier | None,
) -> str:
    """The text of the new study file, which lies beside the old.

    Args:
        parts: of each domain that was split, by name.
        study: the new name.
    """
    text = with_setting(file.text, ["study"], study)
    for name, pools in parts.items():
        text = with_setting(text, file.written("domains", name), _split(file, name, pools))
    for new, old in asked.merged.items():
        for name in old:
            text = without_setting(text, file.written("domains", name))
        text = with_setting(text, _place_of(file, new), _merged(file, old))
        for group in _groups_of(file, old):
            if (settings := _written(file, "groups", group)) is not None:
                named = list(dict.fromkeys(new if name in old else name for name in settings["domains"]))
                text = with_setting(text, ["groups", group], {**settings, "domains": named})
    text = with_setting(text, ["objective"], _objective(file, asked, parts, earlier))
    if earlier is None:
        return text
    for name, path in earlier.held_out.items():
        evaluation = {"paths": path, **_kind_of_text(file.domains[name])}
        text = with_setting(text, ["evaluation", asked.before(file, name)], evaluation)
    if file.corpus.tokenizer is None:
        text = with_setting(text, ["corpus", "tokenizer"], earlier.tokenizer)
    return with_setting(text, ["reuse"], _reuse(file, asked, earlier))


def _split(file: StudyFile, name: str, parts: Mapping[str, Part]) -> dict[str, Any]:
    written, domain = _written(file, *file.written("domains", name)), file.domains[name]
    # Of a domain with parts, quality would say that these are its levels: each part is to be cut by itself.
    quality = {key: value for key, value in written.items() if key == "quality"}
    kept = {key: value for key, value in written.items() if key not in (*OF_POOL, *quality)}
    return {
        **kept,
        "parts": {
            part: {
                "paths": pool.path,
                **{
                    key: max(1, round(amount * pool.share))
                    for key, amount in (("tokens", domain.tokens), ("sample", domain.sample))
                    if amount is not None
                },
                **quality,
            }
            for part, pool in parts.items()
        },
    }


def most_of(domains: Iterable[DomainSettings]) -> float:
    """The share that they may have together; 1 or more is no limit."""
    return math.fsum(_limits(domain)[1] for domain in domains)


def _merged(file: StudyFile, old: Sequence[str]) -> dict[str, Any]:
    domains = [file.domains[name] for name in old]
    found: dict[str, Any] = {
        "paths": [path for domain in domains for path in domain.paths],
        **_kind_of_text(domains[0]),
    }
    if domains[0].split != "train":
        found["split"] = domains[0].split
    if (quality := domains[0].quality) is not None:
        found["quality"] = quality.model_dump(mode="json", exclude_unset=True)
    least = math.fsum(_limits(domain)[0] for domain in domains)
    most = most_of(domains)
    if least > 0:
        found["min"] = as_written(least)
    if most < 1:
        found["max"] = as_written(most)
    for key in ("tokens", "sample"):
        amounts = [getattr(domain, key) for domain in domains]
        if None not in amounts:
            found[key] = sum(amounts)
    if epochs := [domain.max_epochs for domain in domains if domain.max_epochs is not None]:
        # What one of them bears is all that is known to be borne.
        found["max_epochs"] = min([*epochs, *([file.target.max_epochs] if len(epochs) < len(domains) else [])])
    return found


def _objective(
    file: StudyFile, asked: Refinement, parts: Mapping[str, Mapping[str, Part]], earlier: Earlier | None
) -> dict[str, Any]:
    """As it was, each changed domain's set replaced by what stands for it."""
    if earlier is not None:
        stands_for = {name: {asked.before(file, name): 1.0} for name in asked.changed}
    else:
        stands_for = {
            name: {f"{name}.{part}": pool.share for part, pool in pools.items()} for name, pools in parts.items()
        }
        stands_for |= {name: {new: 1.0} for new, old in asked.merged.items() for name in old}
    settings, written = file.objective, _written(file, "objective") or {}
    if settings.kind == "worst_case":
        return {**written, "metrics": _replaced(settings.metrics or file.evaluation_sets, stands_for)}
    if settings.families is not None:
        families = {
            name: {"metrics": _replaced(family.metrics, stands_for), "weight": family.weight}
            for name, family in settings.families.items()
        }
        return {**written, "families": families}
    weights: dict[str, float] = {}
    for name, weight in (settings.weights or dict.fromkeys(file.evaluation_sets, 1.0)).items():
        for metric, share in stands_for.get(name, {name: 1.0}).items():
            weights[metric] = weights.get(metric, 0.0) + weight * share
    return {**written, "weights": {name: as_written(weight) for name, weight in weights.items()}}


def _reuse(file: StudyFile, asked: Refinement, earlier: Earlier) -> dict[str, Any]:
    written = _written(file, "reuse") or {}
    return {
        "runs": earlier.runs,
        **({"split": {name: [name] for name in asked.split}} if asked.split else {}),
        **(
            {"merged": {new: {name: earlier.tokens[name] for name in old} for new, old in asked.merged.items()}}
            if asked.merged
            else {}
        ),
        **{key: written[key] for key in ("store", "keep", "at") if key in written},
    }


def _check_merge(file: StudyFile, new: str, old: Sequence[str]) -> None:
    """
    Raises:
        ConfigError: the text of these domains is not read alike, or a limit concerns some of them alone.
    """
    first, *others = (file.domains[name] for name in old)
    for level in file.levels:
        if level.quality is not None and ({*old} & {*level.domains} or new.startswith(f"{level.name}.")):
            raise ConfigError(
                f"the parts of {level.name} are levels of its quality, in an order",
                hint="cut it anew with fewer levels, or merge them in the file, at the place of the better one",
            )
    for name, other in zip(old[1:], others, strict=True):
        if first.quality != other.quality:
            raise ConfigError(
                f"domains {old[0]} and {name} ask for other levels of quality",
                hint="write the same quality into both, or take it out of both",
            )
        if (_kind_of_text(first), first.split) != (_kind_of_text(other), other.split):
            raise ConfigError(
                f"domains {old[0]} and {name} are read by other fields", hint="write both with the same fields first"
            )
        for key in ("tokens", "sample"):
            if (getattr(first, key) is None) != (getattr(other, key) is None):
                raise ConfigError(
                    f"one of the domains {old[0]} and {name} gives {key}, the other does not",
                    hint="give it of both, or of none",
                )
    above = {level.name for level in file.levels if new.startswith(f"{level.name}.")}
    levels = {level.name for level in file.levels}
    # The deepest that all of them are in: under any other name than one in it, something would be wrong still.
    around = max((level.name for level in file.levels if set(old) <= set(level.domains)), key=len, default="")
    last = new.removeprefix(f"{max(above, key=len)}.") if above else new
    better = f"call it {around}.{last}" if around else "merge what is in one level"
    for name, group in file.groups.items():
        inside = set(old) & set(group.domains)
        outside_level = name in levels and name not in above
        if inside and (inside != set(old) or outside_level):
            hint = better if inside == set(old) else f"change the limits of {name} first"
            raise ConfigError(f"{', '.join(sorted(inside))} would leave {name}, whose limits hold for them", hint=hint)
        if not inside and name in above:
            raise ConfigError(f"{new} would come into {name}, whose limits do not hold for {old[0]}", hint="rename it")
    for level in file.levels:
        if set(level.domains) <= set(old) and level.name not in above:
            raise ConfigError(f"nothing would be left in {level.name}", hint=better)


def _groups_of(file: StudyFile, old: Sequence[str]) -> list[str]:
    return [name for name, group in file.groups.items() if set(old) <= set(group.domains)]


def _place_of(file: StudyFile, new: str) -> tuple[str, ...]:
    """Where a new domain is written: in the innermost level of its name."""
    above = [level.name for level in file.levels if new.startswith(f"{level.name}.")]
    if not above:
        return ("domains", new)
    return (*file.written("domains", above[-1]), "parts", new.removeprefix(f"{above[-1]}."))


def _written(file: StudyFile, *place: str) -> Any:
    """What the file says at a place, as it says it."""
    _, found = plain_yaml.read(file.text, strict=True)
    for name in place:
        found = (found or {}).get(name)
    return found


def _kind_of_text(domain: DomainSettings) -> dict[str, str]:
    return {key: value for key in KIND_OF_TEXT if (value := getattr(domain, key)) is not None}


def _limits(domain: DomainSettings) -> tuple[float, float]:
    return (domain.min, domain.max) if domain.pin is None else (domain.pin, domain.pin)


def _replaced(metrics: Iterable[str], stands_for: Mapping[str, Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(new for name in metrics for new in stands_for.get(name, [name])))
