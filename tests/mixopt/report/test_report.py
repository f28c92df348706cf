"""What a reader of a report finds in it; trials are measured in no time."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mixopt.base.errors import ConfigError
from mixopt.cli import report
from mixopt.report.content import Agreement, Content, Course, Effects, Front, HeldOut, Missing, Tried
from mixopt.report.gather import summarise
from mixopt.report.kept import CONTENT
from mixopt.report.page import render
from mixopt.report.plots import VARIABLES
from mixopt.report.sections import MOST_CURVES
from mixopt.results.answer import Answer
from mixopt.study.answer import answer_so_far, build_answer
from mixopt.study.plan import Plan
from mixopt.study.record import journal_path, open_store, read_record
from mixopt.study.recording import begin
from search.history import History
from search.recommendation.confirmation import confirm
from search.recommendation.confirmation_trials import next_confirmations
from search.seeds import is_of_search
from search.trial import Failure, FailureKind, Loss, Measurement, Trial
from tests.e2e.study import STUDY
from tests.simulated import planned, run
from tests.text import documents
from tracking import keys
from tracking.entries import Closed, Entry, Opened, entries_of
from tracking.journal import Journal
from tracking.record import Subject

LINEAR = STUDY.replace("trials: 3}", "trials: 9}") + "search: {strategy: regmix, surrogate: linear}\n"
MESSAGE = 'loss is <b>nan</b> & "inf" after 12 steps'


class Page(HTMLParser):
    """A page's elements, the cells of its tables, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        match tag:
            case "table":
                self.tables.append([])
            case "tr":
                self.tables[-1].append([])
            case "td" | "th":
                self.tables[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        self.words += data
        if self.elements and self.elements[-1][0] in ("td", "th") and data.strip():
            self.tables[-1][-1][-1] += data


def noisy(trial: Trial) -> Measurement:
    """Losses that fall less and less with the share of their own domain, and with a seed's luck."""
    luck = int(trial.id[:4], 16) / 0xFFFF / 100
    losses = {name: Loss(3 - math.sqrt(share) + luck, 1 - share / 3) for name, share in trial.mixture.as_dict().items()}
    return Measurement(losses, (), {}, {}, trial.fidelity.flops, 1.0, environment={"device": "cpu"})


def searched(plan: Plan, failing: int = 0) -> History:
    """The whole search, whose last trials of the first proxy failed."""
    trials = plan.strategy.ask(History(), 1000)
    cheap = [trial for trial in trials if trial.fidelity == plan.problem.rungs[0].fidelity]
    outcomes: dict[str, Measurement | Failure] = {trial.id: noisy(trial) for trial in trials}
    outcomes |= {trial.id: Failure(FailureKind.DIVERGED, MESSAGE, 2.0) for trial in cheap[len(cheap) - failing :]}
    return History.of(trials, outcomes)


def answered(plan: Plan, history: History) -> tuple[History, Answer]:
    """The history with its confirmation, if the study asks for one, and the answer."""
    recommendation, settings, confirmation = plan.strategy.recommend(history), plan.file.confirm, None
    if settings.candidates:
        candidates = recommendation.candidates[: settings.candidates]
        while trials := next_confirmations(plan.problem, candidates, settings.seeds, history):
            for trial in trials:
                history = history.closed(trial, noisy(trial))
        confirmation = confirm(plan.problem, candidates, settings.seeds, history, recommendation.expects)
    return history, build_answer(plan, history, recommendation, confirmation, "the-run", ended=True)


def keep_journal(plan: Plan, *entries: Entry) -> None:
    Journal.create(journal_path(plan.file), Subject("the study", {}, "corpus"), entries).close()


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return planned(tmp_path_factory.mktemp("linear"), LINEAR)


@pytest.fixture(scope="module")
def finished(plan: Plan) -> tuple[History, Answer]:
    history, answer = answered(plan, searched(plan, failing=2))
    timed = (
        replace(entry, at=at) for at, entry in enumerate(entries_of(history)) if isinstance(entry, Opened | Closed)
    )
    keep_journal(plan, *timed)
    return history, answer


@pytest.fixture(scope="module")
def said(plan: Plan, finished: tuple[History, Answer]) -> Content:
    return summarise(plan, *finished)


@pytest.fixture(scope="module")
def page(plan: Plan, finished: tuple[History, Answer]) -> str:
    return render(summarise(plan, *finished))


def shown(tmp_path: Path, text: str) -> tuple[Content, Page]:
    """The report of a study that has come to its end."""
    plan = planned(tmp_path, text)
    said = summarise(plan, *answered(plan, searched(plan)))
    return said, Page(render(said))


def test_a_page_needs_nothing_but_itself(page: str) -> None:
    for tag, attributes in Page(page).elements:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed")
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}


