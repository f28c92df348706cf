"""What no section of a study file can see alone: names that stand elsewhere in it, and contradictions."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from mixopt.base.shown import shown_name
from mixopt.settings.levels import Found, limits_of_levels, overlaps
from mixopt.settings.schema import SHAPE, StudyFile


def cross_checks(study: StudyFile) -> Iterator[Found]:
    """Every mistake, in the order of the file."""
    for check in (_names, overlaps, _trainer, _reuse, _objective, _search, _limits):
        yield from check(study)


def _names(study: StudyFile) -> Iterator[Found]:
    """Names that are taken, or that nothing has."""
    if study.study == "artifacts" or study.study.startswith("mlflow.db"):
        yield ("study",), f"{study.study} is what the MLflow store beside the studies is called; choose another"
    known = _domains_and_levels(study)
    for group, settings in study.groups.items():
        for domain in settings.domains:
            if domain not in known:
                yield ("groups", group, "domains"), f"no domain {_unknown(domain, known)}"
    for name in study.evaluation:
        if name in known:
            yield ("evaluation", name), f"{name} is also a domain; give the evaluation set another name"


def _trainer(study: StudyFile) -> Iterator[Found]:
    """What belongs to a study whose proxies mixopt trains, and what to one of another trainer."""
    yield from _foreign_trainer(study) if study.executor.is_foreign else _own_trainer(study)


def _own_trainer(study: StudyFile) -> Iterator[Found]:
    for section, sources in (("domains", study.domains), ("evaluation", study.evaluation)):
        for name, source in sources.items():
            if not source.paths:
                yield (section, name, "paths"), "missing; add it"
    for name, proxy in study.proxies.items():
        if proxy.params is not None:
            message = "params is of a model that another trainer trains; write depth, or set executor.kind: external"
            yield ("proxies", name, "params"), message
    if study.metrics is not None:
        yield ("metrics",), "these are of another trainer; write evaluation, or set executor.kind: external"


def _foreign_trainer(study: StudyFile) -> Iterator[Found]:
    kind = study.executor.kind
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
    if study.budget.time is not None and kind == "external":
        yield ("budget", "time"), "executor.kind: external trains while nobody counts the time; give budget.flops"
    if study.search.stop_hopeless:
        yield ("search", "stop_hopeless"), f"executor.kind: {kind} tells nothing before a trial's end; remove it"
    if "corpus" in study.model_fields_set:
        yield ("corpus",), f"executor.kind: {kind} reads no text; remove this section"


def _reuse(study: StudyFile) -> Iterator[Found]:
    """Domains that earlier runs became."""
    reuse = study.reuse
    named_now: list[Found] = [(("reuse", "renamed", old), new) for old, new in reuse.renamed.items()]
    named_now += [(("reuse", "split", old), part) for old, parts in reuse.split.items() for part in parts]
    named_now += [(("reuse", "keep", str(place)), name) for place, name in enumerate(reuse.keep)]
    for name in reuse.merged:
        if name not in study.domains:
            yield ("reuse", "merged", name), f"no domain {_unknown(name, study.domains)}"
    known = _domains_and_levels(study)
    for location, domain in named_now:
        if domain not in known:
            yield location, f"no domain {_unknown(domain, known)}"


def _objective(study: StudyFile) -> Iterator[Found]:
    """What the objective is made of, and its baseline."""
    objective = study.objective
    judged_by: list[Found] = [(("objective", "weights", name), name) for name in objective.weights or {}]
    judged_by += [(("objective", "metrics", str(place)), name) for place, name in enumerate(objective.metrics or [])]
    judged_by += [
        (("objective", "families", family, "metrics", str(place)), name)
        for family, members in (objective.families or {}).items()
        for place, name in enumerate(members.metrics)
    ]
    sets = dict.fromkeys((*study.evaluation_sets, *(level.name for level in study.levels)))
    for place, name in judged_by:
        if name not in sets:
            yield place, f"no domain or evaluation set {_unknown(name, sets)}"
    baselines = {*study.baselines, "proportional"}
    if objective.has_baseline and objective.baseline not in baselines:
        message = f"no baseline {shown_name(objective.baseline)}; choose {', '.join(sorted(baselines))}"
        yield ("objective", "baseline"), message


def _search(study: StudyFile) -> Iterator[Found]:
    """What the search asks by, and when it ends, given the objective and the trials."""
    objective, search = study.objective, study.search
    if objective.kind == "pareto" and "acquisition" in search.model_fields_set:
        yield ("search", "acquisition"), "a pareto objective has its own acquisition, hypervolume; remove this one"
    if objective.kind == "no_worse" and search.acquisition in ("max_value_entropy", "knowledge_gradient"):
        message = f"{search.acquisition} keeps no constraints, as no_worse has; use log_ei"
        yield ("search", "acquisition"), message
    for criterion in ("stop_at_objective", "stop_without_improvement", "stop_at_gain_width"):
        if objective.kind == "pareto" and getattr(search, criterion) is not None:
            yield ("search", criterion), "a pareto objective has no single best mixture; remove it"
    if search.stop_at_objective is not None and search.stop_at_objective <= 0 and objective.kind != "worst_case":
        message = f"{search.stop_at_objective:g} is not above 0, as a loss is; write the loss that is good enough"
        yield ("search", "stop_at_objective"), message
    target, last = list(study.proxies.items())[-1]
    at_most = last.trials + len({*study.baselines, "proportional"})
    if search.stop_without_improvement is not None and search.stop_without_improvement >= at_most:
        message = f"{search.stop_without_improvement} never ends a search of {at_most} trials of {target}; "
        yield ("search", "stop_without_improvement"), message + "lower it or raise its trials"
    if not any(proxy.trials for proxy in study.proxies.values()):
        yield ("proxies",), "no proxy has trials; set trials above 0 for at least one"


def _limits(study: StudyFile) -> Iterator[Found]:
    """Limits that leave no mixture."""
    least = math.fsum(domain.pin if domain.pin is not None else domain.min for domain in study.domains.values())
    most = math.fsum(domain.pin if domain.pin is not None else domain.max for domain in study.domains.values())
    if least > 1 + 1e-9:
        yield ("domains",), f"the minimums and pins sum to {least:g}, above 1; lower some of them"
    if most < 1 - 1e-9:
        yield ("domains",), f"the maximums and pins sum to {most:g}, below 1; raise some of them"
    yield from limits_of_levels(study)


def _domains_and_levels(study: StudyFile) -> list[str]:
    return [*study.domains, *(level.name for level in study.levels)]


def _unknown(name: str, known: Any) -> str:
    return f"{shown_name(name)}{suggest(name, known)}"


def suggest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    some = ", ".join(shown_name(each) for each in list(known)[:12])
    return f"; did you mean {shown_name(near[0])}?" if near else f"; choose from {some}"
