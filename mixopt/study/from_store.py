"""What other studies of the same MLflow experiment measured on the pools of this one (`reuse: {store: true}`).

Pools are matched by their text and never by their names: by the digest of their tokens, or else by the share of
documents that is the same (proxies/data/portrait.py). Of a study some of whose pools are this one's, runs count that
gave the others next to nothing; search/reuse.py reads them as runs over the domains of now.

    losses are comparable as they are    where the proxy is trained by the same recipe, and measured on the same
                                         documents, by the same tokenizer or in bits per byte; and neither study
                                         matches repetition
    else                                 its runs are those of a fidelity of its own, tied to the others by a line

What was taken is recorded when the study begins, and used from then on: studies that run later change nothing.

Shapes: N runs, D domains, M metrics.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixopt.results.inventory import Inventory
from mixopt.results.reused import MatchedPool, OtherStudy, Reused
from mixopt.runs import table as run_table
from mixopt.runs.known_runs import KnownRuns
from mixopt.runs.tables.sheet import some
from mixopt.runs.taken import Taken
from mixopt.settings.schema import StudyFile
from mixopt.study.corpus import relative_to_study
from mixopt.study.inventory import measured_inventory
from mixopt.study.plan import Plan
from mixopt.study.planning import make_plan
from mixopt.study.portraits import Pictured, Portraits
from mixopt.study.record import fetch_record, journal_path, open_store
from proxies.data.corpus import Corpus
from search.errors import SearchError
from search.fidelity import Fidelity
from search.history import Completed
from search.reuse import REMOVED_SHARE, reuse
from search.runs import Runs
from tracking import journal, keys
from tracking.address import may_exist
from tracking.errors import TrackingError
from tracking.record import Record

if TYPE_CHECKING:
    from tracking.mlflow_store import Store, StudyRun

# Pools of which so much is the same count as one: one that grew by a ninth, or lost a tenth.
ALIKE = 0.9
# Documents that two pools share, of which it is said where they are too few.
SHOWN = 0.1
NAMED = 3  # pools, of those that are no pools of this study
# Why single runs do not count.
GIVEN, REPEATED = "counted from reuse.runs already", "the same as one that counts already"
UNMEASURED = "measured nothing that this study is judged by"
# Parts of a recipe that change its losses by roundings alone.
ROUNDING = ("device", "compiled")


def planned(
    file: StudyFile,
    corpus: Corpus | None,
    store: Store | None = None,
    remark: Callable[[str], None] = lambda text: None,
) -> Plan:
    """The study's plan, with what it takes from others where it is to: as recorded, or else as it would be taken now.

    Args:
        store: where it is open already.
        remark: told what is read.

    Raises:
        ConfigError, SearchError, ProxyError: as `make_plan`.
        TrackingError: nothing was taken yet, and the store does not answer.
    """
    plan = make_plan(file, corpus)
    if not file.reuse.store:
        return plan
    path = journal_path(file)
    record = journal.read_record(path) if path.exists() else fetch_record(file)
    written = None if record is None else record.written.get(keys.REUSED)
    if written is not None:
        return make_plan(file, corpus, Taken.read(written))
    return make_plan(file, corpus, take(plan, store, remark))


def take(plan: Plan, store: Store | None = None, remark: Callable[[str], None] = lambda text: None) -> Taken:
    """What counts of the experiment's other studies, as the store has them now, by their names.

    Raises:
        TrackingError: the store does not answer.
    """
    file, corpus = plan.file, plan.corpus
    assert corpus is not None, "checked with the file: another trainer's text is not known"
    if store is None and not may_exist(file.tracking_uri):
        return Taken(None, Reused(runs=0, studies=()))
    others = [run for run in (store or open_store(file)).studies() if run.study != file.study]
    here, found, given = Portraits.of(corpus), list[OtherStudy](), _given(plan)
    runs: Runs | None = None
    known = set[object]()
    for place, run in enumerate(others, start=1):
        remark(f"reading study {run.study} of the store, {place} of {len(others)}")
        told, counted = _from_study(run, plan, here, given)
        if counted is not None:
            told, counted = _once(told, counted, known)
        found.append(told)
        if counted is not None:
            runs = counted if runs is None else runs.before(counted)
    return Taken(runs, Reused(runs=0 if runs is None else len(runs), studies=tuple(found)))


def _once(told: OtherStudy, counted: Runs, known: set[object]) -> tuple[OtherStudy, Runs | None]:
    """Without the runs that repeat a known one in everything, as where two studies trained the same baseline alike."""
    fresh = []
    for run in range(len(counted)):
        proxy = counted.fidelities[counted.fidelity_N[run]].proxy
        content = proxy, counted.weights_ND[run].tobytes(), counted.values_NM[run].tobytes()
        fresh.append(content not in known)
        known.add(content)
    left = _without(told, {REPEATED: len(fresh) - sum(fresh)})
    return left, counted.select(np.array(fresh)) if any(fresh) else None


def _without(told: OtherStudy, left_out: Mapping[str, int]) -> OtherStudy:
    """The study with runs left out as well, by the reason; where none is left, that is why nothing is taken."""
    whole = {**told.left_out, **{why: count for why, count in left_out.items() if count}}
    runs = told.of - sum(whole.values())
    none = "; ".join(f"{'each run' if count == told.of else f'{count} runs'} {why}" for why, count in whole.items())
    return told.model_copy(update={"runs": runs, "left_out": whole, "why_not": None if runs else none})


@dataclass(frozen=True)
class _Other:
    """Another study, as far as it is recorded."""

    record: Record
    inventory: Inventory
    portraits: Portraits | None


def _given(plan: Plan) -> KnownRuns | None:
    """The runs that count already, from a table that the study names: it says what became of their pools."""
    file, earlier = plan.file, plan.problem.earlier
    if file.reuse.runs is None or earlier is None:
        return None
    table, _ = run_table.read_all(Path(relative_to_study(file.file, file.reuse.runs)))
    return KnownRuns.of(table.select(np.isin(table.names, earlier.names)))


def _from_study(run: StudyRun, plan: Plan, here: Portraits, given: KnownRuns | None) -> tuple[OtherStudy, Runs | None]:
    """What counts of one study, and its runs over this study's domains."""
    nothing = OtherStudy(study=run.study, mlflow_run=run.run_id, runs=0, of=0)
    try:
        record = run.record()
        portraits = Portraits.shown_by(run)
    except TrackingError as error:
        run.current_tags()  # where the store is away, that is no property of the study
        return nothing.model_copy(update={"why_not": error.message}), None
    inventory = None if record is None else measured_inventory(record)
    if record is None or inventory is None or record.subject.settings is None:
        return nothing.model_copy(update={"why_not": "nothing is recorded of its pools"}), None
    searched = [entry for entry in record.history.completed if not entry.measurement.documents]
    other = _Other(record, inventory, portraits)
    pools = _matched(here, other)
    known = {each.was: each.pool for each in pools}
    unknown = tuple(name for name in inventory.domains if name not in known)
    told = nothing.model_copy(
        update={
            "of": len(searched),
            "pools": pools,
            "unknown": unknown,
        }
    )
    if not pools:
        return told.model_copy(update={"why_not": _of_other_text(here, other)}), None
    if not searched:
        return told.model_copy(update={"why_not": "it has measured nothing yet"}), None
    metrics = _metrics(plan, here, other, known)
    fidelities = {
        entry.trial.fidelity: _same_fidelity(entry.trial.fidelity, plan, here, other, metrics) for entry in searched
    }
    reasons = {each.proxy: same for each, same in fidelities.items() if isinstance(same, str)}
    told = told.model_copy(
        update={
            "metrics": tuple(metrics),
            "tied": tuple(reasons),
            "why_tied": ", ".join(dict.fromkeys(reasons.values())) or None,
        }
    )
    if not metrics:
        return _without(told, {UNMEASURED: len(searched)}), None
    fresh = [entry for entry in searched if given is None or not given.hold(*_content(entry))]
    on_known = [entry for entry in fresh if _share_of(entry, unknown) <= REMOVED_SHARE]
    left_out = {
        GIVEN: len(searched) - len(fresh),
        f"gave more than {REMOVED_SHARE:.0%} to {some(unknown, NAMED)}": len(fresh) - len(on_known),
    }
    if not on_known:
        return _without(told, left_out), None
    names = {name: known.get(name, f"{run.study}/{name}") for name in inventory.domains}
    table = _table(on_known, names, metrics, fidelities, plan, run.study)
    try:
        objective = plan.problem.objective
        counted, _ = reuse(table, plan.problem.space, objective.metrics, [rung.fidelity for rung in plan.problem.rungs])
    except SearchError as error:
        return told.model_copy(update={"why_not": error.message}), None
    return _without(told, {**left_out, UNMEASURED: len(on_known) - len(counted)}), counted


