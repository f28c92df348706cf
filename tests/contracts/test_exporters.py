"""What every exporter promises, over all that are listed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixopt.base.errors import ConfigError
from mixopt.exports.formats import EXPORTERS, Draws, Exportable, Exporter, Locations, exporter, mixture_in
from search.mixture import Mixture, counts

PLAIN = ("yaml", "json", "csv")
CASES = [pytest.param(each, draws, id=f"{name}-{draws}") for name, each in EXPORTERS.items() for draws in each.draws]


def places(domains: tuple[str, ...]) -> Locations:
    return Locations({domain: {f"/data/it's {domain}": None} for domain in domains})


def exportable(mixture: Mixture, draws: Draws, lengths: Mapping[str, float] | None = None) -> Exportable:
    lengths = lengths or dict.fromkeys(mixture.domains, 100.0)
    supply = dict.fromkeys(mixture.domains, 3e9) if draws is Draws.DOCUMENTS else lengths
    return Exportable(
        mixture, draws, lengths, places(mixture.domains), 10_000_000_000, 4.0, 7, {"study": "test"}, supply=supply
    )


weights = st.one_of(st.just(0.0), st.floats(1e-6, 1.0))
mixtures = (
    st.lists(weights, min_size=1, max_size=64)
    .filter(lambda masses: sum(masses) > 0)
    .map(lambda masses: Mixture.of({f"domain{index:02}": mass for index, mass in enumerate(masses)}))
)


@pytest.mark.parametrize(("each", "draws"), CASES)
@given(mixture=mixtures, data=st.data())
def test_what_is_read_back_is_the_same_mixture(
    each: Exporter, draws: Draws, mixture: Mixture, data: st.DataObject
) -> None:
    length = st.floats(1.0, 100_000.0)
    lengths = {domain: data.draw(length) for domain in mixture.domains}
    given_ = exportable(mixture, draws, lengths)
    text = each.render(given_)
    assert text.endswith("\n")
    assert text == each.render(given_), "the same answer is the same file"
    read = mixture_in(each, text, draws, lengths, given_.locations)
    assert read.domains == mixture.domains
    grid = each.grid(given_)
    assert grid is not None
    # A file of whole documents is read back within one of each domain.
    one = max(lengths.values()) * (1 + len(lengths)) / sum(grid.tokens.values()) if each.whole else 1e-9
    assert read.weights == pytest.approx(mixture.weights, abs=one)


@pytest.mark.parametrize(("each", "draws"), CASES)
def test_no_domain_without_weight_is_named_to_a_trainer(each: Exporter, draws: Draws) -> None:
    """Trainers differ: some refuse a weight of 0, some fail on it much later."""
    mixture = Mixture.of({"web": 1.0, "left_out": 0.0, "code": 3.0})
    assert ("left_out" in each.render(exportable(mixture, draws))) == (each.name in PLAIN)


@pytest.mark.parametrize(("each", "draws"), CASES)
def test_a_domain_within_levels_keeps_its_name(each: Exporter, draws: Draws) -> None:
    mixture = Mixture.of({"web.news.good": 0.2, "web.news.poor": 0.1, "web.science": 0.3, "code": 0.4})
    given_ = exportable(mixture, draws)
    read = mixture_in(each, each.render(given_), draws, given_.unit_tokens, given_.locations)
    assert read.domains == mixture.domains
    assert read.weights == pytest.approx(mixture.weights, abs=1e-5 if each.whole else 1e-9)


@pytest.mark.parametrize("each", EXPORTERS.values(), ids=EXPORTERS.keys())
def test_a_domain_in_two_places_keeps_its_share(each: Exporter) -> None:
    mixture, draws = Mixture.of({"web": 0.6, "code": 0.4}), each.draws[0]
    where = Locations({"web": {"/data/web0": 3.0, "/data/web1": 1.0}, "code": {"/data/code": None}})
    lengths = {"web": 100.0, "code": 300.0}
    supply = {"web": 4e9, "code": 1e9}
    text = each.render(Exportable(mixture, draws, lengths, where, supply=supply))
    units = supply if draws is Draws.PASSES else lengths
    read = mixture_in(each, text, draws, units, where)
    assert read.weights == pytest.approx(mixture.weights, abs=1e-6 if each.whole else 1e-9)


def test_a_place_that_stands_twice_has_both_weights() -> None:
    text = "--data-path .3 /data/a .3 /data/b .3 /data/a"
    where = Locations({"web": {"/data/a": None}, "code": {"/data/b": None}})
    mixture = mixture_in(exporter("megatron"), text, Draws.SEQUENCES, {}, where)
    assert mixture.weights == pytest.approx((2 / 3, 1 / 3))


@pytest.mark.parametrize("weight", ["much", "-1", ".nan", ".inf", "true", "[1]"])
def test_what_is_no_weight_is_named_with_its_domain(weight: str) -> None:
    with pytest.raises(ConfigError, match=r"web: .* is no weight"):
        mixture_in(exporter("yaml"), f"web: {weight}", Draws.TOKENS, {}, places(("web",)))


def test_a_weight_without_a_point_is_a_number() -> None:
    read = mixture_in(exporter("yaml"), "web: 1e-3\ncode: 3e-3", Draws.TOKENS, {}, places(("web", "code")))
    assert read.weights == pytest.approx((0.25, 0.75))


@pytest.mark.parametrize("each", EXPORTERS.values(), ids=EXPORTERS.keys())
def test_each_says_what_it_is(each: Exporter) -> None:
    assert each.describes
    assert each.suffix.startswith(".")
    assert len(set(each.draws)) == len(each.draws) > 0


@pytest.mark.parametrize("each", EXPORTERS.values(), ids=EXPORTERS.keys())
@pytest.mark.parametrize("text", ["", "[", "{}", "not: [it", "1", "[[]]", "\x00"], ids=repr)
def test_another_file_is_refused_in_one_line(each: Exporter, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mixture_in(each, text, each.draws[0], {"web": 1.0}, places(("web",)))
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("each", EXPORTERS.values(), ids=EXPORTERS.keys())
def test_a_name_that_no_domain_has_is_refused(each: Exporter) -> None:
    mixture = Mixture.of({"web": 0.6, "code": 0.4})
    text = each.render(exportable(mixture, each.draws[0]))
    with pytest.raises(ConfigError, match="code"):
        mixture_in(each, text, each.draws[0], {"web": 1.0}, places(("web",)))


def test_documents_are_drawn_less_often_where_they_are_long() -> None:
    mixture = Mixture.of({"long": 0.5, "short": 0.5})
    drawn = exportable(mixture, Draws.DOCUMENTS, {"long": 900.0, "short": 100.0}).weights
    assert drawn == pytest.approx({"long": 0.1, "short": 0.9})


def test_the_weight_of_a_domain_is_divided_over_its_places_by_size() -> None:
    where = Locations({"web": {"a": 3e9, "b": 1e9}, "code": {"c": None}})
    weights = Exportable(Mixture.of({"web": 0.8, "code": 0.2}), Draws.SEQUENCES, {}, where).weighted_places
    assert weights == pytest.approx({"a": 0.6, "b": 0.2, "c": 0.2})


def test_places_without_sizes_cannot_be_weighted() -> None:
    with pytest.raises(ConfigError, match="domain web has 2 places") as caught:
        Locations({"web": {"a": None, "b": None}}).split("web", 1.0)
    assert "sizes" in caught.value.hint


def test_two_domains_cannot_share_a_place() -> None:
    with pytest.raises(ConfigError, match="/data is the place of both web and code"):
        Locations({"web": {"/data": None}, "code": {"/data": None}})


@given(mixture=mixtures, total=st.integers(0, 10**13))
def test_counts_sum_to_the_total_and_none_is_off_by_one(mixture: Mixture, total: int) -> None:
    whole = counts(mixture, total)
    assert sum(whole.values()) == total
    assert all(abs(whole[domain] - weight * total) < 1 + 1e-3 for domain, weight in mixture.as_dict().items())


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no export format mgt") as caught:
        exporter("mgt")
    assert "megatron" in caught.value.hint
