"""Domains in levels: what the tree of a study file means, and the line that each mistake in it gets."""

from __future__ import annotations

import random
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

from mixopt.base.errors import ConfigError
from mixopt.settings import space
from mixopt.settings.levels import in_levels
from mixopt.settings.reading import parse, place_in
from mixopt.settings.schema import StudyFile, json_schema
from mixopt.study.objective import objective_of
from mixopt.study.planning import make_plan

TREE = """\
study: test
domains:
  web:
    max: 60%
    text: body
    max_epochs: 3
    parts:
      science: {paths: science, max_epochs: 9, text: abstract}
      news:
        min: 5%
        split: all
        parts:
          good: {paths: good, max: 20%}
          poor: {paths: poor, max: 10%, prompt: q, completion: a}
  code: {paths: code}
proxies:
  dense: {tokens: 2M}
"""
LEAVES = ("web.science", "web.news.good", "web.news.poor", "code")


def parsed(text: str) -> StudyFile:
    return parse(text, Path("folder/study.yaml"))


def test_the_domains_of_the_mixture_are_those_without_parts() -> None:
    study = parsed(TREE)
    assert tuple(study.domains) == LEAVES == study.evaluation_sets
    assert [(level.name, level.domains, level.depth) for level in study.levels] == [
        ("web", LEAVES[:3], 0),
        ("web.news", LEAVES[1:3], 1),
    ]
    assert all(domain.parts is None for domain in study.domains.values())


def test_limits_of_a_level_are_those_of_a_group_of_its_name() -> None:
    study = parsed(TREE)
    assert {name: (tuple(group.domains), group.min, group.max) for name, group in study.groups.items()} == {
        "web": (LEAVES[:3], 0, 0.6),
        "web.news": (LEAVES[1:3], 0.05, 1),
    }
    pinned = parsed(TREE.replace("max: 60%", "pin: 60%"))
    assert (pinned.groups["web"].min, pinned.groups["web"].max) == (0.6, 0.6)


def test_parts_have_from_their_level_what_they_do_not_say() -> None:
    science, good, poor, code = parsed(TREE).domains.values()
    assert (science.text, science.max_epochs, science.split) == ("abstract", 9, "train")
    assert (good.text, good.max_epochs, good.split, good.max) == ("body", 3, "all", 0.2)
    assert (poor.text, poor.prompt, poor.completion, poor.max_epochs) == (None, "q", "a", 3)
    assert (code.text, code.max_epochs, code.max) == (None, None, 1)


def test_a_tree_decides_what_the_same_study_without_levels_does() -> None:
    flat = """\
study: other
domains:
  web.science: {paths: science, max_epochs: 9, text: abstract}
  web.news.good: {paths: good, max: 20%, text: body, split: all, max_epochs: 3}
  web.news.poor: {paths: poor, max: 10%, prompt: q, completion: a, split: all, max_epochs: 3}
  code: {paths: code}
groups:
  web: {domains: [web.science, web.news.good, web.news.poor], max: 60%}
  web.news: {domains: [web.news.good, web.news.poor], min: 5%}
proxies:
  dense: {tokens: 2M}
"""
    assert parsed(TREE).deciding() == parsed(flat).deciding()


def test_a_level_that_is_named_stands_for_its_domains() -> None:
    study = parsed(
        TREE.replace("proxies:", "groups: {prose: {domains: [web.news, code], max: 90%}}\nproxies:")
        + "objective: {weights: {web.news: 3, code: 1}}\n"
        + "reuse: {runs: old.csv, renamed: {crawl: web, git: code}, keep: [web.news]}\n"
    )
    assert study.groups["prose"].domains == ["web.news.good", "web.news.poor", "code"]
    assert objective_of(study).metrics == ("web.news.good", "web.news.poor", "code")
    assert study.objective.weights == {"web.news.good": 1.5, "web.news.poor": 1.5, "code": 1}
    assert study.reuse.split == {"crawl": list(LEAVES[:3])}
    assert study.reuse.renamed == {"git": "code"}
    assert study.reuse.keep == ["web.news.good", "web.news.poor"]

    worst = parsed(TREE + "objective: {kind: worst_case, metrics: [code, web.news]}\n")
    assert objective_of(worst).metrics == ("code", "web.news.good", "web.news.poor")
    families = parsed(TREE + "objective: {families: {a: {metrics: [web]}, b: {metrics: [code], weight: 2}}}\n")
    assert objective_of(families).families == {"a": LEAVES[:3], "b": ("code",)}


