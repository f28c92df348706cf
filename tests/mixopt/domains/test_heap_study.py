"""The study file over found domains: short, and fit for the text that there is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mixopt.domains.heap_study import heap_study
from mixopt.settings.reading import load, parse
from mixopt.settings.schema import StudyFile
from mixopt.study.corpus import prepare_corpus
from mixopt.study.planning import make_plan
from tests.program import mixopt
from tests.text import documents


def studied(*sizes: int) -> tuple[str, StudyFile]:
    domains = {f"d{number}": {"paths": f"text/d{number}"} for number in range(len(sizes))}
    output = Path("pools/study.yaml")
    text = heap_study(domains, dict(zip(domains, sizes, strict=True)), min(sizes), output, "domains.html")
    return text, parse(text, output)


def test_a_small_heap_gets_a_study_that_can_run(tmp_path: Path) -> None:
    """Three hundred short documents: as written for a large heap, its rows would be longer than its domains."""
    folder = tmp_path / "heap"
    folder.mkdir()
    for kind in ("prose", "code", "sums"):
        for number, text in enumerate(documents(kind, 100, words=40)):
            (folder / f"{kind}-{number}.txt").write_text(text)
    assert mixopt("domains", folder, "-o", tmp_path / "pools", "--workers", 1).status == 0
    file = load(tmp_path / "pools" / "study.yaml")
    assert file.corpus.sequence_length < 256
    plan = make_plan(file, prepare_corpus(file, lambda progress: None))
    assert set(plan.problem.space.domains) == set(file.domains)


@pytest.mark.parametrize("options", [[], ["--count", 12]])
@pytest.mark.parametrize(("kinds", "each", "longest"), [(12, 5, 60), (12, 12, 60), (3, 4, 1)])
def test_every_domain_of_a_small_heap_can_be_trained_and_measured_on(
    tmp_path: Path, kinds: int, each: int, longest: int, options: list[object]
) -> None:
    """Kinds of a few short documents, one of which is long: clusters of one or two would be refused by the plan."""
    (tmp_path / "heap").mkdir()
    for kind in range(kinds):
        own = " ".join(f"{chr(97 + kind)}{word}" for word in documents("prose", 1)[0].split()[:40])
        for number, text in enumerate(documents("code", each, words=30)):
            words = own.split()
            start = number * 3 % len(words)
            more = " ".join((words[start:] + words[:start]) * (longest if number == 0 else 1))
            (tmp_path / "heap" / f"{kind}-{number}.txt").write_text(f"{more} {text}")
    done = mixopt("domains", tmp_path / "heap", "-o", tmp_path / "pools", "--workers", 1, *options)
    assert done.status == 0, done.stderr
    file = load(tmp_path / "pools" / "study.yaml")
    plan = make_plan(file, prepare_corpus(file, lambda progress: None))
    assert len(plan.problem.space.domains) >= 2
    found = json.loads((tmp_path / "pools" / "domains.json").read_text())
    assert min(domain["documents"] for domain in found["domains"].values()) >= 3
    assert ("domains and not" in done.stderr) is (len(file.domains) < (12 if options else 20))


def test_it_is_no_longer_than_it_has_to_be() -> None:
    text, file = studied(*[1500] * 20)
    lines = text.splitlines()
    assert len(lines) <= 20 + 15 and max(map(len, lines)) <= 120
    assert file.study == "pools" and len(file.domains) == 20


@pytest.mark.parametrize(
    ("size", "length", "tokens"),
    [(1500, 64, 120_000), (40_000, 256, 2_000_000), (10**9, 256, 2_000_000), (80, 16, 16_000)],
)
def test_rows_and_passes_fit_the_text(size: int, length: int, tokens: int) -> None:
    text, file = studied(*[size] * 20)
    proxy = file.proxies["dense"]
    assert (file.corpus.sequence_length, proxy.trials) == (length, 80)
    assert proxy.tokens == pytest.approx(tokens, rel=0.01)
    assert ("times the text" in text) is (tokens < 2_000_000)
    assert ("sequence_length" in text) is (length < 256)
    assert "4 trials for each domain" in text


def test_few_domains_have_enough_trials() -> None:
    text, file = studied(10**6, 10**6)
    assert file.proxies["dense"].trials == 24 and "4 trials for each domain, 24 at least" in text


def test_names_that_mean_something_else_in_yaml_stay_names() -> None:
    domains = {"2019": {"paths": "text/2019"}, "no": {"paths": "text/no", "text": "body"}}
    file = parse(
        heap_study(domains, dict.fromkeys(domains, 10**6), 10**6, Path("no/study.yaml"), "domains.html"), Path("x")
    )
    assert (file.study, list(file.domains), file.domains["no"].text) == ("no", ["2019", "no"], "body")
