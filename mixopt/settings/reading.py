"""From the text of a study file to its settings; each mistake names its line and the remedy.

study.yaml --compose--> nodes with line numbers --construct--> plain data --validate--> StudyFile
"""

from __future__ import annotations

import difflib
import math
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ValidationError,
)

from mixopt.base.errors import ConfigError
from mixopt.base.files import text_in
from mixopt.settings.passwords import passwords_in
from mixopt.settings.schema import StudyFile

Schema = TypeVar("Schema", bound=BaseModel)
# Names in the folder in which each study has its own.
RESERVED = {"artifacts", "mlflow.db"}


def load(path: Path) -> StudyFile:
    """Read and check a study file.

    Raises:
        ConfigError: one line for each mistake, `file:line: field: what is wrong; what to do`.
    """
    return parse(text_of(path), path)


def text_of(path: Path) -> str:
    return text_in(path, "study file", "write one with: mixopt init")


def parse(text: str, path: Path) -> StudyFile:
    """As `load`, from text; `path` says where it stands, for messages and relative paths."""
    study, root = validate(text, path, StudyFile)
    problems = [f"{_place(location, root, path)}: {message}" for location, message in _cross_checks(study)]
    if problems:
        raise ConfigError("\n".join(problems))
    study._file, study._text = path, text
    return study