@pytest.mark.parametrize(
    ("was", "becomes", "line", "says"),
    [
        ("split: all", "splitt: all", 11, "domains.web.parts.news.splitt: unknown key; did you mean split?"),
        ("max: 20%", "maxx: 20%", 13, "domains.web.parts.news.parts.good.maxx: unknown key; did you mean max?"),
        ("paths: good, ", "", 13, "domains.web.parts.news.parts.good.paths: missing; add it"),
        ("min: 5%", "min: 5%\n        paths: x", 9, "paths belongs to a domain without parts; move it into one"),
        ("min: 5%", "min: 5%\n        tokens: 5M", 9, "tokens belongs to a domain without parts"),
        ("min: 5%", "min: 5%\n        max: 4%", 9, "domains.web.parts.news: max 0.04 is below min 0.05"),
        ("code: {paths: code}", "code: {parts: {}}", 15, "domains.code.parts: needs at least 1"),
        ("code: {paths: code}", "code: {parts: x}", 15, "'x' does not fit here; write {name: ...}"),
        ("code: {paths: code}", "code: {parts: {a: x}}", 15, "domains.code.parts.a: 'x' does not fit here; write its"),
        ("code: {paths: code}", "web.science: {paths: x}", 15, "there is a domain web.science already, at domains.web"),
        (
            "min: 5%",
            "min: 40%",
            9,
            "domains.web.parts.news: min 0.4 is above 0.3, to which the maximums in web.news sum",
        ),
        (
            "science: {",
            "science: {min: 70%, ",
            3,
            "domains.web: max 0.6 is below 0.7, to which the minimums in web sum",
        ),
        ("proxies:", "groups: {web: {domains: [code]}}\nproxies:", 16, "web is a domain with parts, and its limits"),
        ("proxies:", "groups: {g: {domains: [web.new]}}\nproxies:", 16, "no domain web.new; did you mean web.news?"),
        ("proxies:", "groups: {g: {domains: [web, web.news]}}\nproxies:", 16, "web.news.good is named twice, by web"),
        ("proxies:", "evaluation: {web: {paths: x}}\nproxies:", 16, "web is also a domain"),
        ("proxies:", "objective: {weights: {web: 1, web.science: 2}}\nproxies:", 16, "web.science is named twice"),
        ("proxies:", "reuse: {keep: [web], at: {web: 1}}\nproxies:", 16, "web has parts; name each of them in keep"),
    ],
)
def test_each_mistake_in_a_tree_is_one_line_with_its_place(was: str, becomes: str, line: int, says: str) -> None:
    assert was in TREE
    with pytest.raises(ConfigError) as caught:
        parsed(TREE.replace(was, becomes, 1))
    assert str(caught.value).startswith(f"folder/study.yaml:{line}: "), str(caught.value)
    assert says in str(caught.value)


def test_one_domain_with_two_parts_is_a_study_and_with_one_is_none() -> None:
    two = "study: s\ndomains: {web: {parts: {a: {paths: a}, b: {paths: b}}}}\nproxies: {p: {tokens: 1M}}\n"
    assert list(parsed(two).domains) == ["web.a", "web.b"]
    with pytest.raises(ConfigError, match=r"study.yaml:2: domains: needs at least 2; add more"):
        parsed(two.replace(", b: {paths: b}", ""))
    with pytest.raises(ConfigError, match=r"with its levels its name is 102 characters long; shorten one"):
        parsed(two.replace("{a:", "{" + 98 * "a" + ":"))  # and "web." before it


