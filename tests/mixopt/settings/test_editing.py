"""A study file is changed in one place, and stays in all others what somebody wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError
from mixopt.settings.editing import check_editable, with_setting, without_setting

TEXT = """\
# What the study is about.
study: small   # its name

domains:
  web: {paths: a, max: 60%}   # the web
  code:
    # All of it.
    paths: [b, c]
    min: 5%

  # The rest.
  rest: {paths: d, parts: {x: {paths: e}}}
proxies:
  dense: {tokens: 2M}   # cheap
"""
COMMENTS = ("# What the study is about.", "# its name", "# The rest.", "# cheap")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("study",), "finer"),
        (("domains", "web"), {"max": "60%", "parts": {"a": {"paths": "x"}, "no": {"paths": "y", "tokens": 3}}}),
        (("domains", "code"), {"paths": "x"}),
        (("domains", "new"), {"paths": ["x", "y: z", "# no"], "min": 0.1}),
        (("domains", "rest", "parts", "x"), {"parts": {"p": {"paths": "q"}}}),
        (("domains", "rest", "parts", "010"), {"paths": "q"}),
        (("proxies", "dense", "depth"), 2),
        (("corpus", "tokenizer"), "t.json"),
        (("reuse",), {"runs": "r.csv", "split": {"web": ["web"]}, "merged": {"a": {"b": 1, "c": 2.5}}}),
    ],
)
def test_one_setting_is_changed_and_no_other(place: tuple[str, ...], value: Any) -> None:
    changed = with_setting(TEXT, place, value)
    expected = yaml.safe_load(TEXT)
    section = expected
    for name in place[:-1]:
        section = section.setdefault(name, {})
    section[place[-1]] = value
    assert yaml.safe_load(changed) == expected
    assert all(comment in changed for comment in COMMENTS)
    assert with_setting(changed, place, value) == changed


@pytest.mark.parametrize(
    "place",
    [("study",), ("domains", "web"), ("domains", "code"), ("domains", "rest", "parts", "x"), ("proxies", "dense")],
)
def test_one_setting_is_removed_and_no_other(place: tuple[str, ...]) -> None:
    changed = without_setting(TEXT, place)
    expected = yaml.safe_load(TEXT)
    section = expected
    for name in place[:-1]:
        section = section[name]
    del section[place[-1]]
    assert yaml.safe_load(changed) == expected
    assert "# What the study is about." in changed


def test_what_is_not_there_is_not_removed() -> None:
    assert without_setting(TEXT, ("domains", "gone")) == TEXT == without_setting(TEXT, ("corpus", "workers"))


def test_a_file_without_a_line_break_at_its_end_gets_its_section_on_a_line_of_its_own() -> None:
    assert with_setting("study: x\nseed: 1", ("domains",), "y") == "study: x\nseed: 1\ndomains: y\n"


def test_a_file_in_braces_is_refused() -> None:
    with pytest.raises(ConfigError, match="stand in braces"):
        with_setting("{study: x}", ("seed",), 1)


@pytest.mark.parametrize("block", ["|\n  hello\n  you\n", ">-\n  hello\n"])
def test_a_text_of_several_lines_is_replaced_and_removed_whole(block: str) -> None:
    text = f"a: {block}\nb: 1\n"
    assert with_setting(text, ("a",), 3) == "a: 3\n\nb: 1\n"
    assert without_setting(text, ("a",)) == "\nb: 1\n"
    assert with_setting(f"c:\n  a: {block.replace('  ', '    ')}\nb: 1\n", ("c", "d"), 2).endswith("\n  d: 2\n\nb: 1\n")


def test_in_braces_too_dates_stay_the_text_that_they_are() -> None:
    changed = with_setting("a: {day: 2024-01-01, at: 1.5e+3}\n", ("a", "b"), 1)
    assert plain_yaml.load(changed) == {"a": {"day": "2024-01-01", "at": 1500.0, "b": 1}}


def test_what_stands_for_something_else_is_refused() -> None:
    check_editable(TEXT, Path("study.yaml"))
    with pytest.raises(ConfigError, match=r"study.yaml:3: \*w stands for .* written elsewhere") as refused:
        check_editable("domains:\n  web: &w {paths: a}\n  code: *w\n", Path("study.yaml"))
    assert refused.value.hint == "write it out in place of *w"
