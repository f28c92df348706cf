from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Float

from search.errors import SearchError
from search.fidelity import Fidelity
from search.history import History
from search.problem import Problem
from search.randomness import generator
from search.reuse import Changes, reuse
from search.runs import Runs
from search.strategies.base import Settings
from search.strategies.regmix import RegMix
from tests.search.worlds import DOMAINS, LARGE, SMALL, SPACE, WORTH, completed, losses, problem

METRICS = tuple(WORTH)
TOKENS = {limit.name: limit.tokens for limit in SPACE.limits}


def runs(
    weights: Sequence[Mapping[str, float]],
    values: Mapping[str, Sequence[float]] | None = None,
    fidelities: tuple[Fidelity, ...] = (LARGE,),
) -> Runs:
    domains = tuple(weights[0])
    values = values or {metric: range(len(weights)) for metric in METRICS}
    return Runs(
        names=tuple(f"run {place}" for place in range(len(weights))),
        domains=domains,
        metrics=tuple(values),
        fidelities=fidelities,
        weights_ND=np.array([[row[name] for name in domains] for row in weights]),
        fidelity_N=np.full(len(weights), len(fidelities) - 1),
        values_NM=np.array(list(values.values()), dtype=np.float64).T,
    )


def reused(earlier: Runs, changes: Changes | None = None) -> tuple[Runs, str]:
    found, notes = reuse(earlier, SPACE, METRICS, (LARGE,), changes)
    assert (found.domains, found.metrics) == (DOMAINS, METRICS)
    return found, "\n".join(notes)


def test_runs_over_the_same_domains_count_as_they_are_in_whatever_order() -> None:
    earlier = runs([{"chat": 0.1, "web": 0.4, "books": 0.3, "code": 0.2}])
    found, notes = reused(earlier)
    np.testing.assert_allclose(found.weights_ND, [[0.4, 0.2, 0.3, 0.1]])
    assert found.fidelities == (LARGE,)
    assert notes == "1 of 1 earlier runs count as evidence"


def test_an_added_domain_had_nothing() -> None:
    found, notes = reused(runs([{"web": 0.4, "code": 0.2, "books": 0.4}]))
    np.testing.assert_allclose(found.weights_ND, [[0.4, 0.2, 0.4, 0.0]])
    assert "had nothing of chat" in notes


def test_a_split_domain_gave_each_part_its_share_of_the_tokens() -> None:
    earlier = runs([{"web": 0.4, "rest": 0.6}])
    found, notes = reused(earlier, Changes(split={"rest": ("code", "books", "chat")}))
    parts = TOKENS["code"], TOKENS["books"], TOKENS["chat"]
    np.testing.assert_allclose(found.weights_ND, [[0.4, *(0.6 * part / sum(parts) for part in parts)]])
    assert "rest of the earlier runs is read as its parts by their tokens: code 62.5%, books 31.2%, chat 6.2%" in notes


def test_a_part_may_keep_the_name_of_the_whole_but_not_its_metric() -> None:
    earlier = runs([{"web": 0.4, "books": 0.6}], {"prose": [3.0], "books": [2.0]})
    found, _ = reuse(earlier, SPACE, ("prose", "books"), (), Changes(split={"books": ("books", "chat")}))
    np.testing.assert_allclose(found.weights_ND, [[0.4, 0.0, 0.5, 0.1]])
    np.testing.assert_array_equal(found.values_NM, [[3.0, np.nan]])


def test_merged_domains_count_where_they_were_mixed_as_their_tokens_are() -> None:
    news, blogs = (TOKENS["books"] * part for part in (0.75, 0.25))
    shares = [(0.3, 0.1), (0.31, 0.09), (0.1, 0.3), (0.0, 0.0)]
    earlier = runs(
        [{"web": 0.6, "news": a, "blogs": b, "code": 0.4 - a - b} for a, b in shares],
        {"news": [1, 2, 3, 4], "web": [1, 2, 3, 4], "books": [1, 2, 3, 4]},
    )
    merged = Changes(merged={"books": {"news": news, "blogs": blogs}})
    found, notes = reuse(earlier, SPACE, ("web", "news", "books"), (LARGE,), merged)
    assert found.names == ("run 0", "run 1", "run 3")
    np.testing.assert_allclose(found.weights_ND[:, DOMAINS.index("books")], [0.4, 0.4, 0.0])
    np.testing.assert_array_equal(found.values_NM[0], [1.0, np.nan, 1.0])
    assert any("news, blogs of the earlier runs are books now; 1 runs that mixed them" in note for note in notes)


def test_runs_that_hardly_used_a_removed_domain_count() -> None:
    base = {"web": 0.5, "code": 0.3, "books": 0.2, "chat": 0.0}
    earlier = runs(
        [{name: (1 - gone) * weight for name, weight in base.items()} | {"spam": gone} for gone in (0, 0.02, 0.3)]
    )
    found, notes = reused(earlier)
    assert found.names == ("run 0", "run 1")
    np.testing.assert_allclose(found.weights_ND, [list(base.values())] * 2)
    assert "2 of 3 earlier runs" in notes
    assert "spam; 1 earlier runs gave them more than 2% and were left out" in notes