def validate(text: str, path: Path, schema: type[Schema]) -> tuple[Schema, yaml.Node]:
    """The file that the text is, each section right by itself, and its nodes with their lines.

    Raises:
        ConfigError: as `load`.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{path}: no settings in this file", hint="start from: mixopt init")
        _check_keys(root, path)
        _check_passwords(root, text, path)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(
            f"{place}: not YAML: {getattr(error, 'problem', None) or error}",
            hint="check indentation, colons and quotes",
        ) from error
    try:
        return schema.model_validate(data), root
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(problem, root, path) for problem in error.errors())) from error


def _check_passwords(root: yaml.Node, text: str, path: Path) -> None:
    found = [
        f"{path}:{line + 1}: {'.'.join(location) or 'this line'} holds a password in a URL, "
        f"which would be recorded; {remedy}"
        for location, line, remedy in passwords_in(root, text)
    ]
    if found:
        raise ConfigError("\n".join(found))


def _cross_checks(study: StudyFile) -> list[tuple[tuple[str, ...], str]]:
    """What no single section can see: names that must stand elsewhere in the file."""
    found: list[tuple[tuple[str, ...], str]] = []
    if study.study in RESERVED:
        found.append(
            (("study",), f"{study.study} is what the MLflow store beside the studies is called; choose another")
        )
    found += [
        (("groups", group, "domains"), f"no domain {domain}{_suggest(domain, study.domains)}")
        for group, settings in study.groups.items()
        for domain in settings.domains
        if domain not in study.domains
    ]
    found += [
        (("evaluation", name), f"{name} is also a domain; give the evaluation set another name")
        for name in study.evaluation
        if name in study.domains
    ]
    reuse = study.reuse
    named_now = [(("reuse", "renamed", old), new) for old, new in reuse.renamed.items()]
    named_now += [(("reuse", "split", old), part) for old, parts in reuse.split.items() for part in parts]
    named_now += [(("reuse", "keep", str(place)), name) for place, name in enumerate(reuse.keep)]
    found += [
        (place, f"no domain {domain}{_suggest(domain, study.domains)}")
        for place, domain in named_now
        if domain not in study.domains
    ]
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
    found += [
        (place, f"no domain or evaluation set {name}{_suggest(name, study.evaluation_sets)}")
        for place, name in judged_by
        if name not in study.evaluation_sets
    ]
    if objective.kind == "pareto" and "acquisition" in study.search.model_fields_set:
        found.append(
            (("search", "acquisition"), "a pareto objective has its own acquisition, hypervolume; remove this one")
        )
    if objective.kind == "no_worse" and study.search.acquisition in ("max_value_entropy", "knowledge_gradient"):
        found.append(
            (("search", "acquisition"), f"{study.search.acquisition} keeps no constraints, as no_worse has; use log_ei")
        )
    search = study.search
    criteria = ("stop_at_objective", "stop_without_improvement", "stop_at_gain_width")
    found += [
        (("search", criterion), "a pareto objective has no single best mixture; remove it")
        for criterion in criteria
        if objective.kind == "pareto" and getattr(search, criterion) is not None
    ]
    if search.stop_at_objective is not None and search.stop_at_objective <= 0 and objective.kind != "worst_case":
        found.append(
            (
                ("search", "stop_at_objective"),
                f"{search.stop_at_objective:g} is not above 0, as a loss is; write the loss that is good enough",
            )
        )
    baselines = {*study.baselines, "proportional"}
    target, last = list(study.proxies.items())[-1]
    at_most = last.trials + len(baselines)
    if search.stop_without_improvement is not None and search.stop_without_improvement >= at_most:
        found.append(
            (
                ("search", "stop_without_improvement"),
                f"{search.stop_without_improvement} never ends a search of {at_most} trials of {target}; "
                "lower it or raise its trials",
            )
        )
    if objective.has_baseline and objective.baseline not in baselines:
        found.append(
            (("objective", "baseline"), f"no baseline {objective.baseline}; choose {', '.join(sorted(baselines))}")
        )
    if not any(proxy.trials for proxy in study.proxies.values()):
        found.append((("proxies",), "no proxy has trials; set trials above 0 for at least one"))
    least = math.fsum(domain.pin if domain.pin is not None else domain.min for domain in study.domains.values())
    most = math.fsum(domain.pin if domain.pin is not None else domain.max for domain in study.domains.values())
    if least > 1 + 1e-9:
        found.append((("domains",), f"the minimums and pins sum to {least:g}, above 1; lower some of them"))
    if most < 1 - 1e-9:
        found.append((("domains",), f"the maximums and pins sum to {most:g}, below 1; raise some of them"))
    return found


def _suggest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; choose from {', '.join(list(known)[:12])}"


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
        case "string_pattern_mismatch":
            return f"{place}: {problem['input']!r} is not a name; use letters, digits, _ . and -"
        case "too_short":
            return f"{place}: needs at least {problem['ctx']['min_length']}; add more"
        case "model_type" | "model_attributes_type" | "dict_type":
            fields = ", ".join(_fields_at(location)[:4])
            settings = f"its settings, {{key: value}} of {fields}, ..." if fields else "{name: ...}"
            return f"{place}: {problem['input']!r} does not fit here; write {settings}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            wanted = problem["msg"].replace("Input should be", "write a number")
            return f"{place}: {problem['input']!r} is out of range; {wanted}"
        case "int_type" | "int_from_float":
            return f"{place}: {problem['input']!r} does not fit here; write a whole number"
        case "literal_error":
            return f"{place}: {problem['input']!r} is unknown; choose {problem['ctx']['expected']}"
        case _:
            remedy = problem["msg"].replace("Input should be", "write").replace("a valid ", "a ")
            return f"{place}: {problem['input']!r} does not fit here; {remedy}"


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
    return f"{path}:{line + 1}: {'.'.join(location)}" if location else f"{path}:{line + 1}"


def _check_keys(node: yaml.Node, path: Path, inside: frozenset[int] = frozenset()) -> None:
    """Three things that YAML readers accept without a word: a key that stands twice, `no:` read as false, and a
    list that holds itself; `inside` are the nodes that this one stands in."""
    if id(node) in inside:
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: an anchor refers to itself", hint="write it out")
    inside |= {id(node)}
    if isinstance(node, yaml.MappingNode):
        first_line: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if key.tag != "tag:yaml.org,2002:str":
                raise ConfigError(
                    f"{path}:{line}: YAML reads the key {name} as {key.tag.rpartition(':')[2]}, not text",
                    hint=f'put it in quotes: "{name}"',
                )
            if name in first_line:
                raise ConfigError(
                    f"{path}:{line}: {name} stands here a second time (first: line {first_line[name]})",
                    hint="keep one of the two",
                )
            first_line[name] = line
            _check_keys(value, path, inside)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, path, inside)
