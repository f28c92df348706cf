"""What each column of a table is, and why: what somebody said, or else a guess from names and numbers.

    sheet --roles--> name, scale, end of a run --weights--> columns that are one mixture --metrics--> what was measured

Columns weight.<domain> and metric.<name> mean what they say. Elsewhere a guess has to be sure of itself: where two
groups of columns may be the mixture, or nothing tells what was measured, it is a question, with the option that answers
it.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown_name
from mixopt.runs.tables.metrics_again import said_once
from mixopt.runs.tables.mixture_columns import Group, mixture_columns
from mixopt.runs.tables.reading import Columns, Reading, Role, chosen
from mixopt.runs.tables.roles import Known, roles_of
from mixopt.runs.tables.sheet import Sheet, some
from mixopt.runs.tables.words import (
    BARE_LOSS_WORDS,
    COUNT_WORDS,
    EVALUATION_WORDS,
    LANGUAGES,
    METRIC,
    MIXTURE_WORDS,
    SETTING_WORDS,
    TRAINING_WORDS,
    called,
    is_setting,
    kind_of,
    without_origin,
    words_of,
)

WEIGHT = "weight."
# A column that is called like a metric is one if so many of its cells are numbers; what the others are is a mistake.
MOSTLY = 0.5


@dataclass(frozen=True)
class Column:
    """What a column is taken for.

    Attributes:
        name: in the table.
        part: weight, metric, a role, or nothing.
        called: the domain or the metric.
        why: for a reader.
    """

    name: str
    part: str
    called: str
    why: str


@dataclass(frozen=True)
class Layout:
    """What the columns of a table are.

    Attributes:
        roles: the column of each role that one has.
        weights, metrics: the column of each domain, and of each metric.
        columns: all of them, with the reasons.
        questions: what nobody could tell, as errors with the remedy.
        plain: whether the table itself says what is what: weight.<domain> and metric.<name>.
        notes: a sentence for each guess.
    """

    roles: Mapping[Role, Known]
    weights: Mapping[str, str]
    metrics: Mapping[str, str]
    columns: tuple[Column, ...]
    questions: tuple[ConfigError, ...]
    plain: bool
    notes: tuple[str, ...]


def layout_of(sheet: Sheet, said: Reading) -> Layout:
    """What the columns are, told from rows that count.

    Raises:
        ConfigError: what somebody said does not fit the table.
    """
    roles = dict(roles_of(sheet, said))
    questions: list[ConfigError] = []
    weights = _weights(sheet, said, roles, questions)
    for role in [role for role, known in roles.items() if known.column in weights.columns.values()]:
        del roles[role]
    taken = {*weights.columns.values(), *(known.column for known in roles.values())}
    measured = _metrics(sheet, said, taken, questions, "state" in roles or "step" in roles)
    for role in [role for role, known in roles.items() if known.column in measured.columns.values()]:
        del roles[role]
    if questions:
        # What is no number because nobody knows how to read it is what was missed.
        questions[:0] = [error for name in sheet.columns if (error := sheet.contradiction(name)) is not None]
    parts = {name: Column(name, "weight", domain, weights.why) for domain, name in weights.columns.items()}
    parts |= {name: Column(name, "metric", metric, measured.reasons[name]) for metric, name in measured.columns.items()}
    for role, known in roles.items():
        parts.setdefault(known.column, Column(known.column, role, "", known.why))
    columns = tuple(
        parts.get(name) or Column(name, "nothing", "", measured.reasons.get(name, _why_not(sheet, name)))
        for name in sheet.columns
    )
    plain = all(name.startswith(WEIGHT) for name in weights.columns.values()) and all(
        name.startswith(METRIC) for name in measured.columns.values()
    )
    notes = [] if plain or questions else _notes(weights, measured, roles)
    return Layout(roles, weights.columns, measured.columns, columns, tuple(questions), plain, tuple(notes))


@dataclass(frozen=True)
class _Weights:
    columns: Mapping[str, str]
    why: str
    pattern: str = ""


@dataclass(frozen=True)
class _Measured:
    columns: Mapping[str, str]
    # Also of columns that are no metrics.
    reasons: Mapping[str, str]
    # Numbers that may be metrics, and are not taken for such.
    maybe: tuple[str, ...] = ()
    # Sentences: which say again what others say.
    told: tuple[str, ...] = ()


def _weights(sheet: Sheet, said: Reading, roles: Mapping[Role, Known], questions: list[ConfigError]) -> _Weights:
    names = list(sheet.columns)
    listed = some(map(shown_name, filter(None, names)))
    if said.weights:
        return _Weights(chosen(said.weights, names, "--weights", str(sheet.source)), "said so")
    if plain := [name for name in names if name.startswith(WEIGHT)]:
        if WEIGHT in plain:
            raise ConfigError(f"{sheet.source}: column {WEIGHT} lacks the name after the point", hint="add it")
        return _Weights({name.removeprefix(WEIGHT): name for name in plain}, f"called {WEIGHT}<domain>")
    # A size that rows have in common is no part of a mixture, whatever it sums to.
    taken = {known.column for role, known in roles.items() if role not in ("tokens", "cost")}
    found = mixture_columns(sheet, taken)
    if len(found) == 1 and found[0].sure:
        return _Weights(found[0].columns, found[0].why, found[0].pattern)
    if found:
        questions.append(
            ConfigError(
                f"{sheet.source}: the mixture may be {' or '.join(shown_name(each.pattern) for each in found[:3])}",
                hint=f"say which: --weights {_quoted(found[0])}",
            )
        )
    else:
        questions.append(
            ConfigError(
                f"{sheet.source}: no column {WEIGHT}<name> among {listed}, and none that look like shares",
                hint="say which columns are the mixture: --weights 'mix/*'; or --join a table that has them",
            )
        )
    return _Weights({}, "")


def _quoted(group: Group) -> str:
    if "*" in group.pattern:
        return f"'{group.pattern}'"
    return " --weights ".join(shown_name(name) for name in group.columns.values())


def _metrics(
    sheet: Sheet, said: Reading, taken: Collection[str], questions: list[ConfigError], of_tracker: bool
) -> _Measured:
    """
    Args:
        taken: columns that are something else, and no metrics but by their whole names.
        questions: added to, where nobody can tell.
        of_tracker: whether a tracker wrote the table.
    """
    names = [name for name in sheet.columns if name not in taken]
    if said.metrics:
        return _as_said(sheet, said.metrics, names)
    if plain := [name for name in names if name.startswith(METRIC)]:
        if METRIC in plain:
            raise ConfigError(f"{sheet.source}: column {METRIC} lacks the name after the point", hint="add it")
        why = f"called {METRIC}<name>"
        return _Measured({name.removeprefix(METRIC): name for name in plain}, dict.fromkeys(plain, why))
    return _guessed(sheet, names, questions, of_tracker)


def _as_said(sheet: Sheet, said: Columns, names: Sequence[str]) -> _Measured:
    candidates = [name for name in sheet.columns if name in names or isinstance(said, Mapping) or name in said]
    columns = chosen(said, candidates, "--metrics", str(sheet.source))
    # Who names each metric means the names; a pattern may fit pictures and tables as well.
    if not isinstance(said, Mapping):
        numbers = {short: name for short, name in columns.items() if sheet.share_of_numbers(name) > 0}
        columns = _with_kinds(numbers or columns)
    return _Measured(columns, dict.fromkeys(columns.values(), "said so"))


def _guessed(sheet: Sheet, names: Sequence[str], questions: list[ConfigError], of_tracker: bool) -> _Measured:
    """What was measured, by the names of columns and what stands in them."""
    tiers = {name: _tier(sheet, name) for name in names}
    reasons = {name: why for name, (_, why) in tiers.items() if why}

    def of(*wanted: str) -> list[str]:
        return [name for name in names if tiers[name][0] in wanted]

    clear, bare, training = of("evaluation", "score", "loss"), of("bare loss"), of("training")
    found, doubted = set(clear), list[str]()
    if of("evaluation"):
        # Beside what names an evaluation, a loss without one is that of training.
        reasons |= dict.fromkeys(bare, "a loss, perhaps that of training: --metrics takes it")
        doubted = bare
    elif clear and bare and of_tracker and not training:
        hint = f"say what counts: --metrics {' --metrics '.join(map(shown_name, [*clear, *bare]))}, or without it"
        questions.append(
            ConfigError(f"{sheet.source}: {shown_name(bare[0])} may be a loss of training or of evaluation", hint)
        )
    elif clear:
        # A table that somebody made has what was measured; that of training would be named so.
        found.update(bare)
    elif len(bare) == 1:
        found.update(bare)
        reasons[bare[0]] = "the only loss"
    near = [name for name in of("maybe") if clear and _beside(name, found)]
    found.update(near)
    reasons |= dict.fromkeys(of("maybe"), "a number of which nothing is known: --metrics takes it")
    reasons |= dict.fromkeys(near, "beside other metrics")
    metrics = [name for name in names if name in found and not _is_extreme(name, found, reasons)]
    metrics, told = said_once(sheet, metrics, reasons)
    maybe = [name for name in of("maybe") if name not in found]
    if not metrics:
        questions.append(_no_metric(sheet, bare or training or maybe))
    # What is called like a count stands among metrics where it may be one: eval/id, a language.
    counts = [name for name in of("count") if _beside(name, found)]
    return _Measured(_called(metrics), reasons, (*doubted, *maybe, *counts, *training), tuple(told))


def _no_metric(sheet: Sheet, candidates: Sequence[str]) -> ConfigError:
    """The question what was measured, where no column surely was."""
    if len(candidates) > 1:
        question = f"several columns may be what was measured: {some(map(shown_name, candidates), 4)}"
    elif candidates:
        question = f"only {shown_name(candidates[0])} may be what was measured"
    else:
        listed = some(map(shown_name, filter(None, sheet.columns)))
        question = f"no column {METRIC}<name> among {listed}, and none that look measured"
    asked = shown_name(candidates[0]) if candidates else "'eval/*'"
    return ConfigError(f"{sheet.source}: {question}", hint=f"say which: --metrics {asked} (repeatable)")


def metric_column(sheet: Sheet, metric: str) -> str:
    """The column of a metric whose name is known; of several that may be, the only one that is no setting, no share
    and not of training.

    Raises:
        ConfigError: none is of this metric, or several may be.
    """
    found = called(metric, sheet.columns)
    if not found:
        raise ConfigError(
            f"{sheet.source}: no column of metric {shown_name(metric)}", hint=f"call one {metric}, or PREFIX/{metric}"
        )
    if len(found) > 1:
        measured = [name for name in found if _tier(sheet, name)[0] not in ("none", "count", "training")]
        found = [name for name in measured if not _is_extreme(name, measured, {})] or found
    if len(found) > 1:
        raise ConfigError(
            f"{sheet.source}: {shown_name(found[0])} and {shown_name(found[1])} may both be metric "
            f"{shown_name(metric)}",
            hint=f"leave one of them, or call it {metric}",
        )
    return found[0]


def _tier(sheet: Sheet, name: str) -> tuple[str, str]:
    """How likely a column is what was measured, and why it is or is not."""
    numbers, plain = sheet.if_numbers(name), without_origin(name)
    if numbers is None and sheet.share_of_numbers(name) < MOSTLY:
        empty = not any(sheet.texts(name))
        return "none", "empty" if empty else "no numbers"
    if is_setting(name):
        return "none", "a setting"
    if plain.startswith("_") or not plain:
        return "none", "of the tracker"
    words, kind = set(words_of(plain)), kind_of(plain)
    if words & EVALUATION_WORDS:
        words -= LANGUAGES
    if "stderr" in plain.lower().replace("_", ""):
        return "none", "a standard error"
    if words & SETTING_WORDS:
        return "none", "a setting or a count, by its name"
    if words & TRAINING_WORDS:
        return ("training" if kind != "unknown" else "none"), "of training: --metrics takes it"
    if kind == "unknown" and words & (COUNT_WORDS | MIXTURE_WORDS):
        return "count", "a setting or a count, by its name"
    if words & EVALUATION_WORDS:
        return "evaluation", "an evaluation, by its name"
    if kind == "score":
        return "score", "a score, by its name"
    if kind == "loss":
        return ("loss", "a loss, by its name") if words - BARE_LOSS_WORDS else ("bare loss", "a loss")
    # What never changes tells nothing.
    if numbers is None:
        return "none", "no numbers"
    return ("maybe", "") if np.nanmax(numbers) > np.nanmin(numbers) else ("none", "the same in every run")


def _beside(name: str, found: Collection[str]) -> bool:
    """Whether a column stands in the folder of one that is a metric."""
    folder = _folder(name)
    return bool(folder) and any(_folder(other) == folder for other in found)


def _folder(name: str) -> str:
    """What stands before the last slash or point, but for where trackers put what was measured."""
    plain = without_origin(name)
    return plain[: max(plain.rfind("/"), plain.rfind("."), 0)]


def _is_extreme(name: str, found: Collection[str], reasons: dict[str, str]) -> bool:
    """Whether a column is the best of a run's values, whose last is there as well."""
    plain = without_origin(name)
    for end in (".min", ".max", ".best", ".mean", "__MIN", "__MAX", "_min", "_max", "_best"):
        if plain.endswith(end) and name[: len(name) - len(end)] in found:
            reasons[name] = "the extreme of a run whose last value is there too"
            return True
    start = name[: len(name) - len(plain)]
    parts = plain.rsplit("/", 1)
    if parts[-1].startswith("best_") and start + "/".join([*parts[:-1], parts[-1].removeprefix("best_")]) in found:
        reasons[name] = "the best of a run whose last value is there too"
        return True
    return False


