"""From the text of a study file to its settings; each mistake names its line and the remedy.

study.yaml --compose--> nodes with line numbers --construct--> plain data --validate--> StudyFile
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ValidationError,
)

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError, Mistakes
from mixopt.base.files import text_in
from mixopt.base.shown import MOST_LINES, shown, shown_name
from mixopt.settings.passwords import passwords_in
from mixopt.settings.schema import SHAPE, StudyFile

Schema = TypeVar("Schema", bound=BaseModel)


def load(path: Path) -> StudyFile:
    """Read and check a study file.

    Raises:
        ConfigError: one line for each mistake, `file:line: field: what is wrong; what to do`.
    """
    return parse(text_of(path), path)


def place_in(file: StudyFile, *location: str) -> str:
    """Where a setting, or its section, stands: `file:line: dotted.field`."""
    root, _ = plain_yaml.read(file.text, strict=True)
    assert root is not None, "it has settings"
    return _place(location, root, file.file)


def text_of(path: Path) -> str:
    return text_in(path, "study file", "write one with: mixopt init")


def parse(text: str, path: Path) -> StudyFile:
    """As `load`, from text; `path` says where it stands, for messages and relative paths."""
    study, root = validate(text, path, StudyFile)
    # As many as are shown, and one: to look for all that a long file has would take long.
    problems = list(islice(_cross_checks(study), MOST_LINES + 1))
    if problems:
        raise Mistakes([f"{_place(location, root, path)}: {message}" for location, message in problems])
    study._file, study._text = path, text
    return study


def validate(text: str, path: Path, schema: type[Schema]) -> tuple[Schema, yaml.Node]:
    """The file that the text is, each section right by itself, and its nodes with their lines.

    Raises:
        ConfigError: as `load`.
    """
    try:
        root, data = plain_yaml.read(text, strict=True)
    except plain_yaml.NotPlain as error:
        place = f"{path}:{error.line}" if error.line else str(path)
        raise ConfigError(f"{place}: {error.message}", error.hint) from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}: no settings in this file", hint="start from: mixopt init")
    _check_passwords(root, text, path)
    try:
        return schema.model_validate(data), root
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise Mistakes([_explain(problem, root, path) for problem in problems[:MOST_LINES]], len(problems)) from error


def _check_passwords(root: yaml.Node, text: str, path: Path) -> None:
    found = [
        f"{path}:{line + 1}: {'.'.join(map(shown_name, location)) or 'this line'} holds a password in a URL, "
        f"which would be recorded; {remedy}"
        for location, line, remedy in passwords_in(root, text)
    ]
    if found:
        raise Mistakes(found)


def _cross_checks(study: StudyFile) -> Iterator[tuple[tuple[str, ...], str]]:
    """What no single section can see: names that must stand elsewhere in the file."""
    if study.study == "artifacts" or study.study.startswith("mlflow.db"):
        yield ("study",), f"{study.study} is what the MLflow store beside the studies is called; choose another"
    for group, settings in study.groups.items():
        for domain in settings.domains:
            if domain not in study.domains:
                yield ("groups", group, "domains"), f"no domain {_unknown(domain, study.domains)}"
    yield from _of_the_trainer(study)
    for name in study.evaluation:
        if name in study.domains:
            yield ("evaluation", name), f"{name} is also a domain; give the evaluation set another name"
    reuse = study.reuse
    named_now = [(("reuse", "renamed", old), new) for old, new in reuse.renamed.items()]
    named_now += [(("reuse", "split", old), part) for old, parts in reuse.split.items() for part in parts]
    named_now += [(("reuse", "keep", str(place)), name) for place, name in enumerate(reuse.keep)]
    for location, domain in named_now:
        if domain not in study.domains:
            yield location, f"no domain {_unknown(domain, study.domains)}"
    objective = study.objective
    judged_by: list[tuple[tuple[str, ...], str]] = [
        (("objective", "weights", name), name) for name in objective.weights or {}
    ]
    judged_by += [(("objective", "metrics", str(place)), name) for place, name in enumerate(objective.metrics or [])]
    judged_by += [
        (("objective", "families", family, "metrics", str(place)), name)
        for family, members in (objective.families or {}).items()
        for place, name in enumerate(members.metrics)
    ]
    sets = dict.fromkeys(study.evaluation_sets)
    for place, name in judged_by:
        if name not in sets:
            yield place, f"no domain or evaluation set {_unknown(name, sets)}"
    if objective.kind == "pareto" and "acquisition" in study.search.model_fields_set:
        yield ("search", "acquisition"), "a pareto objective has its own acquisition, hypervolume; remove this one"
    if objective.kind == "no_worse" and study.search.acquisition in ("max_value_entropy", "knowledge_gradient"):
        message = f"{study.search.acquisition} keeps no constraints, as no_worse has; use log_ei"
        yield ("search", "acquisition"), message
    search = study.search
    for criterion in ("stop_at_objective", "stop_without_improvement", "stop_at_gain_width"):
        if objective.kind == "pareto" and getattr(search, criterion) is not None:
            yield ("search", criterion), "a pareto objective has no single best mixture; remove it"
    if search.stop_at_objective is not None and search.stop_at_objective <= 0 and objective.kind != "worst_case":
        message = f"{search.stop_at_objective:g} is not above 0, as a loss is; write the loss that is good enough"
        yield ("search", "stop_at_objective"), message
    baselines = {*study.baselines, "proportional"}
    target, last = list(study.proxies.items())[-1]
    at_most = last.trials + len(baselines)
    if search.stop_without_improvement is not None and search.stop_without_improvement >= at_most:
        message = f"{search.stop_without_improvement} never ends a search of {at_most} trials of {target}; "
        yield ("search", "stop_without_improvement"), message + "lower it or raise its trials"
    if objective.has_baseline and objective.baseline not in baselines:
        message = f"no baseline {shown_name(objective.baseline)}; choose {', '.join(sorted(baselines))}"
        yield ("objective", "baseline"), message
    if not any(proxy.trials for proxy in study.proxies.values()):
        yield ("proxies",), "no proxy has trials; set trials above 0 for at least one"
    least = math.fsum(domain.pin if domain.pin is not None else domain.min for domain in study.domains.values())
    most = math.fsum(domain.pin if domain.pin is not None else domain.max for domain in study.domains.values())
    if least > 1 + 1e-9:
        yield ("domains",), f"the minimums and pins sum to {least:g}, above 1; lower some of them"
    if most < 1 - 1e-9:
        yield ("domains",), f"the maximums and pins sum to {most:g}, below 1; raise some of them"


def _of_the_trainer(study: StudyFile) -> Iterator[tuple[tuple[str, ...], str]]:
    """What belongs to a study whose proxies mixopt trains, and what to one of another trainer."""
    kind = study.executor.kind
    if not study.executor.is_foreign:
        for section, sources in (("domains", study.domains), ("evaluation", study.evaluation)):
            for name, source in sources.items():
                if not source.paths:
                    yield (section, name, "paths"), "missing; add it"
        for name, proxy in study.proxies.items():
            if proxy.params is not None:
                message = (
                    "params is of a model that another trainer trains; write depth, or set executor.kind: external"
                )
                yield ("proxies", name, "params"), message
        if study.metrics is not None:
            yield ("metrics",), "these are of another trainer; write evaluation, or set executor.kind: external"
        return
    for name, domain in study.domains.items():
        if domain.tokens is None:
            yield ("domains", name, "tokens"), f"missing; executor.kind: {kind} reads no text, so say how much there is"
    for name, proxy in study.proxies.items():
        if proxy.params is None:
            yield ("proxies", name, "params"), "missing; say how large the model is that your trainer trains"
        for field in sorted(proxy.model_fields_set & SHAPE):
            message = f"{field} is of a model that mixopt trains; remove it, executor.kind: {kind} trains elsewhere"
            yield ("proxies", name, field), message
    for name, times in Counter(study.metrics or ()).items():
        if times > 1:
            yield ("metrics",), f"{shown_name(name)} is named twice; name each metric once"
    if study.evaluation:
        yield ("evaluation",), f"executor.kind: {kind} reads no text; name what your trainer measures in metrics"
    if study.target.repetition_matched:
        message = f"executor.kind: {kind} limits no text; let your trainer draw from less, and remove this"
        yield ("target", "repetition_matched"), message
    if study.search.stop_hopeless:
        yield ("search", "stop_hopeless"), f"executor.kind: {kind} tells nothing before a trial's end; remove it"
    if "corpus" in study.model_fields_set:
        yield ("corpus",), f"executor.kind: {kind} reads no text; remove this section"


def _unknown(name: str, known: Any) -> str:
    return f"{shown_name(name)}{_suggest(name, known)}"


def _suggest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    some = ", ".join(shown_name(each) for each in list(known)[:12])
    return f"; did you mean {shown_name(near[0])}?" if near else f"; choose from {some}"


def _explain(problem: Any, root: yaml.Node, path: Path) -> str:
    """One pydantic error as one line."""
    location = tuple(str(part) for part in problem["loc"] if part != "[key]")
    place = _place(location, root, path)
    match problem["type"]:
        case "extra_forbidden":
            parent = _fields_at(location[:-1])
            return f"{place}: unknown key{_suggest(location[-1], parent)}"
        case "missing":
            return f"{place}: missing; add it"
        case "value_error":
            return f"{place}: {problem['ctx']['error']}"
        case "string_type" if isinstance(problem["input"], int | float):
            return f'{place}: {shown(problem["input"])} is read as a number; put it in quotes: "{problem["input"]}"'
        case "string_pattern_mismatch":
            return f"{place}: {shown(problem['input'])} is not a name; use letters, digits, _ . and -"
        case "too_long" | "string_too_long":
            most = f"{problem['ctx']['max_length']:,}"
            return f"{place}: {shown(problem['input'])} is longer than {most}; shorten it"
        case "string_too_short":
            return f"{place}: {shown(problem['input'])} is empty; write something, or leave the setting out"
        case "too_short":
            return f"{place}: needs at least {problem['ctx']['min_length']}; add more"
        case "model_type" | "model_attributes_type" | "dict_type":
            fields = ", ".join(_fields_at(location)[:4])
            settings = f"its settings, {{key: value}} of {fields}, ..." if fields else "{name: ...}"
            return f"{place}: {shown(problem['input'])} does not fit here; write {settings}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            wanted = problem["msg"].replace("Input should be", "write a number")
            return f"{place}: {shown(problem['input'])} is out of range; {wanted}"
        case "int_type" | "int_from_float":
            return f"{place}: {shown(problem['input'])} does not fit here; write a whole number"
        case "literal_error":
            return f"{place}: {shown(problem['input'])} is unknown; choose {problem['ctx']['expected']}"
        case _:
            remedy = problem["msg"].replace("Input should be", "write").replace("a valid ", "a ")
            return f"{place}: {shown(problem['input'])} does not fit here; {remedy}"


def _fields_at(location: tuple[str, ...]) -> list[str]:
    """The keys that the schema allows at a place of the file."""
    section: Any = StudyFile
    for part in location:
        if isinstance(section, type) and issubclass(section, BaseModel) and part in section.model_fields:
            section = section.model_fields[part].annotation
        elif getattr(section, "__origin__", None) is dict:
            section = section.__args__[1]
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []


def _place(location: tuple[str, ...], root: yaml.Node, path: Path) -> str:
    """file:line: dotted.field, the line of the deepest part of the location that stands in the file."""
    node, line = root, root.start_mark.line
    for part in location:
        if isinstance(node, yaml.MappingNode):
            entry = next((pair for pair in node.value if str(pair[0].value) == part), None)
            if entry is None:
                break
            line, node = entry[0].start_mark.line, entry[1]
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line
        else:
            break
    dotted = ".".join(map(shown_name, location))
    return f"{path}:{line + 1}: {dotted}" if location else f"{path}:{line + 1}"