def _content(entry: Completed) -> tuple[list[float], list[float]]:
    """What a run is known by: its shares, and its losses in either unit."""
    losses = [each for loss in entry.measurement.losses.values() for each in (loss.nats_per_token, loss.bits_per_byte)]
    return [*entry.trial.mixture.as_dict().values()], losses


def _share_of(entry: Completed, pools: Collection[str]) -> float:
    """What a run gave to these pools together."""
    return math.fsum(share for name, share in entry.trial.mixture.as_dict().items() if name in pools)


def _of_other_text(here: Portraits, other: _Other) -> str:
    """That no pool is known, and how far the nearest is from it."""
    theirs = {} if other.portraits is None else other.portraits.pools
    alike, was, pool = max(
        (
            (mine.portrait.resemblance(each.portrait), was, pool)
            for was, each in theirs.items()
            for pool, mine in here.pools.items()
        ),
        default=(0.0, "", ""),
    )
    nearest = f"; {was} is {alike:.0%} as {pool}" if alike >= SHOWN else ""
    return f"none of its pools is one of this study's{nearest}"


def _matched(here: Portraits, other: _Other) -> tuple[MatchedPool, ...]:
    """Pools of both studies that are one, each once, in the order of this study's: those of the same tokens, the same
    name first, and of the others the most alike first."""
    theirs = other.inventory.domains
    chosen: dict[str, MatchedPool] = {}
    for pool, mine in here.pools.items():
        taken = {each.was for each in chosen.values()}
        same = [was for was, each in theirs.items() if each.content == mine.tokens and was not in taken]
        if same:
            was = pool if pool in same else same[0]
            chosen[pool] = MatchedPool(pool=pool, was=was, by="tokens", alike=1.0)
    taken = {each.was for each in chosen.values()}
    pictured = {} if other.portraits is None else other.portraits.pools
    left = {was: pictured[was].portrait for was in theirs if was not in taken and was in pictured}
    found = [
        MatchedPool(pool=pool, was=was, by="documents", alike=alike)
        for pool, mine in here.pools.items()
        if pool not in chosen
        for was, portrait in left.items()
        if (alike := mine.portrait.resemblance(portrait)) >= ALIKE
    ]
    for each in sorted(found, key=lambda pair: (-pair.alike, pair.pool != pair.was)):
        if each.pool not in chosen and each.was not in taken:
            chosen[each.pool] = each
            taken.add(each.was)
    return tuple(chosen[pool] for pool in here.pools if pool in chosen)