def test_a_place_is_found_below_its_levels() -> None:
    assert place_in(parsed(TREE), "domains", "web.news.good", "max") == (
        "folder/study.yaml:13: domains.web.parts.news.parts.good.max"
    )


def test_the_schema_for_editors_takes_parts() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    assert not list(validator.iter_errors(yaml.safe_load(TREE)))
    assert list(validator.iter_errors(yaml.safe_load(TREE.replace("split: all", "splitt: all"))))


def test_a_file_of_limits_may_have_levels(tmp_path: Path) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text("domains: {web: {max: 0.5, parts: {the news: {tokens: 5M}, b: {}}}, code: {tokens: 1M}}\n")
    limits = space.read(path)
    assert list(limits.domains) == ["web.the news", "web.b", "code"]
    assert [(group.name, group.domains, group.maximum) for group in limits.groups] == [
        ("web", ("web.the news", "web.b"), 0.5)
    ]


def test_tables_show_each_level_before_its_parts() -> None:
    levels = {level.name: level.domains for level in parsed(TREE).levels}
    assert [(row.label, row.depth, row.domains, row.is_level) for row in in_levels(LEAVES, levels)] == [
        ("web", 0, LEAVES[:3], True),
        ("  science", 1, LEAVES[:1], False),
        ("  news", 1, LEAVES[1:3], True),
        ("    good", 2, LEAVES[1:2], False),
        ("    poor", 2, LEAVES[2:3], False),
        ("code", 0, LEAVES[3:], False),
    ]


def test_parts_stand_below_their_level_in_whatever_order_a_table_has_them() -> None:
    levels = {level.name: level.domains for level in parsed(TREE).levels}
    science, good, poor, code = LEAVES
    shown = [(row.name, row.depth) for row in in_levels([good, code, science, poor], levels)]
    assert shown == [("web", 0), ("web.news", 1), (good, 2), (poor, 2), (science, 1), (code, 0)]


def test_limits_of_levels_are_limits_of_sums() -> None:
    """Whatever the tree: a mixture is allowed exactly if each level's sum is within its limits."""
    generator, inside = random.Random(0), []
    for _ in range(6):
        sums: list[tuple[list[str], float, float]] = []
        study = {
            "study": "s",
            "domains": _tree(generator, 3, "", sums),
            "proxies": {"p": {"tokens": "1M", "params": "1M"}},
            "executor": {"kind": "external"},
        }
        space = make_plan(parsed(yaml.safe_dump(study, sort_keys=False)), None).problem.space
        draws_ND = np.random.default_rng(0).dirichlet(np.full(len(space.domains), 0.7), 100)
        sums_NS = np.stack(
            [draws_ND[:, [space.domains.index(leaf) for leaf in leaves]].sum(1) for leaves, _, _ in sums]
        )
        _, low_S, high_S = (np.array(list(column), dtype=object) for column in zip(*sums, strict=True))
        within_N = ((sums_NS >= low_S[:, None]) & (sums_NS <= high_S[:, None])).all(axis=0)
        assert (space.feasible(draws_ND) == within_N).all()
        inside.append(within_N.mean())
    assert 0.1 < np.mean(inside) < 0.9


def _tree(
    generator: random.Random, depth: int, prefix: str, sums: list[tuple[list[str], float, float]]
) -> dict[str, object]:
    """Domains in up to `depth` levels; each one's leaves with its limits are added to `sums`."""
    found: dict[str, object] = {}
    for number in range(generator.randint(2, 3)):
        low, high = generator.choice([0.0, 0.001]), generator.uniform(0.5, 1)
        if depth > 1 and generator.random() < 0.6:
            before = len(sums)
            parts = _tree(generator, depth - 1, f"{prefix}d{number}.", sums)
            leaves = list(dict.fromkeys(leaf for inside, _, _ in sums[before:] for leaf in inside))
            found[f"d{number}"] = {"min": low, "max": high, "parts": parts}
        else:
            leaves = [f"{prefix}d{number}"]
            found[f"d{number}"] = {"min": low, "max": high, "tokens": 1000}
        sums.append((leaves, low, high))
    return found