def test_plots_have_the_colours_of_the_page_in_light_and_dark(page: str) -> None:
    assert not any(colour in page for colour in VARIABLES)
    light, dark = (set(re.findall(r"(--\w+):", block)) for block in re.findall(r":root \{(.*?)\}", page, re.S)[:2])
    assert light == dark >= set(re.findall(r"var\((--\w+)\)", page))
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, re.S))
    assert re.findall(r"#[0-9a-fA-F]{6}\b", drawn) == []


def test_plots_keep_their_shapes_apart(page: str) -> None:
    ids = [attributes["id"] for _, attributes in Page(page).elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"(?:url\(|href=\")#([\w-]+)", page)) <= set(ids)


def test_a_report_is_the_same_whenever_it_is_written(plan: Plan, finished: tuple[History, Answer], page: str) -> None:
    assert render(summarise(plan, *finished)) == page


def test_numbers_are_those_of_the_answer(said: Content, finished: tuple[History, Answer]) -> None:
    recommendation, confirmation = finished[1].recommendation, finished[1].confirmation
    answer = said.decision.rival(said.decision.answer)
    assert answer.mixture == pytest.approx(finished[1].mixture)
    assert said.decision.predicted["objective"] == recommendation.predicted
    assert confirmation is not None and recommendation.validation is not None
    outcome = next(each for each in confirmation.candidates if each.label == "proposed")
    assert outcome.difference is not None and outcome.margin is not None
    proposed = said.decision.rivals[0]
    assert proposed.confirmed is not None
    assert proposed.confirmed.mean == -outcome.difference
    assert proposed.confirmed.upper == pytest.approx(outcome.margin - outcome.difference)
    assert isinstance(said.effects, Effects)
    for name, effect in recommendation.effects.items():
        assert said.effects.domains[name].curve.values == pytest.approx(effect.values)
    assert [name for name, effect in said.effects.domains.items() if effect.flat] == list(recommendation.flat)
    assert isinstance(said.held_out, HeldOut)
    assert said.held_out.scores == recommendation.validation
    assert len(said.held_out.measured) == recommendation.validation.runs


def test_a_gain_above_0_is_a_lower_objective(said: Content) -> None:
    proposed = said.decision.rivals[0]
    assert proposed.predicted is not None and proposed.predicted.lower is not None
    assert proposed.predicted.lower < proposed.predicted.mean
    assert proposed.predicted.mean > 0.05
    uniform = said.decision.rival("uniform")
    assert uniform.beaten is not None
    assert (uniform.beaten > 0.5) == (
        uniform.predicted is not None and uniform.predicted.mean < proposed.predicted.mean
    )


def test_more_of_a_domain_lowers_the_loss_on_it(said: Content) -> None:
    assert isinstance(said.effects, Effects)
    for domain in ("prose", "code"):
        slope = said.effects.domains[domain].slopes[domain]
        assert slope is not None and slope < 0


def test_tables_are_whole(page: str, said: Content) -> None:
    read = Page(page)
    assert len(read.tables) > 8
    for head, *rows in read.tables:
        assert rows
        assert {len(row) for row in rows} == {len(head)}
    shares = read.tables[0]
    assert shares[0][:3] == ["domain", "answer", "tokens"]
    assert "proportional" in shares[0]
    assert {row[0]: row[1] for row in shares[1:]} == {
        name: f"{share:.1%}" for name, share in said.decision.rival(said.decision.answer).mixture.items()
    }


def test_every_failed_trial_is_there_and_its_message_is_text(page: str, finished: tuple[History, Answer]) -> None:
    read = Page(page)
    [table] = [table for table in read.tables if "why" in table[0]]
    assert {row[0] for row in table[1:]} == {entry.trial.id for entry in finished[0].failed}
    assert {row[5] for row in table[1:]} == {MESSAGE}
    assert "<b>nan" not in page


def test_notes_are_text(said: Content) -> None:
    page = render(said.model_copy(update={"notes": ("a <script>alert(1)</script> & 'note'",)}))
    assert "<script" not in page
    assert "a <script>alert(1)</script> & 'note'" in Page(page).words