def _metrics(plan: Plan, here: Portraits, other: _Other, known: Mapping[str, str]) -> dict[str, str]:
    """By the objective's metrics that the other study measured too, their names there.

    A pool's own evaluation set goes with the pool; a further one is known by its documents.
    """
    was = {pool: name for name, pool in known.items()}
    found: dict[str, str] = {}
    theirs = {} if other.portraits is None else other.portraits.evaluation
    for metric in plan.problem.objective.metrics:
        if metric in was:
            found[metric] = was[metric]
        elif metric in here.evaluation:
            mine = here.evaluation[metric]
            alike = {name: mine.portrait.resemblance(each.portrait) for name, each in theirs.items()}
            best = max(alike, key=lambda name: (alike[name], name == metric), default=None)
            if best is not None and alike[best] >= ALIKE:
                found[metric] = best
    return found


def _same_fidelity(
    fidelity: Fidelity, plan: Plan, here: Portraits, other: _Other, metrics: Mapping[str, str]
) -> Fidelity | str:
    """The fidelity of this study whose losses are comparable with another one's as they are; or why none is."""
    unit, portraits = plan.problem.objective.unit, other.portraits
    settings = other.record.subject.settings
    assert settings is not None, "looked at before"
    if portraits is None:
        return "nothing is known of its held-out documents"
    if unit == "nats_per_token" and portraits.tokenizer != here.tokenizer:
        return "another tokenizer"
    ours, theirs = here.sets, portraits.sets
    if any(_held_out(ours, name) != _held_out(theirs, was) for name, was in metrics.items()):
        return "measured on other documents"
    asked = json.loads(json.dumps(plan.deciding()))
    if any(each.get("target", {}).get("repetition_matched") for each in (asked, settings)):
        return "repetition is matched"  # how much of a pool its proxies may use follows from more than the pool
    recipe = _recipe(settings, fidelity.proxy)
    for rung in plan.problem.rungs:
        same = rung.fidelity
        if recipe and recipe == _recipe(asked, same.proxy) and same.tokens == fidelity.tokens:
            return same
    return "another proxy"


def _held_out(pictured: Mapping[str, Pictured], name: str) -> str | None:
    return pictured[name].held_out if name in pictured else None


def _recipe(settings: Mapping[str, Any], proxy: str) -> dict[str, Any]:
    """What of a recipe decides its losses; empty where there is none."""
    return {key: value for key, value in settings.get("recipes", {}).get(proxy, {}).items() if key not in ROUNDING}


def _table(
    searched: list[Completed],
    names: Mapping[str, str],
    metrics: Mapping[str, str],
    fidelities: Mapping[Fidelity, Fidelity | str],
    plan: Plan,
    study: str,
) -> Runs:
    """The other study's runs, its domains and metrics by the names that they have here."""
    unit = plan.problem.objective.unit
    called = {
        each: replace(each, proxy=f"{study}/{each.proxy}") if isinstance(same, str) else same
        for each, same in fidelities.items()
    }
    rising = sorted(dict.fromkeys(called.values()), key=lambda each: (each.flops, each.proxy))
    values_NM = np.full((len(searched), len(metrics)), np.nan)
    for row_M, entry in zip(values_NM, searched, strict=True):
        losses = entry.measurement.losses
        row_M[:] = [getattr(losses[was], unit) if was in losses else np.nan for was in metrics.values()]
    weights = [entry.trial.mixture.as_dict() for entry in searched]
    return Runs(
        names=tuple(f"{study}/{entry.trial.id}" for entry in searched),
        domains=tuple(names.values()),
        metrics=tuple(metrics),
        fidelities=tuple(rising),
        weights_ND=np.array([[row.get(name, 0.0) for name in names] for row in weights]),
        fidelity_N=np.array([rising.index(called[entry.trial.fidelity]) for entry in searched], dtype=np.int64),
        values_NM=values_NM,
    )