def test_a_renamed_domain_brings_its_metric() -> None:
    earlier = runs([{"crawl": 0.7, "code": 0.3}], {"crawl": [3.0], "code": [2.0], "exam": [1.0]})
    found, notes = reuse(earlier, SPACE, ("web", "code", "chat"), (), Changes(renamed={"crawl": "web"}))
    np.testing.assert_allclose(found.weights_ND, [[0.7, 0.3, 0.0, 0.0]])
    np.testing.assert_array_equal(found.values_NM, [[3.0, 2.0, np.nan]])
    assert any("say nothing on these metrics: chat" in note for note in notes)


def test_a_new_domain_under_a_renamed_ones_name_has_not_its_metric() -> None:
    earlier = runs([{"web": 0.7, "code": 0.3}], {"web": [3.0], "code": [2.0]})
    found, _ = reuse(earlier, SPACE, ("web", "books", "code"), (), Changes(renamed={"web": "books"}))
    np.testing.assert_allclose(found.weights_ND, [[0.0, 0.3, 0.7, 0.0]])
    np.testing.assert_array_equal(found.values_NM, [[np.nan, 3.0, 2.0]])


def test_only_the_same_proxy_on_as_many_tokens_is_the_same_fidelity() -> None:
    longer = replace(LARGE, tokens=2 * LARGE.tokens)
    earlier = runs([dict.fromkeys(DOMAINS, 0.25)] * 2, fidelities=(SMALL, longer))
    found, notes = reused(earlier)
    assert [fidelity.proxy for fidelity in found.fidelities] == ["earlier small", "earlier large"]
    assert "proxy large of the earlier runs is one of its own" in notes
    again, _ = reuse(earlier, SPACE, METRICS, (SMALL, longer))
    assert again.fidelities == (SMALL, longer)


@pytest.mark.parametrize(
    ("domains", "metrics", "changes", "says"),
    [
        (("web", "code"), METRICS, {"renamed": {"crawl": "web"}}, "the earlier runs have no domain crawl"),
        (("web", "code"), METRICS, {"renamed": {"web": "crawl"}}, "there is no domain crawl"),
        (("web", "code"), METRICS, {"split": {"web": ("web", "news")}}, "there is no domain news"),
        (("web", "crawl"), METRICS, {"renamed": {"crawl": "web"}}, "several earlier domains became web"),
        (
            ("web", "code"),
            METRICS,
            {"renamed": {"web": "code"}, "split": {"web": ("books",)}},
            "both renamed and split",
        ),
        (("web", "x"), METRICS, {"merged": {"web": {"web": 9, "x": 1}}}, "each earlier run mixed web, x otherwise"),
        (("web", "x"), METRICS, {"merged": {"y": {"web": 9, "x": 1}}}, "there is no domain y"),
        (("web", "x"), METRICS, {"merged": {"web": {"x": 1}, "code": {"x": 1}}}, "x became several things"),
        (("x", "y"), METRICS, {}, "domains that are not there any more: x, y"),
        (("web", "code"), ("elsewhere",), {}, "measured none of prose, programs"),
    ],
)
def test_changes_that_do_not_fit_are_said_so(
    domains: tuple[str, ...], metrics: tuple[str, ...], changes: dict[str, dict[str, object]], says: str
) -> None:
    earlier = runs([dict.fromkeys(domains, 0.5)], {metric: [1.0] for metric in metrics})
    with pytest.raises(SearchError, match=says):
        reused(earlier, Changes(**changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old_domains", "changes"),
    [
        (("web", "code", "books"), Changes()),
        (("web", "code", "rest"), Changes(split={"rest": ("books", "chat")})),
    ],
    ids=["a domain added", "a domain split"],
)
def test_with_earlier_runs_the_same_new_trials_find_a_better_mixture(
    old_domains: tuple[str, ...], changes: Changes
) -> None:
    question = problem(trials=(4,))
    earlier, _ = reuse(_earlier(old_domains, changes), SPACE, question.objective.metrics, (LARGE,), changes)
    history = completed(RegMix(question).ask(History(), 100))

    def reached(question: Problem) -> float:
        mixture = RegMix(question, Settings(surrogate="quadratic")).recommend(history).mixture
        return float(question.objective.value(losses(mixture)[None])[0])

    assert reached(replace(question, earlier=earlier)) < reached(question) - 0.1


def _earlier(old_domains: Sequence[str], changes: Changes) -> Runs:
    """Twenty runs over the old domains, with the losses of the mixtures of now that they were."""
    rng = generator("earlier runs", *old_domains)
    old_ND: Float[np.ndarray, "N D"] = rng.dirichlet(np.ones(len(old_domains)), size=20)
    unmeasured = runs([dict(zip(old_domains, row, strict=True)) for row in old_ND], fidelities=(LARGE,))
    mixtures, _ = reuse(unmeasured, SPACE, METRICS, (LARGE,), changes)
    values_NM = np.array([losses(mixtures.mixture(run)) for run in range(len(mixtures))])
    return replace(unmeasured, values_NM=values_NM + 0.01 * rng.standard_normal(values_NM.shape))