def test_without_confirmation_it_says_so(tmp_path: Path) -> None:
    text = LINEAR.replace("confirm: {candidates: 1, seeds: 2}", "confirm: {candidates: 0}")
    said, page = shown(tmp_path, text)
    assert said.standing is None
    assert said.decision.not_confirmed == "the study asks for no confirmation (confirm.candidates is 0)"
    assert "The study asks for no confirmation" in page.words


def test_a_search_without_confirmation_has_ended_with_its_last_trial_and_not_before(tmp_path: Path) -> None:
    plan = planned(tmp_path, LINEAR.replace("confirm: {candidates: 1, seeds: 2}", "confirm: {candidates: 0}"))
    trials = plan.strategy.ask(History(), 1000)[:-1]
    history = History.of(trials, {trial.id: noisy(trial) for trial in trials})
    recommendation = plan.strategy.recommend(history)
    so_far = build_answer(plan, history, recommendation, None, "the-run", ended=False)
    assert summarise(plan, history, so_far).standing == "20 of at most 21 trials of the search have ended"


def test_of_a_pinned_share_nothing_is_said(tmp_path: Path) -> None:
    said, page = shown(tmp_path, LINEAR.replace("min: 5%", "pin: 20%"))
    assert isinstance(said.effects, Effects)
    assert not said.effects.domains["sums"].flat
    assert "Nothing is known of sums: the share was the same in every trial." in page.words


def test_without_a_surrogate_each_part_says_why(tmp_path: Path) -> None:
    text = STUDY + "search: {strategy: random}\n"
    said, page = shown(tmp_path, text)
    assert isinstance(said.held_out, Missing)
    assert isinstance(said.effects, Missing)
    for what in ("No prediction can be compared with a measurement", "No effect is predicted"):
        assert f"{what}: search.strategy random predicts nothing." in page.words
    assert said.decision.not_predicted is not None
    assert isinstance(said.agreement, tuple)
    [agreement] = said.agreement
    assert len(agreement.cheap) == 3 + 2  # the shared design, and the baselines


def test_one_proxy_agrees_with_nobody_and_pareto_has_a_front(tmp_path: Path) -> None:
    text = re.sub(r"  moe: .*\n", "", LINEAR.replace("trials: 8}", "trials: 20}"))
    text = text.replace("{weights: {prose: 2, code: 1}}", "{kind: pareto, weights: {prose: 2, code: 1}}")
    said, page = shown(tmp_path, text)
    assert "There is nothing to compare: the study trains one proxy, dense." in page.words
    assert isinstance(said.front, Front)
    assert said.front.metrics == ("prose", "code")
    assert "loss on prose" in page.words


def test_cheap_proxies_that_rank_alike_are_seen_to(said: Content) -> None:
    assert isinstance(said.agreement, tuple)
    [agreement] = said.agreement
    assert isinstance(agreement, Agreement)
    assert agreement.proxy == "dense"
    assert agreement.spearman is not None and agreement.spearman > 0.8


