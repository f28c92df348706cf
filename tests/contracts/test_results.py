"""What every result of a command keeps, whatever it says: it is picked up here once `mixopt schema` knows it."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import jsonschema
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue, ValidationError

from mixopt.base.errors import ConfigError
from mixopt.cli.schemas import NAMES, RESULTS, json_schema, result
from mixopt.results.answer import Answer

# What 0.1.0 printed with --json and wrote into journals, for a study of two small proxies and for tables of 14 runs.
RECORDED = Path(__file__).parents[1] / "data" / "recorded-0.1.0"
PRINTED = sorted(RECORDED.glob("*.json"))

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(max_size=3)
PLAIN = st.none() | st.booleans() | st.integers() | FLOATS | TEXT


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that stands in a result."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is JsonValue:
        return st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(values, arguments))
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, arguments))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=2)
    if issubclass(kind, BaseModel):
        fields = {name: values(field.annotation) for name, field in kind.model_fields.items()}
        return st.fixed_dictionaries(fields).map(lambda given: kind(**given))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{field.name: values(hints[field.name]) for field in dataclasses.fields(kind)})
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    simple: dict[type, st.SearchStrategy[Any]] = {
        type(None): st.none(),
        bool: st.booleans(),
        int: st.integers(),
        float: FLOATS,
        str: TEXT,
    }
    return simple[kind]


@pytest.mark.parametrize("name", RESULTS)
@given(data=st.data())
# Shrinking values as deep as these takes minutes, and a failure names its place without.
@settings(max_examples=15, deadline=None, phases=set(Phase) - {Phase.shrink})
def test_a_result_comes_back_from_json_as_it_was_and_keeps_its_schema(name: str, data: st.DataObject) -> None:
    value = data.draw(values(result(name)))
    plain = json.loads(value.json_text())
    assert result(name).model_validate(plain) == value
    assert next(iter(plain)) == "schema_version"
    jsonschema.validate(plain, json_schema(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one_and_refuses_what_it_does_not_know(name: str) -> None:
    schema = json_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"] == ("mixopt study file" if name == "study" else f"mixopt {name}")
    assert schema["description"]
    assert not schema["additionalProperties"]


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_says_its_version_and_cannot_be_changed(name: str) -> None:
    fields = result(name).model_fields
    assert fields["schema_version"].default >= 1
    assert json_schema(name)["properties"]["schema_version"]["const"] == fields["schema_version"].default
    value = result(name).model_construct()
    with pytest.raises(ValidationError, match="frozen"):
        value.schema_version = 0


# Added since 0.1.0: null or empty where that version's results are read.
LATER_KEYS = {"predictability", "bounds", "basin", "orders_basin", "run_sd", "noise", "also", "beside"}
LATER_KEYS |= {"max_epochs", "inventory", "target_tokens", "epochs", "domains", "pool_changes", "notes", "predictions"}
LATER_KEYS |= {"gain", "metrics", "families", "over", "confirmation_tokens", "tests", "baseline", "goal", "path"}
LATER_KEYS |= {"activity", "driver", "interrupted", "mlflow_away"}
LATER_KEYS |= {"phase", "doing", "waits", "known_at", "progress", "training", "lately", "best"}
LATER_KEYS |= {"tried", "receipt", "queue", "reused", "levels", "ranges_of_levels", "search_seconds", "time_budget"}
LATER_KEYS |= {"slower", "apart"}
# What they say of results that know nothing of them.
UNTOLD: tuple[Any, ...] = (None, [], {}, 0, "seeds", "proportional", {"total": 0, "by_proxy": {}})


def without_later_keys(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: part for name, part in value.items() if part not in UNTOLD or name not in LATER_KEYS}
        return {name: without_later_keys(part) for name, part in kept.items()}
    return [without_later_keys(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("path", PRINTED, ids=lambda path: path.stem)
def test_programs_that_read_what_0_1_0_printed_find_every_key_where_it_was(path: Path) -> None:
    before = json.loads(path.read_text())
    now = json.loads(result(path.stem).model_validate(before).json_text())
    assert without_later_keys(now) == {"schema_version": 1} | without_later_keys(before)


@pytest.fixture
def recorded() -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((RECORDED / "answer.json").read_text())
    return answer


def test_the_answers_that_0_1_0_recorded_are_read() -> None:
    lines = (RECORDED / "journal-answers.jsonl").read_text().splitlines()
    so_far, last = (Answer.read(json.loads(line)["data"]) for line in lines)
    assert (so_far.ended, so_far.confirmation) == (False, None)
    assert last.ended and last.confirmation is not None
    assert last.confirmation.winner.label == "proposed"
    assert last.mixture == so_far.mixture
    assert Answer.read(last.plain()) == last


def test_an_answer_that_does_not_say_whether_the_study_had_ended_is_the_last_where_it_is_confirmed(
    recorded: dict[str, Any],
) -> None:
    del recorded["ended"]
    assert Answer.read(recorded).ended
    assert not Answer.read(recorded | {"confirmed": False}).ended


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 99}, "recorded by a later mixopt: its schema_version is 99"),
        ({"trials": {"completed": 3}}, "damaged at trials.stopped"),
        ({"domains": {"web": None}}, "damaged at domains.web"),
        ({"mixture": {"web": float("nan")}}, "damaged at mixture.web"),
        ({"mixtures": {}}, "damaged at mixtures"),
    ],
)
def test_an_answer_that_cannot_be_read_is_refused_with_the_place(
    recorded: dict[str, Any], change: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Answer.read(recorded | change)
    assert says in caught.value.message
    assert caught.value.hint
