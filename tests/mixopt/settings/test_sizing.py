"""A first study's size: what it costs by the plan's own count, and that it is enough."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mixopt.base.errors import ConfigError
from mixopt.settings.new_study import Judging, Pools, Size, Wanted, text_of
from mixopt.settings.reading import parse
from mixopt.settings.sizing import LEAST_RUNS_PER_DOMAIN, Budget, Scope, Sizing, Speed, parse_budget, size_study
from mixopt.study.corpus import prepare_corpus
from mixopt.study.estimate import estimate
from mixopt.study.planning import make_plan
from proxies.data.corpus import Corpus
from search.recommendation.validation import FEWEST_RUNS
from tests.text import write_jsonl

FLOPS = st.floats(13, 22).map(lambda power: 10**power)
SECONDS = st.floats(2, 7).map(lambda power: 10**power)
BUDGETS = st.one_of(
    FLOPS.map(lambda amount: Budget("flops", amount, f"{amount:g}")),
    SECONDS.map(lambda amount: Budget("time", amount, f"{amount:g}s")),
    SECONDS.map(lambda amount: Budget("gpu_time", amount, f"{amount / 3600:g}gpuh")),
)
SCOPES = st.builds(
    lambda domains, more, slots, params, supply: Scope(domains, domains + more, slots, params, supply),
    st.integers(2, 60),
    st.integers(0, 5),
    st.integers(1, 64),
    st.none() | st.integers(10**5, 10**11),
    st.none() | st.floats(4, 12).map(lambda power: 10**power),
)
SPEEDS = st.floats(9, 14).map(lambda power: Speed(10**power))


def sized(scope: Scope, budget: Budget, speed: Speed) -> Sizing | None:
    try:
        return size_study(scope, budget, speed)
    except ConfigError as error:
        assert "too small" in error.message and "raise the budget" in error.hint
        return None


@given(SCOPES, BUDGETS, SPEEDS)
@settings(max_examples=60, deadline=None)
def test_a_size_is_paid_for_and_enough(scope: Scope, budget: Budget, speed: Speed) -> None:
    found = sized(scope, budget, speed)
    assume(found is not None)
    assert found is not None
    assert found.trials >= max(FEWEST_RUNS, LEAST_RUNS_PER_DOMAIN * scope.domains)
    assert found.candidates >= 1 and found.seeds >= 2
    if scope.most_params is not None and found.model.depth > 1:
        assert found.model.active_parameters <= scope.most_params
    if budget.kind == "flops":
        assert found.flops <= budget.amount
    elif budget.kind == "time":
        assert found.seconds is not None and found.seconds <= budget.amount
        assert found.runs * found.tokens / speed.tokens_per_second(found.model) / scope.slots <= budget.amount * 1.01
    else:
        assert found.runs * found.tokens / speed.tokens_per_second(found.model) <= budget.amount * 1.01


@given(SCOPES, BUDGETS, SPEEDS, st.floats(1.0, 100.0))
@settings(max_examples=30, deadline=None)
def test_more_budget_buys_no_smaller_study(scope: Scope, budget: Budget, speed: Speed, times: float) -> None:
    found = sized(scope, budget, speed)
    assume(found is not None)
    more = sized(scope, Budget(budget.kind, times * budget.amount, "more"), speed)
    assert found is not None and more is not None
    assert more.trials >= found.trials and more.seeds >= found.seeds


@cache
def corpus(domains: int) -> tuple[Path, Corpus]:
    """A folder with so many domains, prepared with the file's own settings of text."""
    folder = Path(mkdtemp())
    write_jsonl(folder / "data", dict(zip(["prose", "code", "sums"][:domains], [400, 200, 300], strict=False)))
    file = parse(written(domains, Budget("flops", 1e15, "1e15")), folder / "study.yaml")
    return folder, prepare_corpus(file, lambda progress: None)


def written(domains: int, budget: Budget) -> str:
    pools = Pools({name: {"paths": f"data/{name}.jsonl"} for name in ["prose", "code", "sums"][:domains]}, None)
    sizing = size_study(Scope(domains, domains, slots=2), budget, Speed(1e11))
    text = text_of(pools, Path("study.yaml"), Wanted(), Judging(), Size(sizing, budget, ("so it is",)))
    return text.replace(f"validation_tokens: {sizing.validation_tokens} ", "validation_tokens: 4096 ")


@pytest.mark.parametrize("domains", [2, 3])
@pytest.mark.parametrize("budget", ["3e14", "1e15", "7.7e15", "5e17", "20m", "2h", "20h"])
def test_the_plan_counts_no_more(domains: int, budget: str) -> None:
    """What `mixopt plan` says of the file that is written, the confirmation included."""
    wanted = parse_budget(budget)
    folder, prepared = corpus(domains)
    plan = estimate(make_plan(parse(written(domains, wanted), folder / "study.yaml"), prepared), probe=False)
    sizing = size_study(Scope(domains, domains, slots=2), wanted, Speed(1e11))
    assert plan.trials <= sizing.runs
    assert plan.total_flops <= sizing.flops
    if wanted.kind == "flops":
        assert plan.total_flops <= wanted.amount
    assert not [note for note in plan.notes if "too few for a regression" in note]


@given(st.floats(0.5, 500))
@settings(max_examples=60, deadline=None)
def test_a_budget_of_gpu_hours_is_not_rounded_below_what_the_study_costs(hours: float) -> None:
    budget = Budget("gpu_time", 3600 * hours, f"{hours:g}gpuh")
    written_flops = parse(written(3, budget), Path("study.yaml")).budget.flops
    costs = size_study(Scope(3, 3, slots=2), budget, Speed(1e11)).flops
    assert written_flops is not None and costs <= written_flops <= 1.001 * costs + 1


def test_measured_speed_takes_the_place_of_the_assumed_one() -> None:
    budget, scope = parse_budget("2h"), Scope(3, 3, slots=2)
    fast = size_study(scope, budget, Speed(1e11))
    slow = size_study(scope, budget, Speed(1e11, {fast.model.depth: 2000.0}))
    assert slow.tokens * slow.trials < fast.tokens * fast.trials


def test_little_text_ends_what_more_budget_would_buy() -> None:
    scope = Scope(3, 3, supply=200_000)
    found = size_study(scope, parse_budget("1e20"), Speed(1e11))
    assert found.is_short_of_text and found.tokens <= 4 * 200_000


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("2h", "time", 7200),
        ("90m", "time", 5400),
        ("1e18", "flops", 1e18),
        ("1e18 FLOPs", "flops", 1e18),
        ("20gpuh", "gpu_time", 72_000),
        ("1.5 GPU hours", "gpu_time", 5400),
    ],
)
def test_a_budget_is_read_by_its_unit(text: str, kind: str, amount: float) -> None:
    found = parse_budget(text)
    assert (found.kind, found.amount) == (kind, amount)


@pytest.mark.parametrize("text", ["", "much", "0h", "-2h", "2 weeks", "gpuh", "nan"])
def test_what_is_no_budget_is_said(text: str) -> None:
    with pytest.raises(ConfigError, match="is no budget"):
        parse_budget(text)