def _called(names: Sequence[str]) -> dict[str, str]:
    """The columns by what to call the metrics: without their origin, and without a folder that all are in."""
    plain = {name: without_origin(name) for name in names}
    folders = {_folder(name) for name in names}
    if len(folders) == 1 and (folder := folders.pop()):
        plain = {name: each[len(folder) + 1 :] for name, each in plain.items()}
    if len(set(plain.values())) < len(names) or not all(plain.values()):
        return _with_kinds({name: name for name in names})
    return _with_kinds({short: name for name, short in plain.items()})


def _with_kinds(columns: Mapping[str, str]) -> dict[str, str]:
    """With the whole name where only that says a loss or a score: val_loss/web is a loss, web may be anything."""
    found = {}
    for short, name in columns.items():
        plain = without_origin(name)
        found[plain if kind_of(short) == "unknown" != kind_of(plain) else short] = name
    return found if len(found) == len(columns) else dict(columns)


def _why_not(sheet: Sheet, name: str) -> str:
    if not any(sheet.texts(name)):
        return "empty"
    return "a setting" if is_setting(name) else "not needed"


def _notes(weights: _Weights, measured: _Measured, roles: Mapping[Role, Known]) -> list[str]:
    notes = []
    if weights.why and not all(name.startswith(WEIGHT) for name in weights.columns.values()):
        named = weights.pattern if "*" in weights.pattern else some(weights.columns.values(), 4)
        notes.append(f"the mixture is {named}, {len(weights.columns)} domains: {weights.why}")
    if not all(name.startswith(METRIC) for name in measured.columns.values()):
        reasons = dict.fromkeys(measured.reasons[name] for name in measured.columns.values())
        notes.append(f"metrics are {some(measured.columns.values(), 6)}: {some(reasons, 3)}")
    notes += measured.told
    if measured.maybe and measured.columns:
        notes.append(f"numbers that may be metrics, and are not used: {some(measured.maybe, 6)} (--metrics takes them)")
    if told := [f"{role} {known.column}" for role, known in roles.items() if known.column != role]:
        notes.append(f"of each run, by the names of columns: {', '.join(told)}")
    return notes