@pytest.mark.slow
def test_64_domains_stay_readable(tmp_path: Path) -> None:
    names = [f"domain-{number:02}" for number in range(64)]
    (tmp_path / "data").mkdir()
    for name in names:
        lines = [json.dumps({"text": f"{name} {number} {text}"}) for number, text in enumerate(documents("prose", 6))]
        (tmp_path / "data" / f"{name}.jsonl").write_text("\n".join(lines))
    start, end = LINEAR.index("domains:"), LINEAR.index("target:")
    domains = "domains:\n" + "".join(f"  {name}: {{paths: data/{name}.jsonl}}\n" for name in names)
    text = LINEAR[:start] + domains + LINEAR[end:]
    text = re.sub(r"  moe: .*\n", "", text).replace("trials: 8}", "trials: 90}")
    text = text.replace("{prose: 2, code: 1}", "{domain-00: 1, domain-01: 1}").replace("40k", "4k")
    _, page = shown(tmp_path, text)
    shares = page.tables[0]
    assert {row[0] for row in shares[1:]} == set(names)
    assert "44 more domains are in the table" in page.words
    curves = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(curves) <= MOST_CURVES + 8


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A study that is in its store."""
    plan = planned(tmp_path_factory.mktemp("recorded"), LINEAR)
    run(plan)
    return plan


def written(plan: Plan, *options: str) -> Any:
    """What the command does where no report was kept."""
    (plan.file.work_directory / CONTENT).unlink(missing_ok=True)
    return CliRunner().invoke(report.app, [str(plan.file.file), *options])


def test_the_command_writes_the_page_and_keeps_it_in_mlflow(recorded: Plan, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    done = written(recorded, "-o", str(output), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["decision"]["answer"]
    [kept] = (recorded.file.home / "artifacts").rglob(keys.REPORT_FILE)
    assert kept.read_text() == output.read_text()


def test_a_store_that_does_not_take_it_is_told_and_stops_nothing(recorded: Plan, tmp_path: Path) -> None:
    artifacts = recorded.file.home / "artifacts"
    aside = artifacts.rename(artifacts.with_name("aside"))
    artifacts.write_text("a file where a folder was")
    output = tmp_path / "report.html"
    try:
        done = written(recorded, "-o", str(output))
        assert done.exit_code == 0
        assert "did not keep report.html" in done.stderr
        assert f"the report is at {output} alone" in done.stderr
        assert output.exists()
        assert written(recorded, "-o", str(output), "--no-attach").exit_code == 0
    finally:
        artifacts.unlink()
        aside.rename(artifacts)


def test_the_search_is_followed_in_the_order_in_which_its_trials_ended(recorded: Plan) -> None:
    record = read_record(recorded.file)
    history, answer = record.history, answer_so_far(recorded.file, record)
    found = summarise(recorded, history, answer).course
    assert isinstance(found, Course)
    asked = [trial.id for trial in recorded.strategy.ask(History(), 1000)]
    assert [step.trial for step in found.steps] == asked  # the machines of this test work in turn
    cost = {entry.trial.id: entry.measurement.flops for entry in history.completed}
    assert [step.flops for step in found.steps] == pytest.approx(np.cumsum([cost[trial] for trial in asked]))


def test_it_shows_the_shares_of_what_was_tried_the_best_first(recorded: Plan) -> None:
    record = read_record(recorded.file)
    content = summarise(recorded, record.history, answer_so_far(recorded.file, record))
    found = content.tried
    assert isinstance(found, Tried)
    objectives = [each.objective for each in found.trials]
    assert objectives == sorted(objectives)
    searched = {
        entry.trial.id for entry in record.history.at(recorded.problem.target) if is_of_search(entry.trial.seed)
    }
    assert {each.trial for each in found.trials} == searched
    [table] = [each for each in Page(render(content)).tables if each[0][:1] == ["trial"] and "prose" in each[0]]
    assert [row[0] for row in table[1:]] == [each.trial for each in found.trials]


def test_without_its_corpus_it_says_where_to_go(recorded: Plan, tmp_path: Path) -> None:
    corpus = recorded.file.work_directory / "corpus"
    aside = corpus.rename(corpus.with_name("aside"))
    try:
        error = written(recorded, "-o", str(tmp_path / "report.html")).exception
        assert isinstance(error, ConfigError)
        assert "mixopt prepare" in error.hint
    finally:
        aside.rename(corpus)


def test_before_the_end_it_says_how_far_the_study_is(tmp_path: Path) -> None:
    plan = planned(tmp_path, LINEAR)
    asked = plan.strategy.ask(History(), 1000)
    done, running = asked[:-3], asked[-3:]
    with begin(plan, open_store(plan.file)) as recorder:
        for trial in asked:
            recorder.open(trial)
        for trial in done:
            recorder.close_trial(trial, noisy(trial), objective=None)
        recorder.drain(60)
    record = read_record(plan.file)
    history = record.history
    assert set(history.running) == set(running)
    page = Page(render(summarise(plan, history, answer_so_far(plan.file, record))))
    standing = f"{len(done)} of at most {len(asked)} trials of the search have ended, 3 more begun"
    assert f"This study has not ended: {standing}; nothing is confirmed yet." in page.words


def test_a_journal_that_was_made_anew_does_not_tell_the_order(tmp_path: Path, finished: tuple[History, Answer]) -> None:
    plan = planned(tmp_path, LINEAR)
    keep_journal(plan, *entries_of(finished[0]))
    found = summarise(plan, *finished).course
    assert isinstance(found, Missing)
    assert "the order in which its trials ended is not known" in found.reason


def test_where_a_failed_trial_is_tried_again_the_study_goes_on(plan: Plan) -> None:
    history, answer = answered(plan, searched(plan, failing=1))
    [failed] = history.failed
    standing = summarise(plan, history.opened(failed.trial), answer).standing
    assert standing is not None and standing.endswith("1 more begun")
